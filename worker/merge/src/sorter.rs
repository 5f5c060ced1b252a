use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use parking_lot::Mutex;
use tidemark_model::{KvChange, Ts};

use crate::account::Account;
use crate::kway::{Feed, Merge};
use crate::memory::{self, Memory};
use crate::run::{Run, RunWriter};
use crate::{MergeError, Refused, Spill};

/// What a sorter holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Bytes in memory, as [`KvChange::weight`] counts them, and read blocks.
    pub memory: usize,
    /// Bytes of run files.
    pub disk: u64,
    /// Changes, duplicates that are not found yet included.
    pub rows: u64,
}

/// Holds a span's changes until its resolved ts passes them, and gives them out in the order of the stream.
///
/// A change that comes again (same key, start ts and commit ts) is given out once; so is one at or below what was
/// already given out, since a region that registers again sends such changes again.
#[derive(Debug)]
pub struct Sorter {
    // Locked once a call, never a row: another sorter that finds the quota spent may spill this one.
    state: Arc<Mutex<State>>,
}

impl Sorter {
    /// A sorter for changes after the given ts. The name, of any text, shows in file names.
    pub fn new(spill: Arc<Spill>, name: &str, after: Ts) -> Self {
        let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let account = Account::new(spill);
        let Account { spill, share } = account.clone();
        let state = Arc::new(Mutex::new(State {
            name: name.chars().take(64).map(safe).collect(),
            account,
            after,
            last: None,
            memory: Memory::new(),
            weight: 0,
            runs: Vec::new(),
        }));
        spill.join(&state, &share);
        Self { state }
    }

    /// Takes changes in any order. Those at or below what was given out are dropped.
    ///
    /// # Errors
    /// [`MergeError::DiskFull`] gives the changes back, nothing of them taken; any other error ends the sorter.
    pub fn push(&mut self, changes: Vec<KvChange>) -> Result<(), MergeError> {
        self.state.lock().push(changes)
    }

    /// The next changes with a commit ts at or below `resolved`, about `max_bytes` of them but at least one; empty
    /// when none are left.
    ///
    /// A transaction larger than `max_bytes` comes in several calls. After an empty answer, changes at or below
    /// `resolved` are taken for repeats and dropped.
    ///
    /// # Errors
    /// [`MergeError::Io`] and [`MergeError::Damaged`] from the run files; both end the sorter.
    pub fn pop(&mut self, resolved: Ts, max_bytes: usize) -> Result<Vec<KvChange>, MergeError> {
        self.state.lock().pop(resolved, max_bytes)
    }

    /// What it holds now.
    pub fn backlog(&self) -> Backlog {
        let state = self.state.lock();
        Backlog {
            memory: state.share().load(std::sync::atomic::Ordering::Relaxed),
            disk: state.runs.iter().map(Run::disk).sum(),
            rows: state.memory.rows() + state.runs.iter().map(Run::rows).sum::<u64>(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct State {
    name: String,
    account: Account,
    /// Everything at or below was given out.
    after: Ts,
    /// The last change given out above `after`.
    last: Option<(Ts, Ts, Bytes)>,
    memory: Memory,
    /// Bytes of the changes in `memory`.
    weight: usize,
    runs: Vec<Run>,
}

impl State {
    pub(crate) fn share(&self) -> &Arc<AtomicUsize> {
        &self.account.share
    }

    fn push(&mut self, mut changes: Vec<KvChange>) -> Result<(), MergeError> {
        let after = self.after;
        let mut weight = 0;
        changes.retain(|change| {
            let new = change.commit_ts > after;
            if new {
                weight += change.weight();
            }
            new
        });
        if changes.is_empty() {
            return Ok(());
        }
        let spill = Arc::clone(&self.account.spill);
        match spill.make_room(self, weight) {
            Ok(true) => {
                self.account.add(weight);
                self.weight += weight;
                self.memory.push(changes);
                Ok(())
            }
            Ok(false) => {
                // The others are busy, or the push alone is larger than the quota.
                memory::sort(&mut changes);
                match self.write_run(changes.iter()) {
                    Ok(()) => Ok(()),
                    Err(error) => Err(give_back(error, changes)),
                }
            }
            Err(error) => Err(give_back(error, changes)),
        }
    }

    fn pop(&mut self, resolved: Ts, max_bytes: usize) -> Result<Vec<KvChange>, MergeError> {
        let due = |run: &Run| run.head_commit().is_some_and(|commit| commit <= resolved);
        let unloaded = self
            .runs
            .iter()
            .filter(|run| due(run) && run.head().is_none())
            .count();
        if unloaded > 0 {
            let spill = Arc::clone(&self.account.spill);
            match spill.make_room(self, unloaded * spill.config().block_bytes) {
                // With the disk full, giving out is what makes room.
                Ok(_) | Err(MergeError::DiskFull { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.memory.settle(resolved);
        let mut feeds: Vec<Feed<'_>> = self.memory.due(resolved).map(Feed::Memory).collect();
        for run in self.runs.iter_mut().filter(|run| due(run)) {
            run.load()?;
            feeds.push(Feed::Disk(run));
        }
        let mut merge = Merge::new(feeds);
        let mut out: Vec<KvChange> = Vec::new();
        let (mut bytes, mut freed) = (0, 0);
        let mut drained = true;
        while merge.head().is_some_and(|change| change.commit_ts <= resolved) {
            if bytes >= max_bytes && !out.is_empty() {
                drained = false;
                break;
            }
            let in_memory = merge.head_is_memory();
            let Some(change) = merge.next()? else { break };
            let weight = change.weight();
            if in_memory {
                freed += weight;
            }
            let repeated = match out.last() {
                Some(last) => change.order() <= last.order(),
                None => self
                    .last
                    .as_ref()
                    .is_some_and(|(commit, start, key)| change.order() <= (*commit, *start, key)),
            };
            if !repeated {
                bytes += weight;
                out.push(change);
            }
        }
        self.memory.tidy();
        self.weight -= freed;
        self.account.sub(freed);
        self.runs.retain(|run| run.rows() > 0);
        if drained {
            self.after = self.after.max(resolved);
            self.last = self.last.take().filter(|(commit, ..)| *commit > resolved);
        } else if let Some(last) = out.last() {
            self.last = Some((last.commit_ts, last.start_ts, Bytes::copy_from_slice(&last.key)));
        }
        Ok(out)
    }

    /// Moves everything in memory to disk.
    pub(crate) fn spill_all(&mut self) -> Result<(), MergeError> {
        for run in &mut self.runs {
            run.unload();
        }
        if self.memory.is_empty() {
            return Ok(());
        }
        self.memory.sorted();
        // Taken out for the call, so that the writer can borrow the rest.
        let mut memory = std::mem::replace(&mut self.memory, Memory::new());
        let written = self.write_run(memory.sorted().iter());
        match written {
            Ok(()) => {
                memory.clear();
                self.account.sub(self.weight);
                self.weight = 0;
                Ok(())
            }
            Err(error) => {
                self.memory = memory;
                Err(error)
            }
        }
    }

    /// Writes sorted changes as one more run; no trace of it on failure.
    fn write_run<'a>(&mut self, changes: impl Iterator<Item = &'a KvChange>) -> Result<(), MergeError> {
        let spill = Arc::clone(&self.account.spill);
        let mut writer = RunWriter::new(&spill, &self.name);
        for change in changes {
            writer.put(change)?;
        }
        self.runs.push(writer.finish(&self.account)?);
        if self.runs.len() > spill.config().fan_in.max(2) {
            match self.merge_runs() {
                Ok(()) => {}
                // Reading more runs at once costs memory, not rightness.
                Err(MergeError::DiskFull { .. }) => {
                    tracing::warn!(
                        sorter = self.name,
                        runs = self.runs.len(),
                        "no disk left to merge runs"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes one run of the smallest ones, so that half of `fan_in` is free again.
    fn merge_runs(&mut self) -> Result<(), MergeError> {
        let spill = Arc::clone(&self.account.spill);
        let fan_in = spill.config().fan_in.max(2);
        self.runs.sort_by_key(|run| std::cmp::Reverse(run.rows()));
        let keep = (fan_in / 2).max(self.runs.len().saturating_sub(fan_in));
        let mut forks: Vec<Run> = self.runs[keep..].iter().map(Run::fork).collect();
        let mut feeds = Vec::with_capacity(forks.len());
        for fork in &mut forks {
            fork.load()?;
            feeds.push(Feed::Disk(fork));
        }
        let mut merge = Merge::new(feeds);
        let mut writer = RunWriter::new(&spill, &self.name);
        let mut last: Option<KvChange> = None;
        while let Some(change) = merge.next()? {
            if last.as_ref().is_none_or(|last| last.order() < change.order()) {
                writer.put(&change)?;
                last = Some(change);
            }
        }
        let merged = writer.finish(&self.account)?;
        self.runs.truncate(keep);
        self.runs.push(merged);
        Ok(())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.account.sub(self.weight);
    }
}

fn give_back(error: MergeError, changes: Vec<KvChange>) -> MergeError {
    match error {
        MergeError::DiskFull { used, quota, .. } => MergeError::DiskFull {
            used,
            quota,
            refused: Refused(changes),
        },
        other => other,
    }
}
