use std::time::Duration;

use rdkafka::config::ClientConfig;
use tidemark_crds::{KafkaCompression, KafkaSink as Settings, SaslMechanism};

use crate::{Secrets, SinkError};

/// Room for a message's own framing, above the largest value.
const FRAMING: usize = 1024;

/// Largest `message.max.bytes` of librdkafka.
const MESSAGE_MAX: usize = 1_000_000_000;

/// Largest record batch: what a broker takes by default.
pub(super) const BATCH_MAX: usize = 1_000_000;

/// How long the sink waits for brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KafkaPatience {
    /// For the first answer and the login when the sink is opened, and for each topic.
    pub connect: Duration,
    /// Without any acknowledgement while messages wait; then the sink fails, and what waits is not sent any more.
    pub delivery: Duration,
}

impl Default for KafkaPatience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            delivery: Duration::from_secs(120),
        }
    }
}

/// Settings of every client: brokers, TLS, login. Holds secrets, so it is never printed.
pub(super) fn client(settings: &Settings, secrets: &dyn Secrets) -> Result<ClientConfig, SinkError> {
    if settings.brokers.is_empty() {
        return Err(SinkError::Config(
            "sink.kafka.brokers is empty; name at least one broker as host:port".into(),
        ));
    }
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", settings.brokers.join(","))
        .set("client.id", "tidemark")
        .set("socket.timeout.ms", "30000")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "1000")
        // New topics and partitions are asked for as they come.
        .set("topic.metadata.refresh.fast.interval.ms", "100");
    let protocol = match (&settings.tls, &settings.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(secret) = settings.tls.as_ref().and_then(|tls| tls.secret_name.as_deref()) {
        if let Some(pem) = text(secrets, secret, "ca.crt")? {
            config.set("ssl.ca.pem", pem);
        }
        match (
            text(secrets, secret, "tls.crt")?,
            text(secrets, secret, "tls.key")?,
        ) {
            (Some(certificate), Some(key)) => {
                config
                    .set("ssl.certificate.pem", certificate)
                    .set("ssl.key.pem", key);
            }
            (None, None) => {}
            (certificate, _) => {
                let (there, missing) = if certificate.is_some() {
                    ("tls.crt", "tls.key")
                } else {
                    ("tls.key", "tls.crt")
                };
                return Err(SinkError::Config(format!(
                    "secret {secret} of sink.kafka.tls has {there} but no {missing}; a client certificate needs both"
                )));
            }
        }
    }
    if let Some(sasl) = &settings.sasl {
        let secret = sasl.secret_name.as_str();
        let need = |key: &str| {
            // A file that an editor wrote ends in a line break, which is no part of a name or password.
            text(secrets, secret, key)?
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .ok_or_else(|| {
                    SinkError::Config(format!(
                        "secret {secret} of sink.kafka.sasl has no key {key}; add it"
                    ))
                })
        };
        config
            .set(
                "sasl.mechanism",
                match sasl.mechanism {
                    SaslMechanism::Plain => "PLAIN",
                    SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                    SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
                },
            )
            .set("sasl.username", need("username")?)
            .set("sasl.password", need("password")?);
    }
    Ok(config)
}

/// The producer's settings on top of the client's. `batch` bounds record batches in bytes, `queue` all that waits.
pub(super) fn producer(
    client: &ClientConfig,
    settings: &Settings,
    batch: usize,
    queue: usize,
) -> ClientConfig {
    let mut config = client.clone();
    let largest = (settings.max_message_bytes.bytes() + FRAMING).min(MESSAGE_MAX);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        // A batch that fails for good stops the producer, so that nothing after it is delivered.
        .set("enable.gapless.guarantee", "true")
        // Time-outs are the sink's own: librdkafka's would drop one message and deliver the next.
        .set("message.timeout.ms", "0")
        .set("retry.backoff.max.ms", "1000")
        .set("linger.ms", "5")
        .set("batch.num.messages", "10000")
        .set("batch.size", batch.to_string())
        .set("message.max.bytes", largest.to_string())
        // The sink's own byte budget binds first; these are above it.
        .set("queue.buffering.max.messages", "0")
        .set("queue.buffering.max.kbytes", (queue / 512).max(2048).to_string())
        .set(
            "compression.type",
            match settings.compression {
                KafkaCompression::None => "none",
                KafkaCompression::Gzip => "gzip",
                KafkaCompression::Snappy => "snappy",
                KafkaCompression::Lz4 => "lz4",
                KafkaCompression::Zstd => "zstd",
            },
        );
    config
}

fn text(secrets: &dyn Secrets, secret: &str, key: &str) -> Result<Option<String>, SinkError> {
    secrets
        .read(secret, key)?
        .map(|bytes| {
            String::from_utf8(bytes)
                .map_err(|_| SinkError::Config(format!("secret {secret}, key {key}: not UTF-8 text")))
        })
        .transpose()
}
