//! Each rule of the store, one test a rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use tidemark_model::{Op, Ts};
use tidemark_proto::kvrpcpb::{
    self as pb, KeyError, prewrite_request::PessimisticAction, write_conflict::Reason,
};

mod endings;
mod locks_and_upkeep;
mod reads_and_prewrites;

use super::apply::Batch;
use super::model::{Mvcc, WriteKind};
use super::observe::Applied;
use super::read::Reader;
use super::{finish, pessimistic, prewrite};
use crate::tso::MaxTs;

/// A region's data with what it told.
#[derive(Default)]
struct Store {
    data: Mvcc,
    max_ts: MaxTs,
    told: Vec<Applied>,
}

fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn mutation(op: pb::Op, key: &str, value: &str) -> pb::Mutation {
    pb::Mutation {
        op: op.into(),
        key: b(key),
        value: b(value),
        ..Default::default()
    }
}

fn put(key: &str, value: &str) -> pb::Mutation {
    mutation(pb::Op::Put, key, value)
}

fn two_phase(mutations: Vec<pb::Mutation>, start_ts: u64) -> pb::PrewriteRequest {
    pb::PrewriteRequest {
        primary_lock: mutations[0].key.clone(),
        mutations,
        start_version: start_ts,
        lock_ttl: 3000,
        txn_size: 1,
        ..Default::default()
    }
}

impl Store {
    fn apply(&mut self, batch: Batch) {
        let told = batch.apply(&mut self.data, true);
        self.told.extend(told);
    }

    /// What was told since the last question.
    fn told(&mut self) -> Vec<Applied> {
        std::mem::take(&mut self.told)
    }

    fn prewrite(&mut self, request: pb::PrewriteRequest) -> pb::PrewriteResponse {
        let (batch, response) = prewrite::prewrite(&self.data, &self.max_ts, request);
        self.apply(batch);
        response
    }

    fn commit(&mut self, key: &str, start_ts: u64, commit_ts: u64) -> Result<(), KeyError> {
        let batch = finish::commit(&self.data, &[b(key)], Ts(start_ts), Ts(commit_ts))?;
        self.apply(batch);
        Ok(())
    }

    fn rollback(&mut self, key: &str, start_ts: u64) -> Result<(), KeyError> {
        let batch = finish::batch_rollback(&self.data, &[b(key)], Ts(start_ts))?;
        self.apply(batch);
        Ok(())
    }

    /// Writes and commits.
    fn write(&mut self, key: &str, value: &str, start_ts: u64, commit_ts: u64) {
        assert!(
            self.prewrite(two_phase(vec![put(key, value)], start_ts))
                .errors
                .is_empty()
        );
        self.commit(key, start_ts, commit_ts).unwrap();
    }

    fn get(&self, key: &str, ts: u64) -> Result<Option<Bytes>, KeyError> {
        let reader = Reader::new(&self.data, &self.max_ts, Ts(ts), None);
        reader.get(&b(key)).map(|found| found.map(|(value, _)| value))
    }

    fn status(&mut self, request: &pb::CheckTxnStatusRequest) -> pb::CheckTxnStatusResponse {
        let (batch, response) = finish::check_txn_status(&self.data, &self.max_ts, request);
        self.apply(batch);
        response
    }

    fn pessimistic(&mut self, key: &str, start_ts: u64, for_update_ts: u64) -> pb::PessimisticLockResponse {
        self.lock(&pb::PessimisticLockRequest {
            mutations: vec![mutation(pb::Op::PessimisticLock, key, "")],
            primary_lock: b(key),
            start_version: start_ts,
            for_update_ts,
            lock_ttl: 3000,
            return_values: true,
            ..Default::default()
        })
    }

    fn lock(&mut self, request: &pb::PessimisticLockRequest) -> pb::PessimisticLockResponse {
        let (batch, response) = pessimistic::pessimistic_lock(&self.data, request);
        self.apply(batch);
        response
    }

    fn kinds(&self, key: &str) -> Vec<(u64, WriteKind)> {
        let writes = self.data.writes_of(key.as_bytes()).iter();
        writes.map(|write| (write.commit_ts.0, write.kind)).collect()
    }
}

fn reason(response: &pb::PrewriteResponse) -> Reason {
    Reason::try_from(response.errors[0].conflict.as_ref().unwrap().reason).unwrap()
}

/// A timestamp of so many milliseconds.
fn ms(ms: u64) -> u64 {
    Ts::new(ms, 0).0
}
