//! How far each span is durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tidemark_model::Ts;
use tidemark_sink::Ack;

/// How far one span is durable in the sink.
///
/// Batches are begun in order and may be acknowledged in any; the checkpoint is where the first batch
/// that isn't acknowledged begins.
#[derive(Debug)]
pub struct SpanProgress {
    checkpoint: AtomicU64,
    received: AtomicU64,
    bytes: AtomicU64,
    flight: Mutex<Flight>,
}

#[derive(Debug, Default)]
struct Flight {
    /// Number of the first entry of `entries`.
    first: u64,
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    reaches: Ts,
    done: bool,
}

impl SpanProgress {
    /// A span of which everything at or below `checkpoint` is durable.
    pub fn new(checkpoint: Ts) -> Arc<Self> {
        Arc::new(Self {
            checkpoint: AtomicU64::new(checkpoint.0),
            received: AtomicU64::new(checkpoint.0),
            bytes: AtomicU64::new(0),
            flight: Mutex::default(),
        })
    }

    /// Everything at or below it is durable.
    pub fn checkpoint(&self) -> Ts {
        Ts(self.checkpoint.load(Ordering::Acquire))
    }

    /// Everything at or below it has been received.
    pub fn received(&self) -> Ts {
        Ts(self.received.load(Ordering::Relaxed))
    }

    /// Notes that everything at or below `ts` has been received.
    pub fn receive(&self, ts: Ts) {
        self.received.fetch_max(ts.0, Ordering::Relaxed);
    }

    /// Counts bytes that go to the sink.
    pub fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes that went to the sink since the last call.
    pub fn take_bytes(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }

    /// Notes a batch that holds the rest of everything at or below `reaches`.
    pub fn begin(self: &Arc<Self>, reaches: Ts) -> Ack {
        let mut flight = self.flight.lock();
        let number = flight.first + flight.entries.len() as u64;
        flight.entries.push_back(Entry { reaches, done: false });
        let progress = Arc::clone(self);
        Ack::new(move || progress.done(number))
    }

    /// Notes that nothing else at or below `reaches` exists.
    pub fn pass(&self, reaches: Ts) {
        let mut flight = self.flight.lock();
        match flight.entries.back_mut() {
            None => self.raise(reaches),
            // A span that is idle behind a slow batch would pile up one entry a tick.
            Some(last) if last.done => last.reaches = last.reaches.max(reaches),
            Some(_) => flight.entries.push_back(Entry { reaches, done: true }),
        }
    }

    fn done(&self, number: u64) {
        let mut flight = self.flight.lock();
        let index = number
            .checked_sub(flight.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| flight.entries.get_mut(index)) {
            entry.done = true;
        }
        while let Some(entry) = flight.entries.pop_front_if(|entry| entry.done) {
            flight.first += 1;
            self.raise(entry.reaches);
        }
    }

    fn raise(&self, reaches: Ts) {
        self.checkpoint.fetch_max(reaches.0, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkpoint_waits_for_the_oldest_batch() {
        let span = SpanProgress::new(Ts(10));
        let first = span.begin(Ts(20));
        let second = span.begin(Ts(30));
        span.pass(Ts(35));
        second.done();
        assert_eq!(span.checkpoint(), Ts(10));
        first.done();
        assert_eq!(span.checkpoint(), Ts(35));
    }

    #[test]
    fn an_idle_span_follows_the_resolved_ts() {
        let span = SpanProgress::new(Ts(10));
        span.pass(Ts(50));
        assert_eq!(span.checkpoint(), Ts(50));
        let batch = span.begin(Ts(60));
        for ts in 61..1000 {
            span.pass(Ts(ts));
        }
        assert!(span.flight.lock().entries.len() <= 2);
        assert_eq!(span.checkpoint(), Ts(50));
        batch.done();
        assert_eq!(span.checkpoint(), Ts(999));
    }

    #[test]
    fn a_batch_that_is_dropped_never_counts() {
        let span = SpanProgress::new(Ts(10));
        drop(span.begin(Ts(20)));
        span.begin(Ts(30)).done();
        assert_eq!(span.checkpoint(), Ts(10));
    }
}
