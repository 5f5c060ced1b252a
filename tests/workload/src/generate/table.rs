use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

use super::config::ValueSizes;
use super::truth::{Texts, TruthTable};
use super::values::{key_value, random_value};
use crate::catalog::Database;
use crate::encode::{Datum, encode_row};
use crate::schema::{Generated, TableSpec};

/// A row with what its record and its truth need.
pub(crate) struct Row {
    pub(crate) values: Vec<Datum>,
    /// The hidden `_tidb_rowid`, where there is one.
    pub(crate) rowid: i64,
    pub(crate) texts: Texts,
}

/// A table that writers change, with its rows as last committed.
pub(crate) struct LiveTable {
    pub(crate) database: Database,
    pub(crate) spec: TableSpec,
    pub(crate) names: Arc<TruthTable>,
    slots: Mutex<Slots>,
    identities: AtomicU64,
    retired: AtomicBool,
}

#[derive(Default)]
struct Slots {
    list: Vec<Slot>,
    /// Slots that hold a row.
    filled: usize,
}

/// A place for a row. Whoever has claimed it alone may write the row.
#[derive(Default)]
struct Slot {
    row: Option<Arc<Row>>,
    /// Names the row: its key is made of it.
    identity: u64,
    claimed: bool,
}

/// A claimed slot, as its claimer found it.
pub(crate) struct Claim {
    pub(crate) slot: usize,
    pub(crate) identity: u64,
    pub(crate) row: Option<Arc<Row>>,
}

impl LiveTable {
    pub(crate) fn new(database: &Database, spec: TableSpec) -> Self {
        let emitted: Vec<usize> = (0..spec.columns.len())
            .filter(|offset| spec.columns[*offset].is_emitted())
            .collect();
        let mut key = spec.key_offsets();
        if key.is_empty() {
            key.clone_from(&emitted);
        }
        let position = |offset: &usize| emitted.iter().position(|other| other == offset);
        let names = TruthTable {
            schema: database.name.clone(),
            name: spec.name.clone(),
            columns: emitted
                .iter()
                .map(|offset| spec.columns[*offset].name.clone())
                .collect(),
            key: key.iter().filter_map(position).collect(),
        };
        Self {
            database: database.clone(),
            spec,
            names: Arc::new(names),
            slots: Mutex::default(),
            identities: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        }
    }

    /// The table as a DDL has left it, with its rows: those were written before columns that are new, and hold what these mean
    /// where they are absent. Nobody may write to it meanwhile.
    pub(crate) fn altered(&self, spec: TableSpec) -> Self {
        let after = Self::new(&self.database, spec);
        {
            let (before, mut slots) = (self.slots.lock(), after.slots.lock());
            slots.filled = before.filled;
            slots.list = before
                .list
                .iter()
                .map(|slot| Slot {
                    row: slot.row.as_ref().map(|row| after.with_new_columns(row)),
                    identity: slot.identity,
                    claimed: false,
                })
                .collect();
        }
        let next = self.identities.load(Ordering::Relaxed);
        after.identities.store(next, Ordering::Relaxed);
        after
    }

    fn with_new_columns(&self, row: &Row) -> Arc<Row> {
        let mut values = row.values.clone();
        let new = self.spec.columns.iter().skip(values.len());
        values.extend(new.map(|column| column.origin.clone().unwrap_or(Datum::Null)));
        let identity = (row.rowid - 1).cast_unsigned();
        self.row(values, identity)
    }

    /// No writer takes up the table any more.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// Whether no transaction on the table is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.slots.lock().list.iter().all(|slot| !slot.claimed)
    }

    pub(crate) fn new_identity(&self) -> u64 {
        self.identities.fetch_add(1, Ordering::Relaxed)
    }

    /// Claims a slot: with a row if `present`, else an empty one, which is made if there is none.
    pub(crate) fn claim(&self, rng: &mut StdRng, present: bool) -> Option<Claim> {
        let slots = &mut self.slots.lock().list;
        if self.retired.load(Ordering::SeqCst) {
            return None;
        }
        for _ in 0..8 {
            if slots.is_empty() {
                break;
            }
            let index = rng.random_range(0..slots.len());
            let slot = &mut slots[index];
            if !slot.claimed && slot.row.is_some() == present {
                slot.claimed = true;
                return Some(Claim {
                    slot: index,
                    identity: slot.identity,
                    row: slot.row.clone(),
                });
            }
        }
        if present {
            return None;
        }
        let identity = self.new_identity();
        slots.push(Slot {
            row: None,
            identity,
            claimed: true,
        });
        Some(Claim {
            slot: slots.len() - 1,
            identity,
            row: None,
        })
    }

    /// Gives a claimed slot back with the row that it now holds.
    pub(crate) fn release(&self, slot: usize, identity: u64, row: Option<Arc<Row>>) {
        let mut slots = self.slots.lock();
        let (was, is) = (slots.list[slot].row.is_some(), row.is_some());
        slots.filled = slots.filled + usize::from(is) - usize::from(was);
        slots.list[slot] = Slot {
            row,
            identity,
            claimed: false,
        };
    }

    /// Rows as last committed.
    pub(crate) fn row_count(&self) -> usize {
        self.slots.lock().filled
    }

    /// A row of new values under the identity's key.
    pub(crate) fn random_row(&self, rng: &mut StdRng, identity: u64, sizes: &ValueSizes) -> Arc<Row> {
        let keys = self.spec.key_offsets();
        let mut values: Vec<Datum> = Vec::with_capacity(self.spec.columns.len());
        for (offset, column) in self.spec.columns.iter().enumerate() {
            values.push(match (&column.generated, &column.origin) {
                (Some(Generated::Virtual(_)), _) => Datum::Null,
                (Some(Generated::Stored(_)), _) => halved(&values),
                _ if keys.contains(&offset) => key_value(&column.kind, identity),
                (None, Some(origin)) if rng.random_ratio(1, 2) => origin.clone(),
                _ => random_value(rng, column, sizes),
            });
        }
        self.row(values, identity)
    }

    pub(crate) fn row(&self, values: Vec<Datum>, identity: u64) -> Arc<Row> {
        let emitted = self
            .spec
            .columns
            .iter()
            .zip(&values)
            .filter(|(column, _)| column.is_emitted());
        let texts = emitted.map(|(column, value)| value.text(&column.kind).map(String::into_boxed_str));
        Arc::new(Row {
            texts: texts.collect(),
            values,
            rowid: identity.cast_signed() + 1,
        })
    }

    pub(crate) fn record_key(&self, row: &Row) -> Vec<u8> {
        self.spec.record_key(&row.values, row.rowid)
    }

    /// The row as TiKV's value; columns that equal what their absence means are left out now and then.
    pub(crate) fn record_value(&self, rng: &mut StdRng, row: &Row, key: &[u8]) -> Vec<u8> {
        let mut columns = Vec::with_capacity(row.values.len());
        for (offset, column) in self.spec.columns.iter().enumerate() {
            let value = &row.values[offset];
            let implied = match &column.origin {
                Some(origin) => value == origin,
                None => *value == Datum::Null,
            };
            if self.spec.in_row(offset) && !(implied && rng.random_ratio(1, 3)) {
                columns.push((column.id, value));
            }
        }
        let handle = self.spec.handle(&row.values, row.rowid);
        encode_row(self.spec.row_format, &columns, key, &handle)
    }
}

/// The value of the only stored generated column: `id` DIV 2, `id` being the first column.
fn halved(values: &[Datum]) -> Datum {
    match values.first() {
        Some(Datum::Int(id)) => Datum::Int(id / 2),
        _ => Datum::Null,
    }
}
