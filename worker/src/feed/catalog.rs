use std::sync::Arc;

use tidemark_crds::TableRules;
use tidemark_model::{KvChange, Span, Ts};
use tidemark_pull::KvClient;
use tidemark_tidb::meta_key::{database_span, databases_span};
use tidemark_tidb::schema::{
    DdlEffect, DdlJobTable, IneligibleReason, Schema, SnapshotBuilder, UnsupportedDdl, Wanted,
};
use tidemark_tidb::{Table, record_span};

use crate::error::{FeedError, chain};

/// Pairs of one scan request for metadata; a table's definition is a few KiB.
const SCAN_PAGE: usize = 256;

/// The tables of a feed, and how DDL changes them.
pub(crate) struct Catalog {
    schema: Schema,
    jobs: DdlJobTable,
}

impl Catalog {
    /// Reads the schema as it was at `at`.
    pub(crate) async fn load(kv: &KvClient, rules: TableRules, at: Ts) -> Result<Self, FeedError> {
        let wanted: Wanted = Arc::new(move |schema, table| rules.matches(schema, table));
        let mut builder = SnapshotBuilder::new(at, Arc::clone(&wanted));
        scan(kv, databases_span(), at, &mut builder).await?;
        let databases: Vec<i64> = builder.databases().map(|(id, _)| id).collect();
        for id in databases {
            scan(kv, database_span(id), at, &mut builder).await?;
        }
        let mut snapshot = builder
            .finish()
            .map_err(|error| FeedError::Stopped(chain(&error)))?;
        for table in &snapshot.ineligible {
            let reason = match table.reason {
                IneligibleReason::NoHandleKey => {
                    "it has no primary key and no unique key over NOT NULL columns"
                }
                IneligibleReason::Temporary => "it is temporary",
            };
            tracing::warn!(schema = table.schema, table = table.name, reason, "Not streamed");
        }
        let jobs = snapshot.ddl_jobs.take().ok_or_else(|| {
            FeedError::Stopped(
                "the cluster has no table mysql.tidb_ddl_job: it holds no TiDB 6.2 or later; for plain keys set \
                 spec.source.format to \"kv\""
                    .into(),
            )
        })?;
        Ok(Self {
            schema: Schema::new(&snapshot, wanted),
            jobs,
        })
    }

    /// The tables to stream.
    pub(crate) fn tables(&self) -> Vec<Arc<Table>> {
        self.schema.tables().cloned().collect()
    }

    /// The keys of DDL jobs.
    pub(crate) fn job_span(&self) -> Span {
        self.jobs.span()
    }

    /// What a change of the job table does to the schema.
    pub(crate) fn apply(&mut self, change: &KvChange) -> Result<DdlEffect, FeedError> {
        let unreadable = |error: &dyn std::error::Error| {
            FeedError::Stopped(format!("DDL job at {}: {}", change.commit_ts, chain(error)))
        };
        match self.jobs.done_job(change).map_err(|error| unreadable(&error))? {
            None => Ok(DdlEffect::Nothing),
            Some(job) => self
                .schema
                .apply(&job, change.commit_ts)
                .map_err(|error| unreadable(&error)),
        }
    }

    /// The key ranges of a table's rows, one a physical table.
    pub(crate) fn spans(table: &Table) -> Vec<(i64, Span)> {
        let ids = match table.partitions.as_slice() {
            [] => vec![table.id],
            partitions => partitions.iter().map(|partition| partition.id).collect(),
        };
        ids.into_iter().map(|id| (id, record_span(id))).collect()
    }

    /// What a user is told of a DDL that stops the feed.
    pub(crate) fn explain(ddl: &UnsupportedDdl, finished: Ts) -> String {
        format!(
            "{ddl}, at {finished}: the feed stops below it, since rows after it would be decoded by a wrong schema"
        )
    }
}

async fn scan(kv: &KvClient, mut span: Span, at: Ts, builder: &mut SnapshotBuilder) -> Result<(), FeedError> {
    loop {
        let pairs = kv.scan(&span, at, SCAN_PAGE).await?;
        for (key, value) in &pairs {
            builder
                .add(key, value)
                .map_err(|error| FeedError::Stopped(chain(&error)))?;
        }
        match pairs.last() {
            Some((last, _)) if pairs.len() >= SCAN_PAGE => {
                let mut next = last.to_vec();
                next.push(0);
                span.start = next.into();
            }
            _ => return Ok(()),
        }
    }
}
