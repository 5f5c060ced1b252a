//! What a consumer saw, checked as it comes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tidemark_model::{KvChange, Op, Span, SpanId, Ts};
use tidemark_pull::{PullEvent, Puller};
use tidemark_workload::client::Stores;
use tokio::sync::mpsc;

use crate::PATIENCE;

/// By key and commit ts.
type Versions = BTreeMap<(Bytes, u64), (u64, Option<Bytes>)>;

#[derive(Default)]
struct Seen {
    versions: Versions,
    resolved: Ts,
    repeated: usize,
}

/// One span's consumer.
pub(crate) struct Record {
    span: Span,
    checkpoint: Ts,
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Record {
    pub(crate) fn new(puller: &Puller, id: u64, span: Span, checkpoint: Ts) -> Self {
        let (sender, mut events) = mpsc::channel(16);
        puller.subscribe(SpanId(id), span.clone(), checkpoint, sender);
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let record = Arc::clone(&seen);
        let inside = span.clone();
        let task = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let mut seen = record.lock();
                match event {
                    PullEvent::Changes { span, changes, .. } => {
                        assert_eq!(span, SpanId(id));
                        for change in changes {
                            assert!(inside.contains(&change.key));
                            assert!(change.commit_ts > checkpoint);
                            assert!(change.commit_ts > seen.resolved, "{change:?} is late");
                            seen.take(change);
                        }
                    }
                    PullEvent::Resolved { ts, .. } => {
                        assert!(ts > seen.resolved, "resolved ts must rise");
                        seen.resolved = ts;
                    }
                    PullEvent::Initialized { .. } => {}
                    PullEvent::Failed { error, .. } => panic!("{error}"),
                }
            }
        });
        Self {
            span,
            checkpoint,
            seen,
            task,
        }
    }

    pub(crate) fn resolved(&self) -> Ts {
        self.seen.lock().resolved
    }

    pub(crate) fn repeated(&self) -> usize {
        self.seen.lock().repeated
    }

    /// Waits until everything up to `ts` has come.
    pub(crate) async fn reaches(&self, ts: Ts) {
        let wait = async {
            while self.resolved() < ts {
                assert!(!self.task.is_finished(), "the consumer has failed");
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!(
                "resolved ts stands at {} and does not reach {ts}",
                self.resolved()
            );
        }
    }

    /// Compares with what the cluster holds, up to the resolved ts; gives the number of versions.
    pub(crate) async fn agrees(&self, stores: &Stores, keys: &[String]) -> usize {
        let upto = self.resolved();
        let mut expected = Versions::new();
        for key in keys.iter().filter(|key| self.span.contains(key.as_bytes())) {
            for version in stores.versions(key.as_bytes()).await.unwrap() {
                if version.commit_ts > self.checkpoint.0 && version.commit_ts <= upto.0 {
                    let name = (Bytes::from(key.clone()), version.commit_ts);
                    expected.insert(name, (version.start_ts, version.value));
                }
            }
        }
        let mut found = self.seen.lock().versions.clone();
        found.retain(|(_, commit_ts), _| *commit_ts <= upto.0);
        for (name, version) in &expected {
            assert_eq!(found.get(name), Some(version), "lost or changed: {name:?}");
        }
        assert_eq!(found.len(), expected.len(), "something was invented");
        expected.len()
    }
}

impl Seen {
    fn take(&mut self, change: KvChange) {
        let name = (change.key, change.commit_ts.0);
        let value = (change.op == Op::Put).then_some(change.value);
        let version = (change.start_ts.0, value);
        if let Some(known) = self.versions.insert(name, version.clone()) {
            assert_eq!(known, version, "a repeated change must be the same");
            self.repeated += 1;
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.task.abort();
    }
}
