use std::collections::BTreeMap;

use bytes::Bytes;
use tidemark_model::{Span, Ts};
use tidemark_proto::kvrpcpb::{self, KeyError, LockInfo, Op};
use tokio::time::Instant;

use super::call::Retry;
use super::status::{Resolved, TxnStatus, words};
use super::{KvClient, KvError};

/// Transactions up to this size have their locks resolved key by key; larger ones by whole region.
const LITE: usize = 16;
const SCAN_LOCK: &str = "KvScanLock";
/// Locks asked for in one request.
const SCAN_LIMIT: u32 = 1024;

/// What a search for locks found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockSweep {
    /// Locks that can hold a resolved ts (puts and deletes).
    pub found: usize,
    /// Of them, those resolved: their transactions had ended or their time had run out.
    pub resolved: usize,
    /// The start ts of the oldest transaction that lives on.
    pub oldest_live: Option<Ts>,
}

/// Whether a lock blocks readers and resolved ts; pessimistic and lock-only ones don't.
fn blocks(lock: &LockInfo) -> bool {
    matches!(lock.lock_type(), Op::Put | Op::Del | Op::Insert)
}

impl KvClient {
    /// Finds the locks of a span with `start_ts <= upto` and resolves those of ended transactions.
    ///
    /// Live transactions are left as they are. Regions that have moved or split are found again.
    pub async fn sweep_locks(&self, span: &Span, upto: Ts) -> Result<LockSweep, KvError> {
        let retry = || Retry::new(SCAN_LOCK, Instant::now() + self.inner.config.deadline, upto.0);
        let mut tries = retry();
        let mut sweep = LockSweep::default();
        let mut next = span.start.clone();
        loop {
            let rest = Span::new(next.clone(), span.end.clone());
            match Box::pin(self.sweep_page(rest, upto)).await {
                // What was resolved isn't there any more when the page is asked for again.
                Err(error) => tries.pause(error).await?,
                Ok((page, reached)) => {
                    tries = retry();
                    sweep.found += page.found;
                    sweep.resolved += page.resolved;
                    sweep.oldest_live = sweep.oldest_live.into_iter().chain(page.oldest_live).min();
                    match reached {
                        Some(reached) => next = reached,
                        None => return Ok(sweep),
                    }
                }
            }
        }
    }

    /// One page within one region, and where the next one begins (`None`: all is done).
    async fn sweep_page(&self, rest: Span, upto: Ts) -> Result<(LockSweep, Option<Bytes>), KvError> {
        let target = self.target(&rest.start).await?;
        let end = rest.end.clone();
        let part = rest.intersect(&target.region.span).unwrap_or(rest);
        let request = kvrpcpb::ScanLockRequest {
            context: Some(target.context.clone()),
            max_version: upto.0,
            start_key: part.start.clone(),
            end_key: part.end.clone(),
            limit: SCAN_LIMIT,
        };
        let mut grpc = target.grpc.clone();
        let answer = grpc.kv_scan_lock(request);
        let mut answer = self
            .send(SCAN_LOCK, &target, answer, |answer| answer.region_error.take())
            .await?;
        let mut locks = std::mem::take(&mut answer.locks);
        let full = locks.len() >= SCAN_LIMIT as usize;
        let last = locks.last().map(|lock| lock.key.clone());
        match answer.error.take() {
            // A lock in memory only, of an async commit under way.
            Some(KeyError {
                locked: Some(lock), ..
            }) => locks.push(lock),
            Some(error) => {
                return Err(KvError::Refused {
                    what: SCAN_LOCK,
                    message: words(&error),
                });
            }
            None => {}
        }
        locks.retain(blocks);
        let mut sweep = LockSweep {
            found: locks.len(),
            ..LockSweep::default()
        };
        sweep.oldest_live = self.resolve(locks, Ts::ZERO, &mut sweep).await?.into_iter().min();
        let reached = match last {
            Some(last) if full => Some([&last[..], &[0]].concat().into()),
            _ if part.end.is_empty() || part.end == end => None,
            _ => Some(part.end),
        };
        Ok((sweep, reached))
    }

    /// Resolves the lock that an answer carries, on behalf of a read at `at`; gives what to report.
    pub(super) async fn unlock(
        &self,
        what: &'static str,
        error: KeyError,
        at: Ts,
        seen: &mut Resolved,
    ) -> KvError {
        let Some(lock) = error.locked else {
            return KvError::Refused {
                what,
                message: words(&error),
            };
        };
        let start_ts = Ts(lock.lock_version);
        let done = async {
            let status = self.outcome(&lock, at).await?;
            match status {
                TxnStatus::Alive { pushed: true } => seen.pass(lock.lock_version),
                TxnStatus::Committed(ts) if ts > at => {
                    seen.pass(lock.lock_version);
                    self.apply(&[lock], &status).await?;
                }
                TxnStatus::RolledBack | TxnStatus::Committed(_) => self.apply(&[lock], &status).await?,
                TxnStatus::Alive { pushed: false } | TxnStatus::Async(_) => {}
            }
            Ok(())
        };
        match Box::pin(done).await {
            Ok(()) => KvError::Locked { start_ts },
            Err(error) => error,
        }
    }

    /// Resolves locks, one status question per transaction; gives the start ts of the live ones.
    async fn resolve(
        &self,
        locks: Vec<LockInfo>,
        caller: Ts,
        sweep: &mut LockSweep,
    ) -> Result<Vec<Ts>, KvError> {
        let mut txns: BTreeMap<u64, Vec<LockInfo>> = BTreeMap::new();
        for lock in locks {
            txns.entry(lock.lock_version).or_default().push(lock);
        }
        let mut live = Vec::new();
        for (start_ts, locks) in txns {
            let status = self.outcome(&locks[0], caller).await?;
            match status {
                TxnStatus::Alive { .. } | TxnStatus::Async(_) => live.push(Ts(start_ts)),
                TxnStatus::Committed(_) | TxnStatus::RolledBack => {
                    self.apply(&locks, &status).await?;
                    sweep.resolved += locks.len();
                }
            }
        }
        Ok(live)
    }

    /// The final status of a lock's transaction, async commits decided.
    async fn outcome(&self, lock: &LockInfo, caller: Ts) -> Result<TxnStatus, KvError> {
        match self.txn_status(lock, caller, false).await? {
            TxnStatus::Async(primary) => match self.async_outcome(&primary).await? {
                None => self.txn_status(lock, caller, true).await,
                Some(status) => {
                    // The primary decides for everyone else, so it goes first.
                    let mut first = LockInfo::clone(&primary);
                    first.key.clone_from(&lock.primary_lock);
                    self.apply(&[first], &status).await?;
                    Ok(status)
                }
            },
            status => Ok(status),
        }
    }

    /// Commits or rolls back the given locks of one transaction.
    async fn apply(&self, locks: &[LockInfo], status: &TxnStatus) -> Result<(), KvError> {
        const WHAT: &str = "KvResolveLock";
        let commit_version = match status {
            TxnStatus::Committed(ts) => ts.0,
            TxnStatus::RolledBack => 0,
            TxnStatus::Alive { .. } | TxnStatus::Async(_) => return Ok(()),
        };
        let mut keys: Vec<Bytes> = locks.iter().map(|lock| lock.key.clone()).collect();
        keys.sort();
        let mut from = 0;
        while from < keys.len() {
            let target = self.target(&keys[from]).await?;
            let upto = from
                + keys[from..]
                    .iter()
                    .take_while(|key| target.region.span.contains(key))
                    .count();
            let upto = upto.max(from + 1);
            let lite = upto - from <= LITE;
            let request = kvrpcpb::ResolveLockRequest {
                context: Some(target.context.clone()),
                start_version: locks[0].lock_version,
                commit_version,
                keys: if lite {
                    keys[from..upto].to_vec()
                } else {
                    Vec::new()
                },
                is_txn_file: locks[0].is_txn_file,
                ..Default::default()
            };
            let mut grpc = target.grpc.clone();
            let answer = grpc.kv_resolve_lock(request);
            let answer = self
                .send(WHAT, &target, answer, |answer| answer.region_error.take())
                .await?;
            if let Some(error) = answer.error {
                return Err(KvError::Refused {
                    what: WHAT,
                    message: words(&error),
                });
            }
            from = upto;
        }
        Ok(())
    }
}
