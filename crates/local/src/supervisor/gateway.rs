//! Progress of our own gateways: polls which version of the endpoints they have applied.

use std::{net::SocketAddr, time::Duration};

use controller::{Input, RunId};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use super::Message;
use crate::http;

/// How often to poll a gateway that is behind.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// Polls a gateway after every change of the endpoints until it has applied them.
pub(crate) async fn follow(
    run: RunId,
    admin: SocketAddr,
    messages: mpsc::Sender<Message>,
    mut versions: watch::Receiver<u64>,
) {
    loop {
        let wanted = *versions.borrow_and_update();
        let version = loop {
            match version_of(admin).await {
                Some(version) if version >= wanted => break version,
                _ => tokio::time::sleep(ASK_EVERY).await,
            }
        };
        if messages.send(Message::Input(Input::CaughtUp { run, version })).await.is_err()
            || versions.changed().await.is_err()
        {
            return;
        }
    }
}

async fn version_of(admin: SocketAddr) -> Option<u64> {
    #[derive(Deserialize)]
    struct View {
        version: Option<u64>,
    }
    let answer = http::get(admin, "/endpoints", Duration::from_secs(1)).await.ok()?;
    serde_json::from_str::<View>(&answer.body).ok()?.version
}
