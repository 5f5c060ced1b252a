//! Pessimistic locks, flushes, garbage collection and moves of whole ranges.

use super::*;

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
