use std::collections::HashMap;

/// First sights in the order of each unit, and where the stream is in them: at the tail, or inside a replay.
#[derive(Default)]
pub(crate) struct ReplayLogs {
    ids: HashMap<(u32, u64), u32>,
    logs: Vec<Log>,
}

#[derive(Clone, Copy, Default)]
struct Log {
    len: u32,
    /// The place behind the row read last.
    next: u32,
}

/// How a repeat continues the log.
pub(crate) enum Repeat {
    /// It is the next row of a replay.
    Goes,
    /// It goes back: a replay begins.
    Begins,
    /// It leaves out so many rows.
    Skips(u32),
    /// It was first seen in another log.
    Elsewhere,
}

impl ReplayLogs {
    /// The log of a unit in a partition.
    pub(crate) fn log(&mut self, partition: u32, unit: u64) -> u32 {
        *self.ids.entry((partition, unit)).or_insert_with(|| {
            self.logs.push(Log::default());
            self.logs.len() as u32 - 1
        })
    }

    /// Adds a first sight; gives its place, and how many rows of a replay were still to come.
    pub(crate) fn first(&mut self, log: u32) -> ((u32, u32), u32) {
        let entry = &mut self.logs[log as usize];
        let missing = entry.len - entry.next;
        let place = entry.len;
        entry.len += 1;
        entry.next = entry.len;
        ((log, place), missing)
    }

    /// Moves the log to a repeat of the row at the place.
    pub(crate) fn repeat(&mut self, log: u32, place: (u32, u32)) -> Repeat {
        if place.0 != log {
            return Repeat::Elsewhere;
        }
        let entry = &mut self.logs[log as usize];
        let next = std::mem::replace(&mut entry.next, place.1 + 1);
        match place.1.checked_sub(next) {
            Some(0) => Repeat::Goes,
            Some(skipped) => Repeat::Skips(skipped),
            None => Repeat::Begins,
        }
    }
}
