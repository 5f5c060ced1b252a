use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use rand::SeedableRng;
use rand::rngs::StdRng;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::config::WorkloadConfig;
use super::shapes;
use super::table::{Claim, LiveTable};
use super::truth::Truth;
use super::unit::Unit;
use super::writer::{Floor, Pace, write};
use crate::catalog::{Catalog, CatalogError, Database, DdlRecord};
use crate::client::{ClientError, CommitKind, Ending, Pd, Stores, TransactionKind};
use crate::encode::{Collation, Datum};
use crate::schema::{ColumnKind, ColumnSpec, LobSize, PrimaryKey, TableSpec};

/// Why a workload failed.
#[derive(Debug, Error)]
pub enum WorkloadError {
    /// A DDL failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A transaction's outcome is unknown, so there is no truth.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A writer died.
    #[error("a writer ended unexpectedly: {0}")]
    Writer(String),
    /// No such table.
    #[error("table {0} isn't one of the workload's")]
    UnknownTable(String),
    /// A transaction that had to commit was refused.
    #[error("a transaction of {rows} rows is refused again and again")]
    Refused {
        /// Its rows.
        rows: usize,
    },
}

/// What tests need to know of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadTable {
    /// Database.
    pub schema: String,
    /// Table.
    pub name: String,
    /// TiDB's table id.
    pub id: i64,
    /// The physical tables that hold its rows.
    pub physical_ids: Vec<i64>,
    /// Columns that name a row, in key order; empty if there are none, and streams skip the table by default.
    pub key_columns: Vec<String>,
    /// Emitted columns in schema order.
    pub columns: Vec<String>,
    /// Whether it holds the bank's accounts.
    pub is_bank: bool,
    /// What column `balance` adds up to at every moment, for the bank.
    pub expected_sum: Option<i64>,
}

/// A DDL on one of the workload's tables. Writers leave the table first.
#[derive(Clone, Debug)]
pub enum Ddl {
    /// ALTER TABLE … ADD COLUMN.
    AddColumn(ColumnSpec),
    /// ALTER TABLE … ADD INDEX over columns by offset.
    AddIndex(String, Vec<usize>),
    /// TRUNCATE TABLE.
    Truncate,
    /// RENAME TABLE.
    Rename(String),
    /// DROP TABLE.
    Drop,
}

/// Tables on a cluster and the writers that change them. Clones share everything.
#[derive(Clone)]
pub struct Workload {
    floor: Arc<Floor>,
    catalog: Arc<Catalog>,
    databases: Arc<Vec<Database>>,
    bulk: Arc<LiveTable>,
    /// Tables that writers have left.
    retired: Arc<RwLock<Vec<Arc<LiveTable>>>>,
    /// Counts what asks for random numbers of its own.
    draws: Arc<AtomicU64>,
}

impl Workload {
    /// Creates the databases and tables on the cluster that PD leads to, and their first rows.
    ///
    /// # Errors
    /// If a database exists already or the cluster doesn't answer.
    pub async fn create(pd_endpoints: &[String], config: WorkloadConfig) -> Result<Self, WorkloadError> {
        // Boxed, so that callers' futures stay small.
        Box::pin(Self::create_all(pd_endpoints, config)).await
    }

    async fn create_all(pd_endpoints: &[String], config: WorkloadConfig) -> Result<Self, WorkloadError> {
        let stores = Stores::new(Pd::connect(pd_endpoints).await?);
        let catalog = Catalog::open(stores.clone()).await?;
        let mut databases = Vec::new();
        for name in &config.databases {
            databases.push(catalog.create_database(name).await?);
        }
        let Some(first) = databases.first() else {
            return Err(WorkloadError::UnknownTable(
                "of no database: `databases` is empty".into(),
            ));
        };
        let bulk = Arc::new(LiveTable::new(
            first,
            catalog.create_table(first, bulk_table()).await?,
        ));
        let bank = if config.bank_accounts > 0 {
            let spec = catalog.create_table(first, shapes::bank()).await?;
            Some(Arc::new(LiveTable::new(first, spec)))
        } else {
            None
        };
        let mut tables = Vec::new();
        for database in &databases {
            let mut specs = if config.mixed_tables {
                shapes::mixed(config.keyless_tables)
            } else {
                Vec::new()
            };
            // The first one alone, the rest in one job: streams must take both forms.
            if !specs.is_empty() {
                let spec = catalog.create_table(database, specs.remove(0)).await?;
                tables.push(Arc::new(LiveTable::new(database, spec)));
            }
            specs.extend((0..config.extra_tables).map(|index| shapes::int_key(&format!("extra_{index}"))));
            if !specs.is_empty() {
                let made = catalog.create_tables(database, specs).await?;
                tables.extend(
                    made.into_iter()
                        .map(|spec| Arc::new(LiveTable::new(database, spec))),
                );
            }
        }
        let floor = Floor {
            pace: Pace::new(config.rows_per_second),
            stores,
            truth: Truth::default(),
            bank,
            tables: RwLock::new(tables),
            config,
        };
        let workload = Self {
            floor: Arc::new(floor),
            catalog: Arc::new(catalog),
            databases: Arc::new(databases),
            bulk,
            retired: Arc::default(),
            draws: Arc::default(),
        };
        workload.open_accounts().await?;
        let tables = workload.floor.tables.read().clone();
        for table in tables {
            workload.fill(&table, workload.floor.config.initial_rows).await?;
        }
        Ok(workload)
    }

    /// The tables, the retired ones too.
    pub fn tables(&self) -> Vec<WorkloadTable> {
        let config = &self.floor.config;
        let sum = config.bank_accounts as i64 * config.initial_balance;
        let bank = self.floor.bank.iter().map(|table| describe(table, Some(sum)));
        let others = [
            vec![Arc::clone(&self.bulk)],
            self.floor.tables.read().clone(),
            self.retired.read().clone(),
        ];
        bank.chain(others.concat().iter().map(|table| describe(table, None)))
            .collect()
    }

    /// What is committed so far.
    pub fn truth(&self) -> Truth {
        self.floor.truth.clone()
    }

    /// The client's connection to the cluster, for reads at a ts and the like.
    pub fn stores(&self) -> &Stores {
        &self.floor.stores
    }

    /// Every DDL so far, with the ts at which it took effect.
    pub async fn ddls(&self) -> Vec<DdlRecord> {
        self.catalog.records().await
    }

    /// Starts the writers.
    pub fn start(&self) -> RunningWorkload {
        let stop = CancellationToken::new();
        let mut writers = JoinSet::new();
        for _ in 0..self.floor.config.writers {
            writers.spawn(write(Arc::clone(&self.floor), self.rng(), stop.clone()));
        }
        RunningWorkload {
            workload: self.clone(),
            writers,
            stop: stop.drop_guard(),
        }
    }

    /// Inserts so many rows of about `bytes` in all in one transaction, into table `bulk` of the first database;
    /// gives its commit ts.
    ///
    /// # Errors
    /// If the cluster doesn't take it.
    pub async fn large_transaction(&self, rows: usize, bytes: usize) -> Result<u64, WorkloadError> {
        let mut rng = self.rng();
        let mut unit = Unit::default();
        for _ in 0..rows {
            let Some(claim) = self.bulk.claim(&mut rng, false) else {
                return Err(WorkloadError::UnknownTable("bulk: it is retired".into()));
            };
            let identity = self.bulk.new_identity();
            let text = super::values::random_text(&mut rng, bytes / rows.max(1) / 2);
            let raw = super::values::random_bytes(&mut rng, bytes / rows.max(1) / 2);
            let values = vec![
                Datum::Int(identity.cast_signed()),
                Datum::Text(text),
                Datum::Bytes(raw),
            ];
            let row = self.bulk.row(values, identity);
            unit.change(&mut rng, &self.bulk, claim, identity, Some(row));
        }
        let kind = TransactionKind {
            commit: CommitKind::TwoPhase,
            lock_ttl_ms: 120_000,
            ..TransactionKind::default()
        };
        let txn = unit.begin(&self.floor.stores, kind).await?;
        let start_ts = txn.start_ts();
        let outcome = txn.finish(Ending::Commit).await?;
        let committed = unit.settle(start_ts, &outcome, &self.floor.truth);
        match outcome {
            crate::client::Outcome::Committed(commit_ts) if committed == rows => Ok(commit_ts),
            _ => Err(WorkloadError::Refused { rows }),
        }
    }

    /// Creates a table in a database while the writers run; they take it up at once.
    ///
    /// # Errors
    /// If the workload has no such database, or the cluster doesn't answer.
    pub async fn create_table(
        &self,
        database: &str,
        spec: TableSpec,
    ) -> Result<WorkloadTable, WorkloadError> {
        let found = self.databases.iter().find(|known| known.name == database);
        let database = found.ok_or_else(|| WorkloadError::UnknownTable(format!("in database {database}")))?;
        let spec = self.catalog.create_table(database, spec).await?;
        let table = Arc::new(LiveTable::new(database, spec));
        self.floor.tables.write().push(Arc::clone(&table));
        Ok(describe(&table, None))
    }

    /// Runs a DDL on a mixed table, after its writers have left it; gives the ts at which it took effect. They take the table up
    /// again as it is then.
    ///
    /// # Errors
    /// If there is no such table, or the cluster doesn't answer.
    pub async fn ddl(&self, schema: &str, name: &str, ddl: Ddl) -> Result<u64, WorkloadError> {
        let table = {
            let mut tables = self.floor.tables.write();
            let position = tables
                .iter()
                .position(|table| table.database.name == schema && table.spec.name == name)
                .ok_or_else(|| WorkloadError::UnknownTable(format!("{schema}.{name}")))?;
            tables.remove(position)
        };
        table.retire();
        while !table.is_quiet() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.retired.write().push(Arc::clone(&table));
        let (database, spec) = (&table.database, &table.spec);
        let after = match ddl {
            Ddl::AddColumn(column) => {
                let spec = self.catalog.add_column(database, spec, column).await?;
                Some(table.altered(spec))
            }
            Ddl::AddIndex(name, columns) => {
                let spec = self.catalog.add_index(database, spec, &name, &columns).await?;
                Some(table.altered(spec))
            }
            Ddl::Truncate => {
                let spec = self.catalog.truncate_table(database, spec).await?;
                Some(LiveTable::new(database, spec))
            }
            Ddl::Rename(name) => {
                let spec = self.catalog.rename_table(database, spec, &name).await?;
                Some(table.altered(spec))
            }
            Ddl::Drop => {
                self.catalog.drop_table(database, spec).await?;
                None
            }
        };
        if let Some(after) = after {
            self.floor.tables.write().push(Arc::new(after));
        }
        Ok(self
            .catalog
            .records()
            .await
            .last()
            .map_or(0, |record| record.finished_ts))
    }

    fn rng(&self) -> StdRng {
        let draw = self.draws.fetch_add(1, Ordering::Relaxed);
        StdRng::seed_from_u64(
            self.floor
                .config
                .seed
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(draw),
        )
    }

    async fn open_accounts(&self) -> Result<(), WorkloadError> {
        let Some(bank) = &self.floor.bank else {
            return Ok(());
        };
        let mut rng = self.rng();
        let balance = self.floor.config.initial_balance;
        // All accounts in one transaction: the sum holds from the first commit on.
        let rows = self.floor.config.bank_accounts;
        self.insert(
            bank,
            rows,
            rows,
            |table, identity| {
                let owner = format!("owner {identity}");
                let id = identity.cast_signed();
                table.row(
                    vec![
                        Datum::Int(id),
                        Datum::Text(owner),
                        Datum::Int(balance),
                        Datum::UInt(0),
                    ],
                    identity,
                )
            },
            &mut rng,
        )
        .await
    }

    async fn fill(&self, table: &Arc<LiveTable>, rows: usize) -> Result<(), WorkloadError> {
        let mut rng = self.rng();
        let mut values = self.rng();
        let sizes = self.floor.config.sizes.clone();
        self.insert(
            table,
            rows,
            50,
            |table, identity| table.random_row(&mut values, identity, &sizes),
            &mut rng,
        )
        .await
    }

    async fn insert(
        &self,
        table: &Arc<LiveTable>,
        rows: usize,
        batch: usize,
        mut make: impl FnMut(&LiveTable, u64) -> Arc<super::table::Row>,
        rng: &mut StdRng,
    ) -> Result<(), WorkloadError> {
        let mut left = rows;
        while left > 0 {
            let mut unit = Unit::default();
            for _ in 0..left.min(batch) {
                // A fresh slot each: nothing else runs yet.
                let Some(Claim { slot, identity, row }) = table.claim(rng, false) else {
                    continue;
                };
                let after = make(table, identity);
                unit.change(rng, table, Claim { slot, identity, row }, identity, Some(after));
            }
            let done = unit.run(
                &self.floor.stores,
                TransactionKind::default(),
                Ending::Commit,
                &self.floor.truth,
            );
            match done.await? {
                0 => return Err(WorkloadError::Refused { rows: left }),
                done => left -= done,
            }
        }
        Ok(())
    }
}

/// A workload whose writers run. Dropping it stops them, but then there is no whole truth.
pub struct RunningWorkload {
    workload: Workload,
    writers: JoinSet<Result<(), ClientError>>,
    stop: DropGuard,
}

impl RunningWorkload {
    /// The workload.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// What is committed so far.
    pub fn truth(&self) -> Truth {
        self.workload.truth()
    }

    /// Stops the writers, waits until every outcome is known, and removes the locks of abandoned transactions.
    ///
    /// # Errors
    /// If a writer failed, so that the truth isn't whole.
    pub async fn stop(self) -> Result<Truth, WorkloadError> {
        let workload = self.workload.clone();
        let truth = self.stop_leaving_locks().await?;
        if workload.floor.config.mix.abandoned > 0 {
            workload.floor.stores.resolve_range(b"t", b"u").await?;
        }
        Ok(truth)
    }

    /// Stops the writers and waits until every outcome is known; abandoned locks stay for others to resolve.
    ///
    /// # Errors
    /// If a writer failed, so that the truth isn't whole.
    pub async fn stop_leaving_locks(mut self) -> Result<Truth, WorkloadError> {
        drop(self.stop);
        while let Some(ended) = self.writers.join_next().await {
            ended.map_err(|problem| WorkloadError::Writer(problem.to_string()))??;
        }
        Ok(self.workload.truth())
    }
}

fn describe(table: &LiveTable, expected_sum: Option<i64>) -> WorkloadTable {
    let spec = &table.spec;
    let name = |offset: &usize| spec.columns[*offset].name.clone();
    WorkloadTable {
        schema: table.database.name.clone(),
        name: spec.name.clone(),
        id: spec.id,
        physical_ids: spec.physical_ids(),
        key_columns: spec.key_offsets().iter().map(name).collect(),
        columns: table.names.columns.clone(),
        is_bank: expected_sum.is_some(),
        expected_sum,
    }
}

fn bulk_table() -> TableSpec {
    let columns = vec![
        ColumnSpec::new("id", ColumnKind::bigint()),
        ColumnSpec::new("words", ColumnKind::Text(LobSize::Long, Collation::Utf8mb4Bin)),
        ColumnSpec::new("bytes", ColumnKind::Blob(LobSize::Long)),
    ];
    TableSpec::new("bulk", columns).with_key(PrimaryKey::IntHandle(0))
}
