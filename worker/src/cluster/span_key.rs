use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tidemark_model::Span;
use tidemark_proto::peerspb;

/// A span as all workers of a feed name it; a process's own [`tidemark_model::SpanId`] means nothing to others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SpanKey {
    /// The table; 0 for plain keys.
    pub(crate) table_id: i64,
    /// The table itself or one of its partitions.
    pub(crate) physical_id: i64,
    /// Its keys.
    pub(crate) range: Span,
}

impl SpanKey {
    /// Whether another span of the same physical table lies inside.
    pub(crate) fn holds(&self, part: &Self) -> bool {
        let same = (self.table_id, self.physical_id) == (part.table_id, part.physical_id);
        let (outer, inner) = (&self.range, &part.range);
        let ends = outer.end.is_empty() || !inner.end.is_empty() && inner.end <= outer.end;
        same && inner.start >= outer.start && ends
    }

    /// The parts between ascending keys; keys that don't lie inside are left out.
    pub(crate) fn parts(&self, at: &[Bytes]) -> Vec<Self> {
        let inside = at
            .iter()
            .filter(|key| **key > self.range.start && !key.is_empty() && self.range.contains(key));
        let starts = std::iter::once(&self.range.start).chain(inside.clone());
        let ends = inside.chain(std::iter::once(&self.range.end));
        starts
            .zip(ends)
            .map(|(start, end)| Self {
                range: Span::new(start.clone(), end.clone()),
                ..self.clone()
            })
            .collect()
    }

    /// The name of a part of a table: the table's, and in hexadecimal the key where it begins, without what all keys of
    /// the table begin with (`t`, id, `_r`).
    pub(crate) fn name(&self, table: &str) -> Arc<str> {
        const RECORD_PREFIX: usize = 11;
        let start = &self.range.start;
        let own = match (self.table_id, start.get(RECORD_PREFIX..)) {
            (1.., Some(own)) if !own.is_empty() => own,
            _ => start,
        };
        let digits = own.iter().take(16).map(|byte| format!("{byte:02x}"));
        format!("{table}:{}", digits.collect::<String>()).into()
    }
}

impl From<peerspb::Span> for SpanKey {
    fn from(span: peerspb::Span) -> Self {
        Self {
            table_id: span.table_id,
            physical_id: span.physical_id,
            range: Span::new(span.start, span.end),
        }
    }
}

impl From<&SpanKey> for peerspb::Span {
    fn from(key: &SpanKey) -> Self {
        Self {
            table_id: key.table_id,
            physical_id: key.physical_id,
            start: key.range.start.clone(),
            end: key.range.end.clone(),
        }
    }
}

impl fmt::Display for SpanKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.table_id == self.physical_id {
            write!(f, "table {}", self.table_id)
        } else {
            write!(f, "table {} partition {}", self.table_id, self.physical_id)
        }
    }
}
