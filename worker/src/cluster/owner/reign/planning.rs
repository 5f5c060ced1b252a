//! Which spans go where next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{GATHER, Reign};
use crate::cluster::owner::cutting::{self, Cut, may_cut};
use crate::cluster::owner::placement::{Candidate, place, surplus, too_big};
use crate::cluster::owner::roster::{Role, Worker};
use crate::cluster::owner::table::{Place, Seat};
use crate::cluster::span_key::SpanKey;

/// How often the load is evened out.
const BALANCE: Duration = Duration::from_secs(5);
/// How long a worker may take to receive a span ahead before it is moved with a gap.
const PREPARE: Duration = Duration::from_secs(5);

impl Reign<'_> {
    /// Gives free spans to workers, takes those away that have to move.
    pub(super) fn plan(&mut self, now: Instant) {
        if !self.gathered && !self.gather(now) {
            return;
        }
        self.take_away(now);
        self.give();
    }

    /// Whether everyone who may have spans has spoken or is over. The spans of a feed that begins also wait a moment for
    /// workers that are still starting, rather than be moved to them later.
    fn gather(&mut self, now: Instant) -> bool {
        let working = self.roster.iter().filter(|(_, worker)| can_work(worker)).count();
        let all =
            self.streamed || working >= self.wishes.replicas || now.duration_since(self.begun) >= GATHER;
        self.gathered = self.roster.doubts().is_empty() && all && working > 0;
        if self.gathered {
            let (spans, waited) = (self.opened.table.len(), now.duration_since(self.begun));
            tracing::info!(workers = working, spans, ?waited, "Spans are given out");
        }
        self.gathered
    }

    fn candidates(&self) -> Vec<(Candidate, Vec<(SpanKey, u64)>)> {
        let able = self
            .roster
            .iter()
            .filter(|(_, worker)| can_work(worker) && !self.wishes.placement.drained.contains(&worker.pod));
        able.map(|(seat, _)| {
            let spans = self.opened.table.of(seat);
            let load = spans.iter().map(|(_, weight)| weight).sum();
            (Candidate { seat, load }, spans)
        })
        .collect()
    }

    /// Begins the moves that are due, and ends those that are prepared.
    fn take_away(&mut self, now: Instant) {
        let pins = self.pins();
        let (mut moves, mut alone) = self.wanted_moves(&pins);
        if moves.is_empty() {
            moves = self.balance(&pins, now);
        }
        let candidates = match moves.is_empty() {
            true => Vec::new(),
            false => self.candidates(),
        };
        if candidates.is_empty() {
            // Nobody can have them; those who leave are relieved all the same.
            alone.retain(|key| self.opened.table.take(key).is_some());
        } else {
            alone.clear();
            let candidates = candidates.into_iter().map(|(candidate, _)| candidate).collect();
            let (pinned, free): (Vec<_>, Vec<_>) =
                moves.into_iter().partition(|(key, _)| pins.contains_key(key));
            let mut placed = place(free, candidates);
            placed.extend(pinned.into_iter().filter_map(|(key, _)| {
                let seat = *pins.get(&key)?;
                Some((key, seat))
            }));
            self.prepare(placed, now);
        }
        let ready: Vec<_> = self
            .moving
            .iter()
            .filter(|(key, since)| {
                let prepared = self.opened.table.heir(key).is_none_or(|(_, prepared)| prepared);
                prepared || now.duration_since(**since) >= PREPARE
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in &ready {
            self.moving.remove(key);
        }
        // Where the heir is gone the span stays, and is moved anew if it still has to be.
        let ready = ready
            .into_iter()
            .filter(|key| self.opened.table.heir(key).is_some());
        let mut by_seat: BTreeMap<Seat, Vec<SpanKey>> = BTreeMap::new();
        for key in ready.collect::<Vec<_>>() {
            if let Some(seat) = self.opened.table.take(&key) {
                by_seat.entry(seat).or_default().push(key);
            }
        }
        for key in alone {
            if let Some(seat) = self.place_of(&key).and_then(Place::seat) {
                by_seat.entry(seat).or_default().push(key);
            }
        }
        for (seat, keys) in by_seat {
            self.send_stop(seat, &keys);
        }
    }

    /// Has spans received ahead by the workers that they go to.
    fn prepare(&mut self, placed: Vec<(SpanKey, Seat)>, now: Instant) {
        let mut by_seat: BTreeMap<Seat, Vec<_>> = BTreeMap::new();
        for (key, seat) in placed {
            if let Some(at) = self.opened.table.prepare(&key, seat) {
                self.moving.insert(key.clone(), now);
                by_seat.entry(seat).or_default().push((key, at));
            }
        }
        for (seat, keys) in by_seat {
            self.send_prepare(seat, &keys);
        }
    }

    /// Spans that have to move, since their worker leaves or someone wants them elsewhere, with what they weigh. Those of
    /// workers that leave are told apart.
    fn wanted_moves(&mut self, pins: &BTreeMap<SpanKey, Seat>) -> (Vec<(SpanKey, u64)>, Vec<SpanKey>) {
        let drained = &self.wishes.placement.drained;
        let from = self.roster.iter().filter(|(_, worker)| {
            worker.role == Role::Leaving || drained.contains(&worker.pod) && worker.link.is_some()
        });
        let from: Vec<(Seat, bool)> = from
            .map(|(seat, worker)| (seat, worker.role == Role::Leaving))
            .collect();
        let (mut moves, mut alone) = (Vec::new(), Vec::new());
        for (seat, leaves) in from {
            for (key, weight) in self.opened.table.of(seat) {
                if self.opened.table.heir(&key).is_some_and(|(heir, _)| heir == seat) {
                    self.opened.table.forsake(&key);
                    self.send_stop(seat, std::slice::from_ref(&key));
                    continue;
                }
                if leaves {
                    alone.push(key.clone());
                }
                moves.push((key, weight));
            }
        }
        for (key, seat) in pins {
            if matches!(self.place_of(key), Some(Place::Running(at)) if at != *seat) {
                moves.push((key.clone(), 0));
            }
        }
        (moves, alone)
    }

    /// Spans whose move evens the load out; where none does, a table that is too big may be split.
    fn balance(&mut self, pins: &BTreeMap<SpanKey, Seat>, now: Instant) -> Vec<(SpanKey, u64)> {
        if now.duration_since(self.balanced) < BALANCE || self.opened.table.is_moving() {
            return Vec::new();
        }
        self.balanced = now;
        let mut loads = self.candidates();
        for (_, spans) in &mut loads {
            spans.retain(|(key, _)| !pins.contains_key(key));
        }
        let moves = surplus(loads.clone());
        let above = self.wishes.split_above;
        if moves.is_empty()
            && above > 0
            && may_cut(&self.shared.feed.spec.sink)
            && let Some(span) = too_big(&loads, above)
        {
            self.look_for_cuts(span, loads.len());
        }
        let weights = loads.iter().flat_map(|(_, spans)| spans);
        let weight = |key: &SpanKey| {
            weights
                .clone()
                .find(|(other, _)| other == key)
                .map_or(0, |(_, weight)| *weight)
        };
        moves.into_iter().map(|key| (key.clone(), weight(&key))).collect()
    }

    /// Asks where to cut a span, beside the loop.
    fn look_for_cuts(&self, span: SpanKey, parts: usize) {
        let (pd, found) = (self.opened.pd.clone(), self.found_cuts.clone());
        tokio::spawn(async move {
            match cutting::find(&pd, span, parts).await {
                Ok(cut) if cut.at.is_empty() => {}
                Ok(cut) => {
                    let _ = found.send(cut).await;
                }
                Err(error) => tracing::warn!(%error, "Could not look where to cut a big table"),
            }
        });
    }

    /// Takes a span away, to give its parts to several workers.
    pub(super) fn cut(&mut self, cut: Cut) {
        if self.opened.table.heir(&cut.span).is_some() {
            return;
        }
        if let Some(seat) = self.opened.table.take(&cut.span) {
            let name = self.opened.table.name(&cut.span).map(ToString::to_string);
            tracing::info!(
                span = name,
                parts = cut.at.len() + 1,
                "A big table is split over workers"
            );
            self.send_stop(seat, std::slice::from_ref(&cut.span));
            self.cuts.insert(cut.span, cut.at);
        }
    }

    fn give(&mut self) {
        for (span, at) in std::mem::take(&mut self.cuts) {
            match self.place_of(&span) {
                Some(Place::Free) => self.opened.table.cut(&span, &at),
                Some(Place::Stopping(_)) => {
                    self.cuts.insert(span, at);
                }
                _ => {}
            }
        }
        let mut placed = self.opened.table.inherited();
        let mut free = self.opened.table.free();
        free.retain(|(key, _)| !placed.iter().any(|(other, _)| other == key));
        if free.is_empty() && placed.is_empty() {
            return;
        }
        let candidates: Vec<_> = self
            .candidates()
            .into_iter()
            .map(|(candidate, _)| candidate)
            .collect();
        let pins = self.pins();
        free.retain(|(key, _)| match pins.get(key) {
            Some(seat) if candidates.iter().any(|candidate| candidate.seat == *seat) => {
                placed.push((key.clone(), *seat));
                false
            }
            _ => true,
        });
        placed.extend(place(free, candidates));
        let mut by_seat: BTreeMap<Seat, Vec<_>> = BTreeMap::new();
        for (key, seat) in placed {
            if let Some(since) = self.opened.table.give(&key, seat) {
                by_seat.entry(seat).or_default().push((key, since));
            }
        }
        for (seat, keys) in by_seat {
            self.send_start(seat, &keys);
        }
    }

    /// Spans that people want at a certain worker that is there.
    fn pins(&self) -> BTreeMap<SpanKey, Seat> {
        if self.wishes.placement.pinned.is_empty() {
            return BTreeMap::new();
        }
        let seat_of = |pod: &String| {
            let mut workers = self.roster.iter();
            workers
                .find(|(_, worker)| worker.pod == *pod && can_work(worker))
                .map(|(seat, _)| seat)
        };
        self.opened
            .table
            .iter()
            .filter_map(|(key, name, ..)| {
                Some((key.clone(), seat_of(self.wishes.placement.pinned.get(&**name)?)?))
            })
            .collect()
    }

    fn place_of(&self, key: &SpanKey) -> Option<Place> {
        self.opened.table.get(key).map(|(place, _)| place)
    }
}

fn can_work(worker: &Worker) -> bool {
    worker.role == Role::Working && worker.link.is_some()
}
