use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use foldhash::fast::RandomState;
use tidemark_model::{KvChange, Op, Span, Ts};
use tidemark_proto::cdcpb::event::row::OpType;
use tidemark_proto::cdcpb::event::{LogType, Row};

/// What a pending prewrite costs beside its payload, about.
const OVERHEAD: usize = size_of::<(RowKey, Prewrite)>() + 16;

/// Joins the prewrites of one region subscription with their commits.
///
/// Rows of the initial scan and live rows come interleaved: until INITIALIZED a commit can precede its prewrite, and
/// a rollback the scan's copy of the lock. Memory is bounded by the open transactions of the region.
#[derive(Debug)]
pub struct Matcher {
    span: Span,
    checkpoint: Ts,
    pending: HashMap<RowKey, Prewrite, RandomState>,
    /// What can't be judged before INITIALIZED; `None` after it.
    early: Option<Box<Early>>,
    bytes: usize,
}

/// Names one write of one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RowKey {
    start_ts: u64,
    key: Bytes,
}

#[derive(Debug)]
struct Prewrite {
    op: OpType,
    value: Bytes,
    old_value: Bytes,
    /// Before INITIALIZED two different values came, and which is the later is not known.
    unsure: bool,
}

#[derive(Debug)]
struct Commit {
    row: RowKey,
    commit_ts: u64,
    op: OpType,
    value: Bytes,
}

#[derive(Debug, Default)]
struct Early {
    commits: Vec<Commit>,
    /// Rolled back, or joined already: the scan's copy of the lock may follow.
    ended: HashSet<RowKey, RandomState>,
}

/// A commit came whose value is not known: the region must be read again from its resolved ts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the commit at {commit_ts} of the transaction {start_ts} came without its prewrite")]
pub struct MissingPrewrite {
    /// The key committed.
    pub key: Bytes,
    /// The transaction.
    pub start_ts: Ts,
    /// Its commit ts.
    pub commit_ts: Ts,
}

impl Matcher {
    /// A matcher of a subscription just registered. Rows outside the span, and commits at or below the
    /// checkpoint, are left out.
    pub fn new(span: Span, checkpoint: Ts) -> Self {
        Self {
            span,
            checkpoint,
            pending: HashMap::default(),
            early: Some(Box::default()),
            bytes: 0,
        }
    }

    /// Whether INITIALIZED has come.
    pub fn is_initialised(&self) -> bool {
        self.early.is_none()
    }

    /// Prewrites that wait for their commit, and what came early.
    pub fn pending(&self) -> usize {
        let early = |early: &Early| early.commits.len() + early.ended.len();
        self.pending.len() + self.early.as_deref().map_or(0, early)
    }

    /// Bytes that they hold, about.
    pub fn pending_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the rows of one event and puts out the changes that they complete.
    ///
    /// After an error the subscription's further rows are of no use.
    pub fn apply(&mut self, rows: Vec<Row>, out: &mut Vec<KvChange>) -> Result<(), MissingPrewrite> {
        // Rows of one event are in no order, so a commit may stand before its own prewrite.
        let mut orphans = Vec::new();
        for row in rows {
            let kind = row.r#type();
            if kind == LogType::Initialized {
                self.initialise(out)?;
                continue;
            }
            if !self.span.contains(&row.key) {
                continue;
            }
            let op = row.op_type();
            let Row {
                start_ts,
                commit_ts,
                key,
                value,
                old_value,
                ..
            } = row;
            let name = RowKey { start_ts, key };
            match kind {
                LogType::Prewrite if op != OpType::Unknown => self.prewrite(name, op, value, old_value),
                LogType::Commit => {
                    let commit = Commit {
                        row: name,
                        commit_ts,
                        op,
                        value,
                    };
                    if let Some(orphan) = self.commit(commit, out) {
                        orphans.push(orphan);
                    }
                }
                LogType::Committed if op != OpType::Unknown => {
                    self.forget(&name);
                    self.put_out(name.key, op, value, old_value, start_ts, commit_ts, out);
                }
                LogType::Rollback => {
                    self.forget(&name);
                    self.remember_end(&name);
                }
                // A committed lock-only record leaves a row with every field empty.
                _ => {}
            }
        }
        for orphan in orphans {
            if let Some(orphan) = self.commit(orphan, out) {
                return Err(missing(orphan));
            }
        }
        Ok(())
    }

    fn prewrite(&mut self, name: RowKey, op: OpType, value: Bytes, old_value: Bytes) {
        use std::collections::hash_map::Entry;
        let early = self.early.is_some();
        match self.pending.entry(name) {
            Entry::Vacant(free) => {
                self.bytes += OVERHEAD + free.key().key.len() + value.len() + old_value.len();
                free.insert(Prewrite {
                    op,
                    value,
                    old_value,
                    unsure: false,
                });
            }
            Entry::Occupied(mut taken) => {
                let known = taken.get_mut();
                // A heartbeat's rewrite of the lock can come without its value.
                if op == OpType::Put && value.is_empty() && known.op == OpType::Put {
                    return;
                }
                let differs = known.op != op || (known.value != value && !known.value.is_empty());
                known.unsure = early && (known.unsure || differs);
                self.bytes = (self.bytes + value.len()).saturating_sub(known.value.len());
                known.op = op;
                known.value = value;
                if !old_value.is_empty() {
                    self.bytes = (self.bytes + old_value.len()).saturating_sub(known.old_value.len());
                    known.old_value = old_value;
                }
            }
        }
    }

    /// Joins a commit with its prewrite; gives it back where there is none though there must be.
    fn commit(&mut self, commit: Commit, out: &mut Vec<KvChange>) -> Option<Commit> {
        if commit.commit_ts <= self.checkpoint.0 {
            self.forget(&commit.row);
            return None;
        }
        if let Some(early) = &mut self.early {
            let known = self.pending.get(&commit.row);
            if !known.is_some_and(|known| known.settles(&commit) && !known.may_be_fake(&commit)) {
                self.bytes += OVERHEAD + commit.row.key.len() + commit.value.len();
                early.commits.push(commit);
                return None;
            }
        }
        let known = self.pending.get(&commit.row);
        if !known.is_some_and(|known| known.settles(&commit)) {
            return Some(commit);
        }
        let Some((name, known)) = self.pending.remove_entry(&commit.row) else {
            return Some(commit);
        };
        self.bytes = self.bytes.saturating_sub(known.weight(&name));
        self.remember_end(&name);
        // The write record's own op and value are what was committed; long values are not in it.
        let op = if commit.op == OpType::Unknown {
            known.op
        } else {
            commit.op
        };
        let value = match op {
            OpType::Put if commit.value.is_empty() => known.value,
            _ => commit.value,
        };
        let old = known.old_value;
        self.put_out(name.key, op, value, old, name.start_ts, commit.commit_ts, out);
        None
    }

    /// The scan is complete: what came early is judged now.
    fn initialise(&mut self, out: &mut Vec<KvChange>) -> Result<(), MissingPrewrite> {
        let Some(early) = self.early.take() else {
            return Ok(());
        };
        self.bytes = self
            .bytes
            .saturating_sub(early.ended.iter().map(ended_weight).sum());
        for name in &early.ended {
            self.forget(name);
        }
        for commit in early.commits {
            let weight = OVERHEAD + commit.row.key.len() + commit.value.len();
            self.bytes = self.bytes.saturating_sub(weight);
            // Without a prewrite the scan has delivered it as committed.
            if self.pending.contains_key(&commit.row)
                && let Some(orphan) = self.commit(commit, out)
            {
                return Err(missing(orphan));
            }
        }
        Ok(())
    }

    fn remember_end(&mut self, name: &RowKey) {
        if let Some(early) = &mut self.early {
            let name = RowKey {
                start_ts: name.start_ts,
                // A copy: the frame with the value is not kept for this.
                key: Bytes::copy_from_slice(&name.key),
            };
            let weight = ended_weight(&name);
            if early.ended.insert(name) {
                self.bytes += weight;
            }
        }
    }

    fn forget(&mut self, name: &RowKey) {
        if let Some(known) = self.pending.remove(name) {
            self.bytes = self.bytes.saturating_sub(known.weight(name));
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a row, moved without a copy"
    )]
    fn put_out(
        &self,
        key: Bytes,
        op: OpType,
        value: Bytes,
        old_value: Bytes,
        start_ts: u64,
        commit_ts: u64,
        out: &mut Vec<KvChange>,
    ) {
        if commit_ts <= self.checkpoint.0 {
            return;
        }
        let (op, value) = match op {
            OpType::Delete => (Op::Delete, Bytes::new()),
            OpType::Put | OpType::Unknown => (Op::Put, value),
        };
        out.push(KvChange {
            key,
            value,
            old_value,
            start_ts: Ts(start_ts),
            commit_ts: Ts(commit_ts),
            op,
        });
    }
}

impl Prewrite {
    fn weight(&self, name: &RowKey) -> usize {
        OVERHEAD + name.key.len() + self.value.len() + self.old_value.len()
    }

    /// Whether the prewrite and the commit together tell the value for sure.
    fn settles(&self, commit: &Commit) -> bool {
        match commit.op {
            OpType::Delete => true,
            OpType::Put => !commit.value.is_empty() || (self.op == OpType::Put && !self.unsure),
            OpType::Unknown => !self.unsure,
        }
    }

    /// While the scan goes on an empty value may be a heartbeat's, and the true one may follow.
    fn may_be_fake(&self, commit: &Commit) -> bool {
        commit.op != OpType::Delete
            && self.op == OpType::Put
            && self.value.is_empty()
            && commit.value.is_empty()
    }
}

fn ended_weight(name: &RowKey) -> usize {
    size_of::<RowKey>() + name.key.len()
}

fn missing(commit: Commit) -> MissingPrewrite {
    MissingPrewrite {
        key: commit.row.key,
        start_ts: Ts(commit.row.start_ts),
        commit_ts: Ts(commit.commit_ts),
    }
}

#[cfg(test)]
mod tests;
