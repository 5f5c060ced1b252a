use std::collections::{BTreeSet, HashMap};

use crate::cut::judge_cuts;
use crate::history::{BRINGS, ENDS, History, row_name};
use crate::image::{difference, wrong_old_image};
use crate::replay::{Repeat, ReplayLogs};
use crate::settings::{DeleteImage, Placement, ReplayFloor, ReplayUnit, Settings, Watermarks};
use crate::truth::TruthRow;
use crate::verdict::{Invariant, Latency, Verdict};
use crate::{Observation, RowObservation, RowOp};

/// Bits of a ts below its milliseconds.
const LOGICAL_BITS: u32 = 18;

/// Judges one stream: tell it everything that was read, in order, then ask for the verdict.
pub struct Judge {
    settings: Settings,
    history: History,
    partitions: Vec<Partition>,
    names: HashMap<String, u32>,
    /// A watermark of all partitions, those to come included.
    common_watermark: Option<u64>,
    watermarks: BTreeSet<u64>,
    checkpoint: Option<u64>,
    /// How many of `history.by_ts` a checkpoint has passed.
    checked: usize,
    logs: ReplayLogs,
    latencies: Vec<u64>,
    verdict: Verdict,
}

struct Partition {
    name: String,
    watermark: Option<u64>,
}

impl Judge {
    /// A judge who knows the whole truth: every change of the streamed tables, those before the start included where
    /// old images or sums build on them.
    pub fn new(truth: Vec<TruthRow>, settings: Settings) -> Self {
        let history = History::new(truth, &settings);
        let mut verdict = Verdict::default();
        let after_start = history
            .versions
            .iter()
            .filter(|version| version.commit_ts > settings.start_ts);
        verdict.figures.truth_rows = after_start.count() as u64;
        Self {
            settings,
            history,
            partitions: Vec::new(),
            names: HashMap::new(),
            common_watermark: None,
            watermarks: BTreeSet::new(),
            checkpoint: None,
            checked: 0,
            logs: ReplayLogs::default(),
            latencies: Vec::new(),
            verdict,
        }
    }

    /// Tells of a partition, so that it counts before anything is read from it.
    pub fn partition(&mut self, partition: &str) {
        self.partition_id(partition);
    }

    /// The next thing read from a partition.
    pub fn observe(&mut self, partition: &str, observation: &Observation) {
        self.observe_at(partition, observation, None);
    }

    /// The next thing read from a partition, with the time it got there in milliseconds since the Unix epoch.
    pub fn observe_at(&mut self, partition: &str, observation: &Observation, at_ms: Option<u64>) {
        let partition = self.partition_id(partition);
        match observation {
            Observation::Row(row) => self.row(partition, row, at_ms),
            Observation::Watermark(ts) => self.watermark(partition, *ts),
        }
    }

    /// Something that can't be read as a row or watermark; it breaks "no invention".
    pub fn observe_malformed(&mut self, partition: &str, what: &str) {
        self.partition_id(partition);
        self.verdict.add(Invariant::NoInvention, || {
            format!("{partition}: unreadable: {what}")
        });
    }

    /// A watermark that holds for all partitions, those to come included: the checkpoint in a storage folder's metadata.
    pub fn observe_watermark_everywhere(&mut self, ts: u64) {
        self.verdict.figures.watermarks += 1;
        self.watermarks.insert(ts);
        if let Some(before) = self.common_watermark.filter(|before| *before > ts) {
            self.verdict.add(Invariant::Watermark, || {
                format!("the common watermark falls from {before} to {ts}")
            });
            return;
        }
        self.common_watermark = Some(ts);
    }

    /// A checkpoint that is durable now: everything at or below it has to have been observed before.
    pub fn observe_checkpoint(&mut self, ts: u64) {
        if let Some(before) = self.checkpoint.filter(|before| *before > ts) {
            self.verdict.add(Invariant::CheckpointSafety, || {
                format!("the checkpoint falls from {before} to {ts}")
            });
            return;
        }
        self.checkpoint = Some(ts);
        while let Some(&index) = self.history.by_ts.get(self.checked) {
            let version = &self.history.versions[index as usize];
            if version.commit_ts > ts {
                break;
            }
            if version.commit_ts > self.settings.start_ts && !version.is_whole() {
                self.verdict.add(Invariant::CheckpointSafety, || {
                    format!(
                        "checkpoint {ts} is set, but {} is not there",
                        self.history.name(version)
                    )
                });
            }
            self.checked += 1;
        }
    }

    /// The final watermark so far: the lowest of all partitions'; `None` if one has none.
    pub fn final_watermark(&self) -> Option<u64> {
        if self.partitions.is_empty() {
            return self.common_watermark;
        }
        self.partitions
            .iter()
            .map(|partition| partition.watermark.max(self.common_watermark))
            .min()
            .flatten()
    }

    /// Judges what needs the whole stream, and gives the verdict.
    pub fn verdict(mut self) -> Verdict {
        let reached = self.final_watermark();
        let bound = match self.settings.watermarks {
            Watermarks::InStream => reached,
            Watermarks::Absent => Some(u64::MAX),
        };
        match (bound, self.settings.must_reach) {
            (None, _) => self.verdict.add(Invariant::Completeness, || {
                "not every partition shows a watermark, so nothing says that the stream is complete"
                    .to_owned()
            }),
            (Some(bound), Some(aim)) if bound < aim => self.verdict.add(Invariant::Completeness, || {
                format!("the final watermark {bound} doesn't reach {aim}")
            }),
            _ => {}
        }
        let bound = bound.unwrap_or_default();
        for &index in &self.history.by_ts {
            let version = &self.history.versions[index as usize];
            if version.commit_ts > self.settings.start_ts && version.commit_ts <= bound && !version.is_whole()
            {
                let half = match version.seen {
                    0 => "",
                    ENDS => " (only its delete was seen)",
                    _ => " (only its insert was seen)",
                };
                self.verdict.add(Invariant::Completeness, || {
                    format!("lost: {}{half}", self.history.name(version))
                });
            }
        }
        let cuts: Vec<u64> = self.watermarks.range(..=bound).copied().collect();
        judge_cuts(&self.history, &self.settings, &cuts, &mut self.verdict);
        self.verdict.figures.final_watermark = reached;
        self.verdict.figures.partitions = self.partitions.len() as u64;
        self.verdict.figures.latency = Latency::of(self.latencies);
        self.verdict
    }

    fn partition_id(&mut self, name: &str) -> u32 {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let id = self.partitions.len() as u32;
        self.names.insert(name.to_owned(), id);
        self.partitions.push(Partition {
            name: name.to_owned(),
            watermark: None,
        });
        id
    }

    fn watermark(&mut self, partition: u32, ts: u64) {
        let Partition { name, watermark } = &mut self.partitions[partition as usize];
        self.verdict.figures.watermarks += 1;
        self.watermarks.insert(ts);
        match *watermark {
            Some(before) if before > ts => {
                self.verdict.add(Invariant::Watermark, || {
                    format!("{name}: the watermark falls from {before} to {ts}")
                });
            }
            _ => *watermark = Some(ts),
        }
    }

    fn row(&mut self, partition: u32, row: &RowObservation, at_ms: Option<u64>) {
        self.verdict.figures.rows += 1;
        let Some(index) = self.recognise(partition, row) else {
            return;
        };
        let at = &self.partitions[partition as usize];
        let watermark = at.watermark.max(self.common_watermark);
        let version = &mut self.history.versions[index as usize];
        let shown = match row.op {
            RowOp::Insert => BRINGS,
            RowOp::Delete => ENDS,
            RowOp::Update => ENDS | BRINGS,
        } & version.halves();
        let new = shown & !version.seen;
        let seen_before = version.seen;
        version.seen |= shown;
        let key = &mut self.history.keys[version.key as usize];
        let name = |history: &History| history.name(&history.versions[index as usize]);

        let home = *key.home.get_or_insert(partition);
        if home != partition && self.settings.placement == Placement::OnePartition {
            let home = &self.partitions[home as usize].name;
            self.verdict.add(Invariant::Completeness, || {
                format!("{} is in {} and in {home}", name(&self.history), at.name)
            });
        }
        let unit = match self.settings.replay_unit {
            ReplayUnit::Partition => 0,
            ReplayUnit::Table => {
                u64::from(self.history.keys[self.history.versions[index as usize].key as usize].table)
            }
            ReplayUnit::Key => u64::from(self.history.versions[index as usize].key),
        };
        let log = self.logs.log(partition, unit);
        if new == 0 {
            self.repeat(partition, index, shown, log, watermark);
            return;
        }

        let version = &mut self.history.versions[index as usize];
        let key = &mut self.history.keys[version.key as usize];
        let (place, missing) = self.logs.first(log);
        for half in [ENDS, BRINGS] {
            if new & half != 0 {
                version.places[usize::from(half - 1)] = place;
            }
        }
        let late = watermark.filter(|watermark| row.commit_ts <= *watermark);
        version.after_watermark = version.after_watermark.max(watermark);
        let lane = match self.settings.placement {
            Placement::Anywhere => partition,
            Placement::OnePartition | Placement::Successive => 0,
        };
        let slot = key
            .newest
            .iter()
            .position(|(of, _)| *of == lane)
            .unwrap_or_else(|| {
                key.newest.push((lane, 0));
                key.newest.len() - 1
            });
        let newest = &mut key.newest[slot].1;
        let overtaken = (*newest > row.commit_ts).then_some(*newest);
        *newest = (*newest).max(row.commit_ts);

        if missing > 0 {
            self.verdict.add(Invariant::ReplayShape, || {
                format!(
                    "{}: a replay stops {missing} rows short of its end at {}",
                    at.name,
                    name(&self.history)
                )
            });
        }
        if let Some(newest) = overtaken {
            self.verdict.add(Invariant::KeyOrder, || {
                format!(
                    "{}: {} is first seen after @{newest} of its key",
                    at.name,
                    name(&self.history)
                )
            });
        } else if new & ENDS != 0 && seen_before & BRINGS != 0 {
            self.verdict.add(Invariant::KeyOrder, || {
                format!(
                    "{}: the delete of {} comes after its insert",
                    at.name,
                    name(&self.history)
                )
            });
        }
        if let Some(watermark) = late {
            self.verdict.add(Invariant::Watermark, || {
                format!(
                    "{}: {} is first seen after watermark {watermark}",
                    at.name,
                    name(&self.history)
                )
            });
        }
        if let Some(at_ms) = at_ms {
            self.latencies
                .push(at_ms.saturating_sub(row.commit_ts >> LOGICAL_BITS));
        }
    }

    fn repeat(&mut self, partition: u32, index: u32, shown: u8, log: u32, watermark: Option<u64>) {
        self.verdict.figures.repeats += 1;
        let at = &self.partitions[partition as usize];
        let version = &self.history.versions[index as usize];
        let half = if shown & ENDS != 0 { ENDS } else { BRINGS };
        let name = || self.history.name(version);
        match self.logs.repeat(log, version.places[usize::from(half - 1)]) {
            Repeat::Goes | Repeat::Elsewhere => {}
            Repeat::Begins => self.verdict.figures.replays += 1,
            Repeat::Skips(skipped) => self.verdict.add(Invariant::ReplayShape, || {
                format!(
                    "{}: a replay leaves out {skipped} rows before {}",
                    at.name,
                    name()
                )
            }),
        }
        let floor = match self.settings.replay_floor {
            ReplayFloor::Checkpoint => self.checkpoint,
            ReplayFloor::Watermark => self.checkpoint.max(watermark),
        };
        if let Some(floor) = floor.filter(|floor| version.commit_ts <= *floor) {
            self.verdict.add(Invariant::ReplayShape, || {
                format!("{}: {} is repeated, though {floor} was durable", at.name, name())
            });
        }
    }

    /// The version that the row shows, images checked; `None` if the truth has no such change.
    fn recognise(&mut self, partition: u32, row: &RowObservation) -> Option<u32> {
        let at = &self.partitions[partition as usize].name;
        let invented = |key: &str, why: &str| {
            format!(
                "{at}: {} {}: {why}",
                op_name(row.op),
                row_name(&row.schema, &row.table, key, row.commit_ts)
            )
        };
        let Some(table) = self.history.table(&row.schema, &row.table) else {
            self.verdict.add(Invariant::NoInvention, || {
                invented("?", "the truth has no such table")
            });
            return None;
        };
        let Some(key) = table.key_of(&row.row) else {
            let columns = table.key_columns.join(", ");
            self.verdict.add(Invariant::NoInvention, || {
                invented("?", &format!("key columns ({columns}) are missing"))
            });
            return None;
        };
        let Some(index) = self.history.find(table, &key, row.commit_ts) else {
            self.verdict.add(Invariant::NoInvention, || {
                invented(&key, "the truth has no such change")
            });
            return None;
        };
        if row.commit_ts <= self.settings.start_ts {
            let start = self.settings.start_ts;
            self.verdict.add(Invariant::NoInvention, || {
                invented(&key, &format!("not after the start ts {start}"))
            });
            return None;
        }
        let version = &self.history.versions[index as usize];
        // A second, different sight of a row is told as a repeat that differs.
        let seen = version.seen != 0;
        let wrong = match row.op {
            RowOp::Insert if version.row.is_none() => Some("the truth only deletes".to_owned()),
            RowOp::Delete if version.old.is_none() => Some("the truth only inserts".to_owned()),
            RowOp::Update if version.halves() != ENDS | BRINGS => Some("the truth has no update".to_owned()),
            RowOp::Insert => difference("row", &row.row, version.row.as_ref(), true),
            RowOp::Delete => {
                let full = self.settings.delete_image == DeleteImage::Full;
                difference("deleted row", &row.row, version.old.as_ref(), full)
            }
            RowOp::Update => difference("row", &row.row, version.row.as_ref(), true).or_else(|| {
                wrong_old_image(
                    self.settings.old_image,
                    row.old.as_ref(),
                    version.old.as_ref(),
                    &row.row,
                )
            }),
        };
        let halves = version.halves();
        if let Some(wrong) = wrong {
            let invariant = if seen {
                Invariant::KeyOrder
            } else {
                Invariant::NoInvention
            };
            self.verdict.add(invariant, || invented(&key, &wrong));
        }
        let shows_something = match row.op {
            RowOp::Insert => halves & BRINGS != 0,
            RowOp::Delete => halves & ENDS != 0,
            RowOp::Update => true,
        };
        shows_something.then_some(index)
    }
}

fn op_name(op: RowOp) -> &'static str {
    match op {
        RowOp::Insert => "INSERT",
        RowOp::Update => "UPDATE",
        RowOp::Delete => "DELETE",
    }
}
