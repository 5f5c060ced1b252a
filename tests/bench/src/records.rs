use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

/// How long reading a topic may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a topic held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents {
    /// Row messages.
    pub(crate) rows: u64,
    /// Bytes of their values.
    pub(crate) bytes: u64,
    /// When the broker appended the last of them.
    pub(crate) appended: SystemTime,
}

/// Copies a topic's row messages into a file, in the order in which they came. Blocks.
pub(crate) fn save(config: &ClientConfig, topic: &str, path: &Path) -> Result<Contents> {
    let begun = Instant::now();
    let consumer: BaseConsumer = config.clone().create()?;
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
    let (mut ends, mut assigned) = (Vec::new(), TopicPartitionList::new());
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), Duration::from_secs(10))?;
        if high > low {
            ends.push((partition.id(), high));
            assigned.add_partition_offset(topic, partition.id(), Offset::Offset(low))?;
        }
    }
    consumer.assign(&assigned)?;
    let mut file = BufWriter::new(File::create(path)?);
    let mut contents = Contents {
        rows: 0,
        bytes: 0,
        appended: UNIX_EPOCH,
    };
    while !ends.is_empty() {
        ensure!(
            begun.elapsed() < PATIENCE,
            "topic {topic} can't be read to its end within {PATIENCE:?}"
        );
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        ends.retain(|&(partition, high)| partition != message.partition() || message.offset() + 1 < high);
        let value = message.payload().unwrap_or_default();
        if !is_row(value) {
            continue;
        }
        contents.rows += 1;
        contents.bytes += value.len() as u64;
        let ms = message
            .timestamp()
            .to_millis()
            .context("a message without a time")?;
        contents.appended = contents
            .appended
            .max(UNIX_EPOCH + Duration::from_millis(u64::try_from(ms)?));
        file.write_all(&message.partition().to_le_bytes())?;
        file.write_all(&u32::try_from(value.len())?.to_le_bytes())?;
        file.write_all(value)?;
    }
    file.flush()?;
    Ok(contents)
}

/// Whether a canal-json message is a row, not a watermark or a DDL.
fn is_row(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value);
    ["INSERT", "UPDATE", "DELETE"]
        .iter()
        .any(|kind| text.contains(&format!("\"type\":\"{kind}\"")))
}

/// Messages of a file, in memory.
pub(crate) struct Messages {
    text: Vec<u8>,
}

impl Messages {
    /// Reads a file that [`save`] wrote.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let mut text = Vec::new();
        File::open(path)?.read_to_end(&mut text)?;
        Ok(Self { text })
    }

    /// Calls `each` with partition and value of every message; gives their number.
    pub(crate) fn each(&self, mut each: impl FnMut(i32, &[u8]) -> Result<()>) -> Result<u64> {
        let (mut rest, mut count) = (self.text.as_slice(), 0);
        while let Some((head, tail)) = rest.split_first_chunk::<8>() {
            let [a, b, c, d, e, f, g, h] = *head;
            let len = u32::from_le_bytes([e, f, g, h]) as usize;
            let Some((value, after)) = tail.split_at_checked(len) else {
                bail!("the file of messages is cut off")
            };
            each(i32::from_le_bytes([a, b, c, d]), value)?;
            (rest, count) = (after, count + 1);
        }
        Ok(count)
    }
}
