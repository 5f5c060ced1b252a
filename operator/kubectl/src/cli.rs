//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Looks at Changefeeds and steers them.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-tidemark",
    bin_name = "kubectl tidemark",
    version,
    args_override_self = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster, as kubectl has it.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterArgs {
    /// The kubeconfig [default: $KUBECONFIG, or ~/.kube/config].
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// The feed's namespace [default: the context's].
    #[arg(long, short, global = true)]
    pub namespace: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show how a feed is, or all feeds.
    Status {
        /// The feed [default: all of the namespace].
        name: Option<String>,
        /// Feeds of all namespaces.
        #[arg(long = "all-namespaces", short = 'A', conflicts_with = "name")]
        all: bool,
    },
    /// Show a feed's spans, the one that lies farthest behind first; asks the feed's owner.
    Spans {
        /// The feed.
        name: String,
        /// How they are written.
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
        /// The workers' admin port.
        #[arg(long, default_value_t = 8080)]
        port: u16,
    },
    /// End a feed's workers and keep its history.
    Pause {
        /// The feed.
        name: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Start a feed's workers again, at its checkpoint.
    Resume {
        /// The feed.
        name: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Take a worker's spans away and give it none.
    Drain {
        /// The feed.
        name: String,
        /// The worker's pod.
        pod: String,
        /// Give it spans again.
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Move a span to a worker and keep it there.
    Move {
        /// The feed.
        name: String,
        /// The span, as `spans` names it.
        span: String,
        /// The worker's pod.
        #[arg(required_unless_present = "undo", conflicts_with = "undo")]
        pod: Option<String>,
        /// Let the span go where the feed's owner puts it.
        #[arg(long)]
        undo: bool,
    },
    /// Print a manifest that begins where the feed stands, for another cluster or name.
    Export {
        /// The feed.
        name: String,
        /// The new feed's name [default: the same].
        #[arg(long, value_name = "NAME")]
        rename: Option<String>,
    },
    /// Say what is wrong with a feed's file, and whether the cluster would take it; changes nothing.
    VerifyConfig {
        /// The file; `-` is standard input.
        file: PathBuf,
    },
}

/// Whether to wait until it has happened.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct WaitArgs {
    /// Return once it has happened.
    #[arg(long)]
    pub wait: bool,
    /// Wait no longer than this.
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_flags_stand_anywhere() {
        Cli::command().debug_assert();
        let args = ["kubectl-tidemark", "pause", "orders", "-n", "shop", "--wait"];
        let cli = Cli::try_parse_from(args).unwrap();
        assert_eq!(cli.cluster.namespace.as_deref(), Some("shop"));
        assert!(
            matches!(cli.command, Command::Pause { wait, .. } if wait.wait && wait.timeout.as_secs() == 300)
        );
    }

    #[test]
    fn a_move_names_a_pod_or_is_undone() {
        let parse = |more: &[&str]| {
            let all = ["kubectl-tidemark", "move", "orders", "shop.items"];
            Cli::try_parse_from(all.iter().chain(more)).is_ok()
        };
        assert!(parse(&["orders-1"]) && parse(&["--undo"]));
        assert!(!parse(&[]) && !parse(&["orders-1", "--undo"]));
    }
}
