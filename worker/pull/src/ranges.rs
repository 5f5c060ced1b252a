use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use tidemark_model::{Span, Ts};

use crate::frontier::Frontier;

/// Who reads which part of a span: no key is ever in two subscriptions, and none is forgotten.
///
/// The span is cut into pieces without gaps. A piece is free or held by one region; each has a slot in the span's
/// [`Frontier`] that remembers how far it was read, also while it is free.
#[derive(Debug)]
pub(crate) struct Ranges<H> {
    span: Span,
    pieces: BTreeMap<Bytes, Piece<H>>,
    /// The first key of the piece of each slot.
    by_slot: Vec<Bytes>,
}

/// A part of the span.
#[derive(Debug)]
pub(crate) struct Piece<H> {
    /// First key behind it, or empty for none.
    pub(crate) end: Bytes,
    /// Its slot in the frontier.
    pub(crate) slot: u32,
    /// Failed tries since it was last read well.
    pub(crate) attempt: u32,
    /// The region that reads it.
    pub(crate) holder: Option<H>,
    /// Since when and why nobody reads it, as far as known.
    pub(crate) idle: Option<Box<Idle>>,
}

/// Why a piece is read by nobody.
#[derive(Clone, Debug)]
pub(crate) struct Idle {
    pub(crate) since: tokio::time::Instant,
    pub(crate) why: String,
}

/// What a holder must tell.
pub(crate) trait Holder {
    /// The version of the region's epoch: it grows with each change of the region's range.
    fn version(&self) -> u64;
}

/// The result of a try to hold a range.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// It is held now, as one piece.
    Held {
        /// The piece's first key.
        start: Bytes,
        /// Its slot.
        slot: u32,
        /// How far all of it was read.
        ts: Ts,
    },
    /// Others hold parts of it.
    Conflict {
        /// First keys of the pieces that older regions hold: they must be ended.
        older: Vec<Bytes>,
        /// The parts that nobody holds.
        free: Vec<Span>,
    },
}

impl<H: Holder> Ranges<H> {
    /// One free piece: the whole span, read up to `checkpoint`.
    pub(crate) fn new(span: Span, checkpoint: Ts, frontier: &mut Frontier) -> Self {
        let mut ranges = Self {
            span,
            pieces: BTreeMap::new(),
            by_slot: Vec::new(),
        };
        let (start, end) = (ranges.span.start.clone(), ranges.span.end.clone());
        ranges.insert(start, end, checkpoint, 0, frontier);
        ranges
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Piece<H>)> {
        self.pieces.iter()
    }

    pub(crate) fn get(&self, start: &Bytes) -> Option<&Piece<H>> {
        self.pieces.get(start)
    }

    pub(crate) fn get_mut(&mut self, start: &Bytes) -> Option<&mut Piece<H>> {
        self.pieces.get_mut(start)
    }

    /// The piece that a slot belongs to.
    pub(crate) fn of_slot(&self, slot: u32) -> Option<(&Bytes, &Piece<H>)> {
        let start = self.by_slot.get(slot as usize)?;
        let (start, piece) = self.pieces.get_key_value(start)?;
        (piece.slot == slot).then_some((start, piece))
    }

    /// The range of the piece that begins at `start`.
    pub(crate) fn range_of(&self, start: &Bytes) -> Option<Span> {
        let piece = self.pieces.get(start)?;
        Some(Span::new(start.clone(), piece.end.clone()))
    }

    /// The free parts of a range, neighbours joined.
    pub(crate) fn free_within(&self, range: &Span) -> Vec<Span> {
        let mut free: Vec<Span> = Vec::new();
        for (start, piece) in self.overlapping(range) {
            if piece.holder.is_some() {
                continue;
            }
            let part = Span::new(start.clone(), piece.end.clone()).intersect(range);
            match (free.last_mut(), part) {
                (Some(last), Some(part)) if last.end == part.start => last.end = part.end,
                (_, Some(part)) => free.push(part),
                (_, None) => {}
            }
        }
        free
    }

    /// The free pieces that overlap a range.
    pub(crate) fn free_pieces(&mut self, range: &Span) -> Vec<Bytes> {
        let free = |(start, piece): (&Bytes, &Piece<H>)| piece.holder.is_none().then(|| start.clone());
        self.overlapping(range).filter_map(free).collect()
    }

    /// Makes the range (within the span) one piece held by `holder`, if all of it is free.
    pub(crate) fn acquire(&mut self, range: &Span, holder: H, frontier: &mut Frontier) -> Acquired {
        let mut older = Vec::new();
        let mut held = false;
        for (start, piece) in self.overlapping(range) {
            if let Some(other) = &piece.holder {
                held = true;
                if other.version() < holder.version() {
                    older.push(start.clone());
                }
            }
        }
        if held {
            let free = self.free_within(range);
            return Acquired::Conflict { older, free };
        }
        self.cut(&range.start, frontier);
        if !range.end.is_empty() {
            self.cut(&range.end, frontier);
        }
        let inside: Vec<Bytes> = self.overlapping(range).map(|(start, _)| start.clone()).collect();
        let (mut ts, mut attempt) = (Ts::MAX, 0);
        for start in inside {
            if let Some(piece) = self.pieces.remove(&start) {
                ts = ts.min(frontier.remove(piece.slot));
                attempt = attempt.max(piece.attempt);
            }
        }
        let slot = self.insert(range.start.clone(), range.end.clone(), ts, attempt, frontier);
        if let Some(piece) = self.pieces.get_mut(&range.start) {
            piece.holder = Some(holder);
        }
        Acquired::Held {
            start: range.start.clone(),
            slot,
            ts,
        }
    }

    fn overlapping(&self, range: &Span) -> impl Iterator<Item = (&Bytes, &Piece<H>)> {
        let upto = (Bound::Unbounded, Bound::Included(range.start.clone()));
        let first = self.pieces.range(upto).next_back();
        let from = first.map_or_else(|| range.start.clone(), |(start, _)| start.clone());
        let end = match &range.end {
            end if end.is_empty() => Bound::Unbounded,
            end => Bound::Excluded(end.clone()),
        };
        // BTreeMap::range refuses bounds in the wrong order.
        let empty = range.is_empty() || matches!(&end, Bound::Excluded(end) if *end <= from);
        let bounds = if empty {
            (Bound::Included(Bytes::new()), Bound::Excluded(Bytes::new()))
        } else {
            (Bound::Included(from), end)
        };
        let start = range.start.clone();
        self.pieces
            .range(bounds)
            .filter(move |(_, piece)| piece.end.is_empty() || piece.end > start)
    }

    /// Makes a piece begin at the key, which must lie in a free piece or at a border.
    fn cut(&mut self, key: &Bytes, frontier: &mut Frontier) {
        let upto = (Bound::Unbounded, Bound::Excluded(key.clone()));
        let Some((_, piece)) = self.pieces.range_mut(upto).next_back() else {
            return;
        };
        if !piece.end.is_empty() && piece.end <= *key {
            return;
        }
        let end = std::mem::replace(&mut piece.end, key.clone());
        let (ts, attempt, idle) = (frontier.get(piece.slot), piece.attempt, piece.idle.clone());
        self.insert(key.clone(), end, ts, attempt, frontier);
        if let Some(piece) = self.pieces.get_mut(key) {
            piece.idle = idle;
        }
    }

    fn insert(&mut self, start: Bytes, end: Bytes, ts: Ts, attempt: u32, frontier: &mut Frontier) -> u32 {
        let slot = frontier.insert(ts);
        let at = slot as usize;
        if self.by_slot.len() <= at {
            self.by_slot.resize(at + 1, Bytes::new());
        }
        self.by_slot[at] = start.clone();
        let piece = Piece {
            end,
            slot,
            attempt,
            holder: None,
            idle: None,
        };
        self.pieces.insert(start, piece);
        slot
    }
}

#[cfg(test)]
mod tests;
