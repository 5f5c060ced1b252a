//! What feeds cost the Kubernetes API server and the operator: writes, reads and bytes, CPU and memory.

#![allow(clippy::print_stdout, reason = "its output is for people")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_crds::Changefeed;
use tidemark_e2e::audit::Call;
use tidemark_e2e::cost::{Column, Spent, Tally, Who, table};
use tidemark_e2e::{Feed, Fleet, OPERATOR, Plane, Worker};
use tidemark_harness::{Usage, eventually};
use tidemark_workload::{Workload, WorkloadConfig};
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(180);
/// Workers that are started at once.
const TOGETHER: usize = 8;
/// Status is written every ten seconds: a window holds two of them.
const WINDOW: Duration = Duration::from_secs(20);
/// The operator has done what there was once it has asked nothing for so long.
const QUIET: Duration = Duration::from_secs(2);
const NAMESPACE: &str = "tests";

/// Prints what feeds cost the API server and the operator. Every feed has one worker, a process of its own; API server and
/// TiKV cluster are on this machine too.
#[derive(Parser)]
#[command(name = "tidemark-api-cost")]
struct Cli {
    /// Numbers of idle feeds, growing.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100])]
    feeds: Vec<usize>,
    /// Tables of the feed that has many.
    #[arg(long, default_value_t = 10_000)]
    tables: usize,
    /// Feeds of the operator that has many; those beyond the last of `--feeds` are made `Paused`, and those are then.
    #[arg(long, default_value_t = 200)]
    operator: usize,
    /// The worker's binary, with the operator's beside it [default: beside this one].
    #[arg(long)]
    worker: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Costs {
    plane: Arc<Plane>,
    cluster: Cluster,
    fleets: Vec<Fleet>,
}

async fn measure(cli: Cli) -> Result<()> {
    let begun = Instant::now();
    let worker = match cli.worker {
        Some(path) => path,
        None => Worker::built()?,
    };
    let cluster = Cluster::start(ClusterConfig {
        resolved_ts_interval: Duration::from_secs(1),
        ..ClusterConfig::default()
    })
    .await?;
    tables(&cluster, "shop", 5).await?;
    let mut costs = Costs {
        plane: Plane::start(worker).await?,
        cluster,
        fleets: Vec::new(),
    };
    let mut columns = Vec::new();
    for feeds in cli.feeds {
        costs.grow(feeds).await?;
        columns.push(costs.window(feeds).await?);
        eprintln!("{feeds} feeds measured after {:.0?}", begun.elapsed());
    }
    print!("{}", table(&columns));
    costs.passes().await?;
    eprintln!("passes measured after {:.0?}", begun.elapsed());
    costs.fleets.clear();
    costs.rest(cli.operator).await?;
    eprintln!("{} feeds rest after {:.0?}", cli.operator, begun.elapsed());
    let column = costs.window(cli.operator).await?;
    println!(
        "{} feeds, all Paused: operator {:.1} % of a core, {} MiB resident; {:.2} writes/s, {:.2} reads/s",
        cli.operator,
        column.operator.cpu * 100.0,
        column.operator.rss >> 20,
        column.tally.rate(column.tally.writes(Who::Operator).calls, 1),
        column.tally.rate(column.tally.reads(Who::Operator).calls, 1),
    );
    eprintln!(
        "{} resting feeds measured after {:.0?}",
        cli.operator,
        begun.elapsed()
    );
    costs.many_tables(cli.tables).await?;
    eprintln!("done after {:.0?}", begun.elapsed());
    Ok(())
}

/// Makes so many small tables.
async fn tables(cluster: &Cluster, database: &str, count: usize) -> Result<Workload> {
    let config = WorkloadConfig {
        databases: vec![database.into()],
        bank_accounts: 0,
        mixed_tables: false,
        extra_tables: count,
        initial_rows: 0,
        ..WorkloadConfig::default()
    };
    Ok(Workload::create(&cluster.pd_endpoints(), config).await?)
}

impl Costs {
    fn feed(&self, index: usize) -> Feed {
        let mut feed = Feed::new(self.cluster.pd_endpoints(), json!({"blackhole": {}}));
        feed.name = format!("feed-{index}");
        feed.namespace = NAMESPACE.into();
        feed
    }

    /// Adds feeds until there are so many, and waits until all of them stream.
    async fn grow(&mut self, count: usize) -> Result<()> {
        let feeds: Vec<_> = (self.fleets.len()..count).map(|index| self.feed(index)).collect();
        self.create(&feeds).await?;
        let plane = &self.plane;
        let fleets: Vec<Fleet> = stream::iter(feeds)
            .map(|feed| async move {
                let mut fleet = Fleet::of(plane, &feed).await?;
                fleet.run(0).await?;
                anyhow::Ok(fleet)
            })
            .buffered(TOGETHER)
            .try_collect()
            .await?;
        self.fleets.extend(fleets);
        if let Err(error) = self.all("streaming feeds", count, "Replicating").await {
            for fleet in &self.fleets {
                let status = fleet.status().await?;
                if status["stream"]["phase"] != "Streaming" {
                    eprintln!("{status}\n{}", fleet.logs());
                }
            }
            return Err(error);
        }
        Ok(())
    }

    async fn create(&self, feeds: &[Feed]) -> Result<()> {
        self.plane.namespace(NAMESPACE).await?;
        let api: Api<Changefeed> = self.plane.api(NAMESPACE);
        for feed in feeds {
            let feed = serde_json::from_value(feed.document())?;
            api.create(&PostParams::default(), &feed).await?;
        }
        Ok(())
    }

    /// Changes all feeds by a merge patch.
    async fn edit_all(&self, patch: &Value) -> Result<usize> {
        let api: Api<Changefeed> = self.plane.api(NAMESPACE);
        let feeds = api.list(&ListParams::default()).await?.items;
        for feed in &feeds {
            let name = feed.name_any();
            // The API server closes connections that were idle for long.
            let patched = eventually(PATIENCE, "answer to a patch", || async {
                let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
                Ok(api.patch(&name, &params, &patch).await?)
            });
            patched.await?;
        }
        Ok(feeds.len())
    }

    /// Waits until so many feeds are ready for this reason, with nothing under way.
    async fn all(&self, what: &str, count: usize, reason: &str) -> Result<()> {
        let api: Api<Changefeed> = self.plane.api(NAMESPACE);
        eventually(PATIENCE, what, || async {
            sleep(Duration::from_millis(500)).await;
            let feeds = api.list(&ListParams::default()).await?.items;
            let found = feeds.iter().filter(|feed| is_settled(feed, reason)).count();
            ensure!(found == count, "{found} of {count}");
            Ok(())
        })
        .await
    }

    /// Measures while nothing happens.
    async fn window(&self, feeds: usize) -> Result<Column> {
        // What the beginning caused has to end first.
        sleep(Duration::from_secs(5)).await;
        let (from, started) = (Timestamp::now().as_millisecond(), Instant::now());
        let usage = || -> Result<(Usage, Usage)> {
            let server = self.plane.servers.api_server_pid()?;
            Ok((self.plane.operator().usage()?, Usage::of(server)?))
        };
        let before = usage()?;
        sleep(WINDOW).await;
        let after = usage()?;
        let took = started.elapsed().as_secs_f64();
        let tally = Tally::of(&self.plane.calls()?, from, Timestamp::now().as_millisecond());
        let spent = |before: Usage, after: Usage| Spent {
            cpu: (after.cpu - before.cpu).as_secs_f64() / took,
            rss: after.rss,
        };
        Ok(Column {
            feeds,
            tally,
            operator: spent(before.0, after.0),
            server: spent(before.1, after.1),
        })
    }

    /// Has the operator look at every feed once, as it does every five minutes or so.
    async fn passes(&self) -> Result<()> {
        let from = Timestamp::now().as_millisecond();
        let before = self.plane.operator().usage()?;
        let look = json!({"metadata": {"annotations": {"look": from.to_string()}}});
        let feeds = self.edit_all(&look).await?;
        let calls = eventually(PATIENCE, "end of the passes", || async {
            sleep(QUIET).await;
            let calls = self.plane.calls()?;
            let passes = calls.iter().filter(|call| is_of_a_pass(call));
            let last = passes.map(|call| call.at_ms).max().unwrap_or(0);
            let quiet = Timestamp::now().as_millisecond() - last;
            ensure!(
                last > from && u128::try_from(quiet)? >= QUIET.as_millis(),
                "the operator is busy"
            );
            Ok(calls)
        })
        .await?;
        let after = self.plane.operator().usage()?;
        let calls: Vec<_> = calls
            .iter()
            .filter(|call| is_of_a_pass(call) && call.at_ms >= from)
            .collect();
        let writes = calls.iter().filter(|call| call.writes()).count();
        let got: usize = calls.iter().map(|call| call.got).sum();
        let per_feed = |all: usize| all as f64 / feeds as f64;
        println!(
            "one pass of the operator over a running feed: {:.1} reads, {:.1} writes, {:.0} bytes received, {:.1} ms CPU; {} MiB resident after",
            per_feed(calls.len() - writes),
            per_feed(writes),
            per_feed(got),
            (after.cpu - before.cpu).as_secs_f64() * 1000.0 / feeds as f64,
            after.rss >> 20,
        );
        Ok(())
    }

    /// Pauses all feeds and adds paused ones until there are so many.
    async fn rest(&self, count: usize) -> Result<()> {
        let paused = |index| {
            let mut feed = self.feed(index);
            feed.more = json!({"state": "Paused"});
            feed
        };
        let there = self.edit_all(&json!({"spec": {"state": "Paused"}})).await?;
        let feeds: Vec<_> = (there..count).map(paused).collect();
        self.create(&feeds).await?;
        self.all("resting feeds", count, "Paused").await
    }

    /// One feed with many tables: how large its status is and what its writes cost.
    async fn many_tables(&self, count: usize) -> Result<()> {
        let cluster = Cluster::start(ClusterConfig {
            resolved_ts_interval: Duration::from_secs(1),
            seed: 2,
            ..ClusterConfig::default()
        })
        .await?;
        let begun = Instant::now();
        for part in 0..count.div_ceil(500) {
            tables(&cluster, &format!("shop{part}"), 500.min(count - part * 500)).await?;
        }
        eprintln!("{count} tables made within {:.0?}", begun.elapsed());
        let mut feed = Feed::new(cluster.pd_endpoints(), json!({"blackhole": {}}));
        feed.name = "many-tables".into();
        let mut fleet = Fleet::begin(&self.plane, &feed).await?;
        fleet.run(0).await?;
        let begun = Instant::now();
        let from = Timestamp::now().as_millisecond();
        eventually(PATIENCE, "streaming tables", || async {
            sleep(Duration::from_millis(500)).await;
            let status = fleet.status().await?;
            ensure!(status["stream"]["phase"] == "Streaming", "{status}");
            Ok(())
        })
        .await
        .with_context(|| fleet.logs())?;
        let (took, streaming) = (begun.elapsed(), Timestamp::now().as_millisecond());
        let before = fleet.checkpoint().await?;
        eventually(PATIENCE, "status that is written again", || async {
            sleep(Duration::from_millis(500)).await;
            ensure!(fleet.checkpoint().await? > before, "the checkpoint stands still");
            Ok(())
        })
        .await?;
        let api: Api<Changefeed> = self.plane.api(NAMESPACE);
        let mut whole = api.get("many-tables").await?;
        let status = serde_json::to_string(&whole.status)?.len();
        whole.managed_fields_mut().clear();
        let object = serde_json::to_string(&whole)?.len();
        let calls = self.plane.calls()?;
        let patches = |from: i64, to: i64| {
            let sizes: Vec<_> = calls
                .iter()
                .filter(|call| call.user.ends_with(":many-tables-worker"))
                .filter(|call| call.verb == "patch" && (from..to).contains(&call.at_ms))
                .map(|call| call.sent)
                .collect();
            (sizes.len(), sizes.into_iter().max().unwrap_or(0))
        };
        let (opening, _) = patches(from, streaming);
        let (_, largest) = patches(streaming, i64::MAX);
        let spans = whole.status.and_then(|status| status.spans).unwrap_or(0);
        println!(
            "1 feed with {spans} tables: status {status} B, whole resource {object} B; {opening} status patches within the {:.0} s \
             until it streamed, then one each 10 s of {largest} B",
            took.as_secs_f64(),
        );
        Ok(())
    }
}

/// Whether the operator made this call for a feed: not for its own Lease, nor to watch.
fn is_of_a_pass(call: &Call) -> bool {
    call.user == OPERATOR && call.verb != "watch" && call.name != "tidemark-operator"
}

fn is_settled(feed: &Changefeed, reason: &str) -> bool {
    let conditions: Vec<_> = feed.status.iter().flat_map(|status| &status.conditions).collect();
    let has = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
    has("Ready").is_some_and(|ready| ready.reason == reason) && has("Reconciling").is_none()
}
