use serde_json::json;
use tidemark_harness::Kafka;
use tidemark_model::Ts;
use tidemark_sink::{Sink, SinkError};

use crate::setup::{Acks, assert_whole_and_in_order, commits, json, open, put, table, write_rows};

/// Length of the message of a row of table `shop.sized` without its value.
async fn bare_length(kafka: &Kafka) -> usize {
    let sink = open(kafka, "bare", json!({"partitions": 1})).await.unwrap();
    let acks = Acks::default();
    sink.write(acks.batch(&table(1, "shop", "sized"), vec![put("k", "", 1)]))
        .await
        .unwrap();
    sink.flush().await.unwrap();
    kafka.read("bare").await.unwrap()[0].value.as_ref().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_row_that_fits_is_taken_and_one_byte_more_stops_the_feed() {
    let kafka = Kafka::shared().await.unwrap();
    let bare = bare_length(kafka).await;
    kafka
        .create_topic("limited", 1, &[("max.message.bytes", "4000")])
        .await
        .unwrap();
    for (topic, more, overhead, part) in [
        (
            "limited",
            json!({"partitions": 1}),
            36 + 61,
            "raise the topic's max.message.bytes",
        ),
        (
            "set",
            json!({"partitions": 1, "maxMessageBytes": "4000"}),
            36,
            "sink.kafka.maxMessageBytes is 4000",
        ),
    ] {
        let sink = open(kafka, topic, more).await.unwrap();
        let (rows, acks) = (table(1, "shop", "sized"), Acks::default());
        let fits = "x".repeat(4000 - overhead - bare);
        sink.write(acks.batch(&rows, vec![put("k", fits.clone(), 2)]))
            .await
            .unwrap();
        sink.flush().await.unwrap();
        assert_eq!(acks.count(), 1);

        let changes = vec![
            put("k", "small", 3),
            put("too-big", fits.clone() + "y", 4),
            put("k", "after", 5),
        ];
        let refused = sink.write(acks.batch(&rows, changes)).await;
        let Err(SinkError::Row(text)) = refused else {
            panic!("{refused:?}")
        };
        for said in ["shop.sized", "too-big", part] {
            assert!(text.contains(said), "{topic}: {text}");
        }
        let later = sink.write(acks.batch(&rows, vec![put("k", "later", 6)])).await;
        assert!(
            matches!(later, Err(SinkError::Row(_))),
            "nothing follows the row that was refused: {later:?}"
        );
        assert!(sink.flush().await.is_err() && sink.watermark(Ts(10)).await.is_err());
        drop(sink);
        let seen = commits(&kafka.read(topic).await.unwrap());
        assert!(seen.iter().all(|&(_, ts)| ts <= 3), "{seen:?}");
        assert_eq!(
            acks.count(),
            1,
            "a batch with a refused row is never acknowledged"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_rows_fit_a_topic_with_a_low_limit() {
    // Record batches must stay below the limit too, and other topics of the sink keep theirs.
    let kafka = Kafka::shared().await.unwrap();
    kafka
        .create_topic("low.tiny", 2, &[("max.message.bytes", "1500")])
        .await
        .unwrap();
    let sink = open(kafka, "low.{table}", json!({})).await.unwrap();
    let acks = Acks::default();
    for (id, name) in [(1, "tiny"), (2, "wide")] {
        write_rows(&sink, &table(id, "shop", name), &acks, (1000, 2000, 50, 500))
            .await
            .unwrap();
    }
    sink.flush().await.unwrap();
    for topic in ["low.tiny", "low.wide"] {
        assert_whole_and_in_order(&kafka.read(topic).await.unwrap(), 1000, 2000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_megabyte_passes_where_the_topic_takes_it() {
    let kafka = Kafka::shared().await.unwrap();
    kafka
        .create_topic("large", 1, &[("max.message.bytes", "6000000")])
        .await
        .unwrap();
    let sink = open(kafka, "large", json!({})).await.unwrap();
    let (rows, acks) = (table(1, "shop", "large"), Acks::default());
    let value = "z".repeat(5 << 20);
    let changes = vec![put("a", "1", 1), put("b", value.clone(), 2), put("c", "3", 3)];
    sink.write(acks.batch(&rows, changes)).await.unwrap();
    sink.flush().await.unwrap();
    let records = kafka.read("large").await.unwrap();
    assert_whole_and_in_order(&records, 1, 3);
    assert_eq!(json(&records[1])["data"][0]["value"].as_str().unwrap(), value);
}
