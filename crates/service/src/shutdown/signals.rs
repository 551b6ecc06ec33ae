//! SIGTERM and SIGINT advance a [`Shutdown`].

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use super::{Phase, Shutdown};

/// Starts the thread that waits for signals. The handlers are installed when this returns, so that a signal right after
/// the start already drains instead of killing.
pub(super) fn watch(shutdown: Shutdown) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            while shutdown.phase() < Phase::Forced {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                shutdown.advance();
                tracing::info!(signal = name, phase = ?shutdown.phase(), "signal received");
            }
        });
    })?;
    Ok(())
}
