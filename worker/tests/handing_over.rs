//! A span that leaves a shard: nothing of it reaches the sink once the shard has answered.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidemark_merge::{Spill, SpillConfig};
use tidemark_model::{Budget, KvChange, SpanId, Ts};
use tidemark_pull::PullEvent;
use tidemark_sink::{Batch, Sink, SinkError};
use tidemark_tidb::Table;
use tidemark_worker::metrics::Metrics;
use tidemark_worker::stream::barrier::Barrier;
use tidemark_worker::stream::progress::SpanProgress;
use tidemark_worker::stream::shard::{NewSpan, Order, Shard, ShardContext};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// Takes a batch only when the test lets it.
struct SlowSink {
    begun: Semaphore,
    allowed: Semaphore,
    taken: Mutex<Vec<(SpanId, usize)>>,
}

impl SlowSink {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Semaphore::new(0),
            allowed: Semaphore::new(0),
            taken: Mutex::default(),
        })
    }
}

async fn pass(gate: &Semaphore) {
    timeout(PATIENCE, gate.acquire()).await.unwrap().unwrap().forget();
}

impl Sink for SlowSink {
    fn announce<'a>(&'a self, _: &'a Arc<Table>, _: Ts) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }

    fn write(&self, batch: Batch) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.begun.add_permits(1);
            pass(&self.allowed).await;
            self.taken.lock().push((batch.span, batch.changes.len()));
            batch.ack.done();
            Ok(())
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }

    fn watermark(&self, _: Ts) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }
}

fn change(ts: u64) -> KvChange {
    KvChange {
        key: "k".into(),
        value: "v".into(),
        old_value: "".into(),
        start_ts: Ts(ts - 1),
        commit_ts: Ts(ts),
        op: tidemark_model::Op::Put,
    }
}

#[tokio::test]
async fn a_removed_span_writes_nothing_after_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let sink = SlowSink::new();
    let barrier = Barrier::new(Ts::MAX);
    let budget = Budget::new(1 << 20);
    let shard = Shard::new(ShardContext {
        sink: Arc::clone(&sink) as _,
        spill: Spill::open(SpillConfig::new(folder.path().to_owned(), 1 << 20, 1 << 20)).unwrap(),
        budget: budget.clone(),
        barrier: barrier.view(),
        metrics: Arc::new(Metrics::new()),
    });
    let ((events, from_puller), (orders, from_feed)) = (mpsc::channel(8), mpsc::channel(8));
    let running = tokio::spawn(shard.run(from_puller, from_feed));

    let (span, progress) = (SpanId(1), SpanProgress::new(Ts(10)));
    let new = NewSpan {
        id: span,
        table: Arc::new(Table::plain_kv()),
        physical_id: 0,
        progress: Arc::clone(&progress),
    };
    let (done, added) = oneshot::channel();
    orders.send(Order::Add(new, done)).await.unwrap();
    added.await.unwrap();
    for ts in [20, 30] {
        let (changes, grant) = (vec![change(ts)], budget.try_take(100).unwrap());
        events
            .send(PullEvent::Changes { span, changes, grant })
            .await
            .unwrap();
        events
            .send(PullEvent::Resolved { span, ts: Ts(ts) })
            .await
            .unwrap();
    }
    pass(&sink.begun).await;

    let (done, mut removed) = oneshot::channel();
    orders.send(Order::Remove(span, done)).await.unwrap();
    // A second order is obeyed after the first, so the first has been seen by now.
    let (done, other) = oneshot::channel();
    orders.send(Order::Remove(SpanId(2), done)).await.unwrap();
    other.await.ok();
    assert!(
        removed.try_recv().is_err(),
        "answered while a batch was on its way"
    );

    sink.allowed.add_permits(100);
    timeout(PATIENCE, removed).await.unwrap().unwrap();
    let (written, checkpoint) = (sink.taken.lock().len(), progress.checkpoint());
    assert_eq!(written, 1);

    events
        .send(PullEvent::Resolved { span, ts: Ts(40) })
        .await
        .unwrap();
    drop(events);
    timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    assert_eq!(sink.taken.lock().len(), written);
    assert_eq!(progress.checkpoint(), checkpoint);
    assert!(checkpoint < Ts(30));
}
