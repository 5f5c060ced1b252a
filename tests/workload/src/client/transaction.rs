use std::collections::BTreeMap;

use bytes::Bytes;
use tidemark_proto::kvrpcpb::{KeyError, LockInfo, Mutation, Op, PessimisticLockRequest, PrewriteRequest};

use super::locks::refused;
use super::{Backoff, ClientError, Stores};

/// Limits of an async commit, as TiDB sets them: keys, and bytes of all keys.
const ASYNC_COMMIT_KEYS: usize = 256;
const ASYNC_COMMIT_BYTES: usize = 4096;

/// How a transaction takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitKind {
    /// Prewrite everywhere, then commit the primary, then the rest.
    TwoPhase,
    /// Committed once everything is prewritten.
    AsyncCommit,
    /// Written and committed at once, where one region holds all keys.
    OnePhase,
}

/// How a transaction runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionKind {
    /// How it takes effect. Transactions too large for the wish fall back to two phases.
    pub commit: CommitKind,
    /// Whether record keys are locked before they are written.
    pub pessimistic: bool,
    /// Time to live of its locks in milliseconds.
    pub lock_ttl_ms: u64,
}

impl Default for TransactionKind {
    fn default() -> Self {
        Self {
            commit: CommitKind::TwoPhase,
            pessimistic: false,
            lock_ttl_ms: 20_000,
        }
    }
}

/// Writes that take effect together.
pub struct Transaction {
    pub(super) stores: Stores,
    pub(super) start_ts: u64,
    pub(super) kind: TransactionKind,
    pub(super) writes: BTreeMap<Bytes, Option<Bytes>>,
    /// Set once record keys are locked.
    for_update_ts: u64,
}

/// What prewriting came to.
pub(super) enum Prewritten {
    /// Committed at once, at this ts.
    OnePhase(u64),
    /// All locked under async commit: committed at this ts.
    Async(u64),
    /// All locked; the primary's commit decides.
    Locked,
    /// Refused: some keys may be locked.
    Refused { reason: String, uncertain: bool },
}

impl Transaction {
    /// Begins now.
    ///
    /// # Errors
    /// If PD doesn't answer.
    pub async fn begin(stores: &Stores, kind: TransactionKind) -> Result<Self, ClientError> {
        let start_ts = stores.pd.timestamp().await?;
        Ok(Self {
            stores: stores.clone(),
            start_ts,
            kind,
            writes: BTreeMap::new(),
            for_update_ts: 0,
        })
    }

    /// When it began.
    pub fn start_ts(&self) -> u64 {
        self.start_ts
    }

    /// Writes a value; the last write of a key wins.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.writes.insert(key.into(), Some(value.into()));
    }

    /// Deletes a key.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.writes.insert(key.into(), None);
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn primary(&self) -> Bytes {
        self.writes.keys().next().cloned().unwrap_or_default()
    }

    pub(super) fn keys(&self) -> Vec<Bytes> {
        self.writes.keys().cloned().collect()
    }

    fn mutations(&self) -> Vec<Mutation> {
        let mutation = |(key, value): (&Bytes, &Option<Bytes>)| Mutation {
            op: if value.is_some() { Op::Put } else { Op::Del } as i32,
            key: key.clone(),
            value: value.clone().unwrap_or_default(),
            assertion: 0,
        };
        self.writes.iter().map(mutation).collect()
    }

    /// Takes pessimistic locks on the record keys; `Err(reason)` inside if another transaction won.
    pub(super) async fn lock(&mut self) -> Result<Result<(), String>, ClientError> {
        let keys: Vec<Bytes> = self
            .writes
            .keys()
            .filter(|key| is_locked_first(key))
            .cloned()
            .collect();
        let Some(primary) = keys.first().cloned() else {
            return Ok(Ok(()));
        };
        self.for_update_ts = self.start_ts;
        let mut backoff = Backoff::new();
        for key in keys {
            loop {
                let request = PessimisticLockRequest {
                    mutations: vec![Mutation {
                        op: Op::PessimisticLock as i32,
                        key: key.clone(),
                        ..Mutation::default()
                    }],
                    primary_lock: primary.clone(),
                    start_version: self.start_ts,
                    lock_ttl: self.kind.lock_ttl_ms,
                    for_update_ts: self.for_update_ts,
                    is_first_lock: key == primary,
                    wait_timeout: -1,
                    min_commit_ts: self.for_update_ts + 1,
                    ..PessimisticLockRequest::default()
                };
                let reply = self.stores.at_key(&key, request).await?.reply;
                let Some(error) = reply.errors.into_iter().next() else {
                    break;
                };
                if let Some(lock) = error.locked {
                    self.stores.resolve(&[lock], 0).await?;
                } else if error.conflict.is_some() {
                    self.for_update_ts = self.stores.pd.timestamp().await?;
                } else {
                    return Ok(Err(format!("{error:?}")));
                }
                if !backoff.wait().await {
                    return Ok(Err("locks stay contended".into()));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Prewrites all keys, the primary's part first, waiting for locks of others.
    pub(super) async fn prewrite(&self) -> Result<Prewritten, ClientError> {
        let mutations = self.mutations();
        let key_bytes: usize = mutations.iter().map(|mutation| mutation.key.len()).sum();
        let small = mutations.len() <= ASYNC_COMMIT_KEYS && key_bytes <= ASYNC_COMMIT_BYTES;
        let one_part = self.kind.commit == CommitKind::OnePhase
            && self
                .stores
                .parts(&mutations, |mutation| &mutation.key, weight)
                .await?
                == 1;
        let use_async = one_part || self.kind.commit == CommitKind::AsyncCommit && small;
        let min_commit_ts = if use_async {
            self.stores.pd.timestamp().await? + 1
        } else {
            0
        };
        let primary = self.primary();
        let rest: Vec<Bytes> = self.writes.keys().skip(1).cloned().collect();
        let build = |part: &[Mutation]| {
            let leads = part.iter().any(|mutation| mutation.key == primary);
            PrewriteRequest {
                mutations: part.to_vec(),
                primary_lock: primary.clone(),
                start_version: self.start_ts,
                lock_ttl: self.kind.lock_ttl_ms,
                txn_size: self.writes.len() as u64,
                for_update_ts: self.for_update_ts,
                pessimistic_actions: self.pessimistic_actions(part),
                min_commit_ts: min_commit_ts.max(if self.for_update_ts > 0 {
                    self.for_update_ts + 1
                } else {
                    0
                }),
                use_async_commit: use_async,
                secondaries: if leads && use_async {
                    rest.clone()
                } else {
                    Vec::new()
                },
                try_one_pc: one_part,
                ..PrewriteRequest::default()
            }
        };
        let mut backoff = Backoff::new();
        let mut uncertain = false;
        let mut commit_ts = 0;
        let mut falls_back = false;
        let mut waves = vec![mutations];
        if !one_part {
            let rest = waves[0].split_off(1);
            waves.push(rest);
        }
        for wave in waves {
            loop {
                let answers = self
                    .stores
                    .scatter(wave.clone(), |mutation| &mutation.key, weight, build)
                    .await?;
                let mut locks = Vec::new();
                for answer in answers {
                    uncertain |= answer.uncertain;
                    if let Some(reason) = sort_errors(answer.reply.errors, &mut locks) {
                        return Ok(Prewritten::Refused { reason, uncertain });
                    }
                    if answer.reply.one_pc_commit_ts > 0 {
                        return Ok(Prewritten::OnePhase(answer.reply.one_pc_commit_ts));
                    }
                    falls_back |= answer.reply.min_commit_ts == 0 && locks.is_empty();
                    commit_ts = commit_ts.max(answer.reply.min_commit_ts);
                }
                if locks.is_empty() {
                    break;
                }
                self.stores.resolve(&locks, self.start_ts).await?;
                if !backoff.wait().await {
                    let reason = "locks stay contended".into();
                    return Ok(Prewritten::Refused { reason, uncertain });
                }
            }
        }
        Ok(if use_async && !falls_back {
            Prewritten::Async(commit_ts)
        } else {
            Prewritten::Locked
        })
    }

    fn pessimistic_actions(&self, part: &[Mutation]) -> Vec<i32> {
        if self.for_update_ts == 0 {
            return Vec::new();
        }
        part.iter()
            .map(|mutation| i32::from(is_locked_first(&mutation.key)))
            .collect()
    }
}

/// Whether a pessimistic transaction locks the key before it writes: all but index entries.
fn is_locked_first(key: &[u8]) -> bool {
    !(key.first() == Some(&b't') && key.get(9..11) == Some(b"_i"))
}

pub(super) fn weight(mutation: &Mutation) -> usize {
    mutation.key.len() + mutation.value.len()
}

/// Collects locks of others; gives the first error of another kind.
fn sort_errors(errors: Vec<KeyError>, locks: &mut Vec<LockInfo>) -> Option<String> {
    for error in errors {
        match error.locked {
            Some(lock) => locks.push(lock),
            None => return Some(refused("kv_prewrite", &error).to_string()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use tidemark_cluster::{Cluster, ClusterConfig};

    use super::*;
    use crate::client::Pd;

    async fn prewritten(commit: CommitKind, keys: &[&'static str]) -> Prewritten {
        let config = ClusterConfig {
            split_keys: vec![b"plain/m".to_vec()],
            ..ClusterConfig::default()
        };
        let cluster = Cluster::start(config).await.unwrap();
        let stores = Stores::new(Pd::connect(&cluster.pd_endpoints()).await.unwrap());
        let kind = TransactionKind {
            commit,
            ..TransactionKind::default()
        };
        let mut txn = Transaction::begin(&stores, kind).await.unwrap();
        keys.iter().for_each(|key| txn.put(*key, "value"));
        txn.prewrite().await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_transaction_takes_the_shortest_way_that_it_may() {
        let one_region = ["plain/a", "plain/b"];
        let two_regions = ["plain/a", "plain/z"];
        let one_phase = prewritten(CommitKind::OnePhase, &one_region).await;
        assert!(matches!(one_phase, Prewritten::OnePhase(_)));
        let spread = prewritten(CommitKind::OnePhase, &two_regions).await;
        assert!(matches!(spread, Prewritten::Locked), "one phase needs one region");
        let async_commit = prewritten(CommitKind::AsyncCommit, &two_regions).await;
        assert!(matches!(async_commit, Prewritten::Async(_)));
        let two_phase = prewritten(CommitKind::TwoPhase, &one_region).await;
        assert!(matches!(two_phase, Prewritten::Locked));
    }
}
