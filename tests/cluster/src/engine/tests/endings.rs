//! Commits, rollbacks, what CDC is told of them, and the status of transactions.

use super::*;

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
