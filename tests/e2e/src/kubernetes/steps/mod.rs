mod alter;
mod api_outage;
mod delete;
mod drain;
mod freeze_owner;
mod kill_operator;
mod kill_workers;
mod partition;
mod pause;
mod repeat;
mod scale;
mod tables;
mod upgrade;

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;

use super::stage::Stage;

pub(super) use kill_workers::kill as kill_worker;
pub(super) use tables::LATE_ROWS;

/// A disturbance, or something that a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// SIGKILL of each worker in turn.
    KillWorkers,
    /// SIGKILL of the operator.
    KillOperator,
    /// SIGSTOP of a feed's owner past its Lease: it is ended, and another takes over.
    FreezeOwner,
    /// The API server is away for a minute.
    ApiOutage,
    /// A worker reaches neither the API server nor the other workers.
    Partition,
    /// All workers are evicted, one after the other.
    Drain,
    /// `kubectl scale` to 1, 4 and 2.
    Scale,
    /// A new image for operator and workers.
    Upgrade,
    /// A feed is paused and resumed.
    Pause,
    /// A table is added to a feed and left out again.
    Tables,
    /// Tables of the feeds change.
    Alter,
    /// Feeds are deleted.
    Delete,
    /// `helm upgrade` and `kubectl apply` without a difference.
    Repeat,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::KillWorkers,
        Self::KillOperator,
        Self::FreezeOwner,
        Self::ApiOutage,
        Self::Partition,
        Self::Drain,
        Self::Scale,
        Self::Upgrade,
        Self::Pause,
        Self::Tables,
        Self::Alter,
        Self::Delete,
        Self::Repeat,
    ];

    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillWorkers => "kill-workers",
            Self::KillOperator => "kill-operator",
            Self::FreezeOwner => "freeze-owner",
            Self::ApiOutage => "api-outage",
            Self::Partition => "partition",
            Self::Drain => "drain",
            Self::Scale => "scale",
            Self::Upgrade => "upgrade",
            Self::Pause => "pause",
            Self::Tables => "tables",
            Self::Alter => "alter",
            Self::Delete => "delete",
            Self::Repeat => "repeat",
        }
    }

    /// What it does, in words.
    pub fn about(self) -> &'static str {
        match self {
            Self::KillWorkers => "SIGKILL of each worker in turn",
            Self::KillOperator => "SIGKILL of the operator",
            Self::FreezeOwner => "SIGSTOP of a feed's owner past its Lease",
            Self::ApiOutage => "the API server is away for a minute",
            Self::Partition => "a worker reaches neither the API server nor the other workers",
            Self::Drain => "every worker is evicted, one after the other",
            Self::Scale => "kubectl scale to 1, 4 and 2",
            Self::Upgrade => "a new image for operator and workers",
            Self::Pause => "a feed is paused and resumed; its history stays",
            Self::Tables => "a table is added to a feed and left out again",
            Self::Alter => "tables of the feeds change",
            Self::Delete => "feeds are deleted: history is released, or kept",
            Self::Repeat => "helm upgrade and kubectl apply, twice, without a difference",
        }
    }

    pub(super) async fn run(self, stage: &Stage) -> Result<()> {
        match self {
            Self::KillWorkers => Box::pin(kill_workers::run(stage)).await,
            Self::KillOperator => Box::pin(kill_operator::run(stage)).await,
            Self::FreezeOwner => Box::pin(freeze_owner::run(stage)).await,
            Self::ApiOutage => Box::pin(api_outage::run(stage)).await,
            Self::Partition => Box::pin(partition::run(stage)).await,
            Self::Drain => Box::pin(drain::run(stage)).await,
            Self::Scale => Box::pin(scale::run(stage)).await,
            Self::Upgrade => Box::pin(upgrade::run(stage)).await,
            Self::Pause => Box::pin(pause::run(stage)).await,
            Self::Tables => Box::pin(tables::run(stage)).await,
            Self::Alter => Box::pin(alter::run(stage)).await,
            Self::Delete => Box::pin(delete::run(stage)).await,
            Self::Repeat => Box::pin(repeat::run(stage)).await,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
