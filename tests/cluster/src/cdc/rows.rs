//! Rows of events, from applied effects and from scanned records.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use tidemark_model::{Op, Ts};
use tidemark_proto::cdcpb::event::row::OpType;
use tidemark_proto::cdcpb::event::{LogType, Row};

use crate::engine::observe::Applied;
use crate::engine::snapshot::{ScanEntry, ScanLock, ScanVersion};

fn op_type(op: Op) -> i32 {
    match op {
        Op::Put => OpType::Put.into(),
        Op::Delete => OpType::Delete.into(),
    }
}

/// The row of an effect.
pub(super) fn live(effect: Applied) -> Row {
    match effect {
        Applied::Prewrite {
            key,
            start_ts,
            op,
            value,
            old_value,
            txn_source,
            ..
        } => Row {
            start_ts: start_ts.0,
            r#type: LogType::Prewrite.into(),
            op_type: op_type(op),
            key,
            value,
            old_value,
            txn_source,
            ..Default::default()
        },
        Applied::Commit {
            key,
            start_ts,
            commit_ts,
            op,
            short_value,
            txn_source,
        } => Row {
            start_ts: start_ts.0,
            commit_ts: commit_ts.0,
            r#type: LogType::Commit.into(),
            op_type: op_type(op),
            key,
            value: short_value,
            txn_source,
            ..Default::default()
        },
        // TiKV leaves a row without any field behind.
        Applied::CommitLockOnly { .. } => Row::default(),
        Applied::Committed {
            key,
            start_ts,
            commit_ts,
            op,
            value,
            old_value,
            txn_source,
        } => Row {
            start_ts: start_ts.0,
            commit_ts: commit_ts.0,
            r#type: LogType::Committed.into(),
            op_type: op_type(op),
            key,
            value,
            old_value,
            txn_source,
            ..Default::default()
        },
        Applied::Rollback {
            key,
            start_ts,
            protected,
        } => Row {
            start_ts: start_ts.0,
            r#type: LogType::Rollback.into(),
            key,
            value: if protected {
                bytes::Bytes::from_static(b"p")
            } else {
                bytes::Bytes::new()
            },
            ..Default::default()
        },
    }
}

/// Whether a subscription never gets rows of this source: Lightning and lossy DDL always, other CDC writers where
/// the subscription filters loops.
pub(super) fn is_filtered(txn_source: u64, filter_loop: bool) -> bool {
    txn_source >> 8 != 0 || (filter_loop && txn_source & 0xff != 0)
}

/// Puts rows in an order that has nothing to do with that of the command, as the hash map of TiKV does. Rows of
/// one key keep theirs.
pub(super) fn shuffle(rows: &mut [Row], seed: u64) {
    let hasher = FixedState::with_seed(seed);
    rows.sort_by_cached_key(|row| hasher.hash_one(&row.key));
}

/// Repeats of the puts' PREWRITE rows without their values.
pub(super) fn fakes(rows: &[Row]) -> Vec<Row> {
    let puts = rows.iter().filter(|row| {
        row.r#type == i32::from(LogType::Prewrite)
            && row.op_type == i32::from(OpType::Put)
            && !row.value.is_empty()
    });
    let fake = puts.map(|row| Row {
        value: bytes::Bytes::new(),
        old_value: bytes::Bytes::new(),
        ..row.clone()
    });
    fake.collect()
}

/// The row that ends an initial scan.
pub(super) fn initialized() -> Row {
    Row {
        r#type: LogType::Initialized.into(),
        ..Default::default()
    }
}

/// Rows of what a scan found at one key: the lock, then versions from new to old.
pub(super) fn scanned(entry: &ScanEntry, filter_loop: bool, duplicate: bool, rows: &mut Vec<Row>) {
    if let Some(lock) = entry
        .lock
        .as_ref()
        .filter(|lock| !is_filtered(lock.txn_source, filter_loop))
    {
        rows.push(scanned_lock(entry, lock));
    }
    for version in &entry.versions {
        if is_filtered(version.txn_source, filter_loop) {
            continue;
        }
        let committed = scanned_version(entry, version);
        if duplicate {
            rows.extend(as_if_live(&committed));
        }
        rows.push(committed);
    }
}

fn scanned_lock(entry: &ScanEntry, lock: &ScanLock) -> Row {
    live(Applied::Prewrite {
        key: entry.key.clone(),
        start_ts: lock.start_ts,
        op: lock.op,
        value: lock.value.clone(),
        old_value: lock.old_value.clone(),
        for_update_ts: Ts::ZERO,
        txn_source: lock.txn_source,
    })
}

fn scanned_version(entry: &ScanEntry, version: &ScanVersion) -> Row {
    live(Applied::Committed {
        key: entry.key.clone(),
        start_ts: version.start_ts,
        commit_ts: version.commit_ts,
        op: version.op,
        value: version.value.clone(),
        old_value: version.old_value.clone(),
        txn_source: version.txn_source,
    })
}

/// The rows that the same change would have given live.
fn as_if_live(committed: &Row) -> [Row; 2] {
    let prewrite = Row {
        commit_ts: 0,
        r#type: LogType::Prewrite.into(),
        ..committed.clone()
    };
    let commit = Row {
        r#type: LogType::Commit.into(),
        value: if committed.value.len() <= crate::engine::model::SHORT_VALUE {
            committed.value.clone()
        } else {
            bytes::Bytes::new()
        },
        old_value: bytes::Bytes::new(),
        ..committed.clone()
    };
    [prewrite, commit]
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn row(key: u8, start_ts: u64) -> Row {
        Row {
            key: Bytes::copy_from_slice(&[key]),
            start_ts,
            ..Default::default()
        }
    }

    #[test]
    fn sources_above_the_low_byte_never_come() {
        assert!(is_filtered(256, false) && is_filtered(65536, false));
        assert!(!is_filtered(1, false) && is_filtered(1, true));
        assert!(!is_filtered(0, true));
    }

    #[test]
    fn shuffling_mixes_keys_and_keeps_the_order_of_each_key() {
        let mut rows: Vec<_> = (0..50).map(|key| row(key, 1)).collect();
        rows.push(row(0, 2));
        let before = rows.clone();
        shuffle(&mut rows, 7);
        assert_ne!(rows, before);
        let of_key_0: Vec<_> = rows
            .iter()
            .filter(|row| row.key[0] == 0)
            .map(|row| row.start_ts)
            .collect();
        assert_eq!(of_key_0, [1, 2]);
        let mut again = before;
        shuffle(&mut again, 7);
        assert_eq!(again, rows, "one seed gives one order");
    }

    #[test]
    fn a_protected_rollback_carries_its_mark() {
        let rollback = |protected| {
            live(Applied::Rollback {
                key: Bytes::from_static(b"k"),
                start_ts: Ts(5),
                protected,
            })
        };
        assert_eq!(&rollback(true).value[..], b"p");
        assert!(rollback(false).value.is_empty());
        assert_eq!((rollback(true).commit_ts, rollback(true).op_type), (0, 0));
    }

    #[test]
    fn a_lock_only_commit_leaves_a_row_without_fields() {
        let key = Bytes::from_static(b"k");
        assert_eq!(live(Applied::CommitLockOnly { key }), Row::default());
    }
}
