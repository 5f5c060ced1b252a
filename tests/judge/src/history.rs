use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use crate::settings::Settings;
use crate::truth::{Columns, TruthOp, TruthRow};

/// Separates the values of a key.
const SEPARATOR: char = '\u{1f}';

/// The half of a change that ends a row; a DELETE shows it.
pub(crate) const ENDS: u8 = 1;
/// The half of a change that brings a row; an INSERT shows it, an UPDATE both.
pub(crate) const BRINGS: u8 = 2;

/// The truth, ordered for look-ups, with what was seen of it.
pub(crate) struct History {
    pub(crate) tables: Vec<Table>,
    pub(crate) keys: Vec<Key>,
    /// By key, then commit ts.
    pub(crate) versions: Vec<Version>,
    /// Indexes of `versions` by commit ts.
    pub(crate) by_ts: Vec<u32>,
    names: HashMap<String, HashMap<String, u32>>,
}

pub(crate) struct Table {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) key_columns: Vec<String>,
    keys: HashMap<String, u32>,
}

pub(crate) struct Key {
    pub(crate) table: u32,
    pub(crate) text: String,
    versions: Range<u32>,
    /// The partition of its first row.
    pub(crate) home: Option<u32>,
    /// Commit ts of the newest version seen, by partition where that matters.
    pub(crate) newest: Vec<(u32, u64)>,
}

/// One change of a key at one commit ts. A delete and an insert of one transaction are one version.
pub(crate) struct Version {
    pub(crate) key: u32,
    pub(crate) start_ts: u64,
    pub(crate) commit_ts: u64,
    /// The row before, for changes that end it; without columns where the truth doesn't know it.
    pub(crate) old: Option<Columns>,
    /// The row after, for changes that bring it.
    pub(crate) row: Option<Columns>,
    /// Halves seen.
    pub(crate) seen: u8,
    /// The highest watermark that any of its halves came after, in its partition.
    pub(crate) after_watermark: Option<u64>,
    /// Where each half was first seen: the replay log and the place there.
    pub(crate) places: [(u32, u32); 2],
}

impl Version {
    /// The halves that it has.
    pub(crate) fn halves(&self) -> u8 {
        u8::from(self.old.is_some()) * ENDS + u8::from(self.row.is_some()) * BRINGS
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.seen == self.halves()
    }

    /// The lowest watermark at which a consumer has all of it.
    pub(crate) fn visible_at(&self) -> Option<u64> {
        let late = self
            .after_watermark
            .map_or(0, |watermark| watermark.saturating_add(1));
        self.is_whole().then(|| self.commit_ts.max(late))
    }
}

impl History {
    pub(crate) fn new(mut truth: Vec<TruthRow>, settings: &Settings) -> Self {
        let delete_first = |op| u8::from(op != TruthOp::Delete);
        truth.sort_by(|one, other| {
            let order = |row: &TruthRow| (row.commit_ts, delete_first(row.op));
            (&one.schema, &one.table, &one.key)
                .cmp(&(&other.schema, &other.table, &other.key))
                .then_with(|| order(one).cmp(&order(other)))
        });
        let mut history = Self {
            tables: Vec::new(),
            keys: Vec::new(),
            versions: Vec::with_capacity(truth.len()),
            by_ts: Vec::new(),
            names: HashMap::new(),
        };
        let mut rest = truth.into_iter().peekable();
        while let Some(first) = rest.peek() {
            let name = (first.schema.clone(), first.table.clone());
            let mut rows = Vec::new();
            while let Some(row) = rest.next_if(|row| row.schema == name.0 && row.table == name.1) {
                rows.push(row);
            }
            let key_columns = settings
                .keys
                .get(&name)
                .cloned()
                .unwrap_or_else(|| infer_key(&rows));
            history.add_table(name, key_columns, rows);
        }
        let mut by_ts: Vec<u32> = (0..history.versions.len() as u32).collect();
        by_ts.sort_by_key(|&index| history.versions[index as usize].commit_ts);
        history.by_ts = by_ts;
        history
    }

    fn add_table(&mut self, (schema, name): (String, String), key_columns: Vec<String>, rows: Vec<TruthRow>) {
        let table = self.tables.len() as u32;
        self.names
            .entry(schema.clone())
            .or_default()
            .insert(name.clone(), table);
        let mut keys = HashMap::new();
        for row in rows {
            let at = self.versions.len() as u32;
            if !keys.contains_key(&row.key) {
                keys.insert(row.key.clone(), self.keys.len() as u32);
                self.keys.push(Key {
                    table,
                    text: row.key,
                    versions: at..at,
                    home: None,
                    newest: Vec::new(),
                });
            }
            let index = self.keys.len() - 1;
            let key = &mut self.keys[index];
            let last = self.versions.last_mut().filter(|_| !key.versions.is_empty());
            let before = last.as_ref().and_then(|last| last.row.clone());
            let (old, new) = match row.op {
                TruthOp::Insert => (None, Some(row.row)),
                TruthOp::Update => (row.old.or(before).or_else(|| Some(Columns::new())), Some(row.row)),
                TruthOp::Delete => (Some(row.row), None),
            };
            match last {
                // The key was deleted and inserted by one transaction.
                Some(last) if last.commit_ts == row.commit_ts => {
                    last.row = new;
                    last.old = last.old.take().or(old);
                }
                _ => {
                    self.versions.push(Version {
                        key: index as u32,
                        start_ts: row.start_ts,
                        commit_ts: row.commit_ts,
                        old,
                        row: new,
                        seen: 0,
                        after_watermark: None,
                        places: [(u32::MAX, 0); 2],
                    });
                    key.versions.end += 1;
                }
            }
        }
        self.tables.push(Table {
            schema,
            name,
            key_columns,
            keys,
        });
    }

    pub(crate) fn table(&self, schema: &str, table: &str) -> Option<&Table> {
        let index = *self.names.get(schema)?.get(table)?;
        self.tables.get(index as usize)
    }

    /// The version of a key at a commit ts.
    pub(crate) fn find(&self, table: &Table, key: &str, commit_ts: u64) -> Option<u32> {
        let range = self.keys[*table.keys.get(key)? as usize].versions.clone();
        let versions = &self.versions[range.start as usize..range.end as usize];
        let at = versions
            .binary_search_by_key(&commit_ts, |version| version.commit_ts)
            .ok()?;
        Some(range.start + at as u32)
    }

    /// `schema.table key @ts`, for people.
    pub(crate) fn name(&self, version: &Version) -> String {
        let key = &self.keys[version.key as usize];
        let table = &self.tables[key.table as usize];
        row_name(&table.schema, &table.name, &key.text, version.commit_ts)
    }
}

impl Table {
    /// The key of a row as the truth writes it; `None` if a key column is missing.
    pub(crate) fn key_of(&self, row: &Columns) -> Option<String> {
        let mut key = String::new();
        for (index, column) in self.key_columns.iter().enumerate() {
            if index > 0 {
                key.push(SEPARATOR);
            }
            key.push_str(row.get(column)?.as_deref().unwrap_or_default());
        }
        Some(key)
    }
}

pub(crate) fn row_name(schema: &str, table: &str, key: &str, commit_ts: u64) -> String {
    format!(
        "{schema}.{table} key {} @{commit_ts}",
        key.replace(SEPARATOR, "|")
    )
}

/// The columns whose values make up the keys in every row, in key order.
fn infer_key(rows: &[TruthRow]) -> Vec<String> {
    let Some(first) = rows.first() else {
        return Vec::new();
    };
    let parts = first.key.split(SEPARATOR).count();
    let mut candidates: Vec<Vec<&String>> = vec![first.row.keys().collect(); parts];
    for row in rows {
        for (part, columns) in row.key.split(SEPARATOR).zip(&mut candidates) {
            columns.retain(|column| {
                row.row
                    .get(*column)
                    .is_some_and(|value| value.as_deref().unwrap_or_default() == part)
            });
        }
    }
    let mut key = Vec::new();
    for columns in &candidates {
        let fresh = columns.iter().find(|column| !key.contains(**column));
        key.extend(fresh.or(columns.first()).map(|column| (*column).clone()));
    }
    key
}

/// Versions grouped by transaction: (start ts, commit ts).
pub(crate) fn transactions(history: &History, start_ts: u64) -> BTreeMap<(u64, u64), Vec<u32>> {
    let mut groups: BTreeMap<(u64, u64), Vec<u32>> = BTreeMap::new();
    for (index, version) in (0..).zip(&history.versions) {
        if version.commit_ts > start_ts {
            groups
                .entry((version.start_ts, version.commit_ts))
                .or_default()
                .push(index);
        }
    }
    groups
}
