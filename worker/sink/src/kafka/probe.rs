use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::statistics::Statistics;

use super::context::plain;
use crate::SinkError;

/// Between looks at what the probe has met.
const LOOK: Duration = Duration::from_millis(50);

/// Connects and logs in as an idempotent producer does, until the brokers give it a producer id: they answer, the login is
/// right, and it may write to some topic. Blocks, at most for `patience`.
pub(super) fn probe(client: &ClientConfig, brokers: &str, patience: Duration) -> Result<(), SinkError> {
    let met = Arc::new(Met::default());
    let producer: BaseProducer<ProbeContext> = client
        .clone()
        .set("enable.idempotence", "true")
        .set("statistics.interval.ms", "100")
        .create_with_context(ProbeContext(Arc::clone(&met)))
        .map_err(|error| SinkError::Config(format!("sink.kafka: {error}")))?;
    let end = Instant::now() + patience;
    loop {
        producer.poll(LOOK);
        if *met.ready.lock() {
            return Ok(());
        }
        if let Some(reason) = met.refused.lock().take() {
            return Err(SinkError::Config(format!(
                "kafka at {brokers} refuses the connection: {reason}"
            )));
        }
        if let Some((code, reason)) = producer.client().fatal_error() {
            let mend = match code {
                RDKafkaErrorCode::ClusterAuthorizationFailed => {
                    "; give the login the right Write on the topics (or IdempotentWrite on the cluster)"
                }
                _ => "",
            };
            return Err(SinkError::Config(format!(
                "kafka at {brokers} lets the login write to no topic: {reason}{mend}"
            )));
        }
        if Instant::now() >= end {
            let trouble = met.trouble.lock().take().unwrap_or_else(|| "no answer".into());
            return Err(SinkError::Unavailable(format!(
                "kafka at {brokers} can't be reached within {patience:?}: {trouble}; check sink.kafka.brokers, tls and sasl"
            )));
        }
    }
}

#[derive(Debug, Default)]
struct Met {
    ready: Mutex<bool>,
    refused: Mutex<Option<String>>,
    trouble: Mutex<Option<String>>,
}

struct ProbeContext(Arc<Met>);

impl ClientContext for ProbeContext {
    fn log(&self, level: RDKafkaLogLevel, _: &str, text: &str) {
        if (level as i32) <= RDKafkaLogLevel::Warning as i32 {
            *self.0.trouble.lock() = Some(plain(text));
        }
    }

    fn stats(&self, statistics: Statistics) {
        if statistics.eos.is_some_and(|eos| eos.idemp_state == "Assigned") {
            *self.0.ready.lock() = true;
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::UnsupportedSASLMechanism
                | RDKafkaErrorCode::SSL,
            ) => *self.0.refused.lock() = Some(plain(reason)),
            // A broker's answer to a client certificate that is missing or wrong comes as a mere loss of the connection.
            _ if reason.contains("SSL alert") => {
                *self.0.refused.lock() = Some(format!(
                    "{}; check tls.crt and tls.key in the secret of sink.kafka.tls",
                    plain(reason)
                ));
            }
            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Fatal) => {}
            _ => *self.0.trouble.lock() = Some(plain(reason)),
        }
    }
}

impl ProducerContext for ProbeContext {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, _: Self::DeliveryOpaque) {}
}
