//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Streams row changes of a TiKV cluster to Kafka and files.
#[derive(Debug, Parser)]
#[command(name = "tidemark-worker", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How log lines are written.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "TIDEMARK_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What is logged, as tracing's filter directives: `info`, `tidemark_pull=debug`.
    #[arg(long, global = true, default_value = "info", env = "TIDEMARK_LOG")]
    pub log: String,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a feed without Kubernetes until it is stopped.
    Run(RunArgs),
    /// Say what is wrong with a feed's file; reaches no server.
    Check {
        /// The feed's YAML file.
        #[arg(long)]
        changefeed: PathBuf,
    },
}

/// Settings of `run` that are about this process, not about the feed.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The feed's YAML file, the same that `kubectl apply` takes.
    #[arg(long)]
    pub changefeed: PathBuf,
    /// Folder that keeps the checkpoint and changes that wait on disk [default: tidemark-state/NAME].
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// Folder of Secrets: the key K of Secret S is the file S/K in it.
    #[arg(long, default_value = "secrets", env = "TIDEMARK_SECRETS")]
    pub secrets: PathBuf,
    /// Address of /metrics, /healthz and /readyz; port 0 picks a free one.
    #[arg(long, env = "TIDEMARK_ADMIN")]
    pub admin: Option<SocketAddr>,
    /// Threads that decode and encode [default: one a core].
    #[arg(long)]
    pub threads: Option<usize>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
