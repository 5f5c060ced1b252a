use std::fmt;

use bytes::Bytes;

/// Names a span within one worker process; it is also the CDC `request_id` of the span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub u64);

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A half-open range of user keys `[start, end)`, as clients write them (not memcomparable-encoded).
///
/// An empty `end` means "to the last key".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First key inside.
    pub start: Bytes,
    /// First key outside, or empty for none.
    pub end: Bytes,
}

impl Span {
    /// A span of the given bounds.
    pub fn new(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self {
            start: start.into(),
            end: end.into(),
        }
    }

    /// Whether the key lies inside.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && (self.end.is_empty() || key < &self.end[..])
    }

    /// Whether no key can lie inside.
    pub fn is_empty(&self) -> bool {
        !self.end.is_empty() && self.start >= self.end
    }

    /// The part that both spans share, if any.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let start = self.start.clone().max(other.start.clone());
        let end = match (self.end.is_empty(), other.end.is_empty()) {
            (true, _) => other.end.clone(),
            (_, true) => self.end.clone(),
            _ => self.end.clone().min(other.end.clone()),
        };
        let both = Self { start, end };
        (!both.is_empty()).then_some(both)
    }
}

/// Prints `[hex, hex)`; ASCII letters and digits would mislead in binary keys.
impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, key: &[u8]| -> fmt::Result {
            key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        f.write_str("[")?;
        hex(f, &self.start)?;
        f.write_str(", ")?;
        if self.end.is_empty() {
            f.write_str("+inf")?;
        } else {
            hex(f, &self.end)?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: &'static str, end: &'static str) -> Span {
        Span::new(start, end)
    }

    #[test]
    fn an_empty_end_has_no_bound() {
        assert!(span("b", "").contains(b"zzz"));
        assert!(!span("b", "").contains(b"a"));
        assert!(!span("b", "").is_empty());
    }

    #[test]
    fn spans_intersect() {
        assert_eq!(span("a", "m").intersect(&span("f", "")), Some(span("f", "m")));
        assert_eq!(span("a", "f").intersect(&span("f", "z")), None);
        assert_eq!(span("", "").intersect(&span("", "")), Some(span("", "")));
    }
}
