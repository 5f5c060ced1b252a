//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tidemark_process::logging::LogArgs;

/// Streams row changes of a TiKV cluster to Kafka and files.
#[derive(Debug, Parser)]
#[command(name = "tidemark-worker", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// The log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a feed without Kubernetes until it is stopped.
    Run(RunArgs),
    /// Take part in a feed under Kubernetes, in a pod that the operator makes.
    Serve(ServeArgs),
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

/// Settings of `serve` that are about this process; who it is stands in the pod's environment.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The feed's YAML file, as the operator writes it.
    #[arg(long)]
    pub changefeed: PathBuf,
    /// Folder for changes that wait on disk, and for what the worker remembers over restarts of its container.
    #[arg(long)]
    pub state: PathBuf,
    /// Folder of Secrets: the key K of Secret S is the file S/K in it.
    #[arg(long)]
    pub secrets: PathBuf,
    /// Folder of the Secret for the feed's workers: ca.crt, tls.crt and tls.key.
    #[arg(long)]
    pub peers: PathBuf,
    /// Address of /metrics, /healthz, /readyz and /spans.
    #[arg(long)]
    pub admin: SocketAddr,
    /// Address on which other workers reach this one.
    #[arg(long)]
    pub listen: SocketAddr,
}
