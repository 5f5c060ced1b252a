//! The storage reader on folders laid out by hand, by the layout's rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod stream;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tidemark_judge::source::{CsvFormat, SchemaFile, StorageFormat, StorageReader, StorageSource};
use tidemark_judge::{Invariant, Judge, OldImage, Placement, Settings, TruthOp, TruthRow, Verdict};

use stream::{canal, truth, truth_file, ts};

/// A storage folder that a sink has written to.
struct Storage {
    dir: tempfile::TempDir,
    extension: &'static str,
    encode: fn(&TruthRow) -> String,
}

impl Storage {
    fn canal() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            extension: "json",
            encode: |row| canal(row) + "\r\n",
        }
    }

    fn csv() -> Self {
        let encode = |row: &TruthRow| {
            let op = match row.op {
                TruthOp::Insert => "I",
                TruthOp::Update => "U",
                TruthOp::Delete => "D",
            };
            let name = row.row["name"].as_ref().unwrap().replace('"', "\"\"");
            format!(
                "\"{op}\",\"orders\",\"shop\",{},{},\"{name}\",\\N\r\n",
                row.commit_ts, row.key
            )
        };
        Self {
            dir: tempfile::tempdir().unwrap(),
            extension: "csv",
            encode,
        }
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn schema(&self, version: u64) -> PathBuf {
        let column = |name: &str, kind: &str| json!({"ColumnName": name, "ColumnType": kind});
        let file = json!({
            "Table": "orders", "Schema": "shop", "Version": 1, "TableVersion": version, "Query": "", "Type": 0,
            "TableColumns": [column("id", "INT"), column("name", "VARCHAR"), column("note", "TEXT")],
            "TableColumnsTotal": 3,
        });
        let hash = serde_json::from_value::<SchemaFile>(file.clone()).unwrap().hash();
        let path = format!("shop/orders/meta/schema_{version}_{hash}.json");
        self.write(&path, &serde_json::to_string_pretty(&file).unwrap());
        self.dir.path().join(path)
    }

    /// One data file with the rows of some commits, and the index that names it.
    fn file(&self, version: u64, date: &str, number: u64, commits: std::ops::RangeInclusive<u64>) -> String {
        let truth = truth();
        let rows = truth
            .iter()
            .filter(|row| commits.clone().any(|n| row.commit_ts == ts(n)));
        let folder = format!("shop/orders/{version}/{date}");
        let name = format!("CDC{number:06}.{}", self.extension);
        self.write(
            &format!("{folder}/{name}"),
            &rows.map(self.encode).collect::<String>(),
        );
        self.write(&format!("{folder}/meta/CDC.index"), &format!("{name}\n"));
        format!("{folder}/{name}")
    }

    fn checkpoint(&self, ts: u64) {
        self.write("metadata", &format!("{{\"checkpoint-ts\":{ts}}}"));
    }

    fn url(&self) -> String {
        format!("file://{}", self.dir.path().display())
    }

    fn reader(&self) -> StorageReader {
        let format = match self.extension {
            "csv" => StorageFormat::Csv(CsvFormat::default()),
            _ => StorageFormat::CanalJson,
        };
        StorageReader::new(StorageSource {
            url: self.url(),
            options: Vec::new(),
            format,
        })
        .unwrap()
    }

    async fn verdict(&self) -> Verdict {
        let mut judge = judge(self.extension);
        self.reader()
            .poll(&mut |sighting| judge.take(sighting))
            .await
            .unwrap();
        judge.verdict()
    }
}

fn judge(extension: &str) -> Judge {
    let old_image = if extension == "csv" {
        OldImage::Absent
    } else {
        OldImage::Full
    };
    let settings = Settings {
        must_reach: Some(ts(12)),
        placement: Placement::Successive,
        old_image,
        ..Settings::default()
    };
    Judge::new(truth(), settings)
}

/// Two table versions, the second after a restart that repeats commits 5 and 6; two days in the first.
fn honest(storage: &Storage) {
    storage.schema(ts(0));
    storage.file(ts(0), "2026-01-31", 1, 1..=2);
    storage.file(ts(0), "2026-01-31", 2, 3..=4);
    storage.file(ts(0), "2026-02-01", 1, 5..=6);
    storage.schema(ts(4));
    storage.file(ts(4), "2026-02-01", 1, 5..=12);
    storage.checkpoint(ts(12));
}

#[tokio::test]
async fn table_versions_are_read_one_after_the_other() {
    for storage in [Storage::canal(), Storage::csv()] {
        honest(&storage);
        let verdict = storage.verdict().await;
        assert!(verdict.holds(), "{}: {verdict}", storage.extension);
        assert_eq!((verdict.figures.rows, verdict.figures.repeats), (92 + 16, 16));
        assert_eq!(verdict.figures.final_watermark, Some(ts(12)));
    }
}

#[tokio::test]
async fn files_that_the_index_does_not_name_are_not_there() {
    let storage = Storage::canal();
    honest(&storage);
    storage.file(ts(4), "2026-02-01", 1, 5..=11);
    storage.file(ts(4), "2026-02-01", 2, 12..=12);
    assert!(storage.verdict().await.holds());
    storage.write(
        &format!("shop/orders/{}/2026-02-01/meta/CDC.index", ts(4)),
        "CDC000001.json\n",
    );
    let verdict = storage.verdict().await;
    assert_eq!(verdict.broken(), [Invariant::Completeness]);
    assert_eq!(verdict.counts[&Invariant::Completeness], 4);
}

#[tokio::test]
async fn a_checkpoint_ahead_of_the_files_is_told_at_the_next_poll() {
    let storage = Storage::canal();
    storage.schema(ts(0));
    storage.file(ts(0), "2026-01-31", 1, 1..=4);
    storage.checkpoint(ts(6));
    let mut judge = judge("json");
    let mut reader = storage.reader();
    assert_eq!(
        reader.poll(&mut |sighting| judge.take(sighting)).await.unwrap(),
        Some(ts(6))
    );
    storage.file(ts(0), "2026-01-31", 2, 5..=12);
    storage.checkpoint(ts(12));
    reader.poll(&mut |sighting| judge.take(sighting)).await.unwrap();
    let verdict = judge.verdict();
    assert_eq!(verdict.broken(), [Invariant::Watermark], "{verdict}");
    assert_eq!(verdict.counts[&Invariant::Watermark], 16);
    assert_eq!(verdict.figures.repeats, 0, "nothing is read twice");
}

#[tokio::test]
async fn what_breaks_the_layout_is_told() {
    type Break = fn(&Storage);
    let data = |storage: &Storage| {
        storage
            .dir
            .path()
            .join(format!("shop/orders/{}/2026-01-31/CDC000002.json", ts(0)))
    };
    let breaks: [(&str, Break); 5] = [
        ("is missing, though", |storage| {
            fs::remove_file(
                storage
                    .dir
                    .path()
                    .join(format!("shop/orders/{}/2026-01-31/CDC000002.json", ts(0))),
            )
            .unwrap();
        }),
        ("hash is", |storage| {
            let path = storage.schema(ts(0));
            let text = fs::read_to_string(&path).unwrap().replace("VARCHAR", "CHAR");
            fs::write(&path, text).unwrap();
        }),
        ("no schema file", |storage| {
            fs::remove_file(storage.schema(ts(0))).unwrap();
        }),
        ("names \"nonsense\"", |storage| {
            storage.write(
                &format!("shop/orders/{}/2026-01-31/meta/CDC.index", ts(0)),
                "nonsense",
            );
        }),
        ("metadata:", |storage| storage.write("metadata", "{}")),
    ];
    for (says, spoil) in breaks {
        let storage = Storage::canal();
        honest(&storage);
        spoil(&storage);
        let verdict = storage.verdict().await;
        assert!(
            verdict.broken().contains(&Invariant::NoInvention),
            "{says}: {verdict}"
        );
        assert!(verdict.to_string().contains(says), "{says}: {verdict}");
    }
    let storage = Storage::canal();
    honest(&storage);
    let path = data(&storage);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.trim_end()).unwrap();
    assert!(storage.verdict().await.to_string().contains("not terminated"));
}

#[tokio::test]
async fn a_table_version_above_the_checkpoint_is_not_there_yet() {
    let storage = Storage::canal();
    honest(&storage);
    storage.checkpoint(ts(3));
    let mut judge = judge("json");
    let mut reader = storage.reader();
    let mut sequences = std::collections::BTreeSet::new();
    reader
        .poll(&mut |sighting| {
            sequences.insert(sighting.partition.clone());
            judge.take(sighting);
        })
        .await
        .unwrap();
    assert!(
        !sequences.contains(&format!("shop/orders/{}", ts(4))),
        "{sequences:?}"
    );
    storage.checkpoint(ts(12));
    reader.poll(&mut |sighting| judge.take(sighting)).await.unwrap();
    let verdict = judge.verdict();
    assert!(verdict.holds(), "{verdict}");
}

#[tokio::test]
async fn a_csv_row_is_held_against_the_truth() {
    let storage = Storage::csv();
    honest(&storage);
    let path = storage
        .dir
        .path()
        .join(format!("shop/orders/{}/2026-01-31/CDC000001.csv", ts(0)));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\\N", "\"\"", 1)).unwrap();
    let verdict = storage.verdict().await;
    assert_eq!(verdict.broken(), [Invariant::NoInvention]);
    assert!(
        verdict.to_string().contains("note is \"\", the truth is NULL"),
        "{verdict}"
    );
}

#[test]
fn the_command_judges_folders() {
    let run = |storage: &Storage, truth: &Path, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark-judge"));
        command
            .arg("--truth")
            .arg(truth)
            .args(["--storage", &storage.url(), "--deadline", "2"])
            .args(more);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout) + &text(output.stderr))
    };
    let dir = tempfile::tempdir().unwrap();
    let truth = truth_file(dir.path());
    let storage = Storage::csv();
    honest(&storage);
    let (code, report) = run(&storage, &truth, &["--format", "csv"]);
    assert_eq!(code, Some(0), "{report}");
    let (code, report) = run(
        &storage,
        &truth,
        &["--format", "csv", "--bank", "shop.orders.id=28@0"],
    );
    assert_eq!(code, Some(1), "the deleted rows are missing in the sum: {report}");
    let sum = (1 + 3 + 5 + 7).to_string();
    let (code, report) = run(
        &storage,
        &truth,
        &["--format", "csv", "--bank", &format!("shop.orders.id={sum}@0")],
    );
    assert_eq!(code, Some(0), "{report}");
    storage.checkpoint(ts(3));
    let (code, report) = run(&storage, &truth, &["--format", "csv"]);
    assert_eq!(code, Some(1), "{report}");
    let (code, report) = run(&storage, &dir.path().join("none"), &[]);
    assert_eq!(code, Some(2), "{report}");
}
