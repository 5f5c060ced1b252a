use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};

use super::chunk::Messages;
use super::context::SinkContext;
use super::delivery::{Delivery, Health};
use crate::SinkError;

/// How often the thread looks for trouble besides answers, which it serves at once.
const LOOK: Duration = Duration::from_millis(100);

/// A librdkafka producer with the thread that serves its answers and watches over it.
///
/// Messages of a partition arrive in the order of the calls of [`Producer::send`]. When the sink has failed, what waits is
/// dropped and nothing more is sent, so that no message overtakes one that was lost.
pub(super) struct Producer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    producer: BaseProducer<SinkContext>,
    health: Arc<Health>,
    /// Read while sending, written to drop what waits: false after that.
    open: RwLock<bool>,
    stop: AtomicBool,
}

impl Producer {
    /// Starts it. `delivery` is how long messages may wait without any answer.
    pub(super) fn start(
        config: &ClientConfig,
        context: SinkContext,
        health: &Arc<Health>,
        delivery: Duration,
    ) -> Result<Self, SinkError> {
        let producer = config
            .create_with_context(context)
            .map_err(|error| SinkError::Config(format!("kafka producer: {error}")))?;
        let shared = Arc::new(Shared {
            producer,
            health: Arc::clone(health),
            open: RwLock::new(true),
            stop: AtomicBool::new(false),
        });
        let thread = thread::Builder::new()
            .name("kafka-answers".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.serve(delivery)
            })
            .map_err(|error| {
                SinkError::Unavailable(format!("start a thread for Kafka's answers: {error}"))
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Hands messages over to librdkafka, from the `from`th on, and tells up to which: fewer than all means that its
    /// queue is full and the call is to be repeated a little later. Never blocks for long.
    pub(super) fn send(
        &self,
        topic: &str,
        messages: &Messages,
        from: usize,
        delivery: &Arc<Delivery>,
    ) -> Result<usize, SinkError> {
        let open = self.shared.open.read();
        self.shared.health.check()?;
        if !*open {
            return Err(SinkError::Unavailable(format!(
                "kafka topic {topic}: the producer has stopped"
            )));
        }
        let mut sent = from;
        for (partition, value) in messages.iter_from(from) {
            let record = BaseRecord::<(), [u8], _>::with_opaque_to(topic, Arc::clone(delivery))
                .partition(partition)
                .payload(value);
            match self.shared.producer.send(record) {
                Ok(()) => sent += 1,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((error, _)) => {
                    self.shared.health.give_up(format!(
                        "kafka topic {topic}, partition {partition}: {error}; {}",
                        self.shared.health.trouble()
                    ));
                    self.shared.health.check()?;
                    return Err(SinkError::Unavailable(error.to_string()));
                }
            }
        }
        Ok(sent)
    }
}

impl Shared {
    fn serve(&self, delivery: Duration) {
        let mut answered = self.producer.context_answered();
        let mut since = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            self.producer.poll(LOOK);
            if let Some((code, reason)) = self.producer.client().fatal_error() {
                self.health
                    .give_up(format!("kafka refuses the producer: {reason} ({code})"));
            }
            let now = self.producer.context_answered();
            let waiting = self.producer.in_flight_count();
            if now != answered || waiting == 0 {
                answered = now;
                since = Instant::now();
            } else if since.elapsed() >= delivery {
                self.health.give_up(format!(
                    "kafka has acknowledged nothing for {delivery:?} while {waiting} messages wait: {}; \
                     check the brokers, the feed goes on from its checkpoint",
                    self.health.trouble()
                ));
            }
            if self.health.lost() {
                self.close();
            }
        }
        self.close();
        self.producer.poll(Duration::ZERO);
    }

    /// Drops what waits; nothing is sent afterwards.
    fn close(&self) {
        let mut open = self.open.write();
        *open = false;
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, and then it has ended too.
            let _ = thread.join();
        }
    }
}

trait Answered {
    fn context_answered(&self) -> u64;
}

impl Answered for BaseProducer<SinkContext> {
    fn context_answered(&self) -> u64 {
        self.client().context().answered()
    }
}
