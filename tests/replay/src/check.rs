//! Runs the real puller on a recording and compares what it delivers with the truth.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tidemark_model::{KvChange, SpanId, Ts};
use tidemark_pull::{PdClient, PullConfig, PullEvent, Puller};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::recording::{Recording, Subscription, Version};
use crate::script::Script;
use crate::server::Replay;

/// How long a replay may stand still.
const PATIENCE: Duration = Duration::from_secs(60);

/// The real stores had ten-second elections; a replay has none to wait for.
const NEVER: Duration = Duration::from_secs(86_400);

/// What a recording's check saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Subscriptions replayed.
    pub subscriptions: usize,
    /// Committed versions that had to come, and came.
    pub versions: usize,
    /// Changes delivered in all, repeats included.
    pub delivered: usize,
    /// Resolved ts delivered.
    pub resolved: usize,
}

/// Replays each subscription of a recording; fails at the first that differs from the truth.
pub async fn check(recording: &Recording) -> Result<Report> {
    let mut report = Report::default();
    for subscription in &recording.subscriptions {
        replay(recording, subscription, &mut report)
            .await
            .with_context(|| {
                format!(
                    "recording {}, subscription {}",
                    recording.name, subscription.request_id
                )
            })?;
        report.subscriptions += 1;
    }
    Ok(report)
}

async fn replay(recording: &Recording, subscription: &Subscription, report: &mut Report) -> Result<()> {
    let mut script = Script::of(recording, subscription);
    script.leave_open();
    let filter_loop = script.filter_loop;
    let replay = Replay::start(recording.cluster_id, script).await?;
    let pd = PdClient::connect(
        std::slice::from_ref(&replay.pd),
        None,
        Some(recording.cluster_id),
        PATIENCE,
    )
    .await?;
    let config = PullConfig {
        streams_per_store: 1,
        scans_per_store: 1_000_000,
        stuck_after: NEVER,
        slow_after: NEVER,
        store_pause: Duration::from_millis(20),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        filter_loop,
        ..PullConfig::default()
    };
    let puller = Puller::new(pd, config);
    let (events, mut received) = mpsc::channel(1024);
    puller.subscribe(
        SpanId(7),
        subscription.span.clone(),
        subscription.checkpoint,
        events,
    );
    let mut seen = Seen::default();
    while seen.resolved < subscription.resolved {
        match timeout(PATIENCE, received.recv()).await {
            Ok(Some(event)) => seen.take(event, subscription)?,
            Ok(None) => bail!("the puller ended"),
            Err(_) => {
                let (played, steps) = replay.player.progress();
                bail!(
                    "nothing came for {PATIENCE:?}: resolved {} of {}, {played} of {steps} steps played, waiting for {}",
                    seen.resolved,
                    subscription.resolved,
                    replay.player.waiting_for()
                );
            }
        }
    }
    puller.shutdown().await;
    report.delivered += seen.delivered;
    report.resolved += seen.advances;
    report.versions += seen.compare(&recording.truth, subscription, filter_loop)?;
    Ok(())
}

/// What the puller has delivered.
#[derive(Default)]
struct Seen {
    resolved: Ts,
    advances: usize,
    delivered: usize,
    changes: BTreeMap<(Bytes, Ts), KvChange>,
}

impl Seen {
    fn take(&mut self, event: PullEvent, subscription: &Subscription) -> Result<()> {
        match event {
            PullEvent::Changes { changes, .. } => {
                for change in changes {
                    self.change(change, subscription)?;
                }
            }
            PullEvent::Resolved { ts, .. } => {
                ensure!(
                    ts > self.resolved,
                    "resolved ts fell from {} to {ts}",
                    self.resolved
                );
                self.resolved = ts;
                self.advances += 1;
            }
            PullEvent::Initialized { .. } => {}
            PullEvent::Failed { error, .. } => return Err(error.into()),
        }
        Ok(())
    }

    fn change(&mut self, change: KvChange, subscription: &Subscription) -> Result<()> {
        self.delivered += 1;
        let key = hex::encode(&change.key);
        ensure!(
            subscription.span.contains(&change.key),
            "key {key} lies outside of the span"
        );
        ensure!(
            change.commit_ts > subscription.checkpoint,
            "key {key}: commit ts {} is not above the checkpoint",
            change.commit_ts
        );
        match self.changes.get(&(change.key.clone(), change.commit_ts)) {
            Some(known) => ensure!(*known == change, "key {key} came twice with different content"),
            None => {
                ensure!(
                    change.commit_ts > self.resolved,
                    "key {key}: new change at {} after resolved ts {}",
                    change.commit_ts,
                    self.resolved
                );
                self.changes
                    .insert((change.key.clone(), change.commit_ts), change);
            }
        }
        Ok(())
    }

    /// Compares with the truth up to what the recording client had reached.
    fn compare(&self, truth: &[Version], subscription: &Subscription, filter_loop: bool) -> Result<usize> {
        let mut expected = 0;
        let mut left = self.changes.len();
        for version in truth {
            let wanted = subscription.span.contains(&version.key)
                && version.commit_ts > subscription.checkpoint
                && version.source >> 8 == 0
                && (version.source == 0 || !filter_loop);
            let name = || format!("key {} at {}", hex::encode(&version.key), version.commit_ts);
            let found = self.changes.get(&(version.key.clone(), version.commit_ts));
            left -= usize::from(found.is_some());
            let Some(found) = found else {
                ensure!(
                    !wanted || version.commit_ts > subscription.resolved,
                    "{} is lost",
                    name()
                );
                continue;
            };
            ensure!(wanted, "{} should not have come", name());
            expected += usize::from(version.commit_ts <= subscription.resolved);
            ensure!(
                found.start_ts == version.start_ts,
                "{}: start ts {}",
                name(),
                found.start_ts
            );
            ensure!(found.op == version.op, "{}: op {:?}", name(), found.op);
            ensure!(found.value == version.value, "{}: another value", name());
            ensure!(
                found.old_value == version.old_value,
                "{}: another old value",
                name()
            );
        }
        ensure!(left == 0, "{left} changes came that were never committed");
        Ok(expected)
    }
}
