//! Forwards bytes in both directions after an upgrade, until both sides have ended.

use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tracing::debug;

use super::client::Link;
use super::replicas::Session;
use crate::stats::Stats;

/// Two connections that become one.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) replica: OnUpgrade,
    pub(super) session: Session,
    pub(super) link: Arc<Link>,
    pub(super) stats: Arc<Stats>,
    /// Maximum silence; `None`: no limit.
    pub(super) timeout: Option<Duration>,
}

impl Tunnel {
    /// Forwards bytes until the end. If it does not end in an orderly way, neither does the client's connection.
    pub(super) async fn carry(self) {
        let Self { client, replica, session, link, stats, timeout } = self;
        let (client, replica) = match tokio::try_join!(client, replica) {
            Ok(both) => both,
            Err(error) => {
                debug!(%error, backend = session.backend().name, "an upgrade failed");
                return;
            }
        };
        link.answer_begins();
        let (mut client, mut replica) = (TokioIo::new(client), TokioIo::new(replica));
        tokio::select! {
            carried = copy_bidirectional(&mut client, &mut replica) => match carried {
                Ok((to, from)) => {
                    session.backend().passed_to(to);
                    session.backend().passed_from(from);
                    link.answer_ended();
                }
                Err(error) => {
                    debug!(%error, backend = session.backend().name, "a tunnel broke");
                    stats.reset.increment();
                }
            },
            () = link.silent_for(timeout) => stats.silent.increment(),
        }
    }
}
