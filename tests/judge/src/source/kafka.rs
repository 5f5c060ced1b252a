use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::{CanalMessage, Seen, Sighting, SourceError, parse_canal};
use crate::Observation;

/// One answer of a broker.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often new topics are looked for.
const DISCOVERY: Duration = Duration::from_secs(1);
/// A partition's end that stays for so long is the end, though its last offsets are transaction markers.
const QUIET: Duration = Duration::from_millis(500);

/// Topics of canal-json messages.
#[derive(Clone, Debug)]
pub struct KafkaSource {
    /// `host:port,...`.
    pub brokers: String,
    /// Which topics.
    pub topics: Topics,
    /// Further settings of librdkafka, for TLS and SASL.
    pub properties: Vec<(String, String)>,
}

/// Which topics to read.
#[derive(Clone, Debug)]
pub enum Topics {
    /// These, which have to exist by the deadline.
    Names(Vec<String>),
    /// All whose name begins so, those that come up meanwhile too.
    Prefix(String),
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// To the end that each partition had when reading began.
    End,
    /// Until each partition shows a watermark at or above this ts.
    Watermark(u64),
    /// For as long as there is time, without asking where the partitions end.
    Deadline,
}

/// Reads all partitions of the topics from their beginning, committed messages only; each call goes on where the last
/// one ended.
pub struct KafkaReader {
    source: KafkaSource,
    admin: BaseConsumer,
    topics: BTreeMap<String, Topic>,
}

struct Topic {
    consumer: BaseConsumer,
    partitions: BTreeMap<i32, Progress>,
}

struct Progress {
    name: String,
    next: i64,
    /// What `next` has to reach.
    target: i64,
    at_end_since: Option<Instant>,
    watermark: Option<u64>,
}

impl KafkaReader {
    /// A reader that has read nothing yet.
    ///
    /// # Errors
    /// [`SourceError::Kafka`] for settings that librdkafka refuses.
    pub fn new(source: KafkaSource) -> Result<Self, SourceError> {
        let admin = consumer(&source)?;
        Ok(Self {
            source,
            admin,
            topics: BTreeMap::new(),
        })
    }

    /// Reads on and tells everything it comes upon. Blocks; to be called off the async runtime.
    ///
    /// # Errors
    /// [`SourceError::Deadline`] if the end or watermark doesn't come in time; what was read until then was told.
    pub fn read(
        &mut self,
        until: Until,
        patience: Duration,
        see: &mut dyn FnMut(Sighting),
    ) -> Result<(), SourceError> {
        let deadline = Instant::now() + patience;
        self.discover(see)?;
        if until != Until::Deadline {
            self.aim()?;
        }
        let mut discovered = Instant::now();
        loop {
            if self.is_done(until) {
                return Ok(());
            }
            if Instant::now() > deadline {
                if until == Until::Deadline {
                    return Ok(());
                }
                return Err(self.too_late(until));
            }
            if discovered.elapsed() > DISCOVERY {
                self.discover(see)?;
                discovered = Instant::now();
            }
            let mut idle = true;
            for (name, topic) in &mut self.topics {
                // A bounded share each, so that no topic starves the others.
                for _ in 0..1_000 {
                    match topic.consumer.poll(Duration::ZERO) {
                        None => break,
                        Some(Ok(message)) => {
                            idle = false;
                            if let Some(progress) = topic.partitions.get_mut(&message.partition()) {
                                progress.take(&message, see);
                            }
                        }
                        Some(Err(KafkaError::PartitionEOF(partition))) => {
                            if let Some(progress) = topic.partitions.get_mut(&partition) {
                                progress.at_end_since.get_or_insert_with(Instant::now);
                            }
                        }
                        Some(Err(error)) if is_passing(&error) => break,
                        Some(Err(source)) => {
                            let action = format!("read topic {name}");
                            return Err(SourceError::Kafka { action, source });
                        }
                    }
                }
            }
            if idle {
                // It reads nothing itself: a short wait that librdkafka can use.
                self.admin.poll(Duration::from_millis(5));
            }
        }
    }

    fn discover(&mut self, see: &mut dyn FnMut(Sighting)) -> Result<(), SourceError> {
        let metadata = self
            .admin
            .fetch_metadata(None, PATIENCE)
            .map_err(failed("list topics"))?;
        for topic in metadata.topics() {
            let wanted = match &self.source.topics {
                Topics::Names(names) => names.iter().any(|name| name == topic.name()),
                Topics::Prefix(prefix) => topic.name().starts_with(prefix.as_str()),
            };
            if !wanted || topic.partitions().is_empty() || self.topics.contains_key(topic.name()) {
                continue;
            }
            let consumer = consumer(&self.source)?;
            let mut list = TopicPartitionList::new();
            let mut partitions = BTreeMap::new();
            for partition in topic.partitions() {
                list.add_partition_offset(topic.name(), partition.id(), Offset::Beginning)
                    .map_err(failed("list partitions"))?;
                let name = format!("{}/{}", topic.name(), partition.id());
                partitions.insert(
                    partition.id(),
                    Progress {
                        name,
                        next: 0,
                        target: 0,
                        at_end_since: None,
                        watermark: None,
                    },
                );
            }
            consumer.assign(&list).map_err(failed("assign partitions"))?;
            match aim(&consumer, topic.name(), &mut partitions) {
                Ok(()) => {}
                Err(SourceError::Kafka { source, .. }) if is_settling(&source) => continue,
                Err(error) => return Err(error),
            }
            for progress in partitions.values() {
                see(Sighting {
                    partition: progress.name.clone(),
                    at_ms: None,
                    seen: Seen::Partition,
                });
            }
            self.topics
                .insert(topic.name().to_owned(), Topic { consumer, partitions });
        }
        Ok(())
    }

    fn aim(&mut self) -> Result<(), SourceError> {
        // By a consumer that reads nothing: a question waits behind a read that waits for messages.
        self.topics
            .iter_mut()
            .try_for_each(|(name, topic)| aim(&self.admin, name, &mut topic.partitions))
    }

    fn is_done(&self, until: Until) -> bool {
        let mut partitions = self.topics.values().flat_map(|topic| topic.partitions.values());
        let all_there = match &self.source.topics {
            Topics::Names(names) => names.iter().all(|name| self.topics.contains_key(name)),
            Topics::Prefix(_) => !self.topics.is_empty(),
        };
        all_there
            && partitions.all(|progress| match until {
                Until::End => {
                    progress.next >= progress.target
                        || progress.at_end_since.is_some_and(|since| since.elapsed() > QUIET)
                }
                Until::Watermark(ts) => progress.watermark.is_some_and(|watermark| watermark >= ts),
                Until::Deadline => false,
            })
    }

    fn too_late(&self, until: Until) -> SourceError {
        let mut so_far: Vec<String> = self
            .topics
            .values()
            .flat_map(|topic| topic.partitions.values())
            .map(|progress| {
                let watermark = progress
                    .watermark
                    .map_or_else(|| "none".to_owned(), |ts| ts.to_string());
                format!(
                    "{} offset {} of {}, watermark {watermark}",
                    progress.name, progress.next, progress.target
                )
            })
            .collect();
        if so_far.is_empty() {
            so_far.push("no such topic".to_owned());
        }
        SourceError::Deadline {
            waiting_for: match until {
                Until::End => "the end of all partitions".to_owned(),
                Until::Watermark(ts) => format!("watermark {ts} in all partitions"),
                Until::Deadline => "the deadline".to_owned(),
            },
            so_far: so_far.join("; "),
        }
    }
}

/// Asks where the partitions begin and end now.
fn aim(
    client: &BaseConsumer,
    topic: &str,
    partitions: &mut BTreeMap<i32, Progress>,
) -> Result<(), SourceError> {
    for (partition, progress) in partitions {
        let (low, high) = client
            .fetch_watermarks(topic, *partition, PATIENCE)
            .map_err(failed("ask for offsets"))?;
        if high > progress.target {
            // An end that was seen before these messages came says nothing.
            progress.at_end_since = None;
        }
        progress.target = high;
        progress.next = progress.next.max(low);
    }
    Ok(())
}

impl Progress {
    fn take(&mut self, message: &BorrowedMessage<'_>, see: &mut dyn FnMut(Sighting)) {
        self.at_end_since = None;
        self.next = message.offset() + 1;
        let seen = match parse_canal(message.payload().unwrap_or_default()) {
            Ok(CanalMessage::Row(row)) => Seen::Observation(Observation::Row(row)),
            Ok(CanalMessage::Watermark(ts)) => {
                self.watermark = self.watermark.max(Some(ts));
                Seen::Observation(Observation::Watermark(ts))
            }
            Ok(CanalMessage::Ddl {
                schema,
                table,
                commit_ts,
                sql,
            }) => Seen::Ddl {
                schema,
                table,
                commit_ts,
                sql,
            },
            Err(what) => Seen::Malformed(format!("offset {}: {what}", message.offset())),
        };
        see(Sighting {
            partition: self.name.clone(),
            at_ms: message
                .timestamp()
                .to_millis()
                .and_then(|ms| u64::try_from(ms).ok()),
            seen,
        });
    }
}

fn consumer(source: &KafkaSource) -> Result<BaseConsumer, SourceError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &source.brokers)
        // librdkafka wants a name; nothing is committed under it.
        .set("group.id", "tidemark-judge")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "50");
    for (key, value) in &source.properties {
        config.set(key, value);
    }
    config.create().map_err(failed("make a consumer"))
}

/// Brokers that are away come back within the deadline, or the deadline tells.
fn is_passing(error: &KafkaError) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::Resolve)
    )
}

/// A topic that was created just now has no leader that knows it yet; it is found a little later.
fn is_settling(error: &KafkaError) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable | Code::UnknownTopicOrPartition)
    )
}

fn failed(action: &str) -> impl FnOnce(KafkaError) -> SourceError {
    let action = action.to_owned();
    move |source| SourceError::Kafka { action, source }
}
