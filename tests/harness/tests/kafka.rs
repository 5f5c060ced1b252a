//! The Kafka of the tests takes records, keeps them over a kill, and can be paused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use anyhow::Result;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tidemark_harness::{Kafka, KafkaOptions};

async fn send(kafka: &Kafka, topic: &str, value: &str) -> Result<()> {
    let producer: FutureProducer = kafka.client().create()?;
    let record = FutureRecord::<(), str>::to(topic).partition(1).payload(value);
    producer
        .send(record, Duration::from_secs(60))
        .await
        .map_err(|(error, _)| error)?;
    Ok(())
}

#[tokio::test]
async fn a_killed_server_has_its_records_after_a_restart() -> Result<()> {
    let kafka = Kafka::own(KafkaOptions::default()).await?;
    kafka
        .create_topic("t", 3, &[("max.message.bytes", "20000")])
        .await?;
    assert_eq!(kafka.partitions("t").await?, 3);
    assert_eq!(kafka.partitions("none").await?, 0);
    send(&kafka, "t", "before").await?;
    kafka.kill()?;
    kafka.restart().await?;
    send(&kafka, "t", "after").await?;
    let seen = kafka.read("t").await?;
    let texts: Vec<_> = seen
        .iter()
        .map(|record| (record.partition, record.text()))
        .collect();
    assert_eq!(texts, [(1, "before".to_owned()), (1, "after".to_owned())]);

    kafka.pause()?;
    let consumer: BaseConsumer = kafka.client().create()?;
    let answer =
        tokio::task::spawn_blocking(move || consumer.fetch_metadata(None, Duration::from_secs(2)).err());
    assert!(answer.await?.is_some(), "a paused server answers nobody");
    kafka.resume()?;
    send(&kafka, "t", "resumed").await?;
    kafka.stop().await?;
    Ok(())
}
