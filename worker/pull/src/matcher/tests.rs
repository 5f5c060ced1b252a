#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::collections::BTreeMap;

use proptest::prelude::*;
use tidemark_proto::cdcpb::event::LogType::{Commit, Committed, Initialized, Prewrite, Rollback};

use super::*;

fn matcher() -> Matcher {
    Matcher::new(Span::new("a", "z"), Ts(100))
}

fn row(kind: LogType, key: &str, start_ts: u64, commit_ts: u64, value: &str) -> Row {
    Row {
        start_ts,
        commit_ts,
        r#type: kind.into(),
        op_type: OpType::Put.into(),
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..Default::default()
    }
}

fn initialized() -> Row {
    Row {
        r#type: Initialized.into(),
        ..Default::default()
    }
}

fn apply(matcher: &mut Matcher, rows: Vec<Row>) -> Vec<(u64, String)> {
    let mut out = Vec::new();
    matcher.apply(rows, &mut out).unwrap();
    out.into_iter()
        .map(|change| {
            (
                change.commit_ts.0,
                String::from_utf8(change.value.to_vec()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_commit_before_its_prewrite_in_the_scan_waits_for_the_end() {
    let mut matcher = matcher();
    assert!(apply(&mut matcher, vec![row(Commit, "k", 110, 120, "")]).is_empty());
    assert!(apply(&mut matcher, vec![row(Prewrite, "k", 110, 0, "v")]).is_empty());
    assert_eq!(apply(&mut matcher, vec![initialized()]), [(120, "v".to_owned())]);
    assert_eq!((matcher.pending(), matcher.pending_bytes()), (0, 0));
}

#[test]
fn the_scan_s_copy_of_a_lock_that_has_ended_is_not_kept() {
    let mut matcher = matcher();
    let rows = vec![
        row(Prewrite, "k", 110, 0, "v"),
        row(Commit, "k", 110, 120, ""),
        row(Prewrite, "k", 110, 0, "v"),
        initialized(),
    ];
    assert_eq!(apply(&mut matcher, rows), [(120, "v".to_owned())]);
    assert_eq!((matcher.pending(), matcher.pending_bytes()), (0, 0));
}

#[test]
fn a_commit_that_the_scan_has_delivered_is_dropped() {
    let mut matcher = matcher();
    let rows = vec![
        row(Commit, "k", 110, 120, ""),
        row(Committed, "k", 110, 120, "v"),
        initialized(),
    ];
    assert_eq!(apply(&mut matcher, rows), [(120, "v".to_owned())]);
    assert_eq!((matcher.pending(), matcher.pending_bytes()), (0, 0));
}

#[test]
fn a_rollback_is_remembered_until_the_scan_ends() {
    let mut matcher = matcher();
    let rows = vec![
        row(Rollback, "k", 110, 0, "p"),
        row(Prewrite, "k", 110, 0, "v"),
        initialized(),
    ];
    assert!(apply(&mut matcher, rows).is_empty());
    assert_eq!((matcher.pending(), matcher.pending_bytes()), (0, 0));
}

#[test]
fn a_lone_commit_after_the_scan_is_an_error() {
    let mut matcher = matcher();
    apply(&mut matcher, vec![initialized()]);
    let missing = matcher
        .apply(vec![row(Commit, "k", 110, 120, "v")], &mut Vec::new())
        .unwrap_err();
    assert_eq!((missing.start_ts, missing.commit_ts), (Ts(110), Ts(120)));
}

#[test]
fn rows_of_one_event_may_be_in_any_order() {
    let mut matcher = matcher();
    apply(&mut matcher, vec![initialized()]);
    let rows = vec![row(Commit, "k", 110, 120, ""), row(Prewrite, "k", 110, 0, "v")];
    assert_eq!(apply(&mut matcher, rows), [(120, "v".to_owned())]);
}

#[test]
fn rows_outside_the_span_or_at_the_checkpoint_and_empty_rows_are_left_out() {
    let mut matcher = matcher();
    let rows = vec![
        row(Committed, "zz", 110, 120, "v"),
        row(Committed, "k", 90, 100, "v"),
        initialized(),
        Row::default(),
        row(Prewrite, "0", 110, 0, "v"),
        row(Commit, "0", 110, 120, ""),
        row(Commit, "k", 80, 90, ""),
    ];
    assert!(apply(&mut matcher, rows).is_empty());
}

#[test]
fn a_heartbeat_without_a_value_changes_nothing() {
    let mut matcher = matcher();
    let rows = vec![
        initialized(),
        row(Prewrite, "k", 110, 0, "v"),
        row(Prewrite, "k", 110, 0, ""),
        row(Commit, "k", 110, 120, ""),
    ];
    assert_eq!(apply(&mut matcher, rows), [(120, "v".to_owned())]);
}

#[test]
fn a_heartbeat_before_the_scan_s_lock_is_not_believed() {
    let mut matcher = matcher();
    let rows = vec![
        row(Prewrite, "k", 110, 0, ""),
        row(Commit, "k", 110, 120, ""),
        row(Prewrite, "k", 110, 0, "v"),
        initialized(),
    ];
    assert_eq!(apply(&mut matcher, rows), [(120, "v".to_owned())]);
}

#[test]
fn the_last_flush_wins() {
    let mut matcher = matcher();
    let rows = vec![
        initialized(),
        row(Prewrite, "k", 110, 0, "one"),
        row(Prewrite, "k", 110, 0, "two"),
        row(Commit, "k", 110, 120, ""),
    ];
    assert_eq!(apply(&mut matcher, rows), [(120, "two".to_owned())]);
}

#[test]
fn flushes_that_raced_the_scan_have_the_region_read_again() {
    let mut matcher = matcher();
    // The live, later flush may come before the scan's older copy of the lock: which is newer can't be told.
    let rows = vec![
        row(Prewrite, "k", 110, 0, "two"),
        row(Prewrite, "k", 110, 0, "one"),
        initialized(),
    ];
    assert!(apply(&mut matcher, rows).is_empty());
    assert!(
        matcher
            .apply(vec![row(Commit, "k", 110, 120, "")], &mut Vec::new())
            .is_err()
    );
}

#[test]
fn an_empty_value_is_a_value() {
    let mut matcher = matcher();
    let rows = vec![
        initialized(),
        row(Prewrite, "k", 110, 0, ""),
        row(Commit, "k", 110, 120, ""),
    ];
    assert_eq!(apply(&mut matcher, rows), [(120, String::new())]);
}

#[derive(Clone, Debug)]
enum Fate {
    Commits,
    RollsBack,
    StaysOpen,
    OnePhase,
}

#[derive(Clone, Debug)]
struct Txn {
    key: usize,
    long: bool,
    beats: bool,
    fate: Fate,
}

fn txn() -> impl Strategy<Value = Txn> {
    let fate = prop_oneof![
        5 => Just(Fate::Commits),
        2 => Just(Fate::RollsBack),
        1 => Just(Fate::StaysOpen),
        2 => Just(Fate::OnePhase),
    ];
    (0_usize..4, any::<bool>(), any::<bool>(), fate).prop_map(|(key, long, beats, fate)| Txn {
        key,
        long,
        beats,
        fate,
    })
}

/// What a region applies: live rows in order, each at its own ts.
fn history(txns: &[Txn], order: &[usize]) -> Vec<Row> {
    let mut steps: Vec<Vec<(Txn, usize, u8)>> = vec![Vec::new(); 4];
    let mut open = [false; 4];
    for (number, txn) in txns.iter().enumerate() {
        // A lock that stays keeps everyone else out.
        if open[txn.key] {
            continue;
        }
        let mut step = |what| steps[txn.key].push((txn.clone(), number, what));
        match txn.fate {
            Fate::OnePhase => step(3),
            _ => {
                step(0);
                // A heartbeat repeats the row of a short value; of a long one nothing comes.
                if txn.beats && !txn.long {
                    step(4);
                }
                match txn.fate {
                    Fate::Commits => step(1),
                    Fate::RollsBack => step(2),
                    _ => open[txn.key] = true,
                }
            }
        }
    }
    for steps in &mut steps {
        steps.reverse();
    }
    let mut rows = Vec::new();
    let mut starts = BTreeMap::new();
    let mut ts = 0;
    let mut picks = order.iter().cycle();
    while steps.iter().any(|steps| !steps.is_empty()) {
        let left: Vec<usize> = (0..4).filter(|key| !steps[*key].is_empty()).collect();
        let key = left[picks.next().unwrap() % left.len()];
        let (txn, number, what) = steps[key].pop().unwrap();
        ts += 10;
        let name = format!("k{key}");
        let value = if txn.long {
            format!("value {number} ").repeat(30)
        } else {
            format!("value {number}")
        };
        let short = if txn.long { String::new() } else { value.clone() };
        let start = *starts.entry(number).or_insert(ts);
        rows.push(match what {
            0 => row(Prewrite, &name, start, 0, &value),
            1 => row(Commit, &name, start, ts, &short),
            2 => row(Rollback, &name, start, 0, ""),
            3 => row(Committed, &name, ts - 5, ts, &value),
            _ => row(Prewrite, &name, start, 0, &short),
        });
    }
    rows
}

/// The locks and versions after the given rows, as a scan delivers them.
fn scan(applied: &[Row], checkpoint: u64) -> Vec<Row> {
    let mut locks: BTreeMap<Bytes, Row> = BTreeMap::new();
    let mut versions: Vec<Row> = Vec::new();
    for row in applied {
        match row.r#type() {
            Prewrite if !row.value.is_empty() => {
                locks.insert(row.key.clone(), row.clone());
            }
            Commit => {
                let mut version = locks.remove(&row.key).unwrap();
                version.r#type = Committed.into();
                version.commit_ts = row.commit_ts;
                versions.push(version);
            }
            Rollback => {
                locks.remove(&row.key);
            }
            Committed => versions.push(row.clone()),
            _ => {}
        }
    }
    versions.retain(|version| version.commit_ts > checkpoint);
    versions.reverse();
    let mut rows: Vec<Row> = locks.into_values().chain(versions).collect();
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows.push(initialized());
    rows
}

proptest! {
    #[test]
    fn every_commit_comes_out_once_or_the_same_again_whatever_the_interleaving(
        txns in prop::collection::vec(txn(), 1..24),
        order in prop::collection::vec(0_usize..4, 64),
        cuts in (0_usize..=100, 0_usize..=100, 0_u64..200),
        weave in prop::collection::vec(any::<bool>(), 200),
        pack in 1_usize..5,
    ) {
        let rows = history(&txns, &order);
        let at = |percent: usize| rows.len() * percent / 100;
        // Capture begins at `seen`, the snapshot is taken at `snapshot`.
        let (seen, snapshot) = (at(cuts.0.min(cuts.1)), at(cuts.0.max(cuts.1)));
        let checkpoint = cuts.2.min(10 * seen as u64);
        let mut scanned = scan(&rows[..snapshot], checkpoint).into_iter().peekable();
        let mut live = rows[seen..].iter().cloned().enumerate().peekable();
        let mut woven = Vec::new();
        let mut choices = weave.iter().copied().chain(std::iter::repeat(true));
        while scanned.peek().is_some() || live.peek().is_some() {
            // All that was applied before the snapshot is delivered before the scan's end.
            let last = scanned.peek().is_some_and(|row| row.r#type() == Initialized);
            let owed = live.peek().is_some_and(|(nth, _)| seen + nth < snapshot);
            let from_scan = scanned.peek().is_some() && !(last && owed) && (live.peek().is_none() || choices.next().unwrap());
            woven.extend(if from_scan { scanned.next() } else { live.next().map(|(_, row)| row) });
        }
        let mut matcher = Matcher::new(Span::new("k", "l"), Ts(checkpoint));
        let mut out = Vec::new();
        for event in woven.chunks(pack) {
            matcher.apply(event.to_vec(), &mut out).unwrap();
        }
        let mut found: BTreeMap<(u64, Bytes), KvChange> = BTreeMap::new();
        for change in out {
            let name = (change.commit_ts.0, change.key.clone());
            if let Some(known) = found.insert(name, change.clone()) {
                prop_assert_eq!(known, change);
            }
        }
        let mut expected: BTreeMap<(u64, Bytes), (u64, Bytes)> = BTreeMap::new();
        let mut values: BTreeMap<(u64, Bytes), Bytes> = BTreeMap::new();
        for row in &rows {
            let write = (row.start_ts, row.key.clone());
            match row.r#type() {
                Prewrite if !row.value.is_empty() => { values.insert(write, row.value.clone()); }
                Committed => { expected.insert((row.commit_ts, row.key.clone()), (row.start_ts, row.value.clone())); }
                Commit => {
                    let value = values[&write].clone();
                    expected.insert((row.commit_ts, row.key.clone()), (row.start_ts, value));
                }
                _ => {}
            }
        }
        expected.retain(|(commit_ts, _), _| *commit_ts > checkpoint);
        let found: BTreeMap<_, _> =
            found.into_iter().map(|(name, change)| (name, (change.start_ts.0, change.value))).collect();
        prop_assert_eq!(found, expected);
        let mut open = rows.clone();
        open.retain(|row| row.r#type() == Prewrite);
        let ended = |lock: &Row| rows.iter().any(|row| {
            matches!(row.r#type(), Commit | Rollback) && (row.start_ts, &row.key) == (lock.start_ts, &lock.key)
        });
        open.retain(|lock| !ended(lock));
        open.dedup_by_key(|row| (row.start_ts, row.key.clone()));
        let mut names: Vec<_> = open.iter().map(|row| (row.start_ts, row.key.clone())).collect();
        names.sort();
        names.dedup();
        prop_assert_eq!(matcher.pending(), names.len(), "only open transactions are kept");
        prop_assert!(matcher.pending() > 0 || matcher.pending_bytes() == 0);
    }
}
