//! Every golden vector decodes, and a damaged one is noticed.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tidemark_tidb::vectors::check_vectors;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/vectors")
}

#[test]
fn every_vector_decodes() {
    let report = check_vectors(&folder()).unwrap();
    eprintln!("{report}");
}

#[test]
fn a_damaged_vector_is_noticed() {
    let copy = tempfile::tempdir().unwrap();
    let mut text = String::new();
    GzDecoder::new(File::open(folder().join("rowv2.jsonl.gz")).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    let at = text.find("\"row\":\"80").unwrap() + "\"row\":\"80000".len();
    let damaged = format!(
        "{}{}{}",
        &text[..at],
        if &text[at..=at] == "1" { "2" } else { "1" },
        &text[at + 1..]
    );
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    assert!(check_vectors(copy.path()).is_ok());
    let file = File::create(copy.path().join("rowv2.jsonl.gz")).unwrap();
    let mut packed = GzEncoder::new(file, Compression::default());
    packed.write_all(damaged.as_bytes()).unwrap();
    packed.finish().unwrap();
    assert!(check_vectors(copy.path()).is_err());
}
