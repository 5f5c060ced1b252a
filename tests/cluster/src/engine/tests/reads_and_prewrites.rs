//! Reads, prewrites, async commit and one-phase commit.

use super::*;

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
