//! `tidemark-operator`: serves Changefeeds, prints their definition, or looks whether an installation is whole.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tidemark_operator::cli::{CheckArgs, Cli, Command};
use tidemark_operator::{check, run};

/// Exit code for settings that can't work; 1 is for a run that failed.
const BAD_INPUT: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(message) = cli.log.start() {
        eprintln!("error: {message}");
        return ExitCode::from(BAD_INPUT);
    }
    // Both providers of rustls can be compiled in by dependencies; the choice has to be explicit.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = match cli.command {
        Command::Crd => print_crd().map(|()| true),
        Command::Run(args) => run::run(&args).await.map(|()| true),
        Command::Check(args) => print_findings(&args).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_crd() -> anyhow::Result<()> {
    let crd = tidemark_crds::crd_yaml()?;
    std::io::stdout().write_all(crd.as_bytes())?;
    Ok(())
}

/// Gives whether nothing is wrong.
async fn print_findings(args: &CheckArgs) -> anyhow::Result<bool> {
    let findings = check::check(args).await?;
    write!(std::io::stdout(), "{findings}")?;
    Ok(findings.all_hold())
}
