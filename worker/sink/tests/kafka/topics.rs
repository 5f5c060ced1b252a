use serde_json::json;
use tidemark_harness::Kafka;
use tidemark_model::Ts;
use tidemark_sink::{Sink, SinkError};

use crate::setup::{Acks, assert_whole_and_in_order, commits, config_error, open, table, write_rows};

#[tokio::test(flavor = "multi_thread")]
async fn announcing_a_table_creates_its_topic_with_the_partitions_asked_for() {
    let kafka = Kafka::shared().await.unwrap();
    let sink = open(kafka, "made.{table}", json!({"partitions": 6}))
        .await
        .unwrap();
    sink.announce(&table(1, "shop", "six"), Ts(1)).await.unwrap();
    assert_eq!(kafka.partitions("made.six").await.unwrap(), 6);
    let sink = open(kafka, "made.{table}", json!({})).await.unwrap();
    sink.announce(&table(1, "shop", "three"), Ts(1)).await.unwrap();
    assert_eq!(
        kafka.partitions("made.three").await.unwrap(),
        3,
        "3 where the settings name no number"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_spread_over_all_partitions_of_an_existing_topic_or_as_many_as_asked_for() {
    let kafka = Kafka::shared().await.unwrap();
    for (topic, more, used) in [
        ("old-all", json!({}), 5),
        ("old-two", json!({"partitions": 2}), 2),
    ] {
        kafka.create_topic(topic, 5, &[]).await.unwrap();
        let sink = open(kafka, topic, more).await.unwrap();
        let acks = Acks::default();
        write_rows(&sink, &table(1, "shop", "spread"), &acks, (1000, 200, 200, 50))
            .await
            .unwrap();
        sink.flush().await.unwrap();
        let records = kafka.read(topic).await.unwrap();
        assert_whole_and_in_order(&records, 1000, 200);
        let mut seen: Vec<i32> = commits(&records)
            .into_iter()
            .map(|(partition, _)| partition)
            .collect();
        seen.dedup();
        assert_eq!(seen, (0..used).collect::<Vec<_>>(), "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_do_not_fit_the_settings_are_refused_before_the_first_row() {
    let kafka = Kafka::shared().await.unwrap();
    kafka.create_topic("narrow", 2, &[]).await.unwrap();
    for (topic, more, parts) in [
        (
            "narrow",
            json!({"partitions": 3}),
            ["2 partitions", "sink.kafka.partitions"],
        ),
        (
            "missing",
            json!({"createTopics": false}),
            ["topic missing", "createTopics"],
        ),
        (
            "copied",
            json!({"replicationFactor": 3}),
            ["topic copied", "replicationFactor"],
        ),
        ("a b", json!({}), ["sink.kafka.topic", "' '"]),
    ] {
        let text = config_error(open(kafka, topic, more).await);
        assert!(parts.iter().all(|part| text.contains(part)), "{topic}: {text}");
        if topic != "narrow" {
            assert_eq!(
                kafka.partitions(topic).await.unwrap_or(0),
                0,
                "{topic} is not there"
            );
        }
    }
    // With fields in the expression the first table tells.
    let sink = open(kafka, "{table}", json!({"createTopics": false}))
        .await
        .unwrap();
    let told = sink.announce(&table(1, "shop", "missing"), Ts(1)).await;
    assert!(
        matches!(&told, Err(SinkError::Config(text)) if text.contains("missing")),
        "{told:?}"
    );
}
