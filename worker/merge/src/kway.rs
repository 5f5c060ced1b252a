use std::collections::VecDeque;

use tidemark_model::KvChange;

use crate::MergeError;
use crate::run::Run;

/// A sorted source of changes.
pub(crate) enum Feed<'a> {
    Memory(&'a mut VecDeque<KvChange>),
    /// Has to be loaded before it joins a merge.
    Disk(&'a mut Run),
}

impl Feed<'_> {
    fn head(&self) -> Option<&KvChange> {
        match self {
            Self::Memory(rows) => rows.front(),
            Self::Disk(run) => run.head(),
        }
    }

    fn next(&mut self) -> Result<Option<KvChange>, MergeError> {
        match self {
            Self::Memory(rows) => Ok(rows.pop_front()),
            Self::Disk(run) => run.next(),
        }
    }
}

/// Merges sorted feeds into one order: a binary heap of feeds by their head row.
pub(crate) struct Merge<'a> {
    feeds: Vec<Feed<'a>>,
    /// Indexes of the feeds that have a head, the smallest head first.
    heap: Vec<usize>,
}

impl<'a> Merge<'a> {
    pub(crate) fn new(feeds: Vec<Feed<'a>>) -> Self {
        let heap: Vec<usize> = (0..feeds.len())
            .filter(|&feed| feeds[feed].head().is_some())
            .collect();
        let mut merge = Self { feeds, heap };
        for slot in (0..merge.heap.len() / 2).rev() {
            merge.sift_down(slot);
        }
        merge
    }

    /// The next change in order.
    pub(crate) fn head(&self) -> Option<&KvChange> {
        self.feeds[*self.heap.first()?].head()
    }

    /// Whether the next change comes out of memory.
    pub(crate) fn head_is_memory(&self) -> bool {
        self.heap
            .first()
            .is_some_and(|&feed| matches!(self.feeds[feed], Feed::Memory(_)))
    }

    /// Takes the next change in order.
    pub(crate) fn next(&mut self) -> Result<Option<KvChange>, MergeError> {
        let Some(&feed) = self.heap.first() else {
            return Ok(None);
        };
        let change = self.feeds[feed].next()?;
        if self.feeds[feed].head().is_none() {
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
        Ok(change)
    }

    fn sift_down(&mut self, mut slot: usize) {
        loop {
            let left = 2 * slot + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let child = if right < self.heap.len() && self.before(right, left) {
                right
            } else {
                left
            };
            if !self.before(child, slot) {
                return;
            }
            self.heap.swap(child, slot);
            slot = child;
        }
    }

    fn before(&self, one: usize, other: usize) -> bool {
        let order = |slot: usize| self.feeds[self.heap[slot]].head().map(KvChange::order);
        order(one) < order(other)
    }
}
