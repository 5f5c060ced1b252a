//! DDL of all kinds while workers share a feed and die: each DDL is told, and every row has the definition of its time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_e2e::judging::{beginning, end_judged};
use tidemark_e2e::{Destination, Fleet, Plane, Worker};
use tidemark_harness::{Kafka, KafkaOptions};
use tidemark_workload::schema::{ColumnKind, ColumnSpec};
use tidemark_workload::{Ddl, Workload, WorkloadConfig, shapes};
use tokio::sync::mpsc;
use tokio::time::sleep;

const TABLES: usize = 6;
/// Between two DDLs.
const PAUSE: Duration = Duration::from_millis(250);

/// Changes tables at random until the sender's other end is gone; gives when each DDL took effect.
async fn storm(workload: Workload, seed: u64, mut stop: mpsc::Receiver<()>) -> Result<Vec<u64>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut names: Vec<_> = (0..TABLES).map(|n| format!("extra_{n}")).collect();
    let mut told = Vec::new();
    for number in 0.. {
        tokio::select! {
            () = sleep(PAUSE) => {}
            _ = stop.recv() => break,
        }
        let at = rng.random_range(0..names.len());
        let name = names[at].clone();
        let column = || ColumnSpec::new(&format!("c{number}"), ColumnKind::bigint());
        let ddl = match rng.random_range(0..6) {
            0 | 1 => Ddl::AddColumn(column()),
            2 => Ddl::AddIndex(format!("i{number}"), vec![4]),
            3 => Ddl::Truncate,
            4 => {
                names[at] = format!("renamed_{number}");
                Ddl::Rename(names[at].clone())
            }
            _ => {
                names.remove(at);
                let new = format!("fresh_{number}");
                workload.create_table("shop", shapes::int_key(&new)).await?;
                names.push(new);
                Ddl::Drop
            }
        };
        told.push(workload.ddl("shop", &name, ddl).await?);
    }
    Ok(told)
}

/// Two changes on each of the workers' kind of death while tables change.
async fn survives(plane: &std::sync::Arc<Plane>, name: &str, mut to: Destination, seed: u64) -> Result<()> {
    eprintln!("{name}: seed {seed}");
    let cluster = Cluster::start(ClusterConfig {
        stores: 2,
        seed,
        ..ClusterConfig::default()
    })
    .await?;
    let config = WorkloadConfig {
        seed,
        databases: vec!["shop".into()],
        mixed_tables: false,
        bank_accounts: 10,
        extra_tables: TABLES,
        rows_per_second: Some(250),
        ..WorkloadConfig::default()
    };
    let workload = Workload::create(&cluster.pd_endpoints(), config).await?;
    let filled = cluster.now().0;
    let start = beginning(&workload).await?;
    let mut feed = to.feed(cluster.pd_endpoints());
    feed.name = name.into();
    feed.start_ts = Some(start);
    feed.more = json!({"workers": {"replicas": 3}});
    if let Some(kafka) = feed.sink["kafka"].as_object_mut() {
        // Nobody tells watermarks in the topic of a table that is gone.
        kafka.insert("topic".into(), "changing.{schema}".into());
    }
    let mut fleet = Fleet::begin(plane, &feed).await?;
    for ordinal in 0..3 {
        fleet.run(ordinal).await?;
    }
    fleet.streams(3).await?;
    let running = workload.start();
    fleet.passes_now(&mut to, "all three stream").await?;

    let (stop, stopped) = mpsc::channel(1);
    let storm = tokio::spawn(storm(workload.clone(), seed, stopped));
    let pass = async |fleet: &Fleet, to: &mut Destination, what: &str| {
        sleep(3 * PAUSE).await;
        fleet.passes_now(to, what).await
    };
    pass(&fleet, &mut to, "tables change").await?;
    let owner = fleet.owner().await?;
    fleet.kill((owner + 1) % 3)?;
    fleet.run((owner + 1) % 3).await?;
    pass(&fleet, &mut to, "tables change, a member died").await?;
    for _ in 0..2 {
        let owner = fleet.owner().await?;
        fleet.kill(owner)?;
        fleet.run(owner).await?;
        pass(&fleet, &mut to, "tables change, the owner died").await?;
    }
    let owner = fleet.owner().await?;
    fleet.drain(owner).await?;
    pass(&fleet, &mut to, "tables change, the owner drained").await?;
    fleet.run(owner).await?;
    fleet.streams(3).await?;
    drop(stop);
    let told = storm.await??;
    ensure!(told.len() > 10, "{} DDLs are no storm", told.len());
    fleet.passes_now(&mut to, "the storm is over").await?;
    to.read_until(*told.last().context("no DDL")?).await?;
    let ddls = to.ddls()?;
    for at in &told {
        ensure!(
            ddls.contains_key(at),
            "the DDL at {at} was not told\n{}",
            fleet.logs()
        );
    }
    eprintln!("{name}: {} DDLs", told.len());
    end_judged(&mut fleet, 3, (&workload, running), (start, filled), to).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_change_while_workers_die() -> Result<()> {
    let plane = Plane::start(Worker::built()?).await?;
    let kafka = Destination::kafka(Kafka::start(KafkaOptions::default()).await?, "changing")?;
    survives(&plane, "to-kafka", kafka, 81).await?;
    survives(&plane, "to-files", Destination::folder("canal-json")?, 82).await
}
