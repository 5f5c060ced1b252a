use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use serde_json::json;
use tidemark_workload::{RunningWorkload, Workload};

use super::figures::Figures;
use super::line::{Line, PATIENCE, Streams};
use super::play::{Play, Wanted};
use super::site::{FIRST_TAG, Site};
use super::stage::{Clock, Stage};
use super::watch::Watch;
use crate::judging::{self, workload_config};
use crate::{Destination, Feed, now_ms};

/// The feeds' namespace.
pub(super) const NAMESPACE: &str = "shop";
/// A table that only the step `tables` writes to.
pub(super) const LATE_TABLE: &str = "shop.bulk";
/// What the feed `orders` streams.
pub(super) const ORDERS_TABLES: [&str; 3] = ["shop.*", "crm.*", "!shop.bulk"];

const STEP: &str = "install";
/// What the first row should come within, seconds, with the image at the node.
const FIRST_ROW: u64 = 15;

/// Installs the operator, begins to write, and applies both feeds.
pub(super) async fn open(site: &Arc<Site>, play: &Play, clock: Clock) -> Result<(Stage, RunningWorkload)> {
    clock.say("helm install");
    let installed = site.helm_upgrade(FIRST_TAG).await?;
    let orders = Destination::kafka_at(&site.kafka.bootstrap(), "orders")?;
    let archive = Destination::s3_at(&site.s3, "archive", "csv")?;
    let mut config = workload_config(play.seed, Some(play.rows_per_second));
    if let Wanted::Steps(_) = play.wanted {
        // A lock that is left behind holds the watermark back for seconds: lag could not be told from it.
        config.mix.abandoned = 0;
    }
    let workload = Workload::create(&site.tikv.pd_endpoints(), config).await?;
    let start = judging::beginning(&workload).await?;
    let filled = site.tikv.now().0;
    prepare(site, &archive).await?;
    clock.say(&format!("writing begins: {} rows/s", play.rows_per_second));
    let running = workload.start();

    let orders_feed = feed(site, &orders, "orders", &ORDERS_TABLES, start, 3);
    let archive_feed = feed(site, &archive, "archive", &["crm.*"], start, 2);
    let not_late: Streams = |schema, table| format!("{schema}.{table}") != LATE_TABLE;
    let stage = Stage {
        site: Arc::clone(site),
        orders: Line::new(&orders_feed, not_late, Watch::start(orders))?,
        archive: Line::new(&archive_feed, |schema, _| schema == "crm", Watch::start(archive))?,
        workload,
        start,
        filled,
        figures: Mutex::new(Figures::default()),
        tag: Mutex::new(FIRST_TAG.to_owned()),
        late: Mutex::new(None),
        clock,
    };
    stage.time(STEP, "helm install until the operator is ready", installed, None);
    for line in stage.lines() {
        apply(&stage, line).await?;
    }
    stage.settle().await?;
    Ok((stage, running))
}

/// Applies a feed and waits for its first row.
async fn apply(stage: &Stage, line: &Line) -> Result<()> {
    let (site, name) = (&stage.site, line.name());
    stage.say(&format!("kubectl apply of {name}"));
    let moment = stage.now();
    site.apply(&line.document).await?;
    let first = line.watch.first_row(PATIENCE).await;
    let first = moment.until(first.with_context(|| format!("feed {name}"))?);
    let what = format!("{name}: kubectl apply until the first row is read");
    stage.time(STEP, &what, first, Some(FIRST_ROW));
    line.feed.wait_ready(site, PATIENCE).await?;
    let ready = moment.until(now_ms());
    let what = format!("{name}: kubectl apply until kubectl wait sees Ready");
    stage.time(STEP, &what, ready, None);
    Ok(())
}

/// The feeds' namespace, where only restricted pods may run, and what the feeds name.
async fn prepare(site: &Site, archive: &Destination) -> Result<()> {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": labels},
    });
    site.apply(&namespace).await?;
    let mut secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s3", "namespace": NAMESPACE},
        "stringData": {},
    });
    for (_, key, value) in archive.secrets() {
        secret["stringData"][key] = value.into();
    }
    site.apply(&secret).await?;
    Ok(())
}

fn feed(site: &Site, to: &Destination, name: &str, tables: &[&str], start: u64, replicas: u32) -> Feed {
    let mut feed = to.feed(site.tikv.pd_endpoints());
    feed.name = name.into();
    feed.namespace = NAMESPACE.into();
    feed.tables = tables.iter().map(|rule| (*rule).to_owned()).collect();
    feed.start_ts = Some(start);
    feed.more = json!({
        // Said, so that an apply takes back a pause.
        "state": "Running",
        // The shortest that leaves time for its renewal to be seen.
        "limits": {"memory": "128Mi", "disk": "1Gi", "gcTtl": "90s"},
        "workers": {
            "replicas": replicas,
            // Many workers share a small machine.
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "640Mi"}},
            "podTemplate": {
                "spec": {"containers": [{"name": "worker", "env": [{"name": "TIDEMARK_LOG", "value": "info,tidemark_worker=debug,tidemark_lease=debug"}]}]},
            },
        },
    });
    if let Some(storage) = feed.sink["storage"].as_object_mut() {
        storage.insert("flushInterval".into(), "1s".into());
    }
    feed
}
