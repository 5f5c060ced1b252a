//! A raw writer: single commands, no retries.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tidemark_cluster::Cluster;
use tidemark_proto::kvrpcpb as pb;
use tidemark_proto::tikvpb::tikv_client::TikvClient;
use tonic::transport::{Channel, Endpoint};

use crate::client::{bytes, leader};

pub(crate) struct Writer {
    cluster: Cluster,
    channels: Mutex<HashMap<u64, Channel>>,
    pub(crate) source: AtomicU64,
}

pub(crate) fn put(key: &str, value: impl Into<Bytes>) -> pb::Mutation {
    pb::Mutation {
        op: pb::Op::Put.into(),
        key: bytes(key),
        value: value.into(),
        ..Default::default()
    }
}

pub(crate) fn delete(key: &str) -> pb::Mutation {
    pb::Mutation {
        op: pb::Op::Del.into(),
        key: bytes(key),
        ..Default::default()
    }
}

pub(crate) fn lock(key: &str) -> pb::Mutation {
    pb::Mutation {
        op: pb::Op::Lock.into(),
        key: bytes(key),
        ..Default::default()
    }
}

impl Writer {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self {
            cluster: cluster.clone(),
            channels: Mutex::default(),
            source: AtomicU64::new(0),
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.cluster.now().0
    }

    fn route(&self, key: &[u8]) -> (TikvClient<Channel>, pb::Context) {
        let (meta, store) = leader(&self.cluster, key);
        let context = pb::Context {
            region_id: meta.id,
            region_epoch: meta.region_epoch,
            peer: meta.peers.iter().find(|peer| peer.store_id == store).cloned(),
            txn_source: self.source.load(Ordering::SeqCst),
            ..Default::default()
        };
        let mut channels = self.channels.lock().unwrap();
        let channel = channels.entry(store).or_insert_with(|| {
            let url = format!("http://{}", self.cluster.store_address(store).unwrap());
            Endpoint::try_from(url).unwrap().connect_lazy()
        });
        (TikvClient::new(channel.clone()), context)
    }

    fn prewrite_request(&self, start_ts: u64, mutations: Vec<pb::Mutation>) -> pb::PrewriteRequest {
        pb::PrewriteRequest {
            primary_lock: mutations[0].key.clone(),
            txn_size: mutations.len() as u64,
            mutations,
            start_version: start_ts,
            lock_ttl: 60_000,
            ..Default::default()
        }
    }

    async fn send_prewrite(&self, mut request: pb::PrewriteRequest) -> pb::PrewriteResponse {
        let (mut client, context) = self.route(&request.mutations[0].key);
        request.context = Some(context);
        let response = client.kv_prewrite(request).await.unwrap().into_inner();
        assert!(
            response.region_error.is_none() && response.errors.is_empty(),
            "{response:?}"
        );
        response
    }

    pub(crate) async fn prewrite(&self, start_ts: u64, mutations: Vec<pb::Mutation>) {
        self.send_prewrite(self.prewrite_request(start_ts, mutations))
            .await;
    }

    pub(crate) async fn one_pc(&self, mutations: Vec<pb::Mutation>) -> u64 {
        let request = self.prewrite_request(self.now(), mutations);
        let response = self
            .send_prewrite(pb::PrewriteRequest {
                try_one_pc: true,
                ..request
            })
            .await;
        assert_ne!(response.one_pc_commit_ts, 0);
        response.one_pc_commit_ts
    }

    /// Prewrites for async commit; gives the commit ts.
    pub(crate) async fn prewrite_async(&self, start_ts: u64, mutations: Vec<pb::Mutation>) -> u64 {
        let secondaries = mutations[1..]
            .iter()
            .map(|mutation| mutation.key.clone())
            .collect();
        let request = self.prewrite_request(start_ts, mutations);
        let response = self
            .send_prewrite(pb::PrewriteRequest {
                use_async_commit: true,
                secondaries,
                min_commit_ts: start_ts + 1,
                ..request
            })
            .await;
        response.min_commit_ts
    }

    pub(crate) async fn commit(&self, start_ts: u64, commit_ts: u64, keys: &[&str]) {
        let (mut client, context) = self.route(keys[0].as_bytes());
        let request = pb::CommitRequest {
            context: Some(context),
            start_version: start_ts,
            commit_version: commit_ts,
            keys: keys.iter().map(|key| bytes(key)).collect(),
            ..Default::default()
        };
        let response = client.kv_commit(request).await.unwrap().into_inner();
        assert!(
            response.region_error.is_none() && response.error.is_none(),
            "{response:?}"
        );
    }

    /// A whole 2PC transaction; gives its two timestamps.
    pub(crate) async fn write(&self, mutations: Vec<pb::Mutation>) -> (u64, u64) {
        let keys: Vec<_> = mutations
            .iter()
            .map(|mutation| String::from_utf8(mutation.key.to_vec()).unwrap())
            .collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let start_ts = self.now();
        self.prewrite(start_ts, mutations).await;
        let commit_ts = self.now();
        self.commit(start_ts, commit_ts, &keys).await;
        (start_ts, commit_ts)
    }

    pub(crate) async fn rollback(&self, start_ts: u64, keys: &[&str]) {
        let (mut client, context) = self.route(keys[0].as_bytes());
        let request = pb::BatchRollbackRequest {
            context: Some(context),
            start_version: start_ts,
            keys: keys.iter().map(|key| bytes(key)).collect(),
            ..Default::default()
        };
        let response = client.kv_batch_rollback(request).await.unwrap().into_inner();
        assert!(
            response.region_error.is_none() && response.error.is_none(),
            "{response:?}"
        );
    }

    /// Rolls back a transaction that never prewrote its primary, as whoever meets its secondaries does.
    pub(crate) async fn roll_back_missing(&self, start_ts: u64, primary: &str) {
        let (mut client, context) = self.route(primary.as_bytes());
        let request = pb::CheckTxnStatusRequest {
            context: Some(context),
            primary_key: bytes(primary),
            lock_ts: start_ts,
            caller_start_ts: start_ts,
            current_ts: self.now(),
            rollback_if_not_exist: true,
            ..Default::default()
        };
        let response = client.kv_check_txn_status(request).await.unwrap().into_inner();
        assert!(
            response.region_error.is_none() && response.error.is_none(),
            "{response:?}"
        );
    }

    /// Raises the lock's time to live, which rewrites the lock.
    pub(crate) async fn heartbeat(&self, start_ts: u64, primary: &str, ttl: u64) {
        let (mut client, context) = self.route(primary.as_bytes());
        let request = pb::TxnHeartBeatRequest {
            context: Some(context),
            primary_lock: bytes(primary),
            start_version: start_ts,
            advise_lock_ttl: ttl,
            ..Default::default()
        };
        let response = client.kv_txn_heart_beat(request).await.unwrap().into_inner();
        assert!(
            response.region_error.is_none() && response.error.is_none(),
            "{response:?}"
        );
    }

    pub(crate) async fn pessimistic_lock(&self, start_ts: u64, key: &str) {
        let (mut client, context) = self.route(key.as_bytes());
        let request = pb::PessimisticLockRequest {
            context: Some(context),
            mutations: vec![pb::Mutation {
                op: pb::Op::PessimisticLock.into(),
                key: bytes(key),
                ..Default::default()
            }],
            primary_lock: bytes(key),
            start_version: start_ts,
            for_update_ts: start_ts,
            lock_ttl: 60_000,
            ..Default::default()
        };
        let response = client.kv_pessimistic_lock(request).await.unwrap().into_inner();
        assert!(
            response.region_error.is_none() && response.errors.is_empty(),
            "{response:?}"
        );
    }

    pub(crate) async fn pessimistic_rollback(&self, start_ts: u64, key: &str) {
        let (mut client, context) = self.route(key.as_bytes());
        let request = pb::PessimisticRollbackRequest {
            context: Some(context),
            start_version: start_ts,
            for_update_ts: start_ts,
            keys: vec![bytes(key)],
        };
        let response = client
            .kv_pessimistic_rollback(request)
            .await
            .unwrap()
            .into_inner();
        assert!(
            response.region_error.is_none() && response.errors.is_empty(),
            "{response:?}"
        );
    }

    pub(crate) async fn flush(&self, start_ts: u64, generation: u64, mutations: Vec<pb::Mutation>) {
        let (mut client, context) = self.route(&mutations[0].key);
        let request = pb::FlushRequest {
            context: Some(context),
            primary_key: mutations[0].key.clone(),
            mutations,
            start_ts,
            min_commit_ts: start_ts + 1,
            generation,
            lock_ttl: 60_000,
            ..Default::default()
        };
        let response = client.kv_flush(request).await.unwrap().into_inner();
        assert!(
            response.region_error.is_none() && response.errors.is_empty(),
            "{response:?}"
        );
    }
}
