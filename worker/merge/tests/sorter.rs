//! The sorter against a plain sort, within its quotas, and on a bad disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidemark_merge::{MergeError, Sorter, Spill, SpillConfig};
use tidemark_model::{KvChange, Op, Ts};

fn change(commit: u64, start: u64, key: impl AsRef<[u8]>, value: usize) -> KvChange {
    KvChange {
        key: Bytes::copy_from_slice(key.as_ref()),
        value: vec![commit as u8; value].into(),
        old_value: Bytes::new(),
        start_ts: Ts(start),
        commit_ts: Ts(commit),
        op: if value == 0 { Op::Delete } else { Op::Put },
    }
}

fn small(dir: &tempfile::TempDir, memory: usize) -> SpillConfig {
    SpillConfig {
        block_bytes: 4 << 10,
        run_bytes: 64 << 10,
        fan_in: 8,
        ..SpillConfig::new(dir.path(), memory, 1 << 30)
    }
}

fn files(dir: &tempfile::TempDir) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn pop_all(sorter: &mut Sorter, resolved: u64, max_bytes: usize) -> Vec<KvChange> {
    let mut all = Vec::new();
    loop {
        let some = sorter.pop(Ts(resolved), max_bytes).unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

fn assert_ordered(rows: &[KvChange]) {
    for pair in rows.windows(2) {
        assert!(
            pair[0].order() < pair[1].order(),
            "{:?} before {:?}",
            pair[0].order(),
            pair[1].order()
        );
    }
}

/// Commit ts, start ts, key.
type Order = (u64, u64, Vec<u8>);
/// Rows (ahead of the resolved ts, start ts before, key, length), how far the resolved ts moves, bytes a pop.
type Step = (Vec<(u64, u64, u8, usize)>, u64, usize);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (1..200_u64, 1..4_u64, any::<u8>(), 0..600_usize);
    prop::collection::vec(
        (prop::collection::vec(row, 0..60), 0..20_u64, 1..20_000_usize),
        1..25,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rows are pushed at `resolved + their first number`; some come twice; two sorters share a quota.
    #[test]
    fn gives_out_what_a_plain_sort_gives(steps in steps(), memory in 2_000..60_000_usize) {
        let dir = tempfile::tempdir().unwrap();
        let spill = Spill::open(SpillConfig { fan_in: 3, run_bytes: 9_000, ..small(&dir, memory) }).unwrap();
        let mut sorters = [Sorter::new(Arc::clone(&spill), "even", Ts(0)), Sorter::new(Arc::clone(&spill), "odd", Ts(0))];
        let mut pending: [BTreeMap<Order, KvChange>; 2] = Default::default();
        let mut seen: [Vec<KvChange>; 2] = Default::default();
        let mut resolved = 0;
        for (rows, advance, max_bytes) in steps {
            for which in 0..2 {
                let mut batch = Vec::new();
                for (ahead, back, key, len) in rows.iter().filter(|row| usize::from(row.2) % 2 == which) {
                    let row = change(resolved + ahead, resolved + ahead - back.min(ahead), [*key], *len);
                    let order = (row.commit_ts.0, row.start_ts.0, row.key.to_vec());
                    // A row that comes again is the same row.
                    batch.push(pending[which].entry(order).or_insert(row).clone());
                }
                // What was given out comes again as well.
                batch.extend(seen[which].iter().rev().take(5).cloned());
                sorters[which].push(batch).unwrap();
            }
            resolved += advance;
            for which in 0..2 {
                let rest = pending[which].split_off(&(resolved + 1, 0, Vec::new()));
                let due: Vec<KvChange> = std::mem::replace(&mut pending[which], rest).into_values().collect();
                let got = pop_all(&mut sorters[which], resolved, max_bytes);
                prop_assert_eq!(&got, &due);
                seen[which].extend(got);
            }
        }
        for which in 0..2 {
            let due: Vec<KvChange> = std::mem::take(&mut pending[which]).into_values().collect();
            prop_assert_eq!(pop_all(&mut sorters[which], u64::MAX, 5_000), due);
            let backlog = sorters[which].backlog();
            prop_assert_eq!((backlog.memory, backlog.disk, backlog.rows), (0, 0, 0));
        }
        prop_assert_eq!((spill.memory_used(), spill.disk_used()), (0, 0));
        prop_assert!(files(&dir).is_empty());
    }
}

#[test]
fn twenty_times_the_quota_passes_within_it() {
    let dir = tempfile::tempdir().unwrap();
    let memory = 2 << 20;
    let spill = Spill::open(small(&dir, memory)).unwrap();
    let seed = 7;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut sorters: Vec<Sorter> = (0..4)
        .map(|n| Sorter::new(Arc::clone(&spill), &format!("table {n}"), Ts(0)))
        .collect();
    let (mut pushed, mut rows) = (0, 0);
    while pushed < 20 * memory {
        let batch: Vec<KvChange> = (0..100)
            .map(|_| {
                let commit = random.random_range(1..1_000_000);
                change(commit, commit - 1, random.random::<u64>().to_be_bytes(), 300)
            })
            .collect();
        pushed += batch.iter().map(KvChange::weight).sum::<usize>();
        rows += batch.len();
        sorters[random.random_range(0..4)].push(batch).unwrap();
    }
    let mut popped = 0;
    for sorter in &mut sorters {
        for resolved in [250_000, 500_000, 2_000_000] {
            let got = pop_all(sorter, resolved, 100_000);
            assert_ordered(&got);
            popped += got.len();
        }
    }
    assert_eq!(popped, rows);
    println!(
        "pushed {pushed} B, memory peak {} B, disk peak {} B",
        spill.memory_peak(),
        spill.disk_peak()
    );
    assert!(
        spill.memory_peak() <= memory,
        "peak {} over the quota {memory}",
        spill.memory_peak()
    );
    assert!(spill.disk_peak() > 0);
    assert!(files(&dir).is_empty(), "read files stay: {:?}", files(&dir));
}

#[test]
fn one_transaction_of_many_quotas_passes_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let memory = 1 << 20;
    let spill = Spill::open(small(&dir, memory)).unwrap();
    let mut sorter = Sorter::new(Arc::clone(&spill), "t", Ts(5));
    for batch in 0..300_u64 {
        let rows = (0..100_u64)
            .map(|n| change(10, 9, ((n * 300 + batch) * 7919 % 30_000).to_be_bytes(), 900))
            .collect();
        sorter.push(rows).unwrap();
    }
    let mut rows = Vec::new();
    loop {
        let piece = sorter.pop(Ts(10), 64 << 10).unwrap();
        if piece.is_empty() {
            break;
        }
        assert!(piece.iter().map(KvChange::weight).sum::<usize>() <= (64 << 10) + 2_000);
        rows.extend(
            piece
                .into_iter()
                .map(|row| (row.commit_ts, row.start_ts, row.key)),
        );
    }
    assert_eq!(rows.len(), 30_000);
    assert!(rows.is_sorted());
    assert!(
        spill.memory_peak() <= memory,
        "peak {} over the quota",
        spill.memory_peak()
    );
}

#[test]
fn a_push_larger_than_the_quota_goes_straight_to_disk() {
    let dir = tempfile::tempdir().unwrap();
    let spill = Spill::open(small(&dir, 64 << 10)).unwrap();
    let mut sorter = Sorter::new(Arc::clone(&spill), "t", Ts(0));
    sorter
        .push(
            (0..1000_u64)
                .rev()
                .map(|n| change(n + 1, n, b"k", 1000))
                .collect(),
        )
        .unwrap();
    assert_eq!(spill.memory_used(), 0);
    let rows = pop_all(&mut sorter, 1000, 10_000);
    assert_ordered(&rows);
    assert_eq!(rows.len(), 1000);
}

#[test]
fn the_largest_sorter_makes_room_for_a_small_one() {
    let dir = tempfile::tempdir().unwrap();
    let spill = Spill::open(small(&dir, 100_000)).unwrap();
    let mut large = Sorter::new(Arc::clone(&spill), "large", Ts(0));
    let mut little = Sorter::new(Arc::clone(&spill), "little", Ts(0));
    large
        .push((0..90_u64).map(|n| change(n + 1, n, b"k", 800)).collect())
        .unwrap();
    little.push(vec![change(1, 0, b"k", 20_000)]).unwrap();
    assert_eq!(large.backlog().memory, 0);
    assert!(large.backlog().disk > 0);
    assert_eq!(little.backlog().disk, 0);
    assert_eq!(pop_all(&mut large, 90, 1 << 20).len(), 90);
}

#[test]
fn a_full_disk_gives_the_push_back_and_takes_it_later() {
    let dir = tempfile::tempdir().unwrap();
    let config = SpillConfig {
        disk: 200_000,
        compress: false,
        ..small(&dir, 100_000)
    };
    let spill = Spill::open(config).unwrap();
    let mut sorter = Sorter::new(Arc::clone(&spill), "t", Ts(0));
    let mut next = 0_u64;
    let refused = loop {
        let batch = (0..20).map(|n| change(next + n + 1, next, b"k", 1000)).collect();
        match sorter.push(batch) {
            Ok(()) => next += 20,
            Err(MergeError::DiskFull { refused, .. }) => break refused.0,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(refused.len(), 20);
    assert!(spill.disk_used() <= 200_000);
    let before = sorter.backlog();
    assert!(sorter.push(refused.clone()).unwrap_err().is_full());
    assert_eq!(sorter.backlog(), before, "a refused push changes nothing");

    let mut rows = pop_all(&mut sorter, next / 2, 10_000);
    sorter.push(refused).expect("there is room again");
    rows.extend(pop_all(&mut sorter, u64::MAX, 10_000));
    assert_ordered(&rows);
    assert_eq!(rows.len() as u64, next + 20);
    assert!(spill.memory_peak() <= 100_000);
}

#[test]
fn a_flipped_bit_is_named_with_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let spill = Spill::open(small(&dir, 1000)).unwrap();
    let mut sorter = Sorter::new(spill, "shop.orders", Ts(0));
    let mut random = StdRng::seed_from_u64(1);
    let rows = (0..100_u64).map(|n| {
        let noise: Vec<u8> = (0..500).map(|_| random.random()).collect();
        KvChange {
            value: noise.into(),
            ..change(n + 1, n, b"k", 0)
        }
    });
    sorter.push(rows.collect()).unwrap();
    let path = files(&dir)[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();

    let error = loop {
        match sorter.pop(Ts(100), 1000) {
            Ok(rows) => assert!(!rows.is_empty(), "the damage went unseen"),
            Err(error) => break error,
        }
    };
    let MergeError::Damaged {
        path: named, offset, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(named, &path);
    assert!(*offset > 0 && *offset <= middle as u64);
    assert!(error.to_string().contains("shop_orders-0"), "{error}");
}

#[test]
fn a_cut_file_is_damaged_too() {
    let dir = tempfile::tempdir().unwrap();
    let spill = Spill::open(small(&dir, 1000)).unwrap();
    let mut sorter = Sorter::new(spill, "t", Ts(0));
    sorter
        .push((0..10_u64).map(|n| change(n + 1, n, b"k", 500)).collect())
        .unwrap();
    let path = files(&dir)[0].clone();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let mut result = sorter.pop(Ts(100), 1);
    while result.as_ref().is_ok_and(|rows| !rows.is_empty()) {
        result = sorter.pop(Ts(100), 1);
    }
    assert!(
        matches!(
            result,
            Err(MergeError::Damaged {
                what: "the file is cut short",
                ..
            })
        ),
        "{result:?}"
    );
}

#[test]
fn stale_files_are_removed_and_others_left() {
    let dir = tempfile::tempdir().unwrap();
    let left = Spill::open(small(&dir, 1000)).unwrap();
    let mut sorter = Sorter::new(left, "t", Ts(0));
    sorter
        .push((0..10_u64).map(|n| change(n + 1, n, b"k", 500)).collect())
        .unwrap();
    let stale = files(&dir);
    std::mem::forget(sorter);
    let other = dir.path().join("notes.txt");
    fs::write(&other, "mine").unwrap();
    assert_eq!(stale.len(), 1);
    Spill::open(small(&dir, 1000)).unwrap();
    assert_eq!(files(&dir), vec![other]);
}

#[test]
fn a_dropped_sorter_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let spill = Spill::open(small(&dir, 20_000)).unwrap();
    let mut sorter = Sorter::new(Arc::clone(&spill), "t", Ts(0));
    for batch in 0..10_u64 {
        sorter
            .push(
                (0..10_u64)
                    .map(|n| change(batch * 10 + n + 1, 0, b"k", 500))
                    .collect(),
            )
            .unwrap();
    }
    sorter.pop(Ts(5), 1).unwrap();
    assert!(spill.disk_used() > 0 && spill.memory_used() > 0);
    drop(sorter);
    assert_eq!((spill.disk_used(), spill.memory_used()), (0, 0));
    assert!(files(&dir).is_empty());
}

#[test]
fn transactions_of_one_commit_ts_stay_apart_by_start_ts() {
    let dir = tempfile::tempdir().unwrap();
    let spill = Spill::open(small(&dir, 100_000)).unwrap();
    let mut sorter = Sorter::new(spill, "t", Ts(0));
    sorter
        .push(vec![
            change(9, 4, b"b", 1),
            change(9, 3, b"z", 1),
            change(9, 4, b"a", 1),
            change(9, 4, b"a", 1),
        ])
        .unwrap();
    let rows: Vec<(u64, Bytes)> = sorter
        .pop(Ts(9), 1 << 20)
        .unwrap()
        .into_iter()
        .map(|row| (row.start_ts.0, row.key))
        .collect();
    assert_eq!(rows, vec![(3, "z".into()), (4, "a".into()), (4, "b".into())]);
}

#[test]
fn what_comes_later_of_the_same_commit_ts_sorts_among_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let spill = Spill::open(small(&dir, 100_000)).unwrap();
    let mut sorter = Sorter::new(spill, "t", Ts(0));
    sorter
        .push(vec![change(10, 4, b"b", 1), change(20, 4, b"m", 1)])
        .unwrap();
    assert_eq!(pop_all(&mut sorter, 10, 1 << 20).len(), 1);
    sorter
        .push(vec![change(20, 4, b"a", 1), change(20, 4, b"z", 1)])
        .unwrap();
    let rows = pop_all(&mut sorter, 20, 1 << 20);
    assert_ordered(&rows);
    assert_eq!(rows.len(), 3);
}

#[test]
fn a_lower_resolved_ts_brings_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let spill = Spill::open(small(&dir, 100_000)).unwrap();
    let mut sorter = Sorter::new(spill, "t", Ts(0));
    let rows = vec![change(9, 4, b"a", 1), change(9, 4, b"b", 1)];
    sorter.push(rows.clone()).unwrap();
    assert_eq!(sorter.pop(Ts(9), 1).unwrap().len(), 1);
    assert!(sorter.pop(Ts(5), 1).unwrap().is_empty());
    sorter.push(rows).unwrap();
    assert_eq!(pop_all(&mut sorter, 9, 1).len(), 1);
}

#[test]
fn sorters_on_threads_share_the_quota() {
    let dir = tempfile::tempdir().unwrap();
    let memory = 1 << 20;
    let spill = Spill::open(small(&dir, memory)).unwrap();
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let spill = Arc::clone(&spill);
            std::thread::spawn(move || {
                let mut sorter = Sorter::new(spill, "t", Ts(0));
                let mut got = 0;
                for tick in 0..100_u64 {
                    let rows = (0..100_u64).map(|n| change(tick * 100 + n + 1, thread, n.to_be_bytes(), 300));
                    sorter.push(rows.collect()).unwrap();
                    if tick % 10 == 9 {
                        let rows = pop_all(&mut sorter, tick * 100 - 300, 50_000);
                        assert_ordered(&rows);
                        got += rows.len();
                    }
                }
                got + pop_all(&mut sorter, u64::MAX, 50_000).len()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 10_000);
    }
    assert_eq!((spill.memory_used(), spill.disk_used()), (0, 0));
    // Blocks that are being read come on top: each of four sorters reads at most nine runs at once.
    let slack = 4 * 9 * (5 << 10);
    assert!(
        spill.memory_peak() <= memory + slack,
        "peak {}",
        spill.memory_peak()
    );
}

/// `cargo test -p tidemark-merge --release -- --ignored --nocapture bench`
#[test]
#[ignore = "prints figures; run it by hand"]
fn bench() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(1);
    for (label, tick, lag, ticks) in [
        ("small ticks", 300_u64, 600_u64, 3_000_u64),
        ("large ticks", 20_000, 20_000, 50),
    ] {
        let spill = Spill::open(SpillConfig::new(dir.path(), 1 << 30, 1 << 40)).unwrap();
        let mut sorter = Sorter::new(spill, "t", Ts(0));
        let batches: Vec<Vec<KvChange>> = (0..ticks)
            .map(|n| {
                let jitter = |random: &mut StdRng, row| n * tick + row + random.random_range(1..200);
                (0..tick)
                    .map(|row| {
                        change(
                            jitter(&mut random, row),
                            1,
                            random.random::<u64>().to_be_bytes(),
                            200,
                        )
                    })
                    .collect()
            })
            .collect();
        let (mut rows, begin) = (0, Instant::now());
        for (n, batch) in (0_u64..).zip(batches) {
            sorter.push(batch).unwrap();
            rows += pop_all(&mut sorter, (n * tick).saturating_sub(lag), 1 << 20).len();
        }
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "{label}: {rows} rows, {:.2} M rows/s",
            rows as f64 / seconds / 1e6
        );
    }
    let spill = Spill::open(SpillConfig::new(dir.path(), 64 << 20, 1 << 40)).unwrap();
    let mut sorter = Sorter::new(Arc::clone(&spill), "t", Ts(0));
    let begin = Instant::now();
    let mut bytes = 0;
    for _ in 0..4_000 {
        let batch: Vec<KvChange> = (0..1_000)
            .map(|_| {
                change(
                    random.random_range(1..1 << 40),
                    1,
                    random.random::<u64>().to_be_bytes(),
                    200,
                )
            })
            .collect();
        bytes += batch.iter().map(KvChange::weight).sum::<usize>();
        sorter.push(batch).unwrap();
    }
    let pushed = begin.elapsed().as_secs_f64();
    let mut rows = 0;
    loop {
        let some = sorter.pop(Ts::MAX, 1 << 20).unwrap().len();
        rows += some;
        if some == 0 {
            break;
        }
    }
    let all = begin.elapsed().as_secs_f64();
    println!(
        "spill: {rows} rows, {} MB weight; push {:.2} M rows/s, pop {:.2} M rows/s; memory peak {} MB, disk peak {} MB, written {} MB",
        bytes >> 20,
        rows as f64 / pushed / 1e6,
        rows as f64 / (all - pushed) / 1e6,
        spill.memory_peak() >> 20,
        spill.disk_peak() >> 20,
        spill.spilled() >> 20,
    );
}
