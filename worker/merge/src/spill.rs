use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::sorter::State;
use crate::{MergeError, Refused};

const SUFFIX: &str = ".tidemark-run";

/// Bounds of all sorters of a process.
#[derive(Clone, Debug)]
pub struct SpillConfig {
    /// Folder of the run files; made if missing. It belongs to one process alone: run files found there are deleted.
    pub dir: PathBuf,
    /// Bytes of changes in memory over all sorters, the read blocks of runs included. Should be several times
    /// `fan_in * block_bytes`.
    pub memory: usize,
    /// Bytes of run files over all sorters.
    pub disk: u64,
    /// Bytes of one block of a run before packing: what is read at once. A larger row makes a block of its own.
    pub block_bytes: usize,
    /// Bytes of one file of a run; the file is deleted once it is read.
    pub run_bytes: u64,
    /// Runs of one sorter that are merged at once; with more, the smallest become one.
    pub fan_in: usize,
    /// Whether blocks are packed by LZ4.
    pub compress: bool,
}

impl SpillConfig {
    /// The usual block and file sizes, with the given folder and quotas in bytes.
    pub fn new(dir: impl Into<PathBuf>, memory: usize, disk: u64) -> Self {
        Self {
            dir: dir.into(),
            memory,
            disk,
            block_bytes: 64 << 10,
            run_bytes: 16 << 20,
            fan_in: 64,
            compress: true,
        }
    }
}

/// What all sorters of a process share: quotas, the folder of the run files, and the sums.
#[derive(Debug)]
pub struct Spill {
    config: SpillConfig,
    memory: AtomicUsize,
    memory_peak: AtomicUsize,
    disk: AtomicU64,
    disk_peak: AtomicU64,
    spilled: AtomicU64,
    files: AtomicU64,
    members: Mutex<Vec<Member>>,
}

#[derive(Debug)]
struct Member {
    state: Weak<Mutex<State>>,
    share: Arc<AtomicUsize>,
}

impl Spill {
    /// Makes the folder and deletes run files that a former process left there.
    ///
    /// # Errors
    /// [`MergeError::Io`] if the folder can't be made, read or cleared.
    pub fn open(config: SpillConfig) -> Result<Arc<Self>, MergeError> {
        let dir = &config.dir;
        fs::create_dir_all(dir).map_err(MergeError::io("create the folder of", dir))?;
        let mut stale = 0_u64;
        for entry in fs::read_dir(dir).map_err(MergeError::io("list the folder of", dir))? {
            let path = entry.map_err(MergeError::io("list the folder of", dir))?.path();
            if path.to_string_lossy().ends_with(SUFFIX) {
                fs::remove_file(&path).map_err(MergeError::io("delete the stale", &path))?;
                stale += 1;
            }
        }
        if stale > 0 {
            tracing::info!(dir = %dir.display(), files = stale, "deleted spill files of a former process");
        }
        Ok(Arc::new(Self {
            config,
            memory: AtomicUsize::new(0),
            memory_peak: AtomicUsize::new(0),
            disk: AtomicU64::new(0),
            disk_peak: AtomicU64::new(0),
            spilled: AtomicU64::new(0),
            files: AtomicU64::new(0),
            members: Mutex::default(),
        }))
    }

    /// The bounds it was opened with.
    pub fn config(&self) -> &SpillConfig {
        &self.config
    }

    /// Bytes of changes in memory over all sorters.
    pub fn memory_used(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// The most that [`Spill::memory_used`] ever was.
    pub fn memory_peak(&self) -> usize {
        self.memory_peak.load(Ordering::Relaxed)
    }

    /// Bytes of run files over all sorters.
    pub fn disk_used(&self) -> u64 {
        self.disk.load(Ordering::Relaxed)
    }

    /// The most that [`Spill::disk_used`] ever was.
    pub fn disk_peak(&self) -> u64 {
        self.disk_peak.load(Ordering::Relaxed)
    }

    /// Bytes ever written to run files.
    pub fn spilled(&self) -> u64 {
        self.spilled.load(Ordering::Relaxed)
    }

    pub(crate) fn join(&self, state: &Arc<Mutex<State>>, share: &Arc<AtomicUsize>) {
        let mut members = self.members.lock();
        members.retain(|member| member.state.strong_count() > 0);
        members.push(Member {
            state: Arc::downgrade(state),
            share: Arc::clone(share),
        });
    }

    /// Spills the largest sorters until `need` more bytes fit; `own` is the caller's, which it has locked. Sorters in
    /// use are passed over, so it can end without enough room; gives whether there is.
    pub(crate) fn make_room(&self, own: &mut State, need: usize) -> Result<bool, MergeError> {
        let fits = || self.memory_used() + need <= self.config.memory;
        if fits() {
            return Ok(true);
        }
        let mut largest: Vec<(usize, Option<Arc<Mutex<State>>>)> = Vec::new();
        for member in self.members.lock().iter() {
            let share = member.share.load(Ordering::Relaxed);
            let is_own = Arc::ptr_eq(&member.share, own.share());
            if share > 0 {
                match (is_own, member.state.upgrade()) {
                    (true, _) => largest.push((share, None)),
                    (false, Some(state)) => largest.push((share, Some(state))),
                    (false, None) => {}
                }
            }
        }
        largest.sort_unstable_by_key(|(share, _)| std::cmp::Reverse(*share));
        for (_, state) in largest {
            match state {
                None => own.spill_all()?,
                Some(state) => {
                    if let Some(mut other) = state.try_lock() {
                        other.spill_all()?;
                    }
                }
            }
            if fits() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn add_memory(&self, bytes: usize) {
        let used = self.memory.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.memory_peak.fetch_max(used, Ordering::Relaxed);
    }

    pub(crate) fn sub_memory(&self, bytes: usize) {
        self.memory.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn take_disk(&self, bytes: u64) -> Result<(), MergeError> {
        let used = self.disk.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.config.disk {
            self.give_disk(bytes);
            return Err(MergeError::DiskFull {
                used: used - bytes,
                quota: self.config.disk,
                refused: Refused(Vec::new()),
            });
        }
        self.disk_peak.fetch_max(used, Ordering::Relaxed);
        self.spilled.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn give_disk(&self, bytes: u64) {
        self.disk.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A file name of its own for a sorter's next file.
    pub(crate) fn next_path(&self, name: &str) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.config.dir.join(format!("{name}-{number}{SUFFIX}"))
    }
}
