use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A temporary folder, removed on drop. `TIDEMARK_TEST_KEEP=1` keeps it and prints where it is.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    dir: Option<TempDir>,
}

impl Folder {
    /// A new folder; `name` becomes part of its path.
    pub fn new(name: &str) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("tidemark-{name}-"))
            .tempdir()
            .context("create a temporary folder")?;
        Ok(if std::env::var_os("TIDEMARK_TEST_KEEP").is_some() {
            let path = dir.keep();
            eprintln!("{name}: kept in {}", path.display());
            Self { path, dir: None }
        } else {
            Self {
                path: dir.path().to_path_buf(),
                dir: Some(dir),
            }
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes away on drop.
    pub fn is_temporary(&self) -> bool {
        self.dir.is_some()
    }
}
