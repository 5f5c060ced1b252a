//! `make run`: the whole stream on an embedded cluster, under faults, judged.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use tidemark_e2e::{Destination, Outcome, Plan, Worker, run};
use tidemark_harness::{Kafka, KafkaOptions, S3Server};

/// Streams a live, failing TiKV cluster and lets a judge compare what a consumer reads with the truth. Exit code 0 only if
/// all invariants hold.
#[derive(Parser)]
struct Cli {
    /// Where the worker writes to.
    #[arg(long, value_enum, default_value_t = SinkKind::Kafka)]
    sink: SinkKind,
    /// Format of files.
    #[arg(long, default_value = "canal-json", value_parser = ["canal-json", "csv"])]
    format: String,
    /// Seconds of writing.
    #[arg(long, default_value_t = 45)]
    seconds: u64,
    /// Rows written per second.
    #[arg(long, default_value_t = 2000)]
    rate: u64,
    /// Regions at the start.
    #[arg(long, default_value_t = 72)]
    regions: usize,
    /// How often the worker is killed.
    #[arg(long, default_value_t = 2)]
    kills: u32,
    /// Decides the choices of workload and faults [default: by the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// The worker's binary [default: beside this one].
    #[arg(long)]
    worker: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SinkKind {
    /// A real Kafka broker.
    Kafka,
    /// A temporary folder.
    Storage,
    /// A real S3 server.
    S3,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = std::env::var("TIDEMARK_LOG").unwrap_or_else(|_| "error,rdkafka=off,librdkafka=off".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match demo(Cli::parse()).await {
        Ok(outcome) => {
            report(&outcome);
            ExitCode::from(u8::from(!outcome.verdict.holds()))
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn demo(cli: Cli) -> Result<Outcome> {
    let begun = Instant::now();
    let mut say = move |text: &str| eprintln!("{:>6.1} s  {text}", begun.elapsed().as_secs_f64());
    let binary = match cli.worker {
        Some(path) => path,
        None => Worker::built()?,
    };
    let format = if cli.format == "csv" { "csv" } else { "canal-json" };
    let destination = match cli.sink {
        SinkKind::Kafka => {
            say("starting Kafka");
            let options = KafkaOptions {
                max_message_bytes: Some(4 << 20),
                ..KafkaOptions::default()
            };
            Destination::kafka(Kafka::start(options).await?, "tidemark")?
        }
        SinkKind::Storage => Destination::folder(format)?,
        SinkKind::S3 => {
            say("starting an S3 server");
            Destination::s3(S3Server::start().await?, "tidemark", format)?
        }
    };
    let plan = Plan {
        seed: cli.seed.unwrap_or_else(by_clock),
        writing: Duration::from_secs(cli.seconds),
        rows_per_second: Some(cli.rate),
        regions: cli.regions,
        kills: cli.kills,
        ..Plan::default()
    };
    run(&plan, &binary, destination, &mut say).await
}

fn by_clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |since| since.subsec_nanos().into())
}

fn report(outcome: &Outcome) {
    let deeds = &outcome.deeds;
    eprintln!();
    eprintln!("{}", outcome.verdict);
    eprintln!(
        "faults: {} splits, {} merges, {} leader moves, {} store deaths, {} locks left behind, {} dropped streams, {} \
         pauses of PD, {} SIGKILLs of the worker; {} regions at the end",
        deeds.splits,
        deeds.merges,
        deeds.moves,
        deeds.stores,
        deeds.locks,
        deeds.streams,
        deeds.pauses,
        outcome.recoveries.len(),
        outcome.regions,
    );
    let recoveries: Vec<_> = outcome
        .recoveries
        .iter()
        .map(|time| format!("{:.1} s", time.as_secs_f64()))
        .collect();
    eprintln!(
        "worker: {} MiB at most, {:.1} s of CPU since its last start; checkpoint moved again {} after its starts; all had \
         arrived {:.1} s after the last write",
        outcome.worker_memory >> 20,
        outcome.worker_cpu.as_secs_f64(),
        recoveries.join(", "),
        outcome.settled.as_secs_f64(),
    );
}
