use serde_json::json;
use tidemark_harness::Kafka;
use tidemark_model::Ts;
use tidemark_sink::Sink;

use crate::setup::{Acks, marks, open, table, write_rows};

#[tokio::test(flavor = "multi_thread")]
async fn watermarks_reach_every_partition_of_every_topic_in_use() {
    let kafka = Kafka::shared().await.unwrap();
    kafka.create_topic("wm.wide", 4, &[]).await.unwrap();
    let more = json!({"watermarkInterval": "0s", "partitions": 2});
    let sink = open(kafka, "wm.{table}", more).await.unwrap();
    let acks = Acks::default();
    sink.announce(&table(1, "shop", "wide"), Ts(1)).await.unwrap();
    write_rows(&sink, &table(2, "shop", "fresh"), &acks, (1000, 20, 5, 20))
        .await
        .unwrap();
    sink.flush().await.unwrap();
    for ts in [1019, 2000] {
        sink.watermark(Ts(ts)).await.unwrap();
    }
    sink.flush().await.unwrap();
    for (topic, partitions) in [("wm.wide", 4), ("wm.fresh", 2)] {
        let records = kafka.read(topic).await.unwrap();
        let expected: Vec<(i32, u64)> = (0..partitions).flat_map(|at| [(at, 1019), (at, 2000)]).collect();
        assert_eq!(marks(&records), expected, "{topic}");
        for partition in 0..partitions {
            let last = records
                .iter()
                .rfind(|record| record.partition == partition)
                .unwrap();
            assert!(
                last.text().contains("TIDB_WATERMARK"),
                "rows come before the watermark that covers them"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watermarks_are_published_once_an_interval_and_the_newest_with_a_flush() {
    let kafka = Kafka::shared().await.unwrap();
    let more = json!({"watermarkInterval": "1h", "partitions": 1});
    let sink = open(kafka, "wm-seldom", more).await.unwrap();
    for ts in 1..=100 {
        sink.watermark(Ts(ts)).await.unwrap();
    }
    sink.flush().await.unwrap();
    sink.flush().await.unwrap();
    let seen = marks(&kafka.read("wm-seldom").await.unwrap());
    assert_eq!(
        seen,
        [(0, 1), (0, 100)],
        "the first, and the newest that the interval held back"
    );
}
