//! The platform's live page: a port that costs nothing until somebody connects to it.
//!
//! The listener is the supervisor's own. When the first visitor connects, the supervisor starts `playctl dashboard` as a
//! separate process, which takes over the listener, acts on the platform like any other client, and ends once nobody has
//! looked for a while. Then the supervisor waits for the next visitor. So no request of a page runs in the supervisor.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};

use ::platform::values::Protocol;
use tokio::{io::unix::AsyncFd, task::AbortHandle};
use uuid::Uuid;

use super::obstacle::Obstacle;
use crate::{kernel::port::Unusable, paths::write_private, target};

/// Next to the ports of the balancer (8488) and of the page "Server-User Network" (8489).
pub(crate) const PORT: u16 = 8490;
/// Delay between the end of one process and the start of the next, in case it cannot serve.
const PAUSE: Duration = Duration::from_secs(1);

/// Closed when it is dropped; a serving process also has the listener, until it ends.
#[derive(Debug)]
pub(crate) struct Page {
    listener: Option<TcpListener>,
    waiting: Option<AbortHandle>,
}

impl Page {
    /// Takes the port, and writes down its address, with a new token.
    pub(crate) fn open(address: SocketAddr, file: &Path) -> Result<Self, Obstacle> {
        let listen = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) =
            listen().map_err(|source| Obstacle::Page(Unusable::new(Protocol::Tcp, address, source)))?;
        let token = Uuid::new_v4().simple().to_string();
        let opener = file.with_extension("html");
        let page = target::Page { url: format!("http://{address}/"), token, opener };
        let write = |file: &Path, content: &[u8]| {
            write_private(file, content).map_err(|source| Obstacle::File { file: file.to_owned(), source })
        };
        write(&page.opener, target::opener(&page.link()).as_bytes())?;
        let record = serde_json::to_vec(&page);
        write(
            file,
            &record.map_err(|error| Obstacle::File { file: file.to_owned(), source: error.into() })?,
        )?;
        Ok(Self { listener: Some(listener), waiting: None })
    }

    /// Whenever somebody connects and nobody serves, lets `start` start a process that does; the returned future waits
    /// for the process's end. Call it within a `LocalSet`.
    pub(crate) fn serve_by<F, E>(&mut self, start: F)
    where
        F: Fn(OwnedFd) -> io::Result<E> + 'static,
        E: Future<Output = ()>,
    {
        let Some(listener) = self.listener.take() else { return };
        let waiting = tokio::task::spawn_local(async move {
            if let Err(error) = serve(listener, start).await {
                tracing::error!(%error, "the page is no longer served");
            }
        });
        self.waiting = Some(waiting.abort_handle());
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            waiting.abort();
        }
    }
}

async fn serve<F, E>(listener: TcpListener, start: F) -> io::Result<()>
where
    F: Fn(OwnedFd) -> io::Result<E>,
    E: Future<Output = ()>,
{
    loop {
        // A pending connection is left to the serving process.
        #[expect(
            deprecated,
            reason = "its successor is unsafe; a listener stays what it is while it is registered"
        )]
        let visited = AsyncFd::with_interest(listener.try_clone()?, tokio::io::Interest::READABLE)?;
        visited.readable().await?.retain_ready();
        drop(visited);
        match start(listener.try_clone()?.into()) {
            Ok(ended) => ended.await,
            Err(error) => tracing::error!(%error, "cannot start what serves the page"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn the_first_visitor_starts_the_server_and_restarts_it_after_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page.json");
        let mut page = Page::open("127.76.7.1:0".parse().unwrap(), &file).unwrap();
        let address = page.listener.as_ref().unwrap().local_addr().unwrap();
        let written: target::Page = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(written.link(), format!("http://{address}/#{}", written.token));
        let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
        tokio::task::LocalSet::new()
            .run_until(async {
                page.serve_by(move |listener| {
                    started.send(TcpListener::from(listener)).map_err(io::Error::other)?;
                    Ok(std::future::ready(()))
                });
                for _ in 0..2 {
                    let visitor = TcpStream::connect(address).unwrap();
                    let serving = starts.recv().await.unwrap();
                    assert_eq!(serving.accept().unwrap().1, visitor.local_addr().unwrap());
                }
                drop(page);
                assert!(starts.recv().await.is_none());
                assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            })
            .await;
    }
}
