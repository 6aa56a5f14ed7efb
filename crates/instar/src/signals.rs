//! Signals that stop a program.

use std::io;

use tokio::{
    select,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// Cancels `shutdown` at SIGTERM and SIGINT.
pub(crate) fn stop_on_signals(shutdown: &CancellationToken) -> Result<(), io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        select! {
            _ = terminate.recv() => tracing::info!("Stopping after SIGTERM"),
            _ = interrupt.recv() => tracing::info!("Stopping after SIGINT"),
        }
        shutdown.cancel();
    });
    Ok(())
}
