//! Kafka: one message a row through an idempotent producer, and watermarks in every partition.
//!
//! A batch is encoded in chunks, on several cores if it is long, and its messages are handed to librdkafka in order.
//! librdkafka keeps that order within a partition over retries. The sink never lets a message overtake a lost one:
//! when anything can't be delivered, all that waits is dropped and the sink fails for good; the feed then goes on from
//! its checkpoint, with a new sink.

mod chunk;
mod connection;
mod context;
mod delivery;
mod partition;
mod probe;
mod producer;
mod route;
mod topic_name;
mod topics;

pub use connection::KafkaPatience;

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidemark_crds::KafkaSink as Settings;
use tidemark_model::{Budget, KvChange, Ts};
use tidemark_tidb::schema::Ddl;
use tidemark_tidb::{Table, TimeZone};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::encode::{CanalDdl, CanalDdlKind, CanalJson, CanalOptions};
use crate::{Batch, Secrets, Sink, SinkError};
use chunk::Messages;
use delivery::{BatchDelivery, Delivery, DeliveryOf, Health};
use partition::Partitioner;
use route::{Route, Routes};
use topic_name::TopicExpression;
use topics::Topics;

/// Bytes of messages that wait in librdkafka at most.
const QUEUE: usize = 64 << 20;

/// A chunk ends when its changes weigh so much, or are so many.
const CHUNK_BYTES: usize = 256 << 10;
const CHUNK_ROWS: usize = 512;

/// Larger buffers are not kept for the next chunk.
const BUFFER_KEPT: usize = 4 << 20;

/// Before a full queue is tried again; the byte budget makes that rare.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// The Kafka sink.
pub struct KafkaSink {
    settings: Settings,
    zone: TimeZone,
    expression: TopicExpression,
    topics: Topics,
    routes: Routes,
    health: Arc<Health>,
    /// Memory of messages that wait in librdkafka.
    queue: Budget,
    /// Chunks of one batch that are encoded at once.
    encoders: usize,
    buffers: Mutex<Vec<Buffer>>,
    /// What has been taken since the last flush began.
    open: Mutex<TaskTracker>,
    /// What was taken before and is not durable yet; held by the flush that waits for it.
    closed: tokio::sync::Mutex<Vec<TaskTracker>>,
    watermark: Mutex<Watermark>,
}

/// The newest watermark that is not published yet, and when the last one was.
#[derive(Debug, Default)]
struct Watermark {
    pending: Option<Ts>,
    published: Option<Instant>,
}

/// What a chunk is encoded with, kept from chunk to chunk.
#[derive(Debug, Default)]
struct Buffer {
    messages: Messages,
    text: Vec<u8>,
}

impl KafkaSink {
    /// Connects, logs in and checks what can be checked before the first row: that brokers answer, that the login is right
    /// and may write, and that the topic is there or can be made where the expression names just one.
    ///
    /// # Errors
    /// [`SinkError::Config`] with what is wrong and how to mend it.
    pub async fn connect(
        settings: &Settings,
        secrets: &dyn Secrets,
        zone: &TimeZone,
        patience: KafkaPatience,
    ) -> Result<Self, SinkError> {
        let expression = TopicExpression::parse(&settings.topic)?;
        let client = connection::client(settings, secrets)?;
        let brokers = settings.brokers.join(",");
        let probed = {
            let client = client.clone();
            tokio::task::spawn_blocking(move || probe::probe(&client, &brokers, patience.connect))
        };
        probed
            .await
            .map_err(|error| SinkError::Config(format!("kafka probe: {error}")))??;
        let health = Arc::new(Health::default());
        let topics = Topics::new(settings, client, Arc::clone(&health), patience, QUEUE)?;
        if let Some(name) = expression.constant() {
            topics.get(&name).await?;
        }
        Ok(Self {
            settings: settings.clone(),
            zone: zone.clone(),
            expression,
            topics,
            routes: Routes::default(),
            health,
            queue: Budget::new(QUEUE),
            encoders: std::thread::available_parallelism().map_or(1, usize::from),
            buffers: Mutex::default(),
            open: Mutex::default(),
            closed: tokio::sync::Mutex::default(),
            watermark: Mutex::default(),
        })
    }

    async fn route(&self, table: &Arc<Table>) -> Result<Arc<Route>, SinkError> {
        if let Some(route) = self.routes.get(table) {
            return Ok(route);
        }
        let topic = self
            .topics
            .get(&self.expression.topic(&table.schema, &table.name))
            .await?;
        let options = CanalOptions {
            tidb_extension: self.settings.enable_tidb_extension,
            zone: self.zone.clone(),
        };
        let route = Arc::new(Route {
            table: Arc::clone(table),
            partitioner: Partitioner::new(table, self.settings.partition_by, topic.spread),
            encoder: CanalJson::new(table, &options),
            zone: self.zone.clone(),
            topic,
        });
        self.routes.put(Arc::clone(&route));
        Ok(route)
    }

    async fn take(&self, batch: Batch) -> Result<(), SinkError> {
        self.health.check()?;
        let route = self.route(&batch.table).await?;
        let token = self.open.lock().token();
        let delivery = Arc::new(BatchDelivery::new(batch.ack, Arc::clone(&self.health), token));
        let sent = self.pass(&route, batch.changes, &delivery).await;
        match &sent {
            Ok(()) => delivery.complete(),
            Err(error @ SinkError::Row(_)) => self.health.refuse(error),
            Err(_) => {}
        }
        sent
    }

    /// Encodes the changes and hands them over, in order.
    async fn pass(
        &self,
        route: &Arc<Route>,
        changes: Vec<KvChange>,
        batch: &Arc<BatchDelivery>,
    ) -> Result<(), SinkError> {
        let now_ms = now_ms();
        let mut chunks = chunks(&changes);
        if let [_] = chunks.as_slices().0 {
            let mut buffer = self.buffer();
            let encoded = chunk::encode(route, &changes, now_ms, &mut buffer.text, &mut buffer.messages);
            drop(changes);
            self.send(route, &buffer.messages, batch).await?;
            self.keep(buffer);
            return encoded;
        }
        let changes = Arc::new(changes);
        let mut ahead = VecDeque::new();
        loop {
            while ahead.len() <= self.encoders {
                let Some(range) = chunks.pop_front() else { break };
                let (route, changes, mut buffer) = (Arc::clone(route), Arc::clone(&changes), self.buffer());
                ahead.push_back(AbortOnDropHandle::new(tokio::spawn(async move {
                    let changes = changes.get(range).unwrap_or_default();
                    let encoded =
                        chunk::encode(&route, changes, now_ms, &mut buffer.text, &mut buffer.messages);
                    (buffer, encoded)
                })));
            }
            let Some(next) = ahead.pop_front() else {
                return Ok(());
            };
            let (buffer, encoded) = next
                .await
                .map_err(|error| SinkError::Unavailable(format!("kafka encoder: {error}")))?;
            self.send(route, &buffer.messages, batch).await?;
            self.keep(buffer);
            encoded?;
        }
    }

    async fn send(
        &self,
        route: &Route,
        messages: &Messages,
        batch: &Arc<BatchDelivery>,
    ) -> Result<(), SinkError> {
        if messages.len() == 0 {
            return Ok(());
        }
        let memory = self.queue.take(messages.weight()).await;
        let delivery = Arc::new(Delivery::new(
            Some(memory),
            DeliveryOf::Batch {
                _batch: Arc::clone(batch),
            },
        ));
        self.hand_over(&route.topic, messages, &delivery).await
    }

    async fn hand_over(
        &self,
        topic: &topics::Topic,
        messages: &Messages,
        delivery: &Arc<Delivery>,
    ) -> Result<(), SinkError> {
        let mut sent = 0;
        loop {
            sent = topic.producer.send(&topic.name, messages, sent, delivery)?;
            if sent == messages.len() {
                return Ok(());
            }
            tokio::time::sleep(QUEUE_PAUSE).await;
        }
    }

    /// Sends the pending watermark to every partition of every topic in use.
    async fn publish(&self) -> Result<(), SinkError> {
        let ts = {
            let mut watermark = self.watermark.lock();
            let Some(ts) = watermark.pending.take() else {
                return Ok(());
            };
            watermark.published = Some(Instant::now());
            ts
        };
        let mut value = Vec::new();
        CanalJson::watermark(ts, now_ms(), &mut value);
        for topic in self.topics.all() {
            let mut messages = Messages::default();
            for partition in 0..topic.partitions {
                messages.bytes().extend_from_slice(&value);
                messages.end(partition);
            }
            let memory = self.queue.take(messages.weight()).await;
            let of = DeliveryOf::Notice {
                _open: self.open.lock().token(),
            };
            let delivery = Arc::new(Delivery::new(Some(memory), of));
            self.hand_over(&topic, &messages, &delivery).await?;
        }
        Ok(())
    }

    /// Sends a DDL to the first partition of the topic of each table that it changed, named as before it, and waits until it is
    /// there.
    async fn tell(&self, ddl: &Ddl) -> Result<(), SinkError> {
        self.health.check()?;
        for change in &ddl.changes {
            let Some(table) = change.before().or(change.after()) else {
                continue;
            };
            let topic = self.expression.topic(&table.schema, &table.name);
            let topic = self.topics.get(&topic).await?;
            let mut messages = Messages::default();
            let message = CanalDdl {
                schema: &table.schema,
                table: &table.name,
                kind: CanalDdlKind::of(ddl.action),
                query: &ddl.query,
                commit_ts: ddl.ts,
            };
            let extension = self.settings.enable_tidb_extension;
            CanalJson::ddl(&message, extension, now_ms(), messages.bytes());
            messages.end(0);
            let memory = self.queue.take(messages.weight()).await;
            let of = DeliveryOf::Notice {
                _open: self.open.lock().token(),
            };
            let delivery = Arc::new(Delivery::new(Some(memory), of));
            self.hand_over(&topic, &messages, &delivery).await?;
        }
        self.settle().await
    }

    /// Waits until all that was taken is there.
    async fn settle(&self) -> Result<(), SinkError> {
        let mut closed = self.closed.lock().await;
        let taken = std::mem::take(&mut *self.open.lock());
        taken.close();
        closed.push(taken);
        while let Some(taken) = closed.last() {
            taken.wait().await;
            closed.pop();
        }
        self.health.check()
    }

    fn buffer(&self) -> Buffer {
        self.buffers.lock().pop().unwrap_or_default()
    }

    fn keep(&self, mut buffer: Buffer) {
        let mut buffers = self.buffers.lock();
        if buffer.messages.bytes().capacity() <= BUFFER_KEPT && buffers.len() <= 2 * self.encoders {
            buffer.messages.clear();
            buffers.push(buffer);
        }
    }
}

impl Sink for KafkaSink {
    fn announce<'a>(&'a self, table: &'a Arc<Table>, _since: Ts) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.health.check()?;
            self.route(table).await.map(drop)
        })
    }

    fn ddl<'a>(&'a self, ddl: &'a Ddl) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.tell(ddl))
    }

    fn write(&self, batch: Batch) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(self.take(batch))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.health.check()?;
            self.publish().await?;
            self.settle().await
        })
    }

    fn watermark(&self, ts: Ts) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.health.check()?;
            if !self.settings.enable_tidb_extension {
                return Ok(());
            }
            {
                let mut watermark = self.watermark.lock();
                watermark.pending = Some(ts);
                let interval = self.settings.watermark_interval.0;
                if watermark.published.is_some_and(|at| at.elapsed() < interval) {
                    return Ok(());
                }
            }
            self.publish().await
        })
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink")
            .field("brokers", &self.settings.brokers)
            .field("topic", &self.settings.topic)
            .finish_non_exhaustive()
    }
}

/// The ranges of the chunks.
fn chunks(changes: &[KvChange]) -> VecDeque<Range<usize>> {
    let mut chunks = VecDeque::new();
    let (mut start, mut weight) = (0, 0);
    for (at, change) in changes.iter().enumerate() {
        weight += change.weight();
        if weight >= CHUNK_BYTES || at + 1 - start == CHUNK_ROWS {
            chunks.push_back(start..at + 1);
            (start, weight) = (at + 1, 0);
        }
    }
    if start < changes.len() {
        chunks.push_back(start..changes.len());
    }
    chunks
}

/// The wall clock in milliseconds since the Unix epoch; read once a batch, for the messages' `ts`.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
