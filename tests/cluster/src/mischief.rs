//! Transactions that the cluster itself runs to make trouble: abandoned locks, silent rollbacks.

use std::time::Duration;

use bytes::Bytes;
use tidemark_model::Ts;
use tidemark_proto::{errorpb, kvrpcpb as pb};

use crate::cluster::{Cluster, ClusterError};
use crate::keys;

/// What a silent rollback did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SilentRollback {
    /// Commit ts of the transaction that wrote the key, and start ts of the one that was rolled back.
    pub ts: Ts,
    /// Start ts of the transaction that wrote the key.
    pub written_at: Ts,
}

impl Cluster {
    /// Prewrites the keys and never finishes: the lock of the primary lives for `ttl`, then whoever meets it may
    /// roll it back. Gives the transaction's start ts.
    ///
    /// # Errors
    /// A key is locked or was written since.
    pub fn leave_lock(
        &self,
        primary: &[u8],
        secondaries: &[Vec<u8>],
        value: &[u8],
        ttl: Duration,
    ) -> Result<Ts, ClusterError> {
        let start_ts = self.now();
        let primary = Bytes::copy_from_slice(primary);
        let secondaries = secondaries.iter().map(|key| Bytes::copy_from_slice(key));
        let keys: Vec<Bytes> = std::iter::once(primary.clone()).chain(secondaries).collect();
        for key in keys {
            self.prewrite(&key, &primary, start_ts, value, ttl)?;
        }
        Ok(start_ts)
    }

    /// Rolls back a transaction without leaving a trace: it began just when another one committed the same key.
    /// TiKV's CDC keeps its lock in mind then, and the region's resolved ts stands still, though no lock is there.
    /// The key gets `value`.
    ///
    /// # Errors
    /// The key is locked or was written since.
    pub fn silent_rollback(&self, key: &[u8], value: &[u8]) -> Result<SilentRollback, ClusterError> {
        let key = Bytes::copy_from_slice(key);
        let ttl = Duration::from_secs(60);
        let written_at = self.now();
        self.prewrite(&key, &key, written_at, value, ttl)?;
        let ts = self.now();
        self.commit(&key, written_at, ts)?;
        // The primary that it names is never written: only a secondary's rollback is unprotected.
        let elsewhere = Bytes::from([&key[..], b"\0primary"].concat());
        self.prewrite(&key, &elsewhere, ts, value, ttl)?;
        self.routed(&key, |store, context| {
            let request = pb::BatchRollbackRequest {
                context: Some(context),
                start_version: ts.0,
                keys: vec![key.clone()],
                ..Default::default()
            };
            let response = self.handle(store).batch_rollback(&request);
            (response.region_error, response.error)
        })?;
        Ok(SilentRollback { ts, written_at })
    }

    fn prewrite(
        &self,
        key: &Bytes,
        primary: &Bytes,
        start_ts: Ts,
        value: &[u8],
        ttl: Duration,
    ) -> Result<(), ClusterError> {
        self.routed(key, |store, context| {
            let request = pb::PrewriteRequest {
                context: Some(context),
                mutations: vec![pb::Mutation {
                    op: pb::Op::Put.into(),
                    key: key.clone(),
                    value: Bytes::copy_from_slice(value),
                    ..Default::default()
                }],
                primary_lock: primary.clone(),
                start_version: start_ts.0,
                lock_ttl: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
                txn_size: 1,
                min_commit_ts: start_ts.next().0,
                ..Default::default()
            };
            let response = self.handle(store).prewrite(request);
            (response.region_error, response.errors.into_iter().next())
        })
    }

    fn commit(&self, key: &Bytes, start_ts: Ts, commit_ts: Ts) -> Result<(), ClusterError> {
        self.routed(key, |store, context| {
            let request = pb::CommitRequest {
                context: Some(context),
                start_version: start_ts.0,
                keys: vec![key.clone()],
                commit_version: commit_ts.0,
                ..Default::default()
            };
            let response = self.handle(store).commit(&request);
            (response.region_error, response.error)
        })
    }

    /// Sends a command to the leader of the key's region; once more where the region changed in between.
    fn routed(
        &self,
        key: &[u8],
        send: impl Fn(u64, pb::Context) -> (Option<errorpb::Error>, Option<pb::KeyError>),
    ) -> Result<(), ClusterError> {
        let mut refusal = String::new();
        for _ in 0..10 {
            let region = self.state.topology.read().at(&keys::encode(key));
            let target = region.and_then(|region| {
                let state = region.state.lock();
                Some((state.meta.clone(), state.leader?))
            });
            let Some((meta, leader)) = target else {
                return Err(ClusterError::Refused(
                    "the key's region has no leader now".to_owned(),
                ));
            };
            let context = pb::Context {
                region_id: meta.id,
                region_epoch: meta.region_epoch,
                peer: Some(leader),
                ..Default::default()
            };
            match send(leader.store_id, context) {
                (None, None) => return Ok(()),
                (None, Some(error)) => return Err(ClusterError::Refused(format!("{error:?}"))),
                (Some(error), _) => refusal = error.message,
            }
        }
        Err(ClusterError::Refused(refusal))
    }
}
