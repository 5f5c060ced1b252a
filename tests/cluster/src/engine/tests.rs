//! Each rule of the store, one test a rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use tidemark_model::{Op, Ts};
use tidemark_proto::kvrpcpb::{
    self as pb, KeyError, prewrite_request::PessimisticAction, write_conflict::Reason,
};

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

#[test]
fn a_read_sees_the_newest_version_at_its_ts() {
    let mut store = Store::default();
    store.write("k", "a", 10, 11);
    store.write("k", "b", 20, 21);
    store.prewrite(two_phase(vec![mutation(pb::Op::Del, "k", "")], 30));
    store.commit("k", 30, 31).unwrap();
    let seen: Vec<_> = [10, 11, 20, 21, 30, 31]
        .map(|ts| store.get("k", ts).unwrap())
        .to_vec();
    assert_eq!(
        seen,
        [None, Some(b("a")), Some(b("a")), Some(b("b")), Some(b("b")), None]
    );
}

#[test]
fn a_lock_blocks_reads_at_or_above_its_start_only() {
    let mut store = Store::default();
    store.write("k", "a", 10, 11);
    store.prewrite(two_phase(vec![put("k", "b")], 20));
    assert_eq!(store.get("k", 19).unwrap(), Some(b("a")));
    assert_eq!(store.get("k", 20).unwrap_err().locked.unwrap().lock_version, 20);
    let read = |context: pb::Context| {
        Reader::new(&store.data, &store.max_ts, Ts(30), Some(&context))
            .get(&b("k"))
            .unwrap()
            .map(|found| found.0)
    };
    let resolved = pb::Context {
        resolved_locks: vec![20],
        ..Default::default()
    };
    assert_eq!(read(resolved), Some(b("a")));
    let committed = pb::Context {
        committed_locks: vec![20],
        ..Default::default()
    };
    assert_eq!(read(committed), Some(b("b")));
    let rc = pb::Context {
        isolation_level: pb::IsolationLevel::Rc.into(),
        ..Default::default()
    };
    assert_eq!(read(rc), Some(b("a")));
    assert_eq!(
        store.get("k", u64::MAX).unwrap(),
        Some(b("a")),
        "the newest of a primary key reads past its lock"
    );
}

#[test]
fn a_lock_whose_min_commit_ts_is_higher_does_not_block() {
    let mut store = Store::default();
    let request = pb::PrewriteRequest {
        min_commit_ts: 50,
        ..two_phase(vec![put("k", "b")], 20)
    };
    store.prewrite(request);
    assert_eq!(store.get("k", 49).unwrap(), None);
    assert!(store.get("k", 50).is_err());
}

#[test]
fn scans_show_locked_keys_as_errors_and_go_both_ways() {
    let mut store = Store::default();
    for key in ["a", "c", "e"] {
        store.write(key, key, 10, 11);
    }
    store.prewrite(two_phase(vec![put("b", "b")], 12));
    let reader = Reader::new(&store.data, &store.max_ts, Ts(20), None);
    let keys = |pairs: Vec<pb::KvPair>| -> Vec<(Bytes, bool)> {
        pairs
            .into_iter()
            .map(|pair| (pair.key, pair.error.is_some()))
            .collect()
    };
    let all = [(b("a"), false), (b("b"), true), (b("c"), false), (b("e"), false)];
    assert_eq!(keys(reader.scan(b"", b"", 10, false, false)), all);
    assert_eq!(keys(reader.scan(b"a", b"e", 2, false, false)), all[..2]);
    assert_eq!(
        keys(reader.scan(b"b", b"e", 10, true, true)),
        [all[2].clone(), all[1].clone()]
    );
    assert!(reader.scan(b"e", b"a", 10, false, false).is_empty());
}

#[test]
fn prewrite_fails_on_others_locks_and_newer_writes_and_writes_nothing_then() {
    let mut store = Store::default();
    store.write("a", "1", 10, 30);
    store.prewrite(two_phase(vec![put("b", "1")], 40));
    store.told();
    let response = store.prewrite(two_phase(vec![put("c", "2"), put("b", "2"), put("d", "2")], 50));
    assert_eq!(response.errors[0].locked.as_ref().unwrap().lock_version, 40);
    let response = store.prewrite(two_phase(vec![put("c", "2"), put("a", "2")], 20));
    assert_eq!(reason(&response), Reason::Optimistic);
    assert_eq!((store.data.locks.len(), store.told()), (1, vec![]));
}

#[test]
fn a_repeated_prewrite_or_commit_changes_and_tells_nothing() {
    let mut store = Store::default();
    store.prewrite(two_phase(vec![put("k", "v")], 10));
    store.commit("k", 10, 20).unwrap();
    store.told();
    assert!(
        store
            .prewrite(two_phase(vec![put("k", "v")], 10))
            .errors
            .is_empty(),
        "committed meanwhile"
    );
    store.commit("k", 10, 20).unwrap();
    store.prewrite(two_phase(vec![put("j", "v")], 30));
    store.told();
    assert!(
        store
            .prewrite(two_phase(vec![put("j", "other")], 30))
            .errors
            .is_empty()
    );
    assert_eq!(store.told(), []);
    assert_eq!(
        store
            .data
            .locks
            .values()
            .map(|lock| lock.value.clone())
            .collect::<Vec<_>>(),
        [b("v")]
    );
}

#[test]
fn inserts_and_checks_refuse_keys_that_exist() {
    let mut store = Store::default();
    store.write("k", "v", 10, 11);
    for op in [pb::Op::Insert, pb::Op::CheckNotExists] {
        let response = store.prewrite(two_phase(vec![mutation(op, "k", "w")], 20));
        assert!(response.errors[0].already_exist.is_some(), "{op:?}");
    }
    let response = store.prewrite(two_phase(vec![mutation(pb::Op::CheckNotExists, "free", "")], 20));
    assert!(
        response.errors.is_empty() && store.data.locks.is_empty(),
        "a check writes nothing"
    );
    store.prewrite(two_phase(vec![mutation(pb::Op::Del, "k", "")], 30));
    store.commit("k", 30, 31).unwrap();
    assert!(
        store
            .prewrite(two_phase(vec![mutation(pb::Op::Insert, "k", "w")], 40))
            .errors
            .is_empty()
    );
}

#[test]
fn assertions_are_checked_where_asked() {
    let mut store = Store::default();
    store.write("k", "v", 10, 11);
    let with = |assertion: pb::Assertion| pb::PrewriteRequest {
        assertion_level: pb::AssertionLevel::Strict.into(),
        ..two_phase(
            vec![pb::Mutation {
                assertion: assertion.into(),
                ..put("k", "w")
            }],
            20,
        )
    };
    let response = store.prewrite(with(pb::Assertion::NotExist));
    let failed = response.errors[0].assertion_failed.as_ref().unwrap();
    assert_eq!((failed.existing_start_ts, failed.existing_commit_ts), (10, 11));
    assert!(store.prewrite(with(pb::Assertion::Exist)).errors.is_empty());
}

#[test]
fn a_rolled_back_transaction_can_not_prewrite_again() {
    let mut store = Store::default();
    store.rollback("k", 10).unwrap();
    assert_eq!(
        reason(&store.prewrite(two_phase(vec![put("k", "v")], 10))),
        Reason::SelfRolledBack
    );
    store.write("k", "v", 20, 21);
    assert_eq!(
        reason(&store.prewrite(two_phase(vec![put("k", "v")], 10))),
        Reason::SelfRolledBack
    );
}

#[test]
fn async_commit_stays_above_every_read() {
    let mut store = Store::default();
    store.get("other", 500).unwrap();
    let request = pb::PrewriteRequest {
        use_async_commit: true,
        secondaries: vec![b("s")],
        min_commit_ts: 11,
        ..two_phase(vec![put("k", "v"), put("s", "v")], 10)
    };
    assert_eq!(store.prewrite(request.clone()).min_commit_ts, 501);
    assert_eq!(store.data.locks[&b("k")].secondaries, [b("s")]);
    assert!(store.data.locks[&b("s")].secondaries.is_empty() && store.data.locks[&b("s")].use_async_commit);
    assert_eq!(
        store.prewrite(request).min_commit_ts,
        501,
        "a repeated one answers the same"
    );
    assert!(
        store
            .commit("k", 10, 500)
            .unwrap_err()
            .commit_ts_expired
            .is_some()
    );
    store.commit("k", 10, 501).unwrap();
}

#[test]
fn async_commit_above_its_limit_falls_back() {
    let mut store = Store::default();
    store.get("other", 500).unwrap();
    let request = pb::PrewriteRequest {
        use_async_commit: true,
        secondaries: vec![b("s")],
        max_commit_ts: 100,
        ..two_phase(vec![put("k", "v"), put("s", "v")], 10)
    };
    assert_eq!(store.prewrite(request).min_commit_ts, 0);
    assert!(store.data.locks.values().all(|lock| !lock.use_async_commit));
    store.commit("k", 10, 90).unwrap();
}

#[test]
fn one_phase_commit_tells_one_committed_change() {
    let mut store = Store::default();
    store.write("k", "old", 5, 6);
    store.told();
    store.get("other", 500).unwrap();
    let long = "x".repeat(1000);
    let request = pb::PrewriteRequest {
        try_one_pc: true,
        ..two_phase(vec![put("k", &long)], 10)
    };
    assert_eq!(store.prewrite(request.clone()).one_pc_commit_ts, 501);
    let expected = Applied::Committed {
        key: b("k"),
        start_ts: Ts(10),
        commit_ts: Ts(501),
        op: Op::Put,
        value: b(&long),
        old_value: b("old"),
        txn_source: 0,
    };
    assert_eq!(store.told(), [expected]);
    assert!(store.data.locks.is_empty());
    assert_eq!(
        store.prewrite(request).one_pc_commit_ts,
        501,
        "a repeated one answers the same"
    );
    assert_eq!(store.told(), []);
}

#[test]
fn commit_needs_the_lock_or_an_earlier_commit() {
    let mut store = Store::default();
    let error = store.commit("k", 10, 20).unwrap_err();
    assert!(error.txn_lock_not_found.is_some() && !error.retryable.is_empty());
    store.prewrite(two_phase(vec![put("k", "v")], 10));
    store.rollback("k", 10).unwrap();
    assert!(store.commit("k", 10, 20).is_err());
    store.write("j", "v", 10, 20);
    assert!(store.rollback("j", 10).unwrap_err().abort.contains("Committed"));
}

#[test]
fn values_are_told_as_tikv_tells_them() {
    let mut store = Store::default();
    let (short, long) = ("s".repeat(255), "l".repeat(256));
    store.write("k", &short, 10, 11);
    store.write("k", &long, 20, 21);
    let told = store.told();
    let row = |applied: &Applied| match applied {
        Applied::Prewrite { value, old_value, .. } => (value.len(), old_value.len()),
        Applied::Commit { short_value, .. } => (short_value.len(), 0),
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(
        told.iter().map(row).collect::<Vec<_>>(),
        [(255, 0), (255, 0), (256, 255), (0, 0)]
    );
}

#[test]
fn heart_beats_tell_short_values_again_and_long_ones_not() {
    let mut store = Store::default();
    let long = "l".repeat(256);
    store.prewrite(two_phase(vec![put("short", "v")], 10));
    store.prewrite(two_phase(vec![put("long", &long)], 10));
    store.told();
    for (key, tells) in [("short", 1), ("long", 0)] {
        let request = pb::TxnHeartBeatRequest {
            primary_lock: b(key),
            start_version: 10,
            advise_lock_ttl: 9000,
            ..Default::default()
        };
        let (batch, response) = finish::heart_beat(&store.data, &request);
        store.apply(batch);
        assert_eq!((response.lock_ttl, store.told().len()), (9000, tells), "{key}");
    }
    let request = pb::TxnHeartBeatRequest {
        primary_lock: b("none"),
        start_version: 10,
        ..Default::default()
    };
    assert!(
        finish::heart_beat(&store.data, &request)
            .1
            .error
            .unwrap()
            .txn_not_found
            .is_some()
    );
}

#[test]
fn lock_only_keys_tell_an_empty_row() {
    let mut store = Store::default();
    store.prewrite(two_phase(vec![mutation(pb::Op::Lock, "k", "")], 10));
    assert_eq!(store.told(), []);
    assert_eq!(store.get("k", 10).unwrap(), None, "they block nobody");
    store.commit("k", 10, 11).unwrap();
    assert_eq!(store.told(), [Applied::CommitLockOnly { key: b("k") }]);
    assert_eq!(store.kinds("k"), [(11, WriteKind::Lock)]);
}

#[test]
fn unprotected_rollbacks_collapse_and_protected_ones_stay() {
    let mut store = Store::default();
    for start_ts in [10, 20, 30] {
        store.rollback("k", start_ts).unwrap();
    }
    assert_eq!(store.kinds("k"), [(30, WriteKind::Rollback)]);
    let request = pb::CleanupRequest {
        key: b("k"),
        start_version: 40,
        ..Default::default()
    };
    let (batch, _) = finish::cleanup(&store.data, &request);
    store.apply(batch);
    store.rollback("k", 50).unwrap();
    assert_eq!(store.kinds("k"), [30, 40, 50].map(|ts| (ts, WriteKind::Rollback)));
    let told = store.told();
    let flags: Vec<_> = told
        .iter()
        .map(|row| matches!(row, Applied::Rollback { protected: true, .. }))
        .collect();
    assert_eq!(flags, [false, false, false, true, false]);
}

#[test]
fn a_rollback_that_meets_a_commit_at_its_start_ts_leaves_no_record_of_its_own() {
    let mut store = Store::default();
    store.write("k", "v", 10, 20);
    store.prewrite(pb::PrewriteRequest {
        primary_lock: b("p"),
        ..two_phase(vec![put("k", "w")], 20)
    });
    store.told();
    store.rollback("k", 20).unwrap();
    assert_eq!(store.told(), [], "the silent rollback");
    assert_eq!(store.kinds("k"), [(20, WriteKind::Put)]);
    assert!(!store.data.writes_of(b"k")[0].overlapped_rollback);
    // A protected one is marked on the other's record, and tells nothing either.
    let request = pb::CleanupRequest {
        key: b("k"),
        start_version: 20,
        ..Default::default()
    };
    let (batch, _) = finish::cleanup(&store.data, &request);
    store.apply(batch);
    assert!(store.data.writes_of(b"k")[0].overlapped_rollback);
    assert_eq!(store.told(), []);
    assert_eq!(
        reason(&store.prewrite(two_phase(vec![put("k", "w")], 20))),
        Reason::SelfRolledBack
    );
    assert_eq!(store.get("k", 30).unwrap(), Some(b("v")));
}

#[test]
fn cleanup_spares_a_living_lock() {
    let mut store = Store::default();
    store.prewrite(two_phase(vec![put("k", "v")], ms(1000)));
    let at = |now: u64| pb::CleanupRequest {
        key: b("k"),
        start_version: ms(1000),
        current_ts: now,
        ..Default::default()
    };
    assert!(
        finish::cleanup(&store.data, &at(ms(4000)))
            .1
            .error
            .unwrap()
            .locked
            .is_some()
    );
    let (batch, response) = finish::cleanup(&store.data, &at(ms(4001)));
    assert_eq!(response, pb::CleanupResponse::default());
    store.apply(batch);
    assert!(store.data.locks.is_empty());
    store.write("j", "v", 10, 20);
    let request = pb::CleanupRequest {
        key: b("j"),
        start_version: 10,
        ..Default::default()
    };
    assert_eq!(finish::cleanup(&store.data, &request).1.commit_version, 20);
}

fn ask(key: &str, lock_ts: u64, caller: u64, now: u64) -> pb::CheckTxnStatusRequest {
    pb::CheckTxnStatusRequest {
        primary_key: b(key),
        lock_ts,
        caller_start_ts: caller,
        current_ts: now,
        rollback_if_not_exist: true,
        ..Default::default()
    }
}

#[test]
fn the_status_of_a_living_lock_pushes_its_min_commit_ts() {
    let mut store = Store::default();
    let start = ms(1000);
    store.prewrite(pb::PrewriteRequest {
        min_commit_ts: start + 1,
        ..two_phase(vec![put("k", "v")], start)
    });
    let response = store.status(&ask("k", start, ms(1500), ms(2000)));
    assert_eq!(
        (response.lock_ttl, response.action()),
        (3000, pb::Action::MinCommitTsPushed)
    );
    assert_eq!(store.data.locks[&b("k")].min_commit_ts, Ts(ms(2000)));
    assert!(
        store
            .commit("k", start, ms(1800))
            .unwrap_err()
            .commit_ts_expired
            .is_some()
    );
    let response = store.status(&ask("k", start, 0, ms(2000)));
    assert_eq!(response.action(), pb::Action::NoAction);
}

#[test]
fn the_status_of_an_expired_lock_rolls_it_back() {
    let mut store = Store::default();
    store.prewrite(two_phase(vec![put("k", "v")], ms(1000)));
    assert_eq!(
        store.status(&ask("k", ms(1000), 0, ms(4001))).action(),
        pb::Action::TtlExpireRollback
    );
    assert!(store.data.locks.is_empty());
    let again = store.status(&ask("k", ms(1000), 0, ms(4001)));
    assert_eq!(
        (again.commit_version, again.lock_ttl, again.action()),
        (0, 0, pb::Action::NoAction)
    );
}

#[test]
fn the_status_of_a_missing_lock_is_its_record_or_a_rollback() {
    let mut store = Store::default();
    store.write("k", "v", 10, 20);
    assert_eq!(store.status(&ask("k", 10, 0, 0)).commit_version, 20);
    let strict = pb::CheckTxnStatusRequest {
        rollback_if_not_exist: false,
        ..ask("k", 15, 0, 0)
    };
    assert!(store.status(&strict).error.unwrap().txn_not_found.is_some());
    assert_eq!(
        store.status(&ask("k", 15, 0, 0)).action(),
        pb::Action::LockNotExistRollback
    );
    assert_eq!(
        store.kinds("k"),
        [(15, WriteKind::Rollback), (20, WriteKind::Put)]
    );
    let resolving = pb::CheckTxnStatusRequest {
        resolving_pessimistic_lock: true,
        ..ask("k", 16, 0, 0)
    };
    assert_eq!(
        store.status(&resolving).action(),
        pb::Action::LockNotExistDoNothing
    );
}

#[test]
fn the_status_of_an_async_commit_is_left_to_its_secondaries() {
    let mut store = Store::default();
    let request = pb::PrewriteRequest {
        use_async_commit: true,
        secondaries: vec![b("s")],
        ..two_phase(vec![put("k", "v"), put("s", "v")], 10)
    };
    let min_commit_ts = store.prewrite(request).min_commit_ts;
    let response = store.status(&ask("k", 10, 0, ms(1_000_000)));
    let info = response.lock_info.unwrap();
    assert_eq!(
        (info.use_async_commit, info.secondaries.clone()),
        (true, vec![b("s")])
    );
    let request = pb::CheckSecondaryLocksRequest {
        keys: vec![b("s")],
        start_version: 10,
        ..Default::default()
    };
    let (_, response) = finish::check_secondary_locks(&store.data, &request);
    assert_eq!(
        (response.locks.len(), response.locks[0].min_commit_ts),
        (1, min_commit_ts)
    );
    store.commit("s", 10, min_commit_ts).unwrap();
    let (_, response) = finish::check_secondary_locks(&store.data, &request);
    assert_eq!((response.locks.len(), response.commit_ts), (0, min_commit_ts));
    let missing = pb::CheckSecondaryLocksRequest {
        keys: vec![b("none")],
        start_version: 10,
        ..Default::default()
    };
    let (batch, response) = finish::check_secondary_locks(&store.data, &missing);
    store.apply(batch);
    assert_eq!((response.locks.len(), response.commit_ts), (0, 0));
    assert_eq!(
        reason(&store.prewrite(two_phase(vec![put("none", "v")], 10))),
        Reason::SelfRolledBack
    );
    let forced = pb::CheckTxnStatusRequest {
        force_sync_commit: true,
        ..ask("k", 10, 0, ms(1_000_000))
    };
    assert_eq!(store.status(&forced).action(), pb::Action::TtlExpireRollback);
}

#[test]
fn a_protected_rollback_under_an_async_commit_survives_its_commit() {
    let mut store = Store::default();
    store.prewrite(pb::PrewriteRequest {
        use_async_commit: true,
        ..two_phase(vec![put("k", "v")], 10)
    });
    store.status(&ask("k", 15, 0, 0));
    store.commit("k", 10, 15).unwrap();
    assert!(store.data.writes_of(b"k")[0].overlapped_rollback);
    assert_eq!(
        reason(&store.prewrite(two_phase(vec![put("k", "w")], 15))),
        Reason::SelfRolledBack
    );
}

#[test]
fn a_wrong_primary_is_told() {
    let mut store = Store::default();
    store.prewrite(pb::PrewriteRequest {
        primary_lock: b("p"),
        ..two_phase(vec![put("k", "v")], 10)
    });
    let request = pb::CheckTxnStatusRequest {
        verify_is_primary: true,
        ..ask("k", 10, 0, 0)
    };
    let mismatch = store.status(&request).error.unwrap().primary_mismatch.unwrap();
    assert_eq!(mismatch.lock_info.unwrap().primary_lock, b("p"));
}

#[test]
fn locks_are_listed_and_resolved() {
    let mut store = Store::default();
    store.prewrite(two_phase(vec![put("a", "1"), put("b", "1")], 10));
    store.prewrite(two_phase(vec![put("c", "2")], 20));
    store.prewrite(two_phase(vec![put("d", "3")], 30));
    let request = pb::ScanLockRequest {
        max_version: 20,
        ..Default::default()
    };
    let listed = finish::scan_lock(&store.data, &store.max_ts, &request);
    assert_eq!(
        listed.iter().map(|lock| lock.key.clone()).collect::<Vec<_>>(),
        ["a", "b", "c"].map(b)
    );
    assert_eq!(store.max_ts.get(), Ts(20));
    let lite = pb::ResolveLockRequest {
        start_version: 10,
        commit_version: 15,
        keys: vec![b("a")],
        ..Default::default()
    };
    let batch = finish::resolve_lock(&store.data, &lite).unwrap();
    store.apply(batch);
    assert_eq!(store.data.locks.len(), 3);
    let infos = vec![
        pb::TxnInfo {
            txn: 10,
            status: 15,
            ..Default::default()
        },
        pb::TxnInfo {
            txn: 20,
            status: 0,
            ..Default::default()
        },
    ];
    let both = pb::ResolveLockRequest {
        txn_infos: infos,
        ..Default::default()
    };
    let batch = finish::resolve_lock(&store.data, &both).unwrap();
    store.apply(batch);
    assert_eq!(store.data.locks.keys().cloned().collect::<Vec<_>>(), [b("d")]);
    assert_eq!(store.get("b", 25).unwrap(), Some(b("1")));
    assert_eq!(store.kinds("c"), [(20, WriteKind::Rollback)]);
    let one = pb::ResolveLockRequest {
        start_version: 30,
        commit_version: 31,
        ..Default::default()
    };
    let batch = finish::resolve_lock(&store.data, &one).unwrap();
    store.apply(batch);
    assert_eq!(store.get("d", 31).unwrap(), Some(b("3")));
}

fn pessimistic_prewrite(key: &str, start_ts: u64, for_update_ts: u64) -> pb::PrewriteRequest {
    pb::PrewriteRequest {
        for_update_ts,
        pessimistic_actions: vec![PessimisticAction::DoPessimisticCheck.into()],
        ..two_phase(vec![put(key, "new")], start_ts)
    }
}

#[test]
fn a_pessimistic_lock_returns_the_value_is_invisible_and_becomes_a_lock() {
    let mut store = Store::default();
    store.write("k", "old", 10, 15);
    store.told();
    let conflict = store.pessimistic("k", 12, 14).errors;
    assert_eq!(
        conflict[0].conflict.as_ref().unwrap().reason(),
        Reason::PessimisticRetry
    );
    let response = store.pessimistic("k", 12, 20);
    assert_eq!(
        (response.values, response.not_founds),
        (vec![b("old")], vec![false])
    );
    assert_eq!(store.told(), [], "CDC doesn't see it");
    assert_eq!(store.get("k", 30).unwrap(), Some(b("old")), "it blocks no reader");
    assert!(store.pessimistic("k", 25, 26).errors[0].locked.is_some());
    assert!(
        store.prewrite(two_phase(vec![put("k", "x")], 40)).errors[0]
            .locked
            .is_some()
    );
    assert!(
        store
            .prewrite(pessimistic_prewrite("k", 12, 20))
            .errors
            .is_empty()
    );
    store.commit("k", 12, 41).unwrap();
    assert_eq!(store.get("k", 41).unwrap(), Some(b("new")));
    let olds: Vec<_> = store
        .told()
        .into_iter()
        .filter_map(|row| match row {
            Applied::Prewrite {
                old_value,
                for_update_ts,
                ..
            } => Some((old_value, for_update_ts)),
            _ => None,
        })
        .collect();
    assert_eq!(
        olds,
        [(b("old"), Ts(20))],
        "the old value is that at for_update_ts"
    );
}

#[test]
fn a_lost_pessimistic_lock_is_amended_only_where_nothing_was_written_since() {
    let mut store = Store::default();
    assert!(
        store
            .prewrite(pessimistic_prewrite("k", 10, 10))
            .errors
            .is_empty()
    );
    store.write("j", "v", 20, 21);
    let error = &store.prewrite(pessimistic_prewrite("j", 15, 15)).errors[0];
    assert!(error.abort.contains("PessimisticLockNotFound"), "{error:?}");
}

#[test]
fn a_pessimistic_rollback_spares_later_locks() {
    let mut store = Store::default();
    store.pessimistic("k", 10, 20);
    let request = |for_update_ts| pb::PessimisticRollbackRequest {
        start_version: 10,
        for_update_ts,
        keys: vec![b("k")],
        ..Default::default()
    };
    assert!(
        pessimistic::pessimistic_rollback(&store.data, &request(19))
            .changes
            .is_empty()
    );
    let batch = pessimistic::pessimistic_rollback(&store.data, &request(20));
    store.apply(batch);
    assert!(store.data.locks.is_empty() && store.data.writes.is_empty() && store.told().is_empty());
}

#[test]
fn a_forced_lock_locks_over_a_newer_write_and_says_so() {
    let mut store = Store::default();
    store.write("k", "v", 10, 30);
    let response = store.lock(&pb::PessimisticLockRequest {
        mutations: vec![mutation(pb::Op::PessimisticLock, "k", "")],
        primary_lock: b("k"),
        start_version: 20,
        for_update_ts: 20,
        wake_up_mode: pb::PessimisticLockWakeUpMode::WakeUpModeForceLock.into(),
        ..Default::default()
    });
    let result = &response.results[0];
    assert_eq!(
        result.r#type(),
        pb::PessimisticLockKeyResultType::LockResultLockedWithConflict
    );
    assert_eq!(
        (result.locked_with_conflict_ts, result.value.clone()),
        (30, b("v"))
    );
    assert_eq!(store.data.locks[&b("k")].for_update_ts, Ts(30));
}

#[test]
fn a_lock_of_existing_keys_only_leaves_missing_ones_alone() {
    let mut store = Store::default();
    let response = store.lock(&pb::PessimisticLockRequest {
        mutations: vec![mutation(pb::Op::PessimisticLock, "none", "")],
        primary_lock: b("none"),
        start_version: 20,
        for_update_ts: 20,
        return_values: true,
        lock_only_if_exists: true,
        ..Default::default()
    });
    assert_eq!(response.not_founds, [true]);
    assert!(store.data.locks.is_empty());
}

#[test]
fn later_flushes_overwrite_earlier_ones() {
    let mut store = Store::default();
    for (generation, value) in [(1, "one"), (3, "three"), (2, "two")] {
        let request = pb::FlushRequest {
            mutations: vec![put("k", value)],
            primary_key: b("k"),
            start_ts: 10,
            generation,
            lock_ttl: 3000,
            ..Default::default()
        };
        let (batch, errors) = prewrite::flush(&store.data, &store.max_ts, request);
        assert!(errors.is_empty());
        store.apply(batch);
    }
    assert_eq!(store.told().len(), 2, "an older generation is ignored");
    let lock = &store.data.locks[&b("k")];
    assert_eq!(
        (lock.value.clone(), lock.min_commit_ts, lock.txn_size),
        (b("three"), Ts(11), u64::MAX)
    );
}

#[test]
fn garbage_collection_keeps_what_reads_at_the_safe_point_see() {
    let mut store = Store::default();
    store.write("k", "a", 10, 11);
    store.write("k", "b", 20, 21);
    store.write("k", "c", 40, 41);
    store.write("gone", "a", 10, 11);
    store.prewrite(two_phase(vec![mutation(pb::Op::Del, "gone", "")], 20));
    store.commit("gone", 20, 21).unwrap();
    store.rollback("k", 25).unwrap();
    assert_eq!(store.data.collect_garbage(Ts(30)), 4);
    assert_eq!(store.kinds("k"), [(21, WriteKind::Put), (41, WriteKind::Put)]);
    assert!(!store.data.writes.contains_key(&b("gone")));
    assert_eq!(store.get("k", 30).unwrap(), Some(b("b")));
}

#[test]
fn ranges_are_deleted_without_a_trace() {
    let mut store = Store::default();
    for key in ["a", "b", "c"] {
        store.write(key, key, 10, 11);
    }
    store.told();
    store.data.delete_range(b"b", b"c");
    assert_eq!(
        store.data.writes.keys().cloned().collect::<Vec<_>>(),
        [b("a"), b("c")]
    );
    store.data.delete_range(b"b", b"");
    assert_eq!((store.data.writes.len(), store.told()), (1, vec![]));
}

#[test]
fn a_scan_of_changes_gives_locks_then_versions_newest_first() {
    let mut store = Store::default();
    store.write("a", "1", 10, 11);
    store.write("a", "2", 20, 21);
    store.prewrite(two_phase(vec![put("a", "3"), put("b", "x")], 30));
    store.pessimistic("c", 31, 31);
    let entries = store.data.scan_changes(b"", b"", Ts(11));
    assert_eq!(
        entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(),
        ["a", "b"].map(b)
    );
    let first = &entries[0];
    assert_eq!(
        first
            .lock
            .as_ref()
            .map(|lock| (lock.value.clone(), lock.old_value.clone())),
        Some((b("3"), b("2")))
    );
    let versions: Vec<_> = first
        .versions
        .iter()
        .map(|version| (version.commit_ts, version.old_value.clone()))
        .collect();
    assert_eq!(versions, [(Ts(21), b("1"))], "the checkpoint is exclusive");
    assert_eq!(
        store.data.change_locks(b"", b""),
        [(b("a"), Ts(30)), (b("b"), Ts(30))]
    );
    assert_eq!(store.data.scan_changes(b"", b"", Ts(0))[0].versions.len(), 2);
}

#[test]
fn parted_data_joins_again() {
    let mut store = Store::default();
    for key in ["a", "m", "z"] {
        store.write(key, key, 10, 11);
        store.data.raw_put("", b(key), b(key));
    }
    store.prewrite(two_phase(vec![put("n", "n")], 20));
    let upper = store.data.split_off(b"m", b"m");
    assert_eq!(
        (store.data.writes.len(), upper.writes.len(), upper.locks.len()),
        (1, 2, 1)
    );
    assert_eq!(
        (store.data.raw_get("", b"z"), upper.raw_get("default", b"z")),
        (None, Some(&b("z")))
    );
    store.data.absorb(upper);
    assert_eq!((store.data.writes.len(), store.data.locks.len()), (3, 1));
    assert_eq!(store.data.raw_get("", b"z"), Some(&b("z")));
}
