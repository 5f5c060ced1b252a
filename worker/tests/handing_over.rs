//! A span that moves: nothing of it reaches the sink before its shard may write, nor once it has answered that it gave it up.
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

/// A shard that runs on a sink.
struct World {
    sink: Arc<SlowSink>,
    budget: Budget,
    events: mpsc::Sender<PullEvent>,
    orders: mpsc::Sender<Order>,
    running: tokio::task::JoinHandle<Result<(), tidemark_worker::error::FeedError>>,
    _barrier: Barrier,
    _folder: tempfile::TempDir,
}

const SPAN: SpanId = SpanId(1);

impl World {
    fn new() -> Self {
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
        Self {
            running: tokio::spawn(shard.run(from_puller, from_feed)),
            sink,
            budget,
            events,
            orders,
            _barrier: barrier,
            _folder: folder,
        }
    }

    async fn order(&self, make: impl FnOnce(oneshot::Sender<()>) -> Order) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        self.orders.send(make(done)).await.unwrap();
        answer
    }

    /// Adds the span; it counts as durable up to 10.
    async fn add(&self, held: bool) -> Arc<SpanProgress> {
        let progress = SpanProgress::new(Ts(10));
        let new = NewSpan {
            id: SPAN,
            table: Arc::new(Table::plain_kv()),
            physical_id: 0,
            progress: Arc::clone(&progress),
            held,
        };
        self.order(|done| Order::Add(new, done)).await.await.unwrap();
        progress
    }

    /// A change at `ts`, and that there is no other one up to there.
    async fn change(&self, ts: u64) {
        let (changes, grant) = (vec![change(ts)], self.budget.try_take(100).unwrap());
        let changes = PullEvent::Changes {
            span: SPAN,
            changes,
            grant,
        };
        self.events.send(changes).await.unwrap();
        self.resolved(ts).await;
    }

    async fn resolved(&self, ts: u64) {
        let resolved = PullEvent::Resolved {
            span: SPAN,
            ts: Ts(ts),
        };
        self.events.send(resolved).await.unwrap();
    }

    async fn end(self) -> Arc<SlowSink> {
        drop(self.events);
        timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
        self.sink
    }
}

#[tokio::test]
async fn a_removed_span_writes_nothing_after_the_answer() {
    let world = World::new();
    let progress = world.add(false).await;
    for ts in [20, 30] {
        world.change(ts).await;
    }
    pass(&world.sink.begun).await;

    let mut removed = world.order(|done| Order::Remove(SPAN, done)).await;
    // A second order is obeyed after the first, so the first has been seen by now.
    let other = world.order(|done| Order::Remove(SpanId(2), done)).await;
    other.await.ok();
    assert!(
        removed.try_recv().is_err(),
        "answered while a batch was on its way"
    );

    world.sink.allowed.add_permits(100);
    timeout(PATIENCE, removed).await.unwrap().unwrap();
    let (written, checkpoint) = (world.sink.taken.lock().len(), progress.checkpoint());
    assert_eq!(written, 1);

    world.resolved(40).await;
    let sink = world.end().await;
    assert_eq!(sink.taken.lock().len(), written);
    assert_eq!(progress.checkpoint(), checkpoint);
    assert!(checkpoint < Ts(30));
}

#[tokio::test]
async fn a_prepared_span_writes_only_what_is_left_when_it_is_released() {
    let world = World::new();
    world.sink.allowed.add_permits(100);
    let progress = world.add(true).await;
    for ts in [20, 30, 40] {
        world.change(ts).await;
    }
    timeout(PATIENCE, async {
        while progress.received() < Ts(40) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(world.sink.taken.lock().is_empty(), "written before its time");
    assert_eq!(progress.checkpoint(), Ts(10));

    let released = world.order(|done| Order::Release(SPAN, Ts(30), done)).await;
    timeout(PATIENCE, released).await.unwrap().unwrap();
    assert!(progress.checkpoint() >= Ts(30), "another has made that durable");
    timeout(PATIENCE, async {
        while progress.checkpoint() < Ts(40) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let sink = world.end().await;
    assert_eq!(*sink.taken.lock(), [(SPAN, 1)]);
}
