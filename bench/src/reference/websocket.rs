//! A bare loop over tungstenite: the cost of an echo over web sockets without sessions, limits and activity.

use std::{io, net::TcpListener};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{net, task::LocalSet};

pub(super) fn serve(listeners: &[TcpListener]) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async {
        let [listener] = listeners else { return Err(io::Error::other("expected one address")) };
        let listener = net::TcpListener::from_std(listener.try_clone()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(echo(stream));
        }
    })
}

/// Until the client leaves.
async fn echo(stream: net::TcpStream) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() && socket.send(message).await.is_err() {
            return;
        }
    }
}
