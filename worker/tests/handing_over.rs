//! A span that moves or waits for a DDL: nothing of it reaches the sink before its shard may write, nor once it has answered that
//! it gave it up.
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
use tidemark_tidb::schema::Ddl;
use tidemark_worker::metrics::Metrics;
use tidemark_worker::stream::barrier::Barrier;
use tidemark_worker::stream::progress::SpanProgress;
use tidemark_worker::stream::shard::{Hold, NewSpan, Order, Shard, ShardContext};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// Takes a batch only when the test lets it.
struct SlowSink {
    begun: Semaphore,
    allowed: Semaphore,
    taken: Mutex<Vec<(SpanId, usize)>>,
    /// Names of the tables of batches.
    names: Mutex<Vec<String>>,
}

impl SlowSink {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Semaphore::new(0),
            allowed: Semaphore::new(0),
            taken: Mutex::default(),
            names: Mutex::default(),
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

    fn ddl<'a>(&'a self, _: &'a Ddl) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }

    fn write(&self, batch: Batch) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.begun.add_permits(1);
            pass(&self.allowed).await;
            self.names.lock().push(batch.table.name.clone());
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

#[tokio::test]
async fn a_ddl_holds_its_tables_until_it_has_passed_and_rows_have_the_definition_of_their_time() {
    let world = World::new();
    world.sink.allowed.add_permits(100);
    let progress = world.add(false).await;
    let hold = |at: u64, table: i64| Hold {
        at: Ts(at),
        tables: [table].into(),
    };
    // The second waits behind the first; the third is another table's.
    for held in [hold(25, 0), hold(45, 0), hold(15, 7)] {
        world.order(|done| Order::Hold(held, done)).await.await.unwrap();
    }
    for ts in [20, 30, 40, 50] {
        world.change(ts).await;
    }
    let comes_to = async |ts: u64| {
        let arrived = async {
            while progress.checkpoint() < Ts(ts) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, arrived).await.unwrap();
        // A shard that would go on would do so before it obeys.
        let obeyed = world.order(|done| Order::Remove(SpanId(2), done)).await;
        obeyed.await.unwrap();
        assert_eq!(progress.checkpoint(), Ts(ts));
    };
    comes_to(24).await;
    let renamed = |name: &str| {
        let mut table = Table::plain_kv();
        table.name = name.into();
        vec![Arc::new(table)]
    };
    let passed = world
        .order(|done| Order::Pass(Ts(25), renamed("second"), done))
        .await;
    passed.await.unwrap();
    comes_to(44).await;
    let passed = world
        .order(|done| Order::Pass(Ts(45), renamed("third"), done))
        .await;
    passed.await.unwrap();
    comes_to(50).await;
    let sink = world.end().await;
    let names = sink.names.lock().clone();
    assert_eq!(names.first().map(String::as_str), Some("kv"));
    assert_eq!(names.last().map(String::as_str), Some("third"));
    assert!(names.is_sorted_by_key(|name| ["kv", "second", "third"].iter().position(|known| known == name)));
    let rows: usize = sink.taken.lock().iter().map(|(_, rows)| rows).sum();
    assert_eq!(rows, 4);
}
