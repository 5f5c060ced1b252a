use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_judge::{Judge, Verdict};
use tidemark_workload::Workload;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::judging::{self, workload_config};
use crate::{Deeds, Destination, Nemesis, Worker};

/// A run of the whole stream under faults.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides the workload's and the nemesis's choices.
    pub seed: u64,
    /// How long the workload writes.
    pub writing: Duration,
    /// Rows per second; none for as many as the cluster takes.
    pub rows_per_second: Option<u64>,
    /// Regions at the start.
    pub regions: usize,
    /// Whether the nemesis works.
    pub faults: bool,
    /// How often the worker is killed, spread over the writing.
    pub kills: u32,
    /// Fields of the feed's spec besides source and sink.
    pub more: serde_json::Value,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            writing: Duration::from_secs(15),
            rows_per_second: Some(1500),
            regions: 64,
            faults: true,
            kills: 1,
            more: serde_json::json!({}),
        }
    }
}

/// What a run gave.
#[derive(Debug)]
pub struct Outcome {
    /// The judge's word.
    pub verdict: Verdict,
    /// What the nemesis did.
    pub deeds: Deeds,
    /// From the worker's start after each kill until its checkpoint moved.
    pub recoveries: Vec<Duration>,
    /// Regions at the end.
    pub regions: usize,
    /// The worker's highest resident memory seen, bytes.
    pub worker_memory: u64,
    /// The worker's CPU time since its last start.
    pub worker_cpu: Duration,
    /// From the end of the writing until everything was there.
    pub settled: Duration,
}

/// Says what happens now.
pub type Say<'a> = &'a mut (dyn FnMut(&str) + Send);

/// Runs the plan: cluster, workload, worker, faults, consumer, judge.
pub async fn run(plan: &Plan, binary: &Path, mut to: Destination, say: Say<'_>) -> Result<Outcome> {
    say(&format!(
        "seed {}: starting 3 stores and the workload's tables",
        plan.seed
    ));
    let config = ClusterConfig {
        stores: 3,
        seed: plan.seed,
        ..ClusterConfig::default()
    };
    let cluster = Cluster::start(config).await?;
    let workload = Workload::create(
        &cluster.pd_endpoints(),
        workload_config(plan.seed, plan.rows_per_second),
    )
    .await?;
    let filled = cluster.now().0;
    let start = judging::beginning(&workload).await?;
    let ids = workload
        .tables()
        .iter()
        .flat_map(|table| table.physical_ids.clone())
        .collect();
    let mut nemesis = Nemesis::new(cluster.clone(), plan.seed, ids);
    nemesis.split_to(plan.regions);
    say(&format!(
        "{} tables in {} regions; starting the worker",
        workload.tables().len(),
        cluster.regions().len()
    ));

    let mut feed = to.feed(cluster.pd_endpoints());
    feed.start_ts = Some(start);
    feed.more = plan.more.clone();
    let mut worker = Worker::new(binary, &feed.yaml())?;
    for (secret, key, value) in to.secrets() {
        worker.secret(secret, key, &value)?;
    }
    worker.start_ready().await?;
    say("streaming; writing begins");

    let stop = CancellationToken::new();
    let trouble = plan.faults.then(|| tokio::spawn(nemesis.work(stop.clone())));
    let running = workload.start();
    let mut recoveries = Vec::new();
    let mut memory = 0;
    let pause = plan.writing / (plan.kills + 1);
    for round in 0..=plan.kills {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            sleep(Duration::from_millis(100)).await;
            memory = memory.max(worker.usage()?.rss);
        }
        if round == plan.kills {
            break;
        }
        worker.kill()?;
        to.read_on().await?;
        let saved = worker.saved_checkpoint()?;
        to.checkpoint(saved);
        say(&format!(
            "worker killed at checkpoint {saved}; {} rows written; starting it again",
            running.truth().len()
        ));
        let begun = Instant::now();
        worker.start_ready().await?;
        worker.checkpoint_above(saved).await?;
        recoveries.push(begun.elapsed());
        say(&format!(
            "its checkpoint moves again after {:.1} s",
            begun.elapsed().as_secs_f64()
        ));
    }
    stop.cancel();
    let deeds = match trouble {
        Some(trouble) => trouble.await?,
        None => Deeds::default(),
    };
    let truth = running.stop().await?;
    let last = truth.max_commit_ts();
    say(&format!(
        "writing ended: {} rows; waiting for everything to arrive",
        truth.len()
    ));
    let ended = Instant::now();
    to.read_until(last).await.with_context(|| worker.log_tail())?;
    let settled = ended.elapsed();
    let usage = worker.usage()?;
    worker.drain().await?;
    to.checkpoint(worker.saved_checkpoint()?);

    let mut settings = judging::settings(&workload, |_, _| true, start, filled, last);
    to.adapt(&mut settings);
    say("judging");
    let mut judge = Judge::new(truth.rows(), settings);
    to.show(&mut judge);
    Ok(Outcome {
        verdict: judge.verdict(),
        deeds,
        recoveries,
        regions: cluster.regions().len(),
        worker_memory: memory.max(usage.rss),
        worker_cpu: usage.cpu,
        settled,
    })
}
