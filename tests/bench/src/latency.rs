use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tidemark_harness::Kafka;
use tidemark_workload::client::CommitKind;

use crate::arguments::{Arguments, Sizes};
use crate::source::Source;
use crate::subject::{Subject, kafka};
use crate::table::Table;
use crate::writer::Writer;

/// Regions of the table.
const REGIONS: usize = 16;
/// Time between two commits; no divisor of an interval, so that commits fall on all its parts.
const PAUSE: Duration = Duration::from_millis(11);
/// First commits that don't count: connections are opened then.
const WARM_UP: u64 = 100;
/// Until the last row is seen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time from a commit's answer until a Kafka consumer has the row.
pub(crate) async fn measure(arguments: &Arguments, sizes: &Sizes, table: &mut Table) -> Result<()> {
    let broker = Kafka::start(tidemark_harness::KafkaOptions::default()).await?;
    table.heading("Commit until a Kafka consumer has the row");
    for interval in [Duration::from_millis(200), Duration::from_secs(1)] {
        eprintln!("latency: a resolved ts each {interval:?}");
        let topic = format!("bench-latency-{}", interval.as_millis());
        broker.create_topic(&topic, 1, &[]).await?;
        let source = Source::start(0, REGIONS, interval).await?;
        let sink = kafka(&broker.bootstrap(), &topic, "1s");
        let mut subject = Subject::start(&arguments.worker()?, &source.report, sink, None).await?;
        subject.initialised(REGIONS).await?;
        let watch = Watch::start(broker.client(), topic, WARM_UP + sizes.commits);
        let writer = Writer::connect(&source.report.pd, source.report.table).await?;
        let mut committed = Vec::new();
        for row in 0..WARM_UP + sizes.commits {
            writer.commit(row..row + 1, CommitKind::OnePhase).await?;
            committed.push(Instant::now());
            tokio::time::sleep(PAUSE).await;
        }
        let seen = watch.end().await?;
        subject.end().await?;
        let mut times: Vec<Duration> = Vec::with_capacity(committed.len());
        for (row, at) in (0..).zip(committed).skip(usize::try_from(WARM_UP)?) {
            // A row may be at the consumer before its writer has the answer.
            times.extend(seen.get(&row).map(|seen| seen.saturating_duration_since(at)));
        }
        ensure!(
            times.len() as u64 == sizes.commits,
            "{} of {} rows were seen",
            times.len(),
            sizes.commits
        );
        times.sort_unstable();
        for (name, percent) in [("p50", 50), ("p99", 99)] {
            let at = times[times.len() * percent / 100];
            table.add(
                &format!("  {name}, a resolved ts each {interval:?}"),
                format!("{:.0} ms", at.as_secs_f64() * 1e3),
                format!("interval {:.0} ms", interval.as_secs_f64() * 1e3),
                Some(at.as_secs_f64() / interval.as_secs_f64()),
                "",
            );
        }
    }
    Ok(())
}

/// A consumer that notes when it has each row first.
struct Watch {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<HashMap<u64, Instant>>>,
}

impl Watch {
    fn start(config: ClientConfig, topic: String, rows: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let task = tokio::task::spawn_blocking(move || watch(config, &topic, rows, &seen));
        Self { stop, task }
    }

    /// Waits until it has all rows, or long enough.
    async fn end(mut self) -> Result<HashMap<u64, Instant>> {
        match tokio::time::timeout(PATIENCE, &mut self.task).await {
            Ok(seen) => seen?,
            Err(_) => {
                self.stop.store(true, Ordering::Relaxed);
                self.task.await?
            }
        }
    }
}

fn watch(
    mut config: ClientConfig,
    topic: &str,
    rows: u64,
    stop: &AtomicBool,
) -> Result<HashMap<u64, Instant>> {
    let consumer: BaseConsumer = config
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "10")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&partitions)?;
    let mut seen = HashMap::new();
    while (seen.len() as u64) < rows && !stop.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message?;
        let now = Instant::now();
        let value: serde_json::Value = serde_json::from_slice(message.payload().unwrap_or_default())?;
        if let Some(row) = value["data"][0]["id"].as_str().and_then(|id| id.parse().ok()) {
            seen.entry(row).or_insert(now);
        }
    }
    Ok(seen)
}
