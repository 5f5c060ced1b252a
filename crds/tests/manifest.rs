//! What a user writes in a file, and what they are told when it is wrong.
#![allow(clippy::unwrap_used, missing_docs)]

use tidemark_crds::{Changefeed, SourceFormat, crd_yaml, reference};

const GOOD: &str = r#"
apiVersion: tidemark.io/v1alpha1
kind: Changefeed
metadata: {name: orders, namespace: shop}
spec:
  source: {pd: ["http://basic-pd:2379"]}
  tables: ["shop.*", "!shop.tmp_*"]
  sink:
    kafka: {brokers: ["kafka:9092"], topic: "{schema}.{table}"}
"#;

/// The message for the good feed with one text replaced.
fn refusal(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from} is not in the example");
    Changefeed::from_yaml(&GOOD.replace(from, to))
        .unwrap_err()
        .to_string()
}

#[test]
fn a_good_feed_is_read_with_defaults() {
    let feed = Changefeed::from_yaml(GOOD).unwrap();
    assert_eq!(feed.metadata.name.as_deref(), Some("orders"));
    assert_eq!(feed.spec.source.format, SourceFormat::Tidb);
    let kafka = feed.spec.sink.kafka.unwrap();
    assert!(kafka.create_topics && kafka.enable_tidb_extension);
    assert_eq!(feed.spec.limits.memory.bytes(), 512 << 20);
}

#[test]
fn what_a_newer_operator_or_server_adds_is_passed_over() {
    let newer = GOOD.replace("tables:", "newField: {a: 1}\n  tables:");
    assert!(Changefeed::from_yaml(&newer).is_err(), "a person's mistake");
    let feed = Changefeed::from_operators_yaml(&newer).unwrap();
    let mut object = serde_json::to_value(&feed).unwrap();
    object["spec"]["sink"]["kafka"]["newField"] = serde_json::json!(true);
    let read: Changefeed = serde_json::from_value(object).unwrap();
    assert_eq!(read.spec, feed.spec);
}

#[test]
fn each_mistake_gets_one_line_that_names_the_field() {
    let kafka = r#"kafka: {brokers: ["kafka:9092"], topic: "{schema}.{table}"}"#;
    let cases = [
        ("tables:", "tabels:", "spec.tabels: unknown field `tabels`"),
        (
            "topic: ",
            "topik: ",
            "spec.sink.kafka.topik: unknown field `topik`",
        ),
        (kafka, "{}", "spec.sink: names no sink"),
        (
            kafka,
            &format!("{kafka}\n    blackhole: {{}}"),
            "spec.sink: names 2 sinks (kafka, blackhole): keep one",
        ),
        ("!shop.tmp_*", "shop", "spec.tables[1]: table rule \"shop\""),
        (
            "http://basic-pd:2379",
            "basic-pd:2379",
            "spec.source.pd[0]: \"basic-pd:2379\" is no http url",
        ),
        (
            "http://basic-pd:2379",
            "https://basic-pd:2379",
            "doesn't fit spec.source.tls",
        ),
        (
            "kafka:9092",
            "kafka",
            "spec.sink.kafka.brokers[0]: \"kafka\" is no broker address",
        ),
        (
            "{schema}.{table}",
            "{schema}/{tabel}",
            "spec.sink.kafka.topic: \"{schema}/{tabel}\" is no topic",
        ),
        (
            kafka,
            "storage: {url: \"ftp://x/y\"}",
            "spec.sink.storage.url: \"ftp\" is no kind of storage",
        ),
        (
            kafka,
            "storage: {url: \"s3:///y\"}",
            "spec.sink.storage.url: \"s3:///y\"",
        ),
        (
            "name: orders",
            "name: Orders",
            "metadata.name: \"Orders\" is no name",
        ),
        (
            "kind: Changefeed",
            "kind: Changfeed",
            "kind: \"Changfeed\" is not \"Changefeed\"",
        ),
        ("v1alpha1", "v1", "apiVersion: \"tidemark.io/v1\""),
        (
            "  tables:",
            "  start: {ts: \"x\"}\n  tables:",
            "spec.start.ts: \"x\" is no timestamp",
        ),
        (
            "  tables:",
            "  start: {ts: \"5\", at: now}\n  tables:",
            "spec.start: has more than one",
        ),
        (
            "  tables:",
            "  limits: {memory: 1.5Gi}\n  tables:",
            "spec.limits.memory: \"1.5Gi\" is not a number of bytes",
        ),
        (
            "  tables:",
            "  workers: {replicas: 1000}\n  tables:",
            "spec.workers.replicas: is 1000",
        ),
        (
            "  tables:",
            "  keyRanges: [{start: a}]\n  tables:",
            "spec.keyRanges: is for spec.source.format \"kv\" only",
        ),
        (
            "2379\"]}\n  tables: [\"shop.*\", \"!shop.tmp_*\"]",
            "2379\"], format: kv}\n  keyRanges: [{start: r, end: s}]",
            "spec.keyRanges[0]: the range \"r\" to \"s\" has keys that begin with \"r\"",
        ),
        (
            "2379\"]}\n  tables: [\"shop.*\", \"!shop.tmp_*\"]",
            "2379\"], format: kv}\n  keyRanges: [{start: a, end: d}, {start: c, end: f}]",
            "spec.keyRanges[1]: overlaps spec.keyRanges[0]",
        ),
    ];
    for (from, to, expected) in cases {
        let message = refusal(from, to);
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn generated_files_are_up_to_date() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    for (file, text) in [
        ("crds/changefeeds.yaml", crd_yaml().unwrap()),
        ("docs/changefeed.md", reference().unwrap()),
    ] {
        let checked_in = std::fs::read_to_string(format!("{root}/{file}")).unwrap();
        assert!(
            checked_in == text,
            "{file} differs from the types: run `make generate`"
        );
    }
}
