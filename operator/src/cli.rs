//! The command line.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};
use tidemark_process::logging::LogArgs;

use crate::controller::Scope;

/// Turns Changefeed resources into workers.
#[derive(Debug, Parser)]
#[command(name = "tidemark-operator", version)]
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
    /// Serve Changefeeds until stopped.
    Run(RunArgs),
    /// Print the CustomResourceDefinition.
    Crd,
    /// Look at an installation: a line for each thing that has to hold, and exit code 1 if something is wrong.
    Check(CheckArgs),
}

/// Settings of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What is served.
    #[command(flatten)]
    pub serves: ServesArgs,
    /// The image of workers whose feed names none.
    #[arg(long, env = "TIDEMARK_IMAGE")]
    pub image: String,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, default_value = "0.0.0.0:8080", env = "TIDEMARK_ADMIN")]
    pub admin: SocketAddr,
    /// The operator's own namespace, for the Lease by which one of several leads [default: that of the kubeconfig or
    /// service account].
    #[arg(long, env = "POD_NAMESPACE")]
    pub own_namespace: Option<String>,
}

/// Settings of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// What the operator serves.
    #[command(flatten)]
    pub serves: ServesArgs,
    /// The operator's own namespace, where its Lease is [default: that of the kubeconfig or service account].
    #[arg(long, env = "POD_NAMESPACE")]
    pub own_namespace: Option<String>,
}

/// Which feeds an operator serves.
#[derive(Debug, Args)]
pub struct ServesArgs {
    /// Namespaces to serve, separated by commas [default: all].
    #[arg(long, value_delimiter = ',', env = "TIDEMARK_NAMESPACES")]
    pub namespace: Vec<String>,
}

impl ServesArgs {
    /// The namespaces to serve.
    pub fn scope(&self) -> Scope {
        let mut names: Vec<String> = self.namespace.iter().map(|name| name.trim().to_owned()).collect();
        names.retain(|name| !name.is_empty());
        names.sort();
        names.dedup();
        if names.is_empty() {
            Scope::All
        } else {
            Scope::Namespaces(names)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(args: &[&str]) -> Scope {
        let all = ["tidemark-operator", "run", "--image", "i"].iter().chain(args);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Run(args) => args.serves.scope(),
            Command::Check(_) | Command::Crd => panic!("run"),
        }
    }

    #[test]
    fn namespaces_are_a_list_or_all() {
        assert_eq!(scope(&[]), Scope::All);
        assert_eq!(scope(&["--namespace", ""]), Scope::All);
        let two = Scope::Namespaces(vec!["a".into(), "b".into()]);
        assert_eq!(scope(&["--namespace", "b, a"]), two);
        assert_eq!(scope(&["--namespace", "a", "--namespace", "b"]), two);
    }
}
