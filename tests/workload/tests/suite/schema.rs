//! The workload's DDL, read back as the product reads it.

use std::sync::Arc;

use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_model::{KvChange, Op, Ts};
use tidemark_tidb::schema::{ActionType, DdlEffect, Schema, Snapshot, SnapshotBuilder, TableChange, Wanted};
use tidemark_workload::catalog::DdlRecord;
use tidemark_workload::encode::{Collation, Datum, int_handle, record_key};
use tidemark_workload::schema::{ColumnKind, ColumnSpec, DDL_JOB_TABLE, PrimaryKey, TableSpec};
use tidemark_workload::{Ddl, Workload, WorkloadConfig};

fn wanted() -> Wanted {
    Arc::new(|schema: &str, _: &str| schema == "shop")
}

async fn workload() -> (Cluster, Workload) {
    let cluster = Cluster::start(ClusterConfig::default())
        .await
        .expect("the cluster starts");
    let config = WorkloadConfig {
        keyless_tables: true,
        ..WorkloadConfig::default()
    };
    let workload = Workload::create(&cluster.pd_endpoints(), config).await.unwrap();
    (cluster, workload)
}

async fn snapshot(workload: &Workload, ts: u64) -> Snapshot {
    let mut builder = SnapshotBuilder::new(Ts(ts), wanted());
    for (key, value) in workload.stores().snapshot(ts).scan(b"m", b"n").await.unwrap() {
        builder.add(&key, &value).unwrap();
    }
    builder.finish().unwrap()
}

/// Every version of a job's row, oldest first, as a stream would bring it.
async fn job_changes(workload: &Workload, record: &DdlRecord) -> Vec<KvChange> {
    let key = record_key(DDL_JOB_TABLE, &int_handle(record.job_id));
    let mut versions = workload.stores().versions(&key).await.unwrap();
    versions.reverse();
    let change = |version: tidemark_workload::client::Version| KvChange {
        key: key.clone().into(),
        op: if version.value.is_some() {
            Op::Put
        } else {
            Op::Delete
        },
        value: version.value.unwrap_or_default(),
        old_value: bytes::Bytes::new(),
        start_ts: Ts(version.start_ts),
        commit_ts: Ts(version.commit_ts),
    };
    versions.into_iter().map(change).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_holds_every_table_with_a_key() {
    let (_cluster, workload) = workload().await;
    let now = workload.stores().pd().timestamp().await.unwrap();
    let snapshot = snapshot(&workload, now).await;
    assert!(snapshot.ddl_jobs.is_some(), "the table of DDL jobs is there");
    let mut known: Vec<(String, Vec<String>)> = snapshot
        .tables
        .iter()
        .map(|table| {
            (
                table.name.clone(),
                table.columns.iter().map(|column| column.name.clone()).collect(),
            )
        })
        .collect();
    let mut made: Vec<(String, Vec<String>)> = workload
        .tables()
        .into_iter()
        .filter(|table| !table.key_columns.is_empty())
        .map(|table| (table.name, table.columns))
        .collect();
    known.sort();
    made.sort();
    assert_eq!(known, made);
    let ineligible: Vec<&str> = snapshot
        .ineligible
        .iter()
        .map(|table| table.name.as_str())
        .collect();
    assert_eq!(ineligible, ["mixed_no_key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_shows_itself_done_once_and_then_goes() {
    let (_cluster, workload) = workload().await;
    let now = workload.stores().pd().timestamp().await.unwrap();
    let jobs = snapshot(&workload, now).await.ddl_jobs.unwrap();
    for record in workload.ddls().await {
        let changes = job_changes(&workload, &record).await;
        assert!(changes.len() >= 4, "queued, running, done, deleted: {record:?}");
        assert_eq!(changes.last().unwrap().op, Op::Delete);
        let done: Vec<_> = changes
            .iter()
            .filter_map(|change| {
                jobs.done_job(change)
                    .unwrap()
                    .map(|job| (change.commit_ts.0, job))
            })
            .collect();
        let [(commit_ts, job)] = &done[..] else {
            panic!("done {} times: {record:?}", done.len());
        };
        assert_eq!(*commit_ts, record.finished_ts);
        assert_eq!(job.action, ActionType(record.action as u16));
        assert_eq!(job.query, record.query);
        assert_eq!(job.binlog.schema_version, record.schema_version);
    }
    let versions: Vec<i64> = workload
        .ddls()
        .await
        .iter()
        .map(|record| record.schema_version)
        .collect();
    assert!(versions.is_sorted_by(|left, right| left < right), "{versions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_product_follows_ddl() {
    let (_cluster, workload) = workload().await;
    let before = workload.ddls().await.len();
    let running = workload.start();
    let started = workload.stores().pd().timestamp().await.unwrap();
    let columns = vec![
        ColumnSpec::new("id", ColumnKind::bigint()),
        ColumnSpec::new("text", ColumnKind::Varchar(20, Collation::Utf8mb4Bin)),
    ];
    let spec = TableSpec::new("late", columns).with_key(PrimaryKey::IntHandle(0));
    let made = workload.create_table("shop", spec).await.unwrap();
    let column = ColumnSpec {
        origin: Some(Datum::Int(3)),
        ..ColumnSpec::new("more", ColumnKind::bigint())
    };
    let steps = [
        ("mixed_int_key", Ddl::AddIndex("by_year".into(), vec![26])),
        ("mixed_common_key", Ddl::AddColumn(column)),
        ("mixed_ci_key", Ddl::Truncate),
        ("mixed_odd_key", Ddl::Rename("odd".into())),
        ("mixed_lobs", Ddl::Drop),
    ];
    for (table, ddl) in steps {
        workload.ddl("shop", table, ddl).await.unwrap();
    }
    running.stop().await.unwrap();

    let snapshot = snapshot(&workload, started).await;
    let jobs = snapshot.ddl_jobs.clone().unwrap();
    let mut schema = Schema::new(&snapshot, wanted());
    let mut effects = Vec::new();
    for record in &workload.ddls().await[before..] {
        for change in job_changes(&workload, record).await {
            if let Some(job) = jobs.done_job(&change).unwrap() {
                effects.push(match schema.apply(&job, change.commit_ts).unwrap() {
                    DdlEffect::Changed(ddl) => match &ddl.changes[0] {
                        TableChange::Added(table) => {
                            assert_eq!(table.id, made.id);
                            "created"
                        }
                        TableChange::Altered { .. } => "altered",
                        TableChange::Dropped(_) => "dropped",
                    },
                    DdlEffect::Unsupported(_) => "stops",
                    DdlEffect::Nothing => "nothing",
                });
            }
        }
    }
    let expected = ["created", "altered", "altered", "altered", "altered", "dropped"];
    assert_eq!(effects, expected);
}
