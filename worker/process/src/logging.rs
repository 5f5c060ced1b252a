//! Structured logs on standard error.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Settings of the log; part of each program's command line.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// How log lines are written.
    #[arg(long = "log-format", global = true, value_enum, default_value_t = LogFormat::Text, env = "TIDEMARK_LOG_FORMAT")]
    pub format: LogFormat,
    /// What is logged, as tracing's filter directives: `info`, `tidemark_pull=debug`.
    #[arg(long = "log", global = true, default_value = "info", env = "TIDEMARK_LOG")]
    pub filter: String,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogArgs {
    /// Starts logging, once a process; fails on a filter that can't be read.
    pub fn start(&self) -> Result<(), String> {
        let filter = parse(&self.filter)?;
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        match self.format {
            LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
            LogFormat::Json => builder.json().init(),
        }
        Ok(())
    }
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter).map_err(|error| format!("--log: {filter:?} is no log filter: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        assert!(parse("info,tidemark_pull=debug").is_ok());
        let message = parse("tidemark_pull=loud").unwrap_err();
        assert!(
            message.starts_with("--log: \"tidemark_pull=loud\" is no log filter: "),
            "{message}"
        );
    }
}
