//! DDL while the stream runs: it is followed, that of other tables is ignored, and what can't be followed stops the feed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use std::time::Duration;

use serde_json::json;
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_e2e::{Destination, Worker};
use tidemark_harness::anyhow::ensure;
use tidemark_harness::{Kafka, KafkaOptions, eventually};
use tidemark_judge::{Judge, ReplayUnit, Settings};
use tidemark_workload::schema::{ColumnKind, ColumnSpec, TableSpec};
use tidemark_workload::{Ddl, RunningWorkload, Truth, Workload, WorkloadConfig, shapes};
use tokio::sync::OnceCell;

const PATIENCE: Duration = Duration::from_secs(120);

async fn kafka(prefix: &str) -> Destination {
    static SERVER: OnceCell<Kafka> = OnceCell::const_new();
    let server = SERVER
        .get_or_init(|| async { Kafka::own(KafkaOptions::default()).await.unwrap() })
        .await;
    Destination::kafka_at(&server.bootstrap(), prefix).unwrap()
}

/// Tables of the feed: all of `shop` but the temporary ones.
fn is_streamed(schema: &str, table: &str) -> bool {
    schema == "shop" && !table.starts_with("tmp_")
}

/// A cluster with some tables, a worker that streams them, and writers.
struct Stream {
    cluster: Cluster,
    workload: Workload,
    worker: Worker,
    to: Destination,
    start: u64,
    running: Option<RunningWorkload>,
}

impl Stream {
    async fn begin(to: Destination, seed: u64) -> Self {
        eprintln!("seed {seed}");
        let cluster = Cluster::start(ClusterConfig {
            stores: 2,
            seed,
            ..ClusterConfig::default()
        })
        .await
        .unwrap();
        let config = WorkloadConfig {
            seed,
            databases: vec!["shop".into(), "crm".into()],
            mixed_tables: false,
            extra_tables: 2,
            rows_per_second: Some(600),
            ..WorkloadConfig::default()
        };
        let workload = Workload::create(&cluster.pd_endpoints(), config).await.unwrap();
        let start = cluster.now().0;
        let mut feed = to.feed(cluster.pd_endpoints());
        feed.start_ts = Some(start);
        feed.tables = vec!["shop.*".into(), "!shop.tmp_*".into()];
        feed.more = json!({"timeZone": "UTC"});
        let mut worker = Worker::new(&Worker::built().unwrap(), &feed.yaml()).unwrap();
        worker.start_ready().await.unwrap();
        let running = Some(workload.start());
        Self {
            cluster,
            workload,
            worker,
            to,
            start,
            running,
        }
    }

    /// Waits until so many more rows of a table are committed.
    async fn rows_of(&self, schema: &str, table: &str, more: usize) {
        let truth = self.workload.truth();
        let count = || truth.rows_of(|of, name| of == schema && name == table).len();
        let aim = count() + more;
        eventually(PATIENCE, &format!("rows of {schema}.{table}"), || async {
            ensure!(count() >= aim, "{} of {aim}", count());
            Ok(())
        })
        .await
        .unwrap();
    }

    async fn create(&self, database: &str, spec: TableSpec) {
        self.workload.create_table(database, spec).await.unwrap();
    }

    async fn stop_writing(&mut self) -> Truth {
        self.running.take().unwrap().stop().await.unwrap()
    }

    /// Everything of the streamed tables at or below `until` was read, and nothing else.
    fn judge(self, until: u64) {
        let Self {
            workload, to, start, ..
        } = self;
        let mut settings = Settings {
            start_ts: start,
            must_reach: Some(until),
            ..Settings::default()
        };
        for table in workload.tables() {
            settings
                .keys
                .insert((table.schema, table.name), table.key_columns);
        }
        settings.replay_unit = ReplayUnit::Key;
        to.adapt(&mut settings);
        let mut judge = Judge::new(workload.truth().rows_of(is_streamed), settings);
        to.show(&mut judge);
        let verdict = judge.verdict();
        eprintln!("{verdict}");
        assert!(verdict.holds(), "{verdict}");
    }
}

fn shape(name: &str) -> TableSpec {
    shapes::mixed(false)
        .into_iter()
        .find(|table| table.name == name)
        .unwrap()
}

/// Creates tables of all kinds while the stream runs, changes those that it passes, and judges what arrived.
async fn new_tables_are_streamed(to: Destination, seed: u64) {
    let mut stream = Stream::begin(to, seed).await;
    stream.create("shop", shapes::int_key("fresh")).await;
    stream.create("crm", shapes::int_key("others")).await;
    stream.create("shop", shapes::int_key("tmp_work")).await;
    stream.create("shop", shape("mixed_hash_parts")).await;
    stream.create("shop", shape("mixed_range_parts")).await;
    stream.create("shop", shape("mixed_common_key")).await;
    for table in [
        "fresh",
        "tmp_work",
        "mixed_hash_parts",
        "mixed_range_parts",
        "mixed_common_key",
    ] {
        stream.rows_of("shop", table, 50).await;
    }
    stream.rows_of("crm", "others", 50).await;

    // DDL of tables that aren't streamed, and one that changes no row.
    let more = ColumnSpec::new("more", ColumnKind::bigint());
    let workload = &stream.workload;
    workload
        .ddl("crm", "others", Ddl::AddColumn(more.clone()))
        .await
        .unwrap();
    workload.ddl("shop", "tmp_work", Ddl::Truncate).await.unwrap();
    workload.ddl("crm", "extra_0", Ddl::Drop).await.unwrap();
    let indexed = workload
        .ddl("shop", "fresh", Ddl::AddIndex("by_int".into(), vec![4]))
        .await
        .unwrap();
    stream.rows_of("shop", "extra_0", 50).await;
    stream.to.read_until(indexed).await.unwrap();

    // A new worker finds the new tables in the schema; and one more comes up.
    stream.worker.kill().unwrap();
    stream.to.read_on().await.unwrap();
    let saved = stream.worker.saved_checkpoint().unwrap();
    stream.to.checkpoint(saved);
    stream.create("shop", shapes::int_key("born_meanwhile")).await;
    stream.worker.start_ready().await.unwrap();
    stream.rows_of("shop", "born_meanwhile", 50).await;

    let last = stream.stop_writing().await.max_commit_ts();
    stream.worker.checkpoint_above(last).await.unwrap();
    stream.to.read_until(last).await.unwrap();
    stream.worker.drain().await.unwrap();
    stream.to.checkpoint(stream.worker.saved_checkpoint().unwrap());
    stream.judge(last);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_created_meanwhile_reach_kafka_from_their_first_row() {
    new_tables_are_streamed(kafka("created").await, 21).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_created_meanwhile_reach_csv_files_from_their_first_row() {
    new_tables_are_streamed(Destination::folder("csv").unwrap(), 22).await;
}

/// Changes streamed tables in all ways while rows are written, some while the worker is dead, and judges what arrived.
async fn ddl_is_followed(to: Destination, seed: u64) {
    let mut stream = Stream::begin(to, seed).await;
    let mut told = Vec::new();
    let more = |name: &str| Ddl::AddColumn(ColumnSpec::new(name, ColumnKind::bigint()));
    stream.rows_of("shop", "extra_0", 50).await;
    for ddl in [more("one"), more("two"), Ddl::AddIndex("by_int".into(), vec![4])] {
        told.push(stream.workload.ddl("shop", "extra_0", ddl).await.unwrap());
    }
    stream.rows_of("shop", "extra_0", 50).await;
    told.push(
        stream
            .workload
            .ddl("shop", "extra_1", Ddl::Truncate)
            .await
            .unwrap(),
    );
    stream.rows_of("shop", "extra_1", 50).await;

    // Consumers of files look at a table version once the checkpoint has passed it.
    stream.to.read_until(told[told.len() - 1]).await.unwrap();
    stream.worker.kill().unwrap();
    stream.to.read_on().await.unwrap();
    let saved = stream.worker.saved_checkpoint().unwrap();
    stream.to.checkpoint(saved);
    told.push(
        stream
            .workload
            .ddl("shop", "extra_0", more("three"))
            .await
            .unwrap(),
    );
    stream.rows_of("shop", "extra_0", 50).await;
    let renamed = Ddl::Rename("renamed".into());
    told.push(stream.workload.ddl("shop", "extra_0", renamed).await.unwrap());
    stream.rows_of("shop", "renamed", 50).await;
    stream.worker.start_ready().await.unwrap();

    stream.create("shop", shape("mixed_hash_parts")).await;
    stream.rows_of("shop", "mixed_hash_parts", 50).await;
    told.push(
        stream
            .workload
            .ddl("shop", "mixed_hash_parts", Ddl::Truncate)
            .await
            .unwrap(),
    );
    stream.rows_of("shop", "mixed_hash_parts", 50).await;
    told.push(
        stream
            .workload
            .ddl("shop", "mixed_hash_parts", Ddl::Drop)
            .await
            .unwrap(),
    );
    told.push(
        stream
            .workload
            .ddl("shop", "renamed", more("four"))
            .await
            .unwrap(),
    );
    let hidden = Ddl::Rename("tmp_hidden".into());
    told.push(stream.workload.ddl("shop", "extra_1", hidden).await.unwrap());
    stream.rows_of("shop", "renamed", 50).await;
    stream.rows_of("shop", "tmp_hidden", 50).await;

    let last = stream.stop_writing().await.max_commit_ts();
    stream.worker.checkpoint_above(last).await.unwrap();
    stream.to.read_until(last).await.unwrap();
    stream.worker.drain().await.unwrap();
    stream.to.checkpoint(stream.worker.saved_checkpoint().unwrap());
    let ddls = stream.to.ddls().unwrap();
    for at in told {
        assert!(ddls.contains_key(&at), "the DDL at {at} was not told: {ddls:?}");
    }
    stream.judge(last);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_follows_ddl() {
    Box::pin(ddl_is_followed(kafka("altered").await, 25)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_files_follow_ddl() {
    Box::pin(ddl_is_followed(Destination::folder("csv").unwrap(), 26)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canal_json_files_follow_ddl() {
    Box::pin(ddl_is_followed(Destination::folder("canal-json").unwrap(), 27)).await;
}

/// A DDL that brings rows into the feed which are not in the stream ends the worker below it, and ends every later worker at the
/// same place.
async fn the_feed_stops_below(to: Destination, seed: u64) {
    let mut stream = Stream::begin(to, seed).await;
    stream.create("shop", shapes::int_key("tmp_work")).await;
    stream.rows_of("shop", "tmp_work", 50).await;
    let renamed = Ddl::Rename("work".into());
    let at = stream.workload.ddl("shop", "tmp_work", renamed).await.unwrap();
    let (code, output) = stream.worker.outcome().await.unwrap();
    let line = complaint(&output);
    assert_eq!(code, Some(1), "{output}");
    for word in [
        "RENAME TABLE",
        "shop.work",
        &at.to_string(),
        "the feed stops below it",
    ] {
        assert!(line.contains(word), "{line:?} does not say {word:?}");
    }
    assert_eq!(stream.worker.saved_checkpoint().unwrap(), at - 1);
    stream.to.read_until(at - 1).await.unwrap();
    stream.to.checkpoint(at - 1);

    stream.rows_of("shop", "extra_1", 20).await;
    let before = stream.worker.log().len();
    stream.worker.start().unwrap();
    let (code, output) = stream.worker.outcome().await.unwrap();
    let output = output.get(before..).unwrap();
    assert_eq!(code, Some(1), "{output}");
    assert_eq!(complaint(output), line);
    assert_eq!(stream.worker.saved_checkpoint().unwrap(), at - 1);
    stream.stop_writing().await;
    stream.to.read_on().await.unwrap();
    assert!(stream.cluster.now().0 > at);
    stream.judge(at - 1);
}

fn complaint(output: &str) -> String {
    let mut lines = output.lines().filter(|line| line.starts_with("error: "));
    let line = lines.next().unwrap_or_else(|| panic!("no complaint:\n{output}"));
    assert_eq!(lines.next(), None, "more than one complaint:\n{output}");
    line.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_into_the_filter_stop_a_feed_to_files() {
    the_feed_stops_below(Destination::folder("canal-json").unwrap(), 23).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_into_the_filter_stop_a_feed_to_kafka() {
    the_feed_stops_below(kafka("stopped").await, 24).await;
}
