//! The golden vectors of `tests/data/vectors`, and damaged copies of them.
#![cfg(feature = "vectors")]
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tidemark_tidb::vectors::check_vectors;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/vectors")
}

/// A copy of the folder, removed at the end.
struct Copy(tempfile::TempDir);

impl Copy {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(data()).unwrap() {
            let file = entry.unwrap().path();
            fs::write(
                dir.path().join(file.file_name().unwrap()),
                fs::read(file).unwrap(),
            )
            .unwrap();
        }
        Self(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn edit(&self, name: &str, edit: impl FnOnce(String) -> String) {
        let mut text = String::new();
        GzDecoder::new(fs::File::open(self.file(name)).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(edit(text).as_bytes()).unwrap();
        fs::write(self.file(name), gzip.finish().unwrap()).unwrap();
    }

    fn complaint(&self) -> String {
        check_vectors(self.0.path()).unwrap_err().to_string()
    }
}

#[test]
fn every_vector_decodes_to_what_it_says() {
    let report = check_vectors(&data()).unwrap();
    println!("{report}");
    assert_eq!(report.files.len(), 9);
    assert_eq!(report.total(), 8972);
}

#[test]
fn a_changed_text_is_found_with_its_line() {
    for (name, from, to) in [
        ("decimal.jsonl.gz", "\"text\":\"0.0\"", "\"text\":\"0.1\""),
        (
            "rowv2.jsonl.gz",
            "\"value\":{\"text\":\"-128\"}",
            "\"value\":{\"text\":\"-127\"}",
        ),
        (
            "rowv1.jsonl.gz",
            "\"value\":{\"null\":true}",
            "\"value\":{\"text\":\"x\",\"hex\":\"78\"}",
        ),
        ("keys.jsonl.gz", "\"table_id\":\"104\"", "\"table_id\":\"105\""),
        ("json.jsonl.gz", "\"text\":\"null\"", "\"text\":\"true\""),
        ("time.jsonl.gz", "\"second\":59", "\"second\":58"),
    ] {
        let copy = Copy::new();
        copy.edit(name, |text| {
            assert!(text.contains(from), "{name} has no {from}");
            text.replacen(from, to, 1)
        });
        let complaint = copy.complaint();
        assert!(
            complaint.contains(name) && complaint.contains("line "),
            "{complaint}"
        );
    }
}

#[test]
fn a_damaged_file_is_found() {
    let copy = Copy::new();
    let file = copy.file("datum.jsonl.gz");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&file, &bytes).unwrap();
    assert!(copy.complaint().contains("datum.jsonl.gz"));

    bytes[middle] ^= 0x10;
    bytes.truncate(middle);
    fs::write(&file, &bytes).unwrap();
    assert!(copy.complaint().contains("datum.jsonl.gz"));
}

#[test]
fn a_missing_or_empty_file_is_found() {
    let copy = Copy::new();
    copy.edit("time.jsonl.gz", |_| String::new());
    assert!(copy.complaint().contains("holds no vectors"));
    fs::remove_file(copy.file("datum.jsonl.gz")).unwrap();
    assert!(copy.complaint().contains("datum.jsonl.gz"));
}
