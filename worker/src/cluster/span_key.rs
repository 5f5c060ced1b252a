use std::fmt;

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
