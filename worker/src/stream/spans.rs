//! The spans of a run and the lowest checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tidemark_model::{SpanId, Ts};

use super::progress::SpanProgress;

/// All spans of a run and how far each is durable.
#[derive(Debug, Default)]
pub struct Spans(RwLock<BTreeMap<SpanId, Entry>>);

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    progress: Arc<SpanProgress>,
}

/// The span that holds the feed's checkpoint back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slowest {
    /// The span.
    pub span: SpanId,
    /// Its table, or `kv`.
    pub name: Arc<str>,
    /// Its checkpoint.
    pub checkpoint: Ts,
}

impl Spans {
    /// Adds a span of which everything at or below `checkpoint` counts as durable.
    pub fn add(&self, span: SpanId, name: Arc<str>, checkpoint: Ts) -> Arc<SpanProgress> {
        let progress = SpanProgress::new(checkpoint);
        self.put(span, name, Arc::clone(&progress));
        progress
    }

    /// Adds a span that was followed without being counted.
    pub fn put(&self, span: SpanId, name: Arc<str>, progress: Arc<SpanProgress>) {
        self.0.write().insert(span, Entry { name, progress });
    }

    /// Forgets a span; gives what is durable of it.
    pub fn remove(&self, span: SpanId) -> Option<Arc<SpanProgress>> {
        self.0.write().remove(&span).map(|entry| entry.progress)
    }

    /// How far a span is.
    pub fn get(&self, span: SpanId) -> Option<Arc<SpanProgress>> {
        self.0.read().get(&span).map(|entry| Arc::clone(&entry.progress))
    }

    /// Everything at or below it has been received of all spans; `None` without spans.
    pub fn received(&self) -> Option<Ts> {
        let spans = self.0.read();
        spans.values().map(|entry| entry.progress.received()).min()
    }

    /// The name of a span's table; none for spans that hold no rows of the feed.
    pub fn name(&self, span: SpanId) -> Option<Arc<str>> {
        self.0.read().get(&span).map(|entry| Arc::clone(&entry.name))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The span with the lowest checkpoint, which is the checkpoint of the whole feed.
    pub fn slowest(&self) -> Option<Slowest> {
        let spans = self.0.read();
        let (span, entry) = spans
            .iter()
            .min_by_key(|(_, entry)| entry.progress.checkpoint())?;
        let checkpoint = entry.progress.checkpoint();
        Some(Slowest {
            span: *span,
            name: Arc::clone(&entry.name),
            checkpoint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_span_is_the_feeds_checkpoint() {
        let spans = Spans::default();
        assert_eq!(spans.slowest(), None);
        let first = spans.add(SpanId(1), "a.b".into(), Ts(5));
        spans.add(SpanId(2), "a.c".into(), Ts(7));
        assert_eq!(spans.slowest().map(|slowest| slowest.checkpoint), Some(Ts(5)));
        first.pass(Ts(9));
        let slowest = spans.slowest();
        assert_eq!(
            slowest.map(|slowest| (slowest.span, slowest.checkpoint)),
            Some((SpanId(2), Ts(7)))
        );
    }
}
