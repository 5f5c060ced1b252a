use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use tidemark_model::{KvChange, Ts};

/// Above this many rows sorting does without the scratch memory of a stable sort.
const LARGE: usize = 1 << 16;
/// Bytes of one allocation that holds the survivors of many frames.
const ARENA: usize = 32 << 10;

/// The changes of one sorter that are in memory: new ones as they came, and a few sorted runs.
#[derive(Debug)]
pub(crate) struct Memory {
    fresh: Vec<KvChange>,
    fresh_min: Ts,
    runs: Vec<MemoryRun>,
}

#[derive(Debug)]
struct MemoryRun {
    rows: VecDeque<KvChange>,
    /// Once it is down to this many rows, the rest is copied out of its frames.
    copy_at: usize,
}

impl MemoryRun {
    fn new(rows: Vec<KvChange>) -> Self {
        Self {
            copy_at: rows.len() / 8,
            rows: rows.into(),
        }
    }
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            fresh: Vec::new(),
            fresh_min: Ts::MAX,
            runs: Vec::new(),
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        (self.fresh.len() + self.runs.iter().map(|run| run.rows.len()).sum::<usize>()) as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.runs.is_empty()
    }

    pub(crate) fn push(&mut self, mut changes: Vec<KvChange>) {
        for change in &changes {
            self.fresh_min = self.fresh_min.min(change.commit_ts);
        }
        if self.fresh.is_empty() {
            self.fresh = changes;
        } else {
            self.fresh.append(&mut changes);
        }
    }

    /// Sorts new changes in, if any of them is due. Sizes of runs at least double from last to first, so that a row
    /// is moved O(log n) times and a merge has O(log n) feeds.
    pub(crate) fn settle(&mut self, resolved: Ts) {
        if self.fresh_min > resolved {
            return;
        }
        let mut new = std::mem::take(&mut self.fresh);
        self.fresh_min = Ts::MAX;
        sort(&mut new);
        while let Some(mut last) = self.runs.pop() {
            let follows = match (last.rows.back(), new.first()) {
                (Some(back), Some(front)) => back.order() <= front.order(),
                _ => true,
            };
            if follows {
                last.rows.extend(new);
                last.copy_at = last.rows.len() / 8;
                self.runs.push(last);
                return;
            }
            if last.rows.len() > 2 * new.len() {
                self.runs.push(last);
                break;
            }
            let mut both = Vec::from(last.rows);
            both.append(&mut new);
            sort(&mut both);
            new = both;
        }
        self.runs.push(MemoryRun::new(new));
    }

    /// The sorted runs that have a change at or below `resolved`; call [`Memory::settle`] before.
    pub(crate) fn due(&mut self, resolved: Ts) -> impl Iterator<Item = &mut VecDeque<KvChange>> {
        self.runs
            .iter_mut()
            .map(|run| &mut run.rows)
            .filter(move |rows| rows.front().is_some_and(|change| change.commit_ts <= resolved))
    }

    /// Drops empty runs, and copies the few that are left of a run out of the frames that they pin.
    pub(crate) fn tidy(&mut self) {
        self.runs.retain_mut(|run| {
            if run.rows.len() <= run.copy_at {
                run.copy_at = 0;
                run.rows.shrink_to_fit();
                copy_out(&mut run.rows);
            }
            !run.rows.is_empty()
        });
    }

    /// Sorts all there is into one vector and leaves it here; `None` if there is nothing.
    pub(crate) fn sorted(&mut self) -> &VecDeque<KvChange> {
        if !self.fresh.is_empty() || self.runs.len() != 1 {
            let mut all = std::mem::take(&mut self.fresh);
            self.fresh_min = Ts::MAX;
            for run in self.runs.drain(..) {
                all.extend(run.rows);
            }
            sort(&mut all);
            self.runs.push(MemoryRun::new(all));
        }
        &self.runs[0].rows
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

pub(crate) fn sort(rows: &mut [KvChange]) {
    if rows.len() > LARGE {
        rows.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
    } else {
        rows.sort_by(|one, other| one.order().cmp(&other.order()));
    }
}

fn copy_out(rows: &mut VecDeque<KvChange>) {
    let mut arena = BytesMut::new();
    for row in rows {
        for part in [&mut row.key, &mut row.value, &mut row.old_value] {
            if part.len() >= ARENA {
                *part = Bytes::copy_from_slice(part);
            } else if !part.is_empty() {
                if arena.capacity() < part.len() {
                    arena = BytesMut::with_capacity(ARENA);
                }
                arena.extend_from_slice(part);
                *part = arena.split().freeze();
            }
        }
    }
}
