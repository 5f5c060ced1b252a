//! `make e2e` and `make run-kubernetes`: the whole product on a real Kubernetes, disturbed and judged.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use tidemark_e2e::kubernetes::{Binaries, Outcome, Play, Step, Wanted, perform};

/// Installs Tidemark on a Kubernetes of its own, streams a busy TiKV cluster to Kafka and S3, disturbs everything, and lets a
/// judge compare what consumers read with the truth. Exit code 0 only if all invariants hold. Needs root.
#[derive(Parser)]
#[command(name = "tidemark-e2e")]
struct Cli {
    /// Decides the choices of workload and faults [default: by the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// Only these steps, comma-separated, in this order [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Step>,
    /// Lists the steps.
    #[arg(long)]
    list: bool,
    /// Leaves the cluster running until Ctrl-C, to look around.
    #[arg(long)]
    keep: bool,
    /// No steps, but TiKV's faults for a while, and one worker killed.
    #[arg(long, conflicts_with = "only")]
    demo: bool,
    /// Seconds of faults, for --demo.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Rows written per second.
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// The worker's binary [default: beside this one].
    #[arg(long)]
    worker: Option<PathBuf>,
    /// The operator's binary [default: beside this one].
    #[arg(long)]
    operator: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = std::env::var("TIDEMARK_LOG").unwrap_or_else(|_| "error,rdkafka=off,librdkafka=off".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let cli = Cli::parse();
    if cli.list {
        for step in Step::ALL {
            eprintln!("{:<14} {}", step.name(), step.about());
        }
        return ExitCode::SUCCESS;
    }
    match play(cli).await {
        Ok(outcome) => ExitCode::from(u8::from(!outcome.holds())),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn play(cli: Cli) -> Result<Outcome> {
    let wanted = if cli.demo {
        Wanted::Demo(Duration::from_secs(cli.seconds))
    } else if cli.only.is_empty() {
        Wanted::Steps(Step::ALL.to_vec())
    } else {
        Wanted::Steps(cli.only)
    };
    let play = Play {
        binaries: Binaries {
            worker: binary(cli.worker, "tidemark-worker")?,
            operator: binary(cli.operator, "tidemark-operator")?,
        },
        seed: cli.seed.unwrap_or_else(tidemark_e2e::now_ms),
        rows_per_second: cli.rate,
        wanted,
        keep: cli.keep,
    };
    Box::pin(perform(&play)).await
}

fn binary(given: Option<PathBuf>, name: &str) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path);
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a program is in a folder")?;
    Ok(folder.join(name))
}
