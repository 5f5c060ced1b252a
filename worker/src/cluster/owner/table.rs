//! Which worker has which span, and how far each is. Pure: the owner's loop tells it what happened.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use tidemark_model::Ts;

use crate::cluster::span_key::SpanKey;

/// One run of a worker's process, as its owner numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seat(pub(crate) u64);

/// Where a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nobody streams it.
    Free,
    /// A worker was told to take it up.
    Starting(Seat),
    /// A worker streams it.
    Running(Seat),
    /// A worker was told to give it up.
    Stopping(Seat),
}

impl Place {
    /// The worker that may write its rows.
    pub(crate) fn seat(self) -> Option<Seat> {
        match self {
            Self::Free => None,
            Self::Starting(seat) | Self::Running(seat) | Self::Stopping(seat) => Some(seat),
        }
    }

    /// In a word, for people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Free => "unassigned",
            Self::Starting(_) => "starting",
            Self::Running(_) => "streaming",
            Self::Stopping(_) => "stopping",
        }
    }
}

/// All spans of a feed.
#[derive(Debug, Default)]
pub(crate) struct SpanTable {
    spans: BTreeMap<SpanKey, Entry>,
    floors: HashMap<Seat, Floor>,
}

/// What is known of one span.
#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    /// Everything at or below it is durable, whoever streams it.
    position: Ts,
    place: Place,
    /// Reports of its worker count for it from this one on.
    counts_from: u64,
    /// Bytes per second, smoothed.
    load: u64,
    /// Who receives it ahead, to get it when it is free.
    heir: Option<Heir>,
}

/// A worker that a span is to be moved to.
#[derive(Clone, Copy, Debug)]
struct Heir {
    seat: Seat,
    prepared: bool,
}

/// The lowest checkpoint of all spans that a worker streams, as it last reported.
#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    at: Ts,
    reports: u64,
}

impl SpanTable {
    /// Adds a span that nobody streams yet; changes after `position` are wanted. One that is known stays as it is.
    pub(crate) fn add(&mut self, key: SpanKey, name: Arc<str>, position: Ts) {
        self.spans.entry(key).or_insert(Entry {
            name,
            position,
            place: Place::Free,
            counts_from: 0,
            load: 0,
            heir: None,
        });
    }

    /// Forgets the spans of a table but those of `kept` physical tables.
    pub(crate) fn remove(&mut self, table_id: i64, kept: &BTreeSet<i64>) {
        self.spans
            .retain(|key, _| key.table_id != table_id || kept.contains(&key.physical_id));
    }

    /// Everything at or below `position` is durable of all spans.
    pub(crate) fn raise(&mut self, position: Ts) {
        for entry in self.spans.values_mut() {
            entry.position = entry.position.max(position);
        }
    }

    /// Names a span anew; parts of a table that was split keep their ends.
    pub(crate) fn rename(&mut self, key: &SpanKey, name: &Arc<str>) {
        let parts = self.spans.iter_mut().filter(|(part, _)| key.holds(part));
        for (part, entry) in parts {
            entry.name = match part.range.start == key.range.start {
                true => Arc::clone(name),
                false => part.name(name),
            };
        }
    }

    /// Whether it, or parts of it, are there.
    pub(crate) fn has_parts_of(&self, key: &SpanKey) -> bool {
        self.spans.keys().any(|part| key.holds(part))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Everything at or below it is durable for all spans; `None` without spans.
    pub(crate) fn checkpoint(&self) -> Option<Ts> {
        self.slowest().map(|(_, position)| position)
    }

    /// The span that holds the others back.
    pub(crate) fn slowest(&self) -> Option<(&SpanKey, Ts)> {
        self.spans
            .iter()
            .map(|(key, entry)| (key, self.position(entry)))
            .min_by_key(|(_, position)| *position)
    }

    fn position(&self, entry: &Entry) -> Ts {
        let floor = match entry.place {
            Place::Running(seat) | Place::Stopping(seat) => self.floors.get(&seat),
            Place::Free | Place::Starting(_) => None,
        };
        match floor {
            Some(floor) if floor.reports >= entry.counts_from => entry.position.max(floor.at),
            _ => entry.position,
        }
    }

    /// A span's place and position.
    pub(crate) fn get(&self, key: &SpanKey) -> Option<(Place, Ts)> {
        self.spans
            .get(key)
            .map(|entry| (entry.place, self.position(entry)))
    }

    /// The name of a span's table, with its partition where there are several.
    pub(crate) fn name(&self, key: &SpanKey) -> Option<&Arc<str>> {
        self.spans.get(key).map(|entry| &entry.name)
    }

    /// All spans: key, name, place, position.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SpanKey, &Arc<str>, Place, Ts)> {
        self.spans
            .iter()
            .map(|(key, entry)| (key, &entry.name, entry.place, self.position(entry)))
    }

    /// What is known to be durable of a span may only grow.
    pub(crate) fn remember(&mut self, key: &SpanKey, position: Ts) {
        self.carve(key);
        if let Some(entry) = self.spans.get_mut(key) {
            entry.position = entry.position.max(position);
        }
    }

    /// Spans that nobody streams, with what they weigh.
    pub(crate) fn free(&self) -> Vec<(SpanKey, u64)> {
        self.spans
            .iter()
            .filter(|(_, entry)| entry.place == Place::Free)
            .map(|(key, entry)| (key.clone(), weight(entry)))
            .collect()
    }

    /// What a worker has, or gets, that counts as its load; spans that it is to give up left out.
    pub(crate) fn of(&self, seat: Seat) -> Vec<(SpanKey, u64)> {
        self.spans
            .iter()
            .filter(|(_, entry)| match (entry.heir, entry.place) {
                (Some(heir), _) => heir.seat == seat,
                (None, Place::Starting(s) | Place::Running(s)) => s == seat,
                _ => false,
            })
            .map(|(key, entry)| (key.clone(), weight(entry)))
            .collect()
    }

    /// Spans that a worker may write to, in number.
    pub(crate) fn held(&self, seat: Seat) -> usize {
        self.spans
            .values()
            .filter(|entry| entry.place.seat() == Some(seat))
            .count()
    }

    /// Spans that are not streamed by anyone, or not yet.
    pub(crate) fn idle(&self) -> usize {
        self.spans
            .values()
            .filter(|entry| matches!(entry.place, Place::Free | Place::Starting(_)))
            .count()
    }

    /// Whether a span changes its place.
    pub(crate) fn is_moving(&self) -> bool {
        self.spans.values().any(|entry| {
            entry.heir.is_some() || matches!(entry.place, Place::Starting(_) | Place::Stopping(_))
        })
    }

    /// Gives a free span to a worker; gives the position after which it is to stream.
    pub(crate) fn give(&mut self, key: &SpanKey, seat: Seat) -> Option<Ts> {
        let entry = self.spans.get_mut(key)?;
        if entry.place != Place::Free {
            return None;
        }
        entry.place = Place::Starting(seat);
        entry.heir = None;
        Some(entry.position)
    }

    /// Names the worker that a streamed span is to be moved to; gives the position from which on it is to receive it ahead.
    pub(crate) fn prepare(&mut self, key: &SpanKey, seat: Seat) -> Option<Ts> {
        let position = self.get(key)?.1;
        let entry = self.spans.get_mut(key)?;
        let streams = matches!(entry.place, Place::Running(at) if at != seat);
        if !streams || entry.heir.is_some() {
            return None;
        }
        entry.heir = Some(Heir {
            seat,
            prepared: false,
        });
        Some(position)
    }

    /// A worker has received a span ahead.
    pub(crate) fn prepared(&mut self, seat: Seat, key: &SpanKey) {
        if let Some(entry) = self.spans.get_mut(key)
            && let Some(heir) = &mut entry.heir
            && heir.seat == seat
        {
            heir.prepared = true;
        }
    }

    /// A span is not to be moved after all.
    pub(crate) fn forsake(&mut self, key: &SpanKey) {
        if let Some(entry) = self.spans.get_mut(key) {
            entry.heir = None;
        }
    }

    /// Who gets a span when it is free, and whether it has received it ahead.
    pub(crate) fn heir(&self, key: &SpanKey) -> Option<(Seat, bool)> {
        let heir = self.spans.get(key)?.heir?;
        Some((heir.seat, heir.prepared))
    }

    /// Free spans that have an heir.
    pub(crate) fn inherited(&self) -> Vec<(SpanKey, Seat)> {
        self.spans
            .iter()
            .filter(|(_, entry)| entry.place == Place::Free)
            .filter_map(|(key, entry)| Some((key.clone(), entry.heir?.seat)))
            .collect()
    }

    /// Takes a span away from the worker that streams it; gives that worker.
    pub(crate) fn take(&mut self, key: &SpanKey) -> Option<Seat> {
        let entry = self.spans.get_mut(key)?;
        let (Place::Running(seat) | Place::Starting(seat)) = entry.place else {
            return None;
        };
        entry.place = Place::Stopping(seat);
        Some(seat)
    }

    /// Cuts a free span at keys inside it; the parts are as far as it is.
    pub(crate) fn cut(&mut self, key: &SpanKey, at: &[Bytes]) {
        let Some(entry) = self.spans.get(key) else { return };
        if entry.place != Place::Free {
            return;
        }
        let (base, position, load) = (Arc::clone(&entry.name), entry.position, entry.load);
        let parts = key.parts(at);
        if parts.len() < 2 {
            return;
        }
        self.spans.remove(key);
        let load = load / parts.len() as u64;
        for part in parts {
            let name = if part.range.start == key.range.start {
                Arc::clone(&base)
            } else {
                part.name(&base)
            };
            let entry = Entry {
                name,
                position,
                place: Place::Free,
                counts_from: 0,
                load,
                heir: None,
            };
            self.spans.insert(part, entry);
        }
    }

    /// Makes a span of its own of a part that a worker tells of: the owner before had cut it out.
    fn carve(&mut self, part: &SpanKey) {
        if self.spans.contains_key(part) {
            return;
        }
        let whole = self.spans.iter().find(|(key, _)| key.holds(part));
        if let Some((whole, _)) = whole {
            let whole = whole.clone();
            self.cut(&whole, &[part.range.start.clone(), part.range.end.clone()]);
        }
    }

    /// A worker has taken a span up.
    pub(crate) fn started(&mut self, seat: Seat, key: &SpanKey) {
        let reports = self.floors.get(&seat).map_or(0, |floor| floor.reports);
        if let Some(entry) = self.spans.get_mut(key)
            && matches!(entry.place, Place::Starting(s) if s == seat)
        {
            entry.place = Place::Running(seat);
            entry.counts_from = reports + 1;
        }
    }

    /// A worker has given a span up: all of it up to `position` is durable and nothing is on its way.
    pub(crate) fn stopped(&mut self, seat: Seat, key: &SpanKey, position: Ts) {
        if let Some(entry) = self.spans.get_mut(key)
            && entry.place.seat() == Some(seat)
        {
            entry.position = entry.position.max(position);
            entry.place = Place::Free;
        }
    }

    /// All spans that a worker streams have this checkpoint or a higher one; `None` if it streams none.
    pub(crate) fn floor(&mut self, seat: Seat, at: Option<Ts>) {
        let Some(at) = at else { return };
        let before = self.floors.get(&seat).copied().unwrap_or_default();
        if at < before.at {
            self.settle(seat);
        }
        let floor = Floor {
            at,
            reports: before.reports + 1,
        };
        self.floors.insert(seat, floor);
    }

    /// Notes each span's position itself, before a floor that told it is given up.
    fn settle(&mut self, seat: Seat) {
        let known: Vec<_> = self
            .spans
            .iter()
            .filter(|(_, entry)| entry.place.seat() == Some(seat))
            .map(|(key, entry)| (key.clone(), self.position(entry)))
            .collect();
        for (key, position) in known {
            self.remember(&key, position);
        }
    }

    /// A worker says what it streams; what it doesn't tell it doesn't have. Gives what it must give up, since it is unknown
    /// or another's.
    pub(crate) fn hello(&mut self, seat: Seat, running: &[(SpanKey, Ts)]) -> Vec<SpanKey> {
        self.vacate(seat);
        let mut strange = Vec::new();
        for (key, position) in running {
            self.carve(key);
            match self.spans.get_mut(key) {
                Some(entry) if entry.place == Place::Free => {
                    entry.place = Place::Running(seat);
                    entry.counts_from = 0;
                    entry.position = entry.position.max(*position);
                }
                _ => strange.push(key.clone()),
            }
        }
        strange
    }

    /// A worker has no spans any more, since it said so or can't write any more.
    pub(crate) fn vacate(&mut self, seat: Seat) {
        self.settle(seat);
        self.floors.remove(&seat);
        for entry in self.spans.values_mut() {
            if entry.place.seat() == Some(seat) {
                entry.place = Place::Free;
            }
            if entry.heir.is_some_and(|heir| heir.seat == seat) {
                entry.heir = None;
            }
        }
    }

    /// Bytes that went to the sink of some of a worker's spans in so many seconds; nothing of its other ones.
    pub(crate) fn load(&mut self, seat: Seat, bytes: &HashMap<SpanKey, u64>, seconds: u64) {
        for (key, entry) in &mut self.spans {
            if entry.place.seat() == Some(seat) {
                let rate = bytes.get(key).copied().unwrap_or(0) / seconds.max(1);
                entry.load = (entry.load * 3 + rate) / 4;
            }
        }
    }
}

/// An idle span costs something too.
const IDLE: u64 = 4 << 10;

fn weight(entry: &Entry) -> u64 {
    entry.load + IDLE
}
