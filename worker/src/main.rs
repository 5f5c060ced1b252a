//! `tidemark-worker`: runs a feed, or checks its file.

use std::process::ExitCode;

use clap::Parser;
use tidemark_crds::Changefeed;
use tidemark_worker::cli::{Cli, Command};
use tidemark_worker::{cluster, feed};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code for settings that can't work; 1 is for a run that failed.
const BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(message) = cli.log.start() {
        return refuse(&message);
    }
    // Both providers of rustls can be compiled in by dependencies; the choice has to be explicit.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let path = match &cli.command {
        Command::Run(args) => &args.changefeed,
        Command::Serve(args) => &args.changefeed,
        Command::Check { changefeed } => changefeed,
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return refuse(&format!("{}: {error}", path.display())),
    };
    let read = match &cli.command {
        Command::Serve(_) => Changefeed::from_operators_yaml(&text),
        Command::Run(_) | Command::Check { .. } => Changefeed::from_yaml(&text),
    };
    let feed = match read {
        Ok(feed) => feed,
        Err(error) => {
            let lines: Vec<_> = error
                .to_string()
                .lines()
                .map(|l| format!("{}: {l}", path.display()))
                .collect();
            return refuse(&lines.join("\n"));
        }
    };
    let ended = match cli.command {
        Command::Check { .. } => {
            eprintln!("{}: nothing wrong", path.display());
            Ok(())
        }
        Command::Run(args) => feed::run(feed, &args),
        Command::Serve(args) => cluster::serve(feed, &args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(BAD_INPUT)
}
