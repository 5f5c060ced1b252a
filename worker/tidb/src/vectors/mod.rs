//! Checks the decoder against a folder of golden vectors: gzipped JSON Lines, one vector a line.
//!
//! `tests/data/vectors/README.md` describes the files. They were made with TiKV's own codec.

mod keys;
mod line;
mod rows;
mod scalars;
mod value;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use thiserror::Error;

use line::{Line, Problem};

type Check = fn(&Line<'_>) -> Result<(), Problem>;

/// The files of a folder, and what checks their lines.
const FILES: [(&str, Check); 9] = [
    ("datum", scalars::datum),
    ("decimal", scalars::decimal),
    ("duration", scalars::duration),
    ("enumset", scalars::enumset),
    ("json", scalars::json),
    ("keys", keys::key),
    ("rowv1", rows::row),
    ("rowv2", rows::row),
    ("time", scalars::time),
];

/// How many vectors were checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Names of the files and how many vectors each held; all of them passed.
    pub files: Vec<(&'static str, usize)>,
}

impl Report {
    /// Vectors of all files.
    pub fn total(&self) -> usize {
        self.files.iter().map(|(_, count)| count).sum()
    }
}

/// One line a file: `  954 rowv2`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.files {
            writeln!(f, "{count:>6} {name}")?;
        }
        write!(f, "{:>6} vectors decoded as written", self.total())
    }
}

/// Why a folder of vectors does not pass.
#[derive(Debug, Error)]
pub enum VectorError {
    /// A file is missing, unreadable or no whole gzip file.
    #[error("{}: can't be read", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        problem: std::io::Error,
    },
    /// A file has no vectors.
    #[error("{}: holds no vectors", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// A line is damaged, or the decoder disagrees with it.
    #[error("{}, line {line}: {problem}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// Decodes every vector of the folder's nine files and compares it with what the vector says.
///
/// # Errors
/// With the first file that is missing or damaged, or the first vector that decodes otherwise.
pub fn check_vectors(dir: &Path) -> Result<Report, VectorError> {
    let mut report = Report::default();
    for (name, check) in FILES {
        let file = dir.join(format!("{name}.jsonl.gz"));
        let count = check_file(&file, check)?;
        report.files.push((name, count));
    }
    Ok(report)
}

fn check_file(file: &Path, check: Check) -> Result<usize, VectorError> {
    let mut text = String::new();
    let read = File::open(file).and_then(|gzip| GzDecoder::new(gzip).read_to_string(&mut text));
    read.map_err(|problem| VectorError::Read {
        file: file.to_owned(),
        problem,
    })?;
    let mut count = 0;
    for (at, json) in text.lines().enumerate() {
        let checked = serde_json::from_str(json)
            .map_err(|problem| Problem::new(format!("no JSON: {problem}")))
            .and_then(|value| check(&Line::new(&value)));
        checked.map_err(|problem| VectorError::Line {
            file: file.to_owned(),
            line: at + 1,
            problem: problem.to_string(),
        })?;
        count += 1;
    }
    if count == 0 {
        return Err(VectorError::Empty {
            file: file.to_owned(),
        });
    }
    Ok(count)
}
