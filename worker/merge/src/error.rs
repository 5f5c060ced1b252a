use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use tidemark_model::KvChange;

/// Why a sorter could not take or give changes.
///
/// After [`MergeError::Io`] and [`MergeError::Damaged`] the sorter has to be dropped and its span read again from
/// the checkpoint. [`MergeError::DiskFull`] leaves it whole.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Memory and disk quota are spent, or the disk is full. Nothing was taken or lost: stop reading from TiKV, let
    /// the sink drain, then push the same changes again.
    #[error(
        "spill disk is full: {used} of {quota} bytes used, {} changes refused; free or enlarge the disk, or raise the quota",
        refused.0.len()
    )]
    DiskFull {
        /// Bytes that run files use.
        used: u64,
        /// The disk quota in bytes.
        quota: u64,
        /// The changes of the failed push.
        refused: Refused,
    },
    /// The file system refused.
    #[error("cannot {action} spill file {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// A run file doesn't hold what was written.
    #[error("spill file {} is damaged at byte {offset}: {what}; check the disk", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Offset in bytes of the damaged block.
        offset: u64,
        /// How it shows.
        what: &'static str,
    },
}

impl MergeError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the same push can be tried again.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}

/// Changes that a push gave back; prints as their number only.
pub struct Refused(pub Vec<KvChange>);

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changes", self.0.len())
    }
}
