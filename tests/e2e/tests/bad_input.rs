//! What can't work is refused with one clear line and an exit code, and nothing is written anywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_e2e::{Destination, Feed, Worker};
use tidemark_harness::{Folder, Kafka, Listener, S3Server, free_port};
use tidemark_judge::{Judge, Settings};
use tidemark_workload::{Workload, WorkloadConfig};

/// Exit code for a file that can't work.
const BAD_FILE: i32 = 2;
/// Exit code for a run that failed.
const FAILED: i32 = 1;

/// Bits of a ts below its milliseconds.
const LOGICAL_BITS: u32 = 18;

/// A place for files where nothing may appear.
struct Nowhere(Folder);

impl Nowhere {
    fn new() -> Self {
        Self(Folder::new("nowhere").unwrap())
    }

    fn sink(&self) -> PathBuf {
        self.0.path().join("sink")
    }

    fn feed(&self, pd: Vec<String>) -> Feed {
        Feed::to_storage(pd, &format!("file://{}", self.sink().display()), "canal-json")
    }

    fn assert_untouched(&self) {
        assert!(!self.sink().exists(), "the sink's folder was made");
    }
}

async fn cluster() -> Cluster {
    Cluster::start(ClusterConfig::default()).await.unwrap()
}

/// No service holds history back: GC goes where it likes.
fn assert_unprotected(cluster: &Cluster) {
    let now = cluster.now();
    assert_eq!(
        cluster.advance_gc_safe_point(now),
        now,
        "a service safe point was left behind"
    );
}

/// Plain keys `a` to `b`, to nowhere: streams on any cluster.
fn idle_feed(cluster: &Cluster) -> Feed {
    let mut feed = Feed::new(cluster.pd_endpoints(), json!({"blackhole": {}}));
    feed.more = plain_keys();
    feed
}

fn plain_keys() -> serde_json::Value {
    json!({"source": {"format": "kv"}, "keyRanges": [{"start": "a", "end": "b"}]})
}

fn worker(feed: &Feed) -> Worker {
    Worker::new(&Worker::built().unwrap(), &feed.yaml()).unwrap()
}

/// The one line that says why; the process's other lines are logs without any complaint.
fn complaint(output: &str) -> String {
    let (complaints, logs): (Vec<&str>, Vec<&str>) =
        output.lines().partition(|line| line.starts_with("error: "));
    let [line] = complaints.as_slice() else {
        panic!("not one line that begins with \"error: \":\n{output}")
    };
    assert_eq!(
        output.lines().last(),
        Some(*line),
        "the complaint isn't the last line:\n{output}"
    );
    for log in logs {
        assert!(
            log.contains(" INFO ") || log.contains(" WARN "),
            "neither log nor complaint: {log}"
        );
    }
    (*line).to_owned()
}

fn assert_says(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{line:?} does not say {word:?}");
    }
}

/// Runs the worker to its end, which is to be a refusal that says all the words.
async fn assert_refused(worker: &mut Worker, code: i32, words: &[&str]) -> String {
    let before = worker.log().len();
    worker.start().unwrap();
    let (ended, output) = worker.outcome().await.unwrap();
    assert_eq!(ended, Some(code), "{output}");
    let line = complaint(output.get(before..).unwrap());
    assert_says(&line, words);
    line
}

async fn assert_refused_at_once(worker: &mut Worker, code: i32, words: &[&str]) {
    assert_refused(worker, code, words).await;
    assert!(
        !worker.state().join("checkpoint.json").exists(),
        "a checkpoint was written"
    );
}

/// `run` and `check` refuse the file with the same line.
async fn assert_bad_file(yaml: &str, words: &[&str]) {
    let binary = Worker::built().unwrap();
    let mut worker = Worker::new(&binary, yaml).unwrap();
    let line = assert_refused(&mut worker, BAD_FILE, words).await;
    assert!(!worker.state().exists(), "a state folder was made");
    let file = worker.folder().join("feed.yaml");
    let checked = Command::new(&binary)
        .arg("check")
        .arg("--changefeed")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(BAD_FILE));
    assert_eq!(String::from_utf8_lossy(&checked.stderr), format!("{line}\n"));
    assert!(checked.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_make_no_feed_are_refused_by_run_and_check() {
    let cluster = cluster().await;
    let nowhere = Nowhere::new();
    let good = nowhere.feed(cluster.pd_endpoints());
    let with = |change: &dyn Fn(&mut Feed)| {
        let mut feed = good.clone();
        change(&mut feed);
        feed.yaml()
    };
    let unknown = with(&|feed| feed.more = json!({"sinks": {}}));
    assert_bad_file(
        &unknown,
        &["feed.yaml", "spec", "unknown field `sinks`", "`sink`"],
    )
    .await;
    let deep = with(&|feed| feed.more = json!({"source": {"pds": []}}));
    assert_bad_file(&deep, &["spec.source", "unknown field `pds`", "`pd`"]).await;
    let two = with(&|feed| feed.sink["blackhole"] = json!({}));
    assert_bad_file(&two, &["spec.sink", "2 sinks (storage, blackhole)", "keep one"]).await;
    let none = with(&|feed| feed.sink = json!({}));
    assert_bad_file(&none, &["spec.sink", "names no sink", "set one of"]).await;
    let rule = with(&|feed| feed.tables = vec!["shop.*".into(), "orders".into()]);
    assert_bad_file(
        &rule,
        &["spec.tables[1]", "\"orders\"", "write it as \"schema.table\""],
    )
    .await;
    let pd = with(&|feed| feed.pd = vec!["pd:2379".into()]);
    assert_bad_file(
        &pd,
        &[
            "spec.source.pd[0]",
            "\"pd:2379\"",
            "write it like \"http://pd:2379\"",
        ],
    )
    .await;
    let url = with(&|feed| feed.sink = json!({"storage": {"url": "ftp://host/dir"}}));
    assert_bad_file(
        &url,
        &["spec.sink.storage.url", "\"ftp\"", "use \"s3://\" or \"file://\""],
    )
    .await;
    let broker = with(&|feed| feed.sink = json!({"kafka": {"brokers": ["kafka"], "topic": "t"}}));
    assert_bad_file(
        &broker,
        &["spec.sink.kafka.brokers[0]", "\"kafka\"", "\"host:port\""],
    )
    .await;
    let range = with(&|feed| {
        feed.more = json!({"source": {"format": "kv"}, "keyRanges": [{"start": "r1", "end": "r2"}]});
    });
    assert_bad_file(
        &range,
        &[
            "spec.keyRanges[0]",
            "begin with \"r\"",
            "end at \"r\" or start at \"s\"",
        ],
    )
    .await;
    assert_bad_file("spec: [", &["feed.yaml", "not YAML", "at line 2 column 1"]).await;
    nowhere.assert_untouched();
    assert_unprotected(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_right_passes_the_check_and_reaches_no_server() {
    let nowhere = Nowhere::new();
    let feed = nowhere.feed(vec!["http://127.0.0.1:1".into()]);
    let worker = worker(&feed);
    let file = worker.folder().join("feed.yaml");
    let checked = Command::new(Worker::built().unwrap())
        .arg("check")
        .arg("--changefeed")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(0));
    nowhere.assert_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_is_paused_is_not_run() {
    let cluster = cluster().await;
    let nowhere = Nowhere::new();
    let mut feed = nowhere.feed(cluster.pd_endpoints());
    feed.more = json!({"state": "Paused"});
    assert_refused_at_once(
        &mut worker(&feed),
        FAILED,
        &["spec.state", "Paused", "set it to Running"],
    )
    .await;
    nowhere.assert_untouched();
    assert_unprotected(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pd_that_nobody_runs_is_told_in_bounded_time() {
    let nowhere = Nowhere::new();
    let url = format!("http://127.0.0.1:{}", free_port().unwrap());
    let begun = Instant::now();
    assert_refused_at_once(
        &mut worker(&nowhere.feed(vec![url.clone()])),
        FAILED,
        &["PD", &url],
    )
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "it took {:?}",
        begun.elapsed()
    );
    nowhere.assert_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_than_the_named_one_is_refused() {
    let cluster = cluster().await;
    let nowhere = Nowhere::new();
    let mut feed = nowhere.feed(cluster.pd_endpoints());
    feed.more = json!({"source": {"clusterId": "7"}});
    let actual = cluster.cluster_id().to_string();
    assert_refused_at_once(&mut worker(&feed), FAILED, &[&actual, "not to 7", "correct"]).await;
    nowhere.assert_untouched();
    assert_unprotected(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_in_the_future_or_below_gc_is_refused() {
    let cluster = cluster().await;
    let nowhere = Nowhere::new();
    let mut feed = nowhere.feed(cluster.pd_endpoints());
    let future = cluster.now().0 + (3_600_000 << LOGICAL_BITS);
    feed.start_ts = Some(future);
    let words = [
        "spec.start.ts",
        &future.to_string(),
        "future",
        "give an earlier one",
    ];
    assert_refused_at_once(&mut worker(&feed), FAILED, &words).await;
    nowhere.assert_untouched();
    assert_unprotected(&cluster);

    let gone = cluster.now().0;
    let safe_point = cluster.advance_gc_safe_point(cluster.now());
    feed.start_ts = Some(gone);
    let words = [
        "spec.start.ts",
        &gone.to_string(),
        "GC safe point",
        &safe_point.to_string(),
        "begin at or after it",
    ];
    assert_refused_at_once(&mut worker(&feed), FAILED, &words).await;
    nowhere.assert_untouched();
    assert_unprotected(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_tidb_is_refused_as_a_source_of_tables() {
    let cluster = cluster().await;
    let nowhere = Nowhere::new();
    let words = ["mysql.tidb_ddl_job", "set spec.source.format to \"kv\""];
    assert_refused_at_once(&mut worker(&nowhere.feed(cluster.pd_endpoints())), FAILED, &words).await;
    nowhere.assert_untouched();
    assert_unprotected(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_made_is_refused() {
    let cluster = cluster().await;
    let mut feed = idle_feed(&cluster);
    feed.sink = json!({"storage": {"url": "file:///proc/tidemark"}});
    let words = [
        "sink.storage.url",
        "file:///proc/tidemark",
        "can't be made",
        "make it a folder",
    ];
    assert_refused_at_once(&mut worker(&feed), FAILED, &words).await;
    assert_unprotected(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_place_of_the_folder_is_refused() {
    let cluster = cluster().await;
    let nowhere = Nowhere::new();
    std::fs::write(nowhere.sink(), "mine").unwrap();
    let mut feed = idle_feed(&cluster);
    feed.sink = nowhere.feed(Vec::new()).sink;
    let words = ["sink.storage.url", "sink\"", "make it a folder"];
    assert_refused_at_once(&mut worker(&feed), FAILED, &words).await;
    assert_eq!(std::fs::read_to_string(nowhere.sink()).unwrap(), "mine");
    assert_unprotected(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_and_wrong_keys_are_refused() {
    let cluster = cluster().await;
    let server = S3Server::own().await.unwrap();
    let feed = |bucket: &str| {
        let mut feed = Feed::to_storage(cluster.pd_endpoints(), &format!("s3://{bucket}/feed"), "csv");
        feed.more = plain_keys();
        feed.sink["storage"]["endpoint"] = json!(server.endpoint());
        feed.sink["storage"]["region"] = json!(server.region());
        feed.sink["storage"]["secretName"] = json!("keys");
        feed
    };
    let with_keys = |feed: &Feed, secret_key: &str| {
        let worker = worker(feed);
        worker
            .secret("keys", "access-key-id", server.access_key())
            .unwrap();
        worker.secret("keys", "secret-access-key", secret_key).unwrap();
        worker
    };
    let mut missing = with_keys(&feed("no-such-bucket"), server.secret_key());
    let words = [
        "s3://no-such-bucket/feed",
        "create the bucket or correct sink.storage.url",
    ];
    assert_refused_at_once(&mut missing, FAILED, &words).await;
    let mut wrong = with_keys(&feed(server.bucket()), "wrong");
    let words = ["s3://tidemark/feed", "check the keys in sink.storage.secretName"];
    assert_refused_at_once(&mut wrong, FAILED, &words).await;
    let mut without = worker(&feed(server.bucket()));
    assert_refused_at_once(
        &mut without,
        FAILED,
        &["secret keys has no access-key-id", "sink.storage.secretName"],
    )
    .await;
    let written = std::fs::read_dir(server.bucket_folder().unwrap())
        .unwrap()
        .count();
    assert_eq!(written, 0, "something is in the bucket");
    assert_unprotected(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_that_nobody_runs_is_told_in_bounded_time() {
    let cluster = cluster().await;
    let broker = format!("127.0.0.1:{}", free_port().unwrap());
    let mut feed = Feed::to_kafka(cluster.pd_endpoints(), &broker, "nobody");
    feed.more = plain_keys();
    let begun = Instant::now();
    let words = [broker.as_str(), "can't be reached", "check sink.kafka.brokers"];
    assert_refused_at_once(&mut worker(&feed), FAILED, &words).await;
    assert!(
        begun.elapsed() < Duration::from_secs(90),
        "it took {:?}",
        begun.elapsed()
    );
    assert_unprotected(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_wrong_or_may_do_nothing_is_refused() {
    let cluster = cluster().await;
    let kafka = Kafka::shared().await.unwrap();
    let mut feed = Feed::to_kafka(
        cluster.pd_endpoints(),
        &kafka.address(Listener::Sasl),
        "forbidden",
    );
    feed.more = plain_keys();
    feed.sink["kafka"]["topic"] = json!("forbidden");
    feed.sink["kafka"]["sasl"] = json!({"mechanism": "SCRAM-SHA-256", "secretName": "login"});
    let login = |user: &str, password: &str| {
        let worker = worker(&feed);
        worker.secret("login", "username", user).unwrap();
        worker.secret("login", "password", password).unwrap();
        worker
    };
    let broker = kafka.address(Listener::Sasl);
    let words = [broker.as_str(), "write to no topic", "give the login the right"];
    assert_refused_at_once(&mut login("bob", "bob-secret"), FAILED, &words).await;
    let words = [broker.as_str(), "refuses the connection", "uthentication failed"];
    assert_refused_at_once(&mut login("alice", "guessed"), FAILED, &words).await;
    assert_eq!(
        kafka.partitions("forbidden").await.unwrap(),
        0,
        "a topic was made"
    );
    assert_unprotected(&cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_and_may_not_be_made_is_refused() {
    let cluster = cluster().await;
    one_table(&cluster).await;
    let kafka = Kafka::shared().await.unwrap();
    let mut feed = Feed::to_kafka(cluster.pd_endpoints(), &kafka.bootstrap(), "missing");
    feed.sink["kafka"]["createTopics"] = json!(false);
    let words = [
        "topic missing.shop.bulk is not there",
        "sink.kafka.createTopics is false",
        "create it or set createTopics",
    ];
    assert_refused_at_once(&mut worker(&feed), FAILED, &words).await;
    assert_unprotected(&cluster);
}

/// One table, without rows.
async fn one_table(cluster: &Cluster) -> Workload {
    let config = WorkloadConfig {
        bank_accounts: 0,
        mixed_tables: false,
        ..WorkloadConfig::default()
    };
    Workload::create(&cluster.pd_endpoints(), config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_above_the_limit_stops_the_feed_until_the_limit_is_raised() {
    let cluster = cluster().await;
    let workload = one_table(&cluster).await;
    let kafka = Kafka::shared().await.unwrap();
    let mut to = Destination::kafka_at(&kafka.bootstrap(), "limit").unwrap();
    let mut feed = to.feed(cluster.pd_endpoints());
    let start = cluster.now().0;
    feed.start_ts = Some(start);
    feed.sink["kafka"]["maxMessageBytes"] = json!("100Ki");
    let mut worker = worker(&feed);
    worker.start_ready().await.unwrap();
    let small = workload.large_transaction(1, 1000).await.unwrap();
    worker.checkpoint_above(small).await.unwrap();

    let large = workload.large_transaction(1, 300_000).await.unwrap();
    let later = workload.large_transaction(1, 1000).await.unwrap();
    let (code, output) = worker.outcome().await.unwrap();
    assert_eq!(code, Some(FAILED), "{output}");
    let line = complaint(&output);
    let words = [
        "shop.bulk",
        "(id=",
        "a message of",
        "bytes",
        "sink.kafka.maxMessageBytes is 102400",
        "raise it",
    ];
    assert_says(&line, &words);
    assert!((small..large).contains(&worker.saved_checkpoint().unwrap()));

    let again = assert_refused(&mut worker, FAILED, &words).await;
    assert_eq!(again, line, "it stops at the same row again");
    let stopped = worker.saved_checkpoint().unwrap();
    assert!((small..large).contains(&stopped));
    to.read_on().await.unwrap();
    to.checkpoint(stopped);

    feed.sink["kafka"]["maxMessageBytes"] = json!("1000Ki");
    std::fs::write(worker.folder().join("feed.yaml"), feed.yaml()).unwrap();
    worker.start_ready().await.unwrap();
    worker.checkpoint_above(later).await.unwrap();
    to.read_until(later).await.unwrap();
    worker.drain().await.unwrap();
    let settings = Settings {
        start_ts: start,
        must_reach: Some(later),
        ..Settings::default()
    };
    let mut judge = Judge::new(workload.truth().rows(), settings);
    to.show(&mut judge);
    let verdict = judge.verdict();
    assert!(verdict.holds(), "{verdict}");
    assert_eq!(verdict.figures.truth_rows, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_above_the_topics_own_limit_stops_the_feed_too() {
    let cluster = cluster().await;
    let workload = one_table(&cluster).await;
    let kafka = Kafka::shared().await.unwrap();
    kafka
        .create_topic("narrow.shop.bulk", 2, &[("max.message.bytes", "65536")])
        .await
        .unwrap();
    let mut worker = worker(&Feed::to_kafka(
        cluster.pd_endpoints(),
        &kafka.bootstrap(),
        "narrow",
    ));
    worker.start_ready().await.unwrap();
    let large = workload.large_transaction(1, 300_000).await.unwrap();
    workload.large_transaction(1, 1000).await.unwrap();
    let (code, output) = worker.outcome().await.unwrap();
    assert_eq!(code, Some(FAILED), "{output}");
    let words = [
        "shop.bulk",
        "(id=",
        "narrow.shop.bulk",
        "max.message.bytes is 65536",
        "raise the topic's",
    ];
    assert_says(&complaint(&output), &words);
    assert!(worker.saved_checkpoint().unwrap() < large);
    let records = kafka.read("narrow.shop.bulk").await.unwrap();
    assert!(
        records.iter().all(|record| record.text().contains("WATERMARK")),
        "a later row overtook the large one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_folder_of_another_feed_is_refused_and_left_alone() {
    let cluster = cluster().await;
    let feed = idle_feed(&cluster);
    let mut worker = worker(&feed);
    worker.start_ready().await.unwrap();
    worker.drain().await.unwrap();
    let saved = std::fs::read(worker.state().join("checkpoint.json")).unwrap();

    let other = feed.yaml().replace("\"e2e\"", "\"other\"");
    assert_ne!(other, feed.yaml());
    std::fs::write(worker.folder().join("feed.yaml"), other).unwrap();
    let words = [
        "state folder",
        "belongs to feed tests/e2e",
        "not to feed tests/other",
        "--state",
    ];
    assert_refused(&mut worker, FAILED, &words).await;

    let mut elsewhere = feed.clone();
    elsewhere.sink = json!({"storage": {"url": "file:///nowhere/at/all"}});
    std::fs::write(worker.folder().join("feed.yaml"), elsewhere.yaml()).unwrap();
    assert_refused(
        &mut worker,
        FAILED,
        &["belongs to", "blackhole", "file:///nowhere/at/all", "--state"],
    )
    .await;
    assert_eq!(
        std::fs::read(worker.state().join("checkpoint.json")).unwrap(),
        saved
    );
    assert!(!PathBuf::from("/nowhere").exists());

    std::fs::write(worker.folder().join("feed.yaml"), feed.yaml()).unwrap();
    worker.start_ready().await.unwrap();
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_folder_is_refused_and_left_alone() {
    let cluster = cluster().await;
    let mut worker = worker(&idle_feed(&cluster));
    worker.start_ready().await.unwrap();
    worker.drain().await.unwrap();
    let file = worker.state().join("checkpoint.json");
    let good = std::fs::read_to_string(&file).unwrap();
    let digits = worker.saved_checkpoint().unwrap().to_string();
    let shifted = (worker.saved_checkpoint().unwrap() + 1).to_string();
    for damaged in [
        good.replace(&digits, &shifted),
        good[..good.len() / 2].to_owned(),
        String::new(),
    ] {
        std::fs::write(&file, &damaged).unwrap();
        let words = [
            "checkpoint.json",
            "restore it, or remove it to begin at spec.start again",
        ];
        assert_refused(&mut worker, FAILED, &words).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), damaged);
    }
    std::fs::write(&file, &good).unwrap();
    worker.start_ready().await.unwrap();
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_folder_in_use_is_refused_and_its_worker_goes_on() {
    let cluster = cluster().await;
    let feed = idle_feed(&cluster);
    let mut first = worker(&feed);
    first.start_ready().await.unwrap();
    let mut second = worker(&feed);
    std::os::unix::fs::symlink(first.state(), second.state()).unwrap();
    let words = ["state folder", "another worker runs on it", "--state"];
    assert_refused(&mut second, FAILED, &words).await;
    let now = cluster.now();
    first.checkpoint_above(now.0).await.unwrap();
    // What protects history is seen by the tests above, which look for the lack of it.
    assert!(
        cluster.advance_gc_safe_point(cluster.now()) < now,
        "nothing protects the history that is streamed"
    );
    first.drain().await.unwrap();
}
