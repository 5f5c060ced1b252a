use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidemark_judge::TruthOp;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::truth::{Record, Texts, Truth, TruthTable};
use super::values::random_bytes;
use super::workload::WorkloadError;
use crate::client::{ClientError, CommitKind, Ending, Outcome, Pd, Stores, Transaction, TransactionKind};

/// What a workload of plain keys writes.
#[derive(Clone, Debug)]
pub struct KvConfig {
    /// Seeds every choice.
    pub seed: u64,
    /// What keys begin with; must not begin with `r`, which TiKV's CDC can't stream, nor with `m` or `t`, which are TiDB's.
    pub prefix: Vec<u8>,
    /// Keys of each writer.
    pub keys: usize,
    /// Concurrent writers.
    pub writers: usize,
    /// Bytes of a value, at most.
    pub value_bytes: usize,
}

impl Default for KvConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            prefix: b"plain/".to_vec(),
            keys: 500,
            writers: 4,
            value_bytes: 400,
        }
    }
}

/// Writers of plain transactional keys, without tables.
pub struct KvWorkload {
    config: KvConfig,
    stores: Stores,
    truth: Truth,
    names: Arc<TruthTable>,
}

impl KvWorkload {
    /// Connects to the cluster that PD leads to.
    ///
    /// # Errors
    /// If PD doesn't answer, or the prefix is one that TiKV's CDC can't stream.
    pub async fn create(pd_endpoints: &[String], config: KvConfig) -> Result<Self, WorkloadError> {
        if matches!(config.prefix.first(), None | Some(b'r' | b'm' | b't')) {
            return Err(WorkloadError::UnknownTable(
                "of plain keys: `prefix` begins with r, m, t or nothing".into(),
            ));
        }
        Ok(Self {
            config,
            stores: Stores::new(Pd::connect(pd_endpoints).await?),
            truth: Truth::default(),
            names: Arc::new(TruthTable {
                schema: "tikv".into(),
                name: "kv".into(),
                columns: vec!["key".into(), "value".into()],
                key: vec![0],
            }),
        })
    }

    /// What is committed so far.
    pub fn truth(&self) -> Truth {
        self.truth.clone()
    }

    /// The client's connection to the cluster.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Starts the writers.
    pub fn start(&self) -> RunningKv {
        let stop = CancellationToken::new();
        let mut writers = JoinSet::new();
        for index in 0..self.config.writers {
            let writer = KvWriter {
                rng: StdRng::seed_from_u64(self.config.seed.wrapping_mul(7919).wrapping_add(index as u64)),
                config: self.config.clone(),
                stores: self.stores.clone(),
                truth: self.truth.clone(),
                names: Arc::clone(&self.names),
                values: vec![None; self.config.keys],
                index,
            };
            writers.spawn(writer.run(stop.clone()));
        }
        RunningKv {
            truth: self.truth.clone(),
            writers,
            stop: stop.drop_guard(),
        }
    }
}

/// A plain workload whose writers run. Dropping it stops them.
pub struct RunningKv {
    truth: Truth,
    writers: JoinSet<Result<(), ClientError>>,
    stop: DropGuard,
}

impl RunningKv {
    /// Stops the writers and waits until every outcome is known.
    ///
    /// # Errors
    /// If a writer failed, so that the truth isn't whole.
    pub async fn stop(mut self) -> Result<Truth, WorkloadError> {
        drop(self.stop);
        while let Some(ended) = self.writers.join_next().await {
            ended.map_err(|problem| WorkloadError::Writer(problem.to_string()))??;
        }
        Ok(self.truth)
    }
}

struct KvWriter {
    rng: StdRng,
    config: KvConfig,
    stores: Stores,
    truth: Truth,
    names: Arc<TruthTable>,
    /// The writer's own keys, as last committed.
    values: Vec<Option<Vec<u8>>>,
    index: usize,
}

impl KvWriter {
    async fn run(mut self, stop: CancellationToken) -> Result<(), ClientError> {
        while !stop.is_cancelled() {
            let kind = TransactionKind {
                commit: [
                    CommitKind::TwoPhase,
                    CommitKind::AsyncCommit,
                    CommitKind::OnePhase,
                ][self.rng.random_range(0..3)],
                pessimistic: self.rng.random_ratio(1, 4),
                ..TransactionKind::default()
            };
            let mut changes: Vec<(usize, Option<Vec<u8>>)> = Vec::new();
            for _ in 0..self.rng.random_range(1..=5) {
                let slot = self.rng.random_range(0..self.values.len());
                if changes.iter().all(|(other, _)| *other != slot) {
                    let delete = self.values[slot].is_some() && self.rng.random_ratio(1, 4);
                    // Empty values can't be told from absent ones in a stream.
                    let mut value = random_bytes(&mut self.rng, self.config.value_bytes.max(2) - 1);
                    value.push(b'.');
                    changes.push((slot, (!delete).then_some(value)));
                }
            }
            let mut txn = Transaction::begin(&self.stores, kind).await?;
            let start_ts = txn.start_ts();
            for (slot, value) in &changes {
                match value {
                    Some(value) => txn.put(self.key(*slot), value.clone()),
                    None => txn.delete(self.key(*slot)),
                }
            }
            if let Outcome::Committed(commit_ts) = txn.finish(Ending::Commit).await? {
                let records: Vec<Record> = changes
                    .iter()
                    .map(|(slot, value)| self.record(*slot, value.as_deref(), start_ts, commit_ts))
                    .collect();
                self.truth.extend(records);
                for (slot, value) in changes {
                    self.values[slot] = value;
                }
            }
        }
        Ok(())
    }

    fn key(&self, slot: usize) -> Vec<u8> {
        let mut key = self.config.prefix.clone();
        // Bytes above ASCII and of any length keep readers honest.
        key.extend([self.index as u8, 0xff, 0x00]);
        key.extend_from_slice(format!("{slot:x}").as_bytes());
        key
    }

    fn record(&self, slot: usize, value: Option<&[u8]>, start_ts: u64, commit_ts: u64) -> Record {
        let before = self.values[slot].as_deref();
        let texts = |value: &[u8]| -> Texts { [Some(latin1(&self.key(slot))), Some(latin1(value))].into() };
        let (op, row, old) = match (before, value) {
            (Some(before), Some(value)) => (TruthOp::Update, texts(value), Some(texts(before))),
            (_, Some(value)) => (TruthOp::Insert, texts(value), None),
            (before, None) => (TruthOp::Delete, texts(before.unwrap_or_default()), None),
        };
        Record {
            table: Arc::clone(&self.names),
            start_ts,
            commit_ts,
            op,
            row,
            old,
        }
    }
}

fn latin1(bytes: &[u8]) -> Box<str> {
    bytes
        .iter()
        .map(|byte| char::from(*byte))
        .collect::<String>()
        .into_boxed_str()
}
