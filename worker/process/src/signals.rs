//! SIGTERM and SIGINT.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels `stop` at the first SIGTERM or SIGINT; a second one ends the process at once.
///
/// Needs a tokio runtime; fails if signals can't be listened to.
pub fn stop_on_signal(stop: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if first {
                tracing::info!("Stopping; a second signal ends at once");
                stop.cancel();
            } else {
                std::process::abort();
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_cancels() {
        let stop = CancellationToken::new();
        stop_on_signal(stop.clone()).unwrap();
        assert!(!stop.is_cancelled());
        kill_process(getpid(), Signal::TERM).unwrap();
        stop.cancelled().await;
    }
}
