use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tidemark_judge::Verdict;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::close::close;
use super::evidence::Evidence;
use super::figures::Figures;
use super::line::PATIENCE;
use super::open::{NAMESPACE, open};
use super::site::{Binaries, Site};
use super::stage::{Clock, Stage};
use super::steps::{Step, kill_worker};
use crate::Nemesis;

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Play {
    /// The programs under test.
    pub binaries: Binaries,
    /// Decides the workload's choices and the faults'.
    pub seed: u64,
    /// Rows written per second.
    pub rows_per_second: u64,
    /// What happens.
    pub wanted: Wanted,
    /// Leaves the cluster running until Ctrl-C.
    pub keep: bool,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// These steps.
    Steps(Vec<Step>),
    /// So much time under faults of TiKV, and a worker killed.
    Demo(Duration),
}

/// What a play gave.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The judge's word on each feed.
    pub verdicts: Vec<(String, Verdict)>,
    /// What was measured.
    pub figures: Figures,
    /// Steps that failed, and why.
    pub failures: Vec<String>,
    /// Where to look for the reasons.
    pub evidence: Option<PathBuf>,
}

impl Outcome {
    /// Whether nothing failed and every promise was kept.
    pub fn holds(&self) -> bool {
        self.failures.is_empty() && self.verdicts.iter().all(|(_, verdict)| verdict.holds())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (feed, verdict) in &self.verdicts {
            writeln!(f, "{feed}: {verdict}")?;
        }
        writeln!(f, "{}", self.figures)?;
        let missed = self.figures.missed().count();
        if missed > 0 {
            writeln!(f, "{missed} figures are above their aims")?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED: {failure}")?;
        }
        if let Some(folder) = &self.evidence {
            writeln!(f, "logs and objects: {}", folder.display())?;
        }
        Ok(())
    }
}

/// Starts everything, plays, judges, tells, and stops everything.
pub async fn perform(play: &Play) -> Result<Outcome> {
    let clock = Clock::start();
    clock.say(&format!("seed {}: image, Kubernetes and TiKV start", play.seed));
    let site = Arc::new(Box::pin(Site::start(&play.binaries, play.seed)).await?);
    let evidence = Evidence::start(&site)?;
    let mut outcome = Outcome::default();
    if let Err(error) = Box::pin(run(play, &site, clock, &evidence, &mut outcome)).await {
        clock.say(&format!("FAILED: {error:#}"));
        evidence.look(&site, "end", NAMESPACE).await;
        outcome.failures.push(format!("{error:#}"));
    }
    outcome.evidence = evidence.end(!outcome.holds());
    eprintln!("\n{outcome}");
    if play.keep {
        stay(&site, clock).await?;
    }
    clock.say("stopping");
    let site = Arc::into_inner(site).context("someone still uses the site")?;
    site.stop().await?;
    clock.say("done");
    Ok(outcome)
}

async fn run(
    play: &Play,
    site: &Arc<Site>,
    clock: Clock,
    evidence: &Evidence,
    outcome: &mut Outcome,
) -> Result<()> {
    let (stage, running) = Box::pin(open(site, play, clock)).await?;
    match &play.wanted {
        Wanted::Steps(steps) => {
            for step in steps {
                clock.say(&format!("{step}: {}", step.about()));
                let begun = clock.elapsed();
                if let Err(error) = Box::pin(step.run(&stage)).await {
                    clock.say(&format!("  FAILED: {error:#}"));
                    evidence.look(site, step.name(), NAMESPACE).await;
                    outcome.failures.push(format!("{step}: {error:#}"));
                    stage.restore().await?;
                }
                if let Err(error) = Box::pin(stage.settle()).await {
                    outcome.figures = stage.figures.lock().clone();
                    return Err(error.context(format!("no rest after {step}")));
                }
                let took = clock.elapsed().saturating_sub(begun);
                clock.say(&format!("  at rest after {:.0} s in all", took.as_secs_f64()));
            }
        }
        Wanted::Demo(time) => Box::pin(demo(&stage, play.seed, *time)).await?,
    }
    Box::pin(close(stage, running, outcome)).await
}

const DEMO: &str = "demo";

/// Faults of TiKV for a while, and the death of the worker that owns the feed.
async fn demo(stage: &Stage, seed: u64, time: Duration) -> Result<()> {
    let tables = stage.workload.tables();
    let ids = tables
        .iter()
        .flat_map(|table| table.physical_ids.clone())
        .collect();
    let nemesis = Nemesis::new(stage.site.tikv.clone(), seed, ids);
    let stop = CancellationToken::new();
    stage.say("regions split, merge and move, a store dies and comes back");
    let begun = stage.now();
    let trouble = tokio::spawn(nemesis.work(stop.clone()));
    sleep(time / 2).await;
    let owner = stage.orders.feed.owner(&stage.site).await?;
    // No aim: the watermark waits for TiKV's faults, too. What they cost alone stands beside it.
    let killed = kill_worker(stage, &stage.orders, &owner, DEMO, None).await?;
    let alone = stage.orders.watch.progress().worst_lag(begun.ms, killed.ms);
    let what = "orders: farthest behind under TiKV's faults alone, before that";
    stage.time(DEMO, what, alone, None);
    let untouched = stage.archive.watch.reached(killed.ts, PATIENCE).await?;
    let what = "archive, whose workers live: watermark past the same moment after";
    stage.time(DEMO, what, killed.until(untouched), None);
    sleep(time / 2).await;
    stop.cancel();
    let deeds = trouble.await?;
    stage.say(&format!("{deeds:?}"));
    stage.settle().await
}

/// Until Ctrl-C.
async fn stay(site: &Site, clock: Clock) -> Result<()> {
    let kubectl = site.cluster().programs().program("");
    clock.say("the cluster stays until Ctrl-C:");
    eprintln!("\nexport KUBECONFIG={}", site.plane().kubeconfig().display());
    eprintln!("export PATH={}:$PATH  # kubectl and helm", kubectl.display());
    eprintln!("kubectl --namespace {NAMESPACE} get changefeeds,pods\n");
    tokio::signal::ctrl_c().await?;
    Ok(())
}
