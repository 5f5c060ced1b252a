use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidemark_crds::KafkaSink as Settings;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::chunk::{BATCH_OVERHEAD, MESSAGE_OVERHEAD};
use super::connection::{self, BATCH_MAX, KafkaPatience};
use super::context::SinkContext;
use super::delivery::Health;
use super::producer::Producer;
use crate::SinkError;

/// Partitions of topics that are created, where the settings name no number.
const PARTITIONS: u32 = 3;

/// Topics of one producer: librdkafka looks for a message's topic in a list.
const TOPICS: usize = 128;

/// One metadata request.
const REQUEST: Duration = Duration::from_secs(5);

/// Between looks for something that is not there yet.
const PAUSE: Duration = Duration::from_millis(50);

/// A topic in use.
pub(super) struct Topic {
    pub(super) name: String,
    /// All its partitions.
    pub(super) partitions: i32,
    /// How many of them rows are spread over.
    pub(super) spread: u32,
    /// The longest value that it takes.
    pub(super) largest: usize,
    /// Its own `max.message.bytes`, where it could be read.
    limit: Option<usize>,
    /// The setting's limit.
    setting: usize,
    pub(super) producer: Arc<Producer>,
}

impl Topic {
    /// The limit, where it comes from and how to raise it, as the end of a sentence about a message.
    pub(super) fn limit_text(&self) -> String {
        match self.limit {
            Some(limit) if value_room(self.setting, None) > self.largest => format!(
                "but topic {} takes {} at most (its max.message.bytes is {limit}, less {} of framing): raise the topic's \
                 max.message.bytes, or leave the table out",
                self.name,
                self.largest,
                MESSAGE_OVERHEAD + BATCH_OVERHEAD,
            ),
            _ => format!(
                "but sink.kafka.maxMessageBytes is {}, less {MESSAGE_OVERHEAD} of framing: raise it, or leave the table out",
                self.setting,
            ),
        }
    }
}

/// A producer and the number of topics that share it.
struct Share {
    producer: Arc<Producer>,
    topics: usize,
}

/// The topics in use; makes and describes them.
pub(super) struct Topics {
    settings: Settings,
    client: ClientConfig,
    health: Arc<Health>,
    patience: KafkaPatience,
    queue: usize,
    /// Asks for metadata: a consumer never creates topics by asking.
    asker: Arc<BaseConsumer<SinkContext>>,
    admin: AdminClient<SinkContext>,
    /// Each is described, and created, once; several may be on their way.
    known: Mutex<HashMap<String, Arc<OnceCell<Arc<Topic>>>>>,
    /// By the size of record batches that topics take.
    producers: Mutex<BTreeMap<usize, Vec<Share>>>,
}

impl Topics {
    pub(super) fn new(
        settings: &Settings,
        client: ClientConfig,
        health: Arc<Health>,
        patience: KafkaPatience,
        queue: usize,
    ) -> Result<Self, SinkError> {
        let context = SinkContext::new(Arc::clone(&health));
        let wrong = |error: KafkaError| SinkError::Config(format!("kafka client: {error}"));
        let asker: BaseConsumer<SinkContext> = client.create_with_context(context.clone()).map_err(wrong)?;
        let admin = client.create_with_context(context).map_err(wrong)?;
        Ok(Self {
            settings: settings.clone(),
            client,
            health,
            patience,
            queue,
            asker: Arc::new(asker),
            admin,
            known: Mutex::default(),
            producers: Mutex::default(),
        })
    }

    /// All topics in use.
    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        let known = self.known.lock();
        known
            .values()
            .filter_map(|topic| topic.get().map(Arc::clone))
            .collect()
    }

    /// The topic of that name; created where it is missing and may be created.
    pub(super) async fn get(&self, name: &str) -> Result<Arc<Topic>, SinkError> {
        let topic = Arc::clone(self.known.lock().entry(name.into()).or_default());
        topic.get_or_try_init(|| self.make(name)).await.map(Arc::clone)
    }

    async fn make(&self, name: &str) -> Result<Arc<Topic>, SinkError> {
        let end = Instant::now() + self.patience.connect;
        let partitions = match self.partitions(name, end).await? {
            Some(partitions) => partitions,
            None => self.create(name, end).await?,
        };
        let all = u32::try_from(partitions).unwrap_or(0);
        let spread = self.settings.partitions.unwrap_or(all);
        if spread > all || spread == 0 {
            return Err(SinkError::Config(format!(
                "topic {name} has {all} partitions, but sink.kafka.partitions is {spread}; set it to {all} or less, or add \
                 partitions to the topic"
            )));
        }
        let limit = self.limit(name, end).await?;
        let setting = self.settings.max_message_bytes.bytes();
        let largest = value_room(setting, limit);
        tracing::info!(topic = name, partitions, largest, "topic in use");
        Ok(Arc::new(Topic {
            name: name.into(),
            partitions,
            spread,
            largest,
            limit,
            setting,
            producer: self.producer(batch_bytes(limit))?,
        }))
    }

    /// The topic's number of partitions once all have leaders; none if there is no such topic.
    async fn partitions(&self, name: &str, end: Instant) -> Result<Option<i32>, SinkError> {
        let mut last;
        loop {
            let (asker, topic) = (Arc::clone(&self.asker), name.to_owned());
            let answer = tokio::task::spawn_blocking(move || {
                let metadata = asker.fetch_metadata(Some(&topic), REQUEST)?;
                let found = metadata.topics().first();
                Ok::<_, KafkaError>(found.map_or((None, 0, false), |topic| {
                    let led = topic.partitions().iter().all(|partition| partition.leader() >= 0);
                    (
                        topic.error().map(RDKafkaErrorCode::from),
                        topic.partitions().len(),
                        led,
                    )
                }))
            })
            .await
            .map_err(|error| SinkError::Unavailable(format!("kafka metadata: {error}")))?;
            match answer {
                Ok((None, count, true)) if count > 0 => return Ok(i32::try_from(count).ok()),
                Ok((
                    Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic),
                    ..,
                )) => return Ok(None),
                Ok((Some(RDKafkaErrorCode::TopicAuthorizationFailed), ..)) => {
                    return Err(SinkError::Config(format!(
                        "topic {name}: the login may not describe it; give it the rights Describe and Write on the topic"
                    )));
                }
                Ok((Some(RDKafkaErrorCode::InvalidTopic), ..)) => {
                    return Err(SinkError::Config(format!("topic {name}: Kafka refuses the name")));
                }
                Ok((Some(code), ..)) => last = code.to_string(),
                Ok((None, ..)) => last = "some partitions have no leader".into(),
                Err(error) => last = format!("{error}; {}", self.health.trouble()),
            }
            if Instant::now() >= end {
                return Err(SinkError::Unavailable(format!(
                    "topic {name} can't be described within {:?}: {last}",
                    self.patience.connect
                )));
            }
            sleep(PAUSE).await;
        }
    }

    async fn create(&self, name: &str, end: Instant) -> Result<i32, SinkError> {
        if !self.settings.create_topics {
            return Err(SinkError::Config(format!(
                "topic {name} is not there and sink.kafka.createTopics is false; create it or set createTopics"
            )));
        }
        let partitions = i32::try_from(self.settings.partitions.unwrap_or(PARTITIONS)).unwrap_or(i32::MAX);
        let replication = i32::from(self.settings.replication_factor);
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
        let results = self
            .admin
            .create_topics([&topic], &self.options())
            .await
            .map_err(|error| {
                SinkError::Unavailable(format!("create topic {name}: {error}; {}", self.health.trouble()))
            })?;
        for result in results {
            let code = match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => continue,
                Err((_, code)) => code,
            };
            let mend = match code {
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                    "; give the login the right Create on the topic or cluster, or create it beforehand"
                }
                RDKafkaErrorCode::InvalidReplicationFactor => {
                    "; set sink.kafka.replicationFactor to the number of brokers or less"
                }
                RDKafkaErrorCode::InvalidPartitions => {
                    "; set sink.kafka.partitions to what the cluster allows"
                }
                _ => "",
            };
            return Err(SinkError::Config(format!(
                "create topic {name} with {partitions} partitions and replication factor {replication}: {code}{mend}"
            )));
        }
        loop {
            if let Some(partitions) = self.partitions(name, end).await? {
                return Ok(partitions);
            }
            if Instant::now() >= end {
                return Err(SinkError::Unavailable(format!(
                    "topic {name} was created but is not seen within {:?}",
                    self.patience.connect
                )));
            }
            sleep(PAUSE).await;
        }
    }

    /// The topic's `max.message.bytes`, which is the broker's `message.max.bytes` if the topic sets none; none if it may
    /// not be read.
    async fn limit(&self, name: &str, end: Instant) -> Result<Option<usize>, SinkError> {
        loop {
            let resource = ResourceSpecifier::Topic(name);
            let answer = self.admin.describe_configs([&resource], &self.options()).await;
            let last = match answer.map(|mut results| results.pop()) {
                Ok(Some(Ok(config))) => {
                    let value = config
                        .get("max.message.bytes")
                        .and_then(|entry| entry.value.as_deref());
                    return Ok(value.and_then(|value| value.parse().ok()));
                }
                Ok(Some(Err(
                    RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
                ))) => {
                    tracing::warn!(
                        topic = name,
                        "the login may not read the topic's max.message.bytes (right DescribeConfigs); \
                         sink.kafka.maxMessageBytes alone counts"
                    );
                    return Ok(None);
                }
                Ok(Some(Err(code))) => code.to_string(),
                Ok(None) => "no answer".into(),
                Err(error) => format!("{error}; {}", self.health.trouble()),
            };
            if Instant::now() >= end {
                return Err(SinkError::Unavailable(format!(
                    "the settings of topic {name} can't be read within {:?}: {last}",
                    self.patience.connect
                )));
            }
            sleep(PAUSE).await;
        }
    }

    fn producer(&self, batch: usize) -> Result<Arc<Producer>, SinkError> {
        let mut producers = self.producers.lock();
        let fitting = producers.entry(batch).or_default();
        if let Some(share) = fitting.last_mut().filter(|share| share.topics < TOPICS) {
            share.topics += 1;
            return Ok(Arc::clone(&share.producer));
        }
        let config = connection::producer(&self.client, &self.settings, batch, self.queue);
        let context = SinkContext::new(Arc::clone(&self.health));
        let producer = Producer::start(&config, context, &self.health, self.patience.delivery)?;
        let producer = Arc::new(producer);
        fitting.push(Share {
            producer: Arc::clone(&producer),
            topics: 1,
        });
        Ok(producer)
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new()
            .request_timeout(Some(self.patience.connect))
            .operation_timeout(Some(self.patience.connect))
    }
}

/// The longest value that fits the setting and the topic's limit.
fn value_room(setting: usize, limit: Option<usize>) -> usize {
    let by_setting = setting.saturating_sub(MESSAGE_OVERHEAD);
    match limit {
        Some(limit) => by_setting.min(limit.saturating_sub(MESSAGE_OVERHEAD + BATCH_OVERHEAD)),
        None => by_setting,
    }
}

/// Bytes of a record batch for a topic of that limit: rounded to few sizes, since each has its own producer.
fn batch_bytes(limit: Option<usize>) -> usize {
    match limit {
        Some(limit) if limit <= BATCH_MAX => 1 << (limit.max(2) - 1).ilog2(),
        _ => BATCH_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_below_the_limit_and_of_few_sizes() {
        assert_eq!(batch_bytes(None), BATCH_MAX);
        assert_eq!(batch_bytes(Some(1_048_588)), BATCH_MAX);
        assert_eq!(batch_bytes(Some(20_000)), 16_384);
        assert_eq!(batch_bytes(Some(16_384)), 8192);
        assert_eq!(batch_bytes(Some(0)), 1);
    }

    #[test]
    fn the_lower_limit_counts() {
        assert_eq!(value_room(10_000, None), 9964);
        assert_eq!(value_room(10_000, Some(1000)), 903);
        assert_eq!(value_room(1000, Some(10_000)), 964);
        assert_eq!(value_room(10, Some(10)), 0);
    }
}
