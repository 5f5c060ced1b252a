use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;

use super::delivery::{Delivery, Health};

/// What the clients of one sink tell: their logs, troubles and answers.
#[derive(Clone)]
pub(super) struct SinkContext {
    health: Arc<Health>,
    /// Messages that this client's brokers have acknowledged or refused.
    answered: Arc<AtomicU64>,
}

impl SinkContext {
    pub(super) fn new(health: Arc<Health>) -> Self {
        Self {
            health,
            answered: Arc::default(),
        }
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

impl ClientContext for SinkContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                // Connection failures are told here at once, by `error` only when the client is polled.
                self.health.note(plain(text));
                tracing::warn!(facility, "kafka: {}", plain(text));
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility, "kafka: {}", plain(text));
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility, "kafka: {}", plain(text)),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.health.note(plain(reason));
        }
        tracing::warn!(%error, "kafka: {}", plain(reason));
    }
}

impl ConsumerContext for SinkContext {}

impl ProducerContext for SinkContext {
    type DeliveryOpaque = Arc<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Self::DeliveryOpaque) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        if let Err((error, message)) = result {
            let code = error.rdkafka_error_code();
            // What was given up is told by whoever gave it up.
            if !matches!(
                code,
                Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
            ) || !self.health.lost()
            {
                self.health
                    .give_up(refusal(message.topic(), message.partition(), code, error));
            }
        }
        drop(delivery);
    }
}

fn refusal(topic: &str, partition: i32, code: Option<RDKafkaErrorCode>, error: &KafkaError) -> String {
    let mend = match code {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            "; give the login the right to write to the topic"
        }
        Some(RDKafkaErrorCode::ClusterAuthorizationFailed) => {
            "; give the login the right IdempotentWrite on the cluster"
        }
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
            "; the limit of the topic was lowered while the feed ran: raise its max.message.bytes"
        }
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition,
        ) => "; the topic was deleted while the feed ran",
        _ => "",
    };
    let text = match code {
        Some(code) => code.to_string(),
        None => error.to_string(),
    };
    format!("kafka topic {topic}, partition {partition}: {text}{mend}")
}

/// librdkafka's messages begin with `[thrd:NAME]: `, which says nothing to users.
pub(super) fn plain(text: &str) -> String {
    match text
        .strip_prefix("[thrd:")
        .and_then(|rest| rest.split_once("]: "))
    {
        Some((_, rest)) => rest.trim().into(),
        None => text.trim().into(),
    }
}
