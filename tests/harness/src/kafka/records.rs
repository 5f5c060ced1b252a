use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

/// One record as a consumer got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// The key; none for null.
    pub key: Option<Vec<u8>>,
    /// The value; none for null.
    pub value: Option<Vec<u8>>,
}

impl Record {
    /// The value as text; empty for null.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

/// Reads what is in the topic now. Blocks.
pub(super) fn read(config: &ClientConfig, topic: &str, deadline: Duration) -> Result<Vec<Record>> {
    let begun = Instant::now();
    let consumer: BaseConsumer = config.clone().set("enable.partition.eof", "false").create()?;
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions().iter().map(|partition| partition.id()))
        .collect();
    let (mut ends, mut assigned) = (Vec::new(), TopicPartitionList::new());
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
        if high > low {
            ends.push((partition, high));
            assigned.add_partition_offset(topic, partition, Offset::Offset(low))?;
        }
    }
    consumer.assign(&assigned)?;
    let mut records = Vec::new();
    while !ends.is_empty() {
        if begun.elapsed() > deadline {
            bail!(
                "{topic}: {} partitions not read to their end within {deadline:?}",
                ends.len()
            );
        }
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        // Transactions' markers take offsets too, so the end is "at or beyond the last".
        ends.retain(|&(partition, high)| partition != message.partition() || message.offset() + 1 < high);
        records.push(Record {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
        });
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}
