use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::TruthRow;

/// Why a truth file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// The file system refused, or the gzip stream is broken.
    #[error("cannot read truth file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// A line is no truth row.
    #[error("truth file {} line {line} is no truth row", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What serde said.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads a truth file: one [`TruthRow`] as JSON a line; a name ending in `.gz` is unpacked.
///
/// # Errors
/// [`TruthError`] for a file that can't be read or a line that is no row.
pub fn read_truth(path: &Path) -> Result<Vec<TruthRow>, TruthError> {
    let failed = |source| TruthError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let plain: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut rows = Vec::new();
    for (index, line) in BufReader::with_capacity(1 << 20, plain).lines().enumerate() {
        let line = line.map_err(failed)?;
        if line.trim().is_empty() {
            continue;
        }
        rows.push(serde_json::from_str(&line).map_err(|source| TruthError::Line {
            path: path.to_owned(),
            line: index + 1,
            source,
        })?);
    }
    Ok(rows)
}
