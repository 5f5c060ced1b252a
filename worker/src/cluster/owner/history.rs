//! Keeps the history that the feed still needs from being collected.

use std::time::Duration;

use tidemark_model::Ts;
use tidemark_pull::PdClient;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::cluster::right::Right;
use crate::error::FeedError;
use crate::feed::source;
use crate::metrics::Metrics;

/// How often the protection is renewed.
const PROTECT: Duration = Duration::from_secs(60);
/// How long PD may take to tell the time.
const CLOCK: Duration = Duration::from_millis(500);

/// Protects what lies behind the checkpoint that is written in the status: a feed may have to go on from there.
pub(super) async fn protect(
    pd: PdClient,
    service: String,
    ttl: Duration,
    right: Right,
    saved: watch::Receiver<Ts>,
) -> Result<(), FeedError> {
    let mut ticks = interval(PROTECT.min(ttl / 3).max(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !right.holds() {
            continue;
        }
        let saved = *saved.borrow();
        match source::protect(&pd, &service, ttl, saved.prev()).await {
            // The protection outlives PD's absence by its TTL.
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "Could not renew the protection of history; trying again");
            }
            other => other?,
        }
    }
}

/// Asks PD for the time once a second and notes how far the checkpoint lies behind.
pub(super) async fn tell_time(
    pd: PdClient,
    metrics: std::sync::Arc<Metrics>,
    published: watch::Receiver<Ts>,
    now: watch::Sender<Ts>,
) -> Result<(), FeedError> {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Ok(Ok(ts)) = timeout(CLOCK, pd.tso()).await {
            now.send_replace(ts);
            let checkpoint = *published.borrow();
            if checkpoint > Ts::ZERO {
                metrics.checkpoint(checkpoint, ts);
            }
        }
    }
}
