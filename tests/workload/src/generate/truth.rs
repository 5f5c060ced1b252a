use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
use tidemark_judge::{TruthOp, TruthRow};

/// A row's canonical texts, in the order of its table's emitted columns.
pub(crate) type Texts = Arc<[Option<Box<str>>]>;

/// Names of a table, shared by its records.
#[derive(Debug)]
pub(crate) struct TruthTable {
    pub(crate) schema: String,
    pub(crate) name: String,
    /// Emitted columns.
    pub(crate) columns: Vec<String>,
    /// Positions of the key columns among them; all of them for a table without a key.
    pub(crate) key: Vec<usize>,
}

/// One committed version of a row.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) table: Arc<TruthTable>,
    pub(crate) start_ts: u64,
    pub(crate) commit_ts: u64,
    pub(crate) op: TruthOp,
    pub(crate) row: Texts,
    pub(crate) old: Option<Texts>,
}

/// What a workload has committed. Clones share the same contents, which grow while it runs.
#[derive(Clone, Default)]
pub struct Truth {
    records: Arc<Mutex<Vec<Record>>>,
}

impl Truth {
    pub(crate) fn extend(&self, records: impl IntoIterator<Item = Record>) {
        self.records.lock().extend(records);
    }

    /// How many row versions are committed.
    pub fn len(&self) -> usize {
        self.records.lock().len()
    }

    /// Whether nothing is committed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The largest commit ts; 0 if nothing is committed.
    pub fn max_commit_ts(&self) -> u64 {
        self.records
            .lock()
            .iter()
            .map(|record| record.commit_ts)
            .max()
            .unwrap_or(0)
    }

    /// All versions in the order of commit ts, then start ts, table and key.
    pub fn rows(&self) -> Vec<TruthRow> {
        self.sorted().iter().map(Record::to_row).collect()
    }

    /// Only the versions of tables (database, table) that `wanted` picks, in the same order.
    pub fn rows_of(&self, wanted: impl Fn(&str, &str) -> bool) -> Vec<TruthRow> {
        let sorted = self.sorted();
        let chosen = sorted
            .iter()
            .filter(|record| wanted(&record.table.schema, &record.table.name));
        chosen.map(Record::to_row).collect()
    }

    /// Writes one JSON object a line; gzipped if the path ends in `.gz`.
    ///
    /// # Errors
    /// Those of the file.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let file = io::BufWriter::new(std::fs::File::create(path)?);
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut gzip = GzEncoder::new(file, Compression::fast());
            self.write_lines(&mut gzip)?;
            gzip.finish()?.flush()
        } else {
            let mut file = file;
            self.write_lines(&mut file)?;
            file.flush()
        }
    }

    fn write_lines(&self, out: &mut impl Write) -> io::Result<()> {
        for record in self.sorted() {
            serde_json::to_writer(&mut *out, &record.to_row())?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn sorted(&self) -> Vec<Record> {
        let mut records = self.records.lock().clone();
        records.sort_by(|left, right| {
            let order = |record: &Record| (record.commit_ts, record.start_ts);
            let names = |record: &Record| {
                (
                    record.table.schema.clone(),
                    record.table.name.clone(),
                    record.key(),
                )
            };
            order(left)
                .cmp(&order(right))
                .then_with(|| names(left).cmp(&names(right)))
        });
        records
    }
}

impl Record {
    fn key(&self) -> String {
        let texts = self
            .table
            .key
            .iter()
            .map(|position| self.row[*position].as_deref().unwrap_or_default());
        texts.collect::<Vec<_>>().join("\u{1f}")
    }

    fn to_row(&self) -> TruthRow {
        let columns = |texts: &Texts| {
            let names = self.table.columns.iter().cloned();
            names
                .zip(texts.iter().map(|text| text.as_deref().map(str::to_owned)))
                .collect()
        };
        TruthRow {
            schema: self.table.schema.clone(),
            table: self.table.name.clone(),
            key: self.key(),
            start_ts: self.start_ts,
            commit_ts: self.commit_ts,
            op: self.op,
            row: columns(&self.row),
            old: self.old.as_ref().map(columns),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{BufRead, BufReader};

    use flate2::read::GzDecoder;

    use super::*;

    fn record(key: &str, commit_ts: u64) -> Record {
        let table = TruthTable {
            schema: "shop".into(),
            name: "things".into(),
            columns: vec!["id".into(), "note".into()],
            key: vec![0],
        };
        Record {
            table: Arc::new(table),
            start_ts: commit_ts - 1,
            commit_ts,
            op: TruthOp::Insert,
            row: [Some(key.into()), None].into(),
            old: None,
        }
    }

    #[test]
    fn files_hold_every_version_in_commit_order() {
        let truth = Truth::default();
        truth.extend([record("b", 30), record("c", 10), record("a", 30)]);
        assert_eq!((truth.len(), truth.max_commit_ts()), (3, 30));
        let folder = std::env::temp_dir().join(format!("tidemark-truth-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (plain, zipped) = (folder.join("truth.jsonl"), folder.join("truth.jsonl.gz"));
        truth.write(&plain).unwrap();
        truth.write(&zipped).unwrap();
        let read = |lines: &mut dyn BufRead| -> Vec<TruthRow> {
            lines
                .lines()
                .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
                .collect()
        };
        let from_plain = read(&mut BufReader::new(std::fs::File::open(plain).unwrap()));
        let from_zipped = read(&mut BufReader::new(GzDecoder::new(
            std::fs::File::open(zipped).unwrap(),
        )));
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(from_plain, truth.rows());
        assert_eq!(from_zipped, truth.rows());
        let keys: Vec<&str> = from_plain.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, ["c", "a", "b"]);
    }
}
