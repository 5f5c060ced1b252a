use std::time::Duration;

use anyhow::Result;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::actor::{Meter, tell};
use crate::arguments::ProduceArgs;
use crate::records::Messages;

/// Until all is acknowledged.
const PATIENCE: Duration = Duration::from_secs(120);

/// The bare producer's process: sends all messages with the worker's settings of librdkafka, waits for every
/// acknowledgement, reports.
pub(crate) fn produce(args: &ProduceArgs) -> Result<()> {
    let messages = Messages::load(&args.messages)?;
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &args.brokers)
        .set("broker.address.family", "v4")
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        .set("linger.ms", "5")
        .set("batch.num.messages", "10000")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "0")
        .set("queue.buffering.max.kbytes", "131072")
        .create()?;
    producer
        .client()
        .fetch_metadata(Some(&args.topic), Duration::from_secs(10))?;
    let meter = Meter::start()?;
    let sent = messages.each(|partition, value| {
        let mut record = BaseRecord::<(), [u8]>::to(&args.topic)
            .partition(partition)
            .payload(value);
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    std::thread::park_timeout(Duration::from_millis(1));
                    record = back;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    })?;
    producer.flush(PATIENCE)?;
    tell(&args.report, &meter.stop(sent)?)
}
