//! The checkpoint of a feed that runs without Kubernetes, kept in a folder.
//!
//! `checkpoint.json` is written whole beside the old one, synced, and renamed over it, so a death at
//! any point leaves the old or the new. `lock` is held while a worker runs.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidemark_model::Ts;

const FILE: &str = "checkpoint.json";

/// Whose checkpoint a folder holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `namespace/name` of the feed.
    pub feed: String,
    /// The source cluster's id.
    pub cluster_id: u64,
    /// What the feed reads and where it writes to; a checkpoint is worth nothing elsewhere.
    pub route: String,
}

/// Why a state folder can't be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The folder can't be read or written.
    #[error("state folder {}: {source}: give another with --state, or mend its rights", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Another worker runs on it.
    #[error("state folder {}: another worker runs on it: stop that, or give another with --state", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The checkpoint file is damaged.
    #[error("state file {}: {problem}: restore it, or remove it to begin at spec.start again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The folder is another feed's.
    #[error(
        "state folder {}: it belongs to {found}, not to {wanted}: give each feed its own with --state",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Saved {
    identity: Identity,
    /// Decimal text: it exceeds what JSON numbers hold.
    checkpoint_ts: String,
    /// CRC-32 of identity and checkpoint, as printed by [`sum`].
    crc32: u32,
}

/// A state folder, locked for this process.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the folder if needed and locks it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let io = |source| StateError::Io {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(io)?;
        let lock = File::create(path.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(StateError::Locked {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder for changes that wait on disk.
    pub fn spill(&self) -> PathBuf {
        self.path.join("spill")
    }

    /// The saved checkpoint, if there is one; it has to be of this identity.
    pub fn load(&self, wanted: &Identity) -> Result<Option<Ts>, StateError> {
        let path = self.path.join(FILE);
        let damaged = |problem: String| StateError::Damaged {
            path: path.clone(),
            problem,
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(StateError::Io {
                    path: self.path.clone(),
                    source,
                });
            }
        };
        let saved: Saved = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if saved.crc32 != sum(&saved.identity, &saved.checkpoint_ts) {
            return Err(damaged("its checksum doesn't fit its content".into()));
        }
        let checkpoint = saved
            .checkpoint_ts
            .parse()
            .map_err(|_| damaged("its checkpoint is no number".into()))?;
        if saved.identity != *wanted {
            let name =
                |id: &Identity| format!("feed {} of cluster {} ({})", id.feed, id.cluster_id, id.route);
            return Err(StateError::Foreign {
                path: self.path.clone(),
                found: name(&saved.identity),
                wanted: name(wanted),
            });
        }
        Ok(Some(checkpoint))
    }

    /// Keeps a checkpoint; on return it outlives a crash of the machine.
    pub fn save(&self, identity: &Identity, checkpoint: Ts) -> Result<(), StateError> {
        let checkpoint_ts = checkpoint.to_string();
        let crc32 = sum(identity, &checkpoint_ts);
        let saved = Saved {
            identity: identity.clone(),
            checkpoint_ts,
            crc32,
        };
        self.replace(&saved).map_err(|source| StateError::Io {
            path: self.path.clone(),
            source,
        })
    }

    fn replace(&self, saved: &Saved) -> io::Result<()> {
        let fresh = self.path.join("checkpoint.json.new");
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(saved)?)?;
        file.sync_all()?;
        fs::rename(&fresh, self.path.join(FILE))?;
        File::open(&self.path)?.sync_all()
    }
}

fn sum(identity: &Identity, checkpoint: &str) -> u32 {
    let Identity {
        feed,
        cluster_id,
        route,
    } = identity;
    crc32fast::hash(format!("{feed}\n{cluster_id}\n{route}\n{checkpoint}").as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn identity(feed: &str) -> Identity {
        Identity {
            feed: feed.into(),
            cluster_id: 7,
            route: "tidb to blackhole".into(),
        }
    }

    #[test]
    fn a_checkpoint_survives_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        assert_eq!(state.load(&identity("a")).unwrap(), None);
        state.save(&identity("a"), Ts(449_001_234_567_890_123)).unwrap();
        drop(state);
        let state = StateDir::open(folder.path()).unwrap();
        assert_eq!(
            state.load(&identity("a")).unwrap(),
            Some(Ts(449_001_234_567_890_123))
        );
    }

    #[test]
    fn a_second_worker_is_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let _held = StateDir::open(folder.path()).unwrap();
        assert!(matches!(
            StateDir::open(folder.path()),
            Err(StateError::Locked { .. })
        ));
    }

    #[test]
    fn another_feeds_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        state.save(&identity("a"), Ts(5)).unwrap();
        let error = state.load(&identity("b")).unwrap_err().to_string();
        assert!(error.contains("belongs to feed a of cluster 7"), "{error}");
    }

    #[test]
    fn every_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        state.save(&identity("a"), Ts(449_001_234_567_890_123)).unwrap();
        let path = folder.path().join(FILE);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(
                state.load(&identity("a")).is_err(),
                "a flipped bit in byte {at} went unnoticed"
            );
        }
        fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert!(matches!(
            state.load(&identity("a")),
            Err(StateError::Damaged { .. })
        ));
    }
}
