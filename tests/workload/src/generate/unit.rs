use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use tidemark_judge::TruthOp;

use super::table::{Claim, LiveTable, Row};
use super::truth::{Record, Truth};
use crate::client::{ClientError, Ending, Outcome, Stores, Transaction, TransactionKind};

/// One row's change within a transaction.
struct Change {
    table: Arc<LiveTable>,
    slot: usize,
    identity_before: u64,
    before: Option<Arc<Row>>,
    identity_after: u64,
    after: Option<Arc<Row>>,
}

/// The row changes of one transaction: claims their slots while it runs, and tells the truth what came of it.
#[derive(Default)]
pub(crate) struct Unit {
    changes: Vec<Change>,
    /// Kept encoded, since a conflict may call for the same writes again.
    puts: Vec<(Bytes, Bytes)>,
    deletes: Vec<Bytes>,
}

impl Unit {
    /// Rows that it writes.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Adds a change of a claimed slot; `after` is the row under `identity`, or `None` to delete.
    pub(crate) fn change(
        &mut self,
        rng: &mut StdRng,
        table: &Arc<LiveTable>,
        claim: Claim,
        identity: u64,
        after: Option<Arc<Row>>,
    ) {
        let old_key = claim.row.as_ref().map(|row| table.record_key(row));
        let new_key = after.as_ref().map(|row| table.record_key(row));
        let entries = |row: &Option<Arc<Row>>| {
            row.as_ref()
                .map_or_else(Vec::new, |row| table.spec.index_entries(&row.values, row.rowid))
        };
        let new_entries = entries(&after);
        for (key, _) in entries(&claim.row) {
            if new_entries.iter().all(|(other, _)| *other != key) {
                self.deletes.push(key.into());
            }
        }
        if let Some(key) = &old_key
            && old_key != new_key
        {
            self.deletes.push(Bytes::copy_from_slice(key));
        }
        if let (Some(key), Some(row)) = (new_key, &after) {
            let value = table.record_value(rng, row, &key);
            self.puts.push((key.into(), value.into()));
        }
        self.puts.extend(
            new_entries
                .into_iter()
                .map(|(key, value)| (key.into(), value.into())),
        );
        self.changes.push(Change {
            table: Arc::clone(table),
            slot: claim.slot,
            identity_before: claim.identity,
            before: claim.row,
            identity_after: identity,
            after,
        });
    }

    /// Begins a transaction with the writes.
    pub(crate) async fn begin(
        &self,
        stores: &Stores,
        kind: TransactionKind,
    ) -> Result<Transaction, ClientError> {
        let mut txn = Transaction::begin(stores, kind).await?;
        // Deletes first: a key that one row leaves and another takes ends up written.
        self.deletes.iter().for_each(|key| txn.delete(key.clone()));
        self.puts
            .iter()
            .for_each(|(key, value)| txn.put(key.clone(), value.clone()));
        Ok(txn)
    }

    /// Runs the transaction to its end and records what came of it; gives the rows committed.
    pub(crate) async fn run(
        self,
        stores: &Stores,
        kind: TransactionKind,
        ending: Ending,
        truth: &Truth,
    ) -> Result<usize, ClientError> {
        let txn = self.begin(stores, kind).await?;
        let start_ts = txn.start_ts();
        let outcome = txn.finish(ending).await?;
        Ok(self.settle(start_ts, &outcome, truth))
    }

    /// Records an outcome and releases the rows; gives the rows committed.
    pub(crate) fn settle(self, start_ts: u64, outcome: &Outcome, truth: &Truth) -> usize {
        match outcome {
            Outcome::Committed(commit_ts) => {
                let rows = self.changes.len();
                truth.extend(
                    self.changes
                        .iter()
                        .flat_map(|change| records(change, start_ts, *commit_ts)),
                );
                for change in self.changes {
                    change
                        .table
                        .release(change.slot, change.identity_after, change.after);
                }
                rows
            }
            Outcome::RolledBack(_) => {
                for change in self.changes {
                    change
                        .table
                        .release(change.slot, change.identity_before, change.before);
                }
                0
            }
        }
    }
}

/// One record; two where the row moved to another key.
fn records(change: &Change, start_ts: u64, commit_ts: u64) -> Vec<Record> {
    let record = |op, row: &Arc<Row>, old: Option<&Arc<Row>>| Record {
        table: Arc::clone(&change.table.names),
        start_ts,
        commit_ts,
        op,
        row: Arc::clone(&row.texts),
        old: old.map(|old| Arc::clone(&old.texts)),
    };
    match (&change.before, &change.after) {
        (None, None) => Vec::new(),
        (None, Some(after)) => vec![record(TruthOp::Insert, after, None)],
        (Some(before), None) => vec![record(TruthOp::Delete, before, None)],
        (Some(before), Some(after)) if change.table.record_key(before) == change.table.record_key(after) => {
            vec![record(TruthOp::Update, after, Some(before))]
        }
        (Some(before), Some(after)) => {
            vec![
                record(TruthOp::Delete, before, None),
                record(TruthOp::Insert, after, None),
            ]
        }
    }
}
