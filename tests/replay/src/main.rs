//! `replay recordings DIR`: recordings of a real TiKV through the real puller.
//! `replay vectors DIR`: golden vectors through the decoder.
#![allow(clippy::print_stdout, reason = "a command that prints its findings")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use tidemark_replay::check::check;
use tidemark_replay::recording::Recording;

#[derive(Parser)]
#[command(about = "Runs recorded traffic and golden vectors of a real TiKV through the product.")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Replay each scenario of a folder, or one scenario, through the puller.
    Recordings {
        /// The folder.
        folder: PathBuf,
    },
    /// Decode each vector of a folder.
    Vectors {
        /// The folder.
        folder: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().what {
        What::Recordings { folder } => recordings(&folder).await,
        What::Vectors { folder } => vectors(&folder),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn recordings(folder: &Path) -> Result<()> {
    let mut scenarios = vec![folder.to_owned()];
    if !folder.join("scenario.json").exists() {
        let entries = std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
        scenarios = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        scenarios.retain(|path| path.join("scenario.json").exists());
        scenarios.sort();
    }
    ensure!(
        !scenarios.is_empty(),
        "{} holds no scenario.json",
        folder.display()
    );
    println!(
        "{:<16} {:>5} {:>9} {:>10} {:>9}",
        "recording", "subs", "versions", "delivered", "resolved"
    );
    let mut failed = 0;
    for path in scenarios {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let result = match Recording::load(&path) {
            Ok(recording) => check(&recording).await,
            Err(error) => Err(error.context(name.clone())),
        };
        match result {
            Ok(report) => println!(
                "{name:<16} {:>5} {:>9} {:>10} {:>9}",
                report.subscriptions, report.versions, report.delivered, report.resolved
            ),
            Err(error) => {
                println!("{name:<16} DIFFERS: {error:#}");
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} recordings differ from their truth");
    }
    Ok(())
}

fn vectors(folder: &Path) -> Result<()> {
    let report = tidemark_tidb::vectors::check_vectors(folder)?;
    println!("{report}");
    Ok(())
}
