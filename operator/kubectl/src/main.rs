//! `kubectl tidemark`: looks at feeds and steers them.

mod cli;
mod cluster;
mod export;
#[cfg(test)]
mod fixture;
mod output;
mod place;
mod spans;
mod state;
mod status;
mod times;
mod verify;
mod wait;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use cluster::Cluster;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Both providers of rustls can be compiled in by dependencies; the choice has to be explicit.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Box::pin(run(cli)).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", output::line(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let connect = || Cluster::connect(&cli.cluster);
    match cli.command {
        Command::Status { name: None, all } => status::all(&connect().await?, all).await?,
        Command::Status { name: Some(name), .. } => status::one(&connect().await?, &name).await?,
        Command::Spans { name, output, port } => spans::run(&connect().await?, &name, output, port).await?,
        Command::Pause { name, wait } => state::pause(&connect().await?, &name, &wait).await?,
        Command::Resume { name, wait } => state::resume(&connect().await?, &name, &wait).await?,
        Command::Drain {
            name,
            pod,
            undo,
            wait,
        } => place::drain(&connect().await?, &name, &pod, undo, &wait).await?,
        Command::Move { name, span, pod, .. } => {
            place::pin(&connect().await?, &name, &span, pod.as_deref()).await?;
        }
        Command::Export { name, rename } => {
            export::run(&connect().await?, &name, rename.as_deref()).await?;
        }
        Command::VerifyConfig { file } => return verify::run(&file, &cli.cluster).await,
    }
    Ok(ExitCode::SUCCESS)
}
