//! The cases, and what they share.

pub(crate) mod edited;
pub(crate) mod refused;
pub(crate) mod rights;
pub(crate) mod survived;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_e2e::{Feed, Fleet, Plane, now_ms};
use tidemark_harness::eventually;
use tidemark_workload::{Workload, WorkloadConfig};
use tokio::time::sleep;

/// Within which everything that shall happen happens, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a status.
const LOOK: Duration = Duration::from_millis(300);

/// What all cases share.
pub(crate) struct Site {
    pub(crate) plane: Arc<Plane>,
    /// A cluster with two tables, which nobody disturbs.
    pub(crate) cluster: Cluster,
}

impl Site {
    pub(crate) async fn start(plane: &Arc<Plane>) -> Result<Self> {
        let (cluster, _) = cluster(ClusterConfig::default()).await?;
        Ok(Self {
            plane: Arc::clone(plane),
            cluster,
        })
    }

    /// Starts a feed with its workers.
    pub(crate) async fn run(&self, feed: &Feed) -> Result<Fleet> {
        let mut fleet = Fleet::begin(&self.plane, feed).await?;
        for ordinal in 0..usize::try_from(feed.replicas())? {
            fleet.run(ordinal).await?;
        }
        Ok(fleet)
    }
}

/// A cluster with two small tables and nobody who writes.
pub(crate) async fn cluster(config: ClusterConfig) -> Result<(Cluster, Workload)> {
    let cluster = Cluster::start(config).await?;
    let tables = WorkloadConfig {
        bank_accounts: 0,
        mixed_tables: false,
        extra_tables: 2,
        rows_per_second: Some(50),
        ..WorkloadConfig::default()
    };
    let workload = Workload::create(&cluster.pd_endpoints(), tables).await?;
    Ok((cluster, workload))
}

/// A feed of those tables to nowhere.
pub(crate) fn to_nowhere(name: &str, pd: Vec<String>) -> Feed {
    Feed {
        name: name.into(),
        ..Feed::new(pd, json!({"blackhole": {}}))
    }
}

fn has_all(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "{text:?} does not say {word:?}");
    }
    Ok(())
}

/// Waits until the owner says this in the status; gives the message.
pub(crate) async fn says(fleet: &Fleet, phase: &str, words: &[&str]) -> Result<String> {
    eventually(PATIENCE, &format!("{phase} that says {words:?}"), || async {
        sleep(LOOK).await;
        let status = fleet.status().await?;
        let stream = &status["stream"];
        ensure!(stream["phase"] == phase, "{status}");
        let message = stream["message"].as_str().unwrap_or_default();
        has_all(message, words)?;
        Ok(message.to_owned())
    })
    .await
    .with_context(|| fleet.logs())
}

/// Waits until the operator shows conditions, written `Ready=False/Retrying`; the first one has these words.
pub(crate) async fn shows(fleet: &Fleet, wanted: &[&str], words: &[&str]) -> Result<()> {
    eventually(PATIENCE, &format!("{wanted:?}"), || async {
        sleep(LOOK).await;
        let status = fleet.status().await?;
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        for (index, wanted) in wanted.iter().enumerate() {
            let found = conditions.iter().find(|condition| named(condition) == *wanted);
            let found = found.with_context(|| format!("{conditions:?}"))?;
            if index == 0 {
                has_all(found["message"].as_str().unwrap_or_default(), words)?;
            }
        }
        Ok(())
    })
    .await
    .with_context(|| fleet.logs())
}

fn named(condition: &Value) -> String {
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    format!("{}={}/{}", text("type"), text("status"), text("reason"))
}

/// Waits until the checkpoint in the status has passed this moment.
pub(crate) async fn advances(fleet: &Fleet) -> Result<Duration> {
    let (begun, now) = (std::time::Instant::now(), now_ms() << 18);
    eventually(PATIENCE, "checkpoint that moves", || async {
        sleep(LOOK).await;
        let checkpoint = fleet.checkpoint().await?;
        ensure!(
            checkpoint > now,
            "checkpoint {checkpoint} is not above {now}: {}",
            fleet.status().await?
        );
        Ok(())
    })
    .await
    .with_context(|| fleet.logs())?;
    Ok(begun.elapsed())
}
