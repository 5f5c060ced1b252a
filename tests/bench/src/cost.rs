use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use tidemark_harness::{Folder, Kafka, KafkaOptions};
use tidemark_workload::client::CommitKind;

use crate::actor::{Actor, Cost};
use crate::arguments::{Arguments, Sizes};
use crate::records::{self, Contents};
use crate::source::{Report, Source};
use crate::subject::{Subject, blackhole, files, kafka};
use crate::table::{Table, mebibytes, micros, rate, ratio};
use crate::writer::Writer;

/// Regions of the table.
const REGIONS: usize = 16;
/// How often the source resolves.
const INTERVAL: Duration = Duration::from_millis(200);
/// Partitions of every topic.
const PARTITIONS: i32 = 4;
/// Has the broker stamp records with its own time.
const BROKERS_TIME: (&str, &str) = ("message.timestamp.type", "LogAppendTime");
/// What Debezium Server took from MariaDB to Kafka JSON on a machine of this kind, in µs of CPU a row.
const DEBEZIUM: f64 = 43.0;

/// What was measured of one way that rows reach the worker.
struct Way {
    drain: Cost,
    blackhole: Cost,
    kafka: Cost,
    produce: Cost,
}

impl Way {
    fn best(&self, other: &Self) -> Self {
        Self {
            drain: self.drain.best(other.drain),
            blackhole: self.blackhole.best(other.blackhole),
            kafka: self.kafka.best(other.kafka),
            produce: self.produce.best(other.produce),
        }
    }
}

/// CPU time and throughput of all stages, for rows of an initial scan and for rows as they are written.
pub(crate) async fn measure(arguments: &Arguments, sizes: &Sizes, table: &mut Table) -> Result<()> {
    let bench = Bench {
        worker: arguments.worker()?,
        broker: Kafka::start(KafkaOptions::default()).await?,
        folder: Folder::new("bench")?,
    };
    eprintln!("cost: preloading {} rows", sizes.rows);
    let source = Source::start(sizes.rows, REGIONS, INTERVAL).await?;
    // In the first round the broker is cold, which costs its clients too: bare and worker each have a second one.
    let (first, bytes) = bench.scan(&source.report, sizes.rows, 1).await?;
    let (second, _) = bench.scan(&source.report, sizes.rows, 2).await?;
    let scan = first.best(&second);
    let (to_files, bare_files, file_bytes) = bench.files(&source.report, sizes.rows).await?;
    let live = bench.live(&source, sizes).await?;
    costs(table, "initial scan", &scan, bytes / sizes.rows.max(1));
    costs(
        table,
        "live, prewrite and commit",
        &live,
        bytes / sizes.rows.max(1),
    );
    table.heading("CPU per row to files, canal-json");
    table.add(
        "  initial scan to files, synced",
        micros(to_files.cpu_per_row()),
        format!("bare writes {}", micros(bare_files.cpu_per_row())),
        ratio(to_files.cpu_per_row(), bare_files.cpu_per_row()),
        "",
    );
    throughput(table, &scan, &to_files, &bare_files);
    table.heading("Resident memory at most");
    for (name, cost) in [
        ("blackhole", &scan.blackhole),
        ("Kafka", &scan.kafka),
        ("files", &to_files),
    ] {
        let pulled = format!("rows in all {}", mebibytes(file_bytes));
        table.add(
            &format!("  initial scan to {name}"),
            mebibytes(cost.peak_rss),
            pulled,
            None,
            "",
        );
    }
    Ok(())
}

fn costs(table: &mut Table, way: &str, costs: &Way, message: u64) {
    let Way {
        drain,
        blackhole,
        kafka,
        produce,
    } = costs;
    let per_row = Cost::cpu_per_row;
    table.heading(&format!("CPU per row, {way} ({message} B a message)"));
    table.add(
        "  frames to Kafka, acknowledged",
        micros(per_row(kafka)),
        format!("bare librdkafka {}", micros(per_row(produce))),
        ratio(per_row(kafka), per_row(produce)),
        "<= 4 µs, <= 2",
    );
    table.add(
        "  the same",
        micros(per_row(kafka)),
        format!("Debezium, quoted {DEBEZIUM} µs"),
        ratio(per_row(kafka), DEBEZIUM),
        "",
    );
    table.add(
        "  frames to blackhole",
        micros(per_row(blackhole)),
        format!("bare gRPC drain {}", micros(per_row(drain))),
        ratio(per_row(blackhole), per_row(drain)),
        "<= 2 µs",
    );
    let whole = per_row(kafka);
    let stages = [
        ("gRPC and protobuf", per_row(drain)),
        ("match, merge, decode", per_row(blackhole) - per_row(drain)),
        ("encode, sink", whole - per_row(blackhole) - per_row(produce)),
        ("librdkafka", per_row(produce)),
    ];
    for (stage, cost) in stages {
        let share = format!("{:.0} % of the whole", cost / whole * 100.0);
        table.add(&format!("    stage: {stage}"), micros(cost), share, None, "");
    }
}

fn throughput(table: &mut Table, scan: &Way, to_files: &Cost, bare_files: &Cost) {
    table.heading("Throughput of an initial scan, start of the process included");
    let slowest = |others: [(&'static str, &Cost); 2]| {
        let [one, two] = others.map(|(name, cost)| (name, cost.rows_per_second()));
        if one.1 < two.1 { one } else { two }
    };
    let lines = [
        (
            "blackhole",
            &scan.blackhole,
            ("bare gRPC drain", scan.drain.rows_per_second()),
        ),
        (
            "Kafka",
            &scan.kafka,
            slowest([
                ("bare gRPC drain", &scan.drain),
                ("bare librdkafka", &scan.produce),
            ]),
        ),
        (
            "files",
            to_files,
            slowest([("bare gRPC drain", &scan.drain), ("bare writes", bare_files)]),
        ),
    ];
    for (name, cost, (peer, speed)) in lines {
        let measured = cost.rows_per_second();
        table.add(
            &format!("  to {name}"),
            rate(measured),
            format!("{peer} {}", rate(speed)),
            ratio(measured, speed),
            "",
        );
    }
}

/// The servers that the measurements share.
struct Bench {
    worker: PathBuf,
    broker: Kafka,
    folder: Folder,
}

impl Bench {
    /// All stages on rows that are there already.
    async fn scan(&self, source: &Report, rows: u64, round: usize) -> Result<(Way, u64)> {
        eprintln!("cost: initial scan, round {round}");
        let drain = drain(source, source.start_ts, rows)?.report().await?;
        step("drain", &drain);
        let mut subject = self.subject(source, blackhole()).await?;
        let blackhole = subject.rows(rows, source.last_ts).await?;
        subject.end().await?;
        step("blackhole", &blackhole);
        let topic = self.topic(&format!("scan-{round}")).await?;
        let mut subject = self
            .subject(source, kafka(&self.broker.bootstrap(), &topic, "1s"))
            .await?;
        let mut kafka = subject.rows(rows, source.last_ts).await?;
        let begun = subject.begun_at();
        subject.end().await?;
        let (produce, contents) = self.produce(&topic, rows).await?;
        kafka.wall = contents.appended.duration_since(begun)?;
        step("kafka", &kafka);
        Ok((
            Way {
                drain,
                blackhole,
                kafka,
                produce,
            },
            contents.bytes,
        ))
    }

    /// Rows of the scan to files, and as many bytes written bare.
    async fn files(&self, source: &Report, rows: u64) -> Result<(Cost, Cost, u64)> {
        let folder = self.folder.path().join("files");
        std::fs::create_dir_all(&folder)?;
        let mut subject = self.subject(source, files(&folder)).await?;
        let mut cost = subject.rows(rows, source.last_ts).await?;
        let begun = subject.begun_at();
        let (bytes, last) = written(&folder)?;
        cost.wall = last.context("no file was written")?.duration_since(begun)?;
        subject.end().await?;
        step("files", &cost);
        let bare = self.folder.path().join("bare");
        std::fs::create_dir_all(&bare)?;
        let arguments = [
            ("bytes", bytes.to_string()),
            ("folder", bare.display().to_string()),
        ];
        let mut writes: Cost = Actor::start("write", &arguments)?.report().await?;
        writes.rows = rows;
        step("bare writes", &writes);
        std::fs::remove_dir_all(&folder)?;
        std::fs::remove_dir_all(&bare)?;
        Ok((cost, writes, bytes))
    }

    /// All stages on rows that are written in two phases while they stream.
    async fn live(&self, source: &Source, sizes: &Sizes) -> Result<Way> {
        let report = &source.report;
        let writer = Writer::connect(&report.pd, report.table).await?;
        let rows = sizes.live_rows;
        let mut first = sizes.rows;
        let mut next = || {
            first += rows;
            first - rows..first
        };
        eprintln!("cost: {rows} rows live, three times");
        let mut actor = drain(report, writer.now().await?, rows)?;
        actor.ready().await?;
        let before = actor.usage()?;
        writer.write(next(), CommitKind::TwoPhase).await?;
        let mut drain: Cost = actor.report().await?;
        drain.cpu -= before.cpu;
        step("drain", &drain);

        let mut subject = Subject::start(&self.worker, report, blackhole(), None).await?;
        let blackhole = live(&mut subject, &writer, next()).await?;
        subject.end().await?;
        step("blackhole", &blackhole);

        let topic = self.topic("live").await?;
        let sink = kafka(&self.broker.bootstrap(), &topic, "1s");
        let mut subject = Subject::start(&self.worker, report, sink, None).await?;
        let kafka = live(&mut subject, &writer, next()).await?;
        subject.end().await?;
        step("kafka", &kafka);
        let (produce, _) = self.produce(&topic, kafka.rows).await?;
        Ok(Way {
            drain,
            blackhole,
            kafka,
            produce,
        })
    }

    async fn subject(&self, source: &Report, sink: serde_json::Value) -> Result<Subject> {
        Subject::start(&self.worker, source, sink, Some(source.start_ts)).await
    }

    async fn topic(&self, name: &str) -> Result<String> {
        let topic = format!("bench-{name}-{}", std::process::id());
        self.broker
            .create_topic(&topic, PARTITIONS, &[BROKERS_TIME])
            .await?;
        Ok(topic)
    }

    /// Sends the topic's messages once more, by bare librdkafka.
    async fn produce(&self, topic: &str, rows: u64) -> Result<(Cost, Contents)> {
        let path = self.folder.path().join("messages");
        let (config, from, to) = (self.broker.client(), topic.to_owned(), path.clone());
        let contents = tokio::task::spawn_blocking(move || records::save(&config, &from, &to)).await??;
        ensure!(
            contents.rows >= rows,
            "topic {topic} holds {} rows of {rows}",
            contents.rows
        );
        if contents.rows > rows {
            eprintln!("    {} rows were sent twice", contents.rows - rows);
        }
        let bare = format!("{topic}-bare");
        self.broker
            .create_topic(&bare, PARTITIONS, &[BROKERS_TIME])
            .await?;
        let arguments = [
            ("brokers", self.broker.bootstrap()),
            ("topic", bare),
            ("messages", path.display().to_string()),
        ];
        let cost = Actor::start("produce", &arguments)?.report().await?;
        step("bare librdkafka", &cost);
        std::fs::remove_file(&path)?;
        Ok((cost, contents))
    }
}

/// Writes rows while the worker streams.
async fn live(subject: &mut Subject, writer: &Writer, rows: std::ops::Range<u64>) -> Result<Cost> {
    subject.initialised(REGIONS).await?;
    subject.reset().await?;
    let count = rows.end - rows.start;
    writer.write(rows.clone(), CommitKind::TwoPhase).await?;
    // One row more, whose commit ts lies above all others.
    let last = writer
        .commit(rows.start..rows.start + 1, CommitKind::OnePhase)
        .await?;
    subject.rows(count + 1, last).await
}

fn drain(source: &Report, start_ts: u64, rows: u64) -> Result<Actor> {
    Actor::start(
        "drain",
        &[
            ("pd", source.pd.clone()),
            ("table", source.table.to_string()),
            ("start-ts", start_ts.to_string()),
            ("rows", rows.to_string()),
        ],
    )
}

/// Bytes of all files below a folder, and when the last of them was written.
fn written(folder: &Path) -> Result<(u64, Option<SystemTime>)> {
    let (mut bytes, mut last) = (0, None);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let (more, at) = if meta.is_dir() {
            written(&entry.path())?
        } else {
            (meta.len(), Some(meta.modified()?))
        };
        bytes += more;
        last = last.max(at);
    }
    Ok((bytes, last))
}

fn step(name: &str, cost: &Cost) {
    eprintln!(
        "    {name}: {} CPU a row, {:.2} s, {}, peak {}",
        micros(cost.cpu_per_row()),
        cost.wall.as_secs_f64(),
        rate(cost.rows_per_second()),
        mebibytes(cost.peak_rss),
    );
}
