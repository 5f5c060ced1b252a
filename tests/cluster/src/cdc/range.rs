//! Which keys of a region a subscription sees.

use bytes::Bytes;
use tidemark_proto::metapb;

use crate::keys;

/// The range of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ObservedRange {
    /// All of the region.
    Whole,
    /// User keys in `[start, end)`.
    Part {
        /// The first key inside.
        start: Bytes,
        /// The first key outside.
        end: Bytes,
    },
}

impl ObservedRange {
    /// The range of a request's memcomparable bounds. It fails open, as TiKV does: where either bound is empty or
    /// not memcomparable, or the bounds enclose the region, the subscription sees the whole region.
    pub(super) fn new(start: &Bytes, end: &Bytes, region: &metapb::Region) -> Self {
        let (Some(start_key), Some(end_key)) = (keys::decode(start), keys::decode(end)) else {
            return Self::Whole;
        };
        let encloses = *start <= region.start_key && !region.end_key.is_empty() && *end >= region.end_key;
        if encloses {
            return Self::Whole;
        }
        Self::Part {
            start: start_key,
            end: end_key,
        }
    }

    /// Whether the user key lies inside.
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        match self {
            Self::Whole => true,
            Self::Part { start, end } => &start[..] <= key && key < &end[..],
        }
    }

    /// Bounds of an initial scan, as user keys; empty for none.
    pub(super) fn bounds(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Whole => (&[], &[]),
            Self::Part { start, end } => (start, end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region() -> metapb::Region {
        metapb::Region {
            start_key: keys::encode(b"b"),
            end_key: keys::encode(b"m"),
            ..Default::default()
        }
    }

    #[test]
    fn encoded_bounds_inside_the_region_filter() {
        let range = ObservedRange::new(&keys::encode(b"c"), &keys::encode(b"e"), &region());
        assert!(range.covers(b"c") && range.covers(b"dzz"));
        assert!(!range.covers(b"b") && !range.covers(b"e") && !range.covers(b""));
    }

    #[test]
    fn an_empty_or_plain_bound_opens_the_filter() {
        let (good, empty, plain) = (keys::encode(b"c"), Bytes::new(), Bytes::from_static(b"um/s/"));
        for (start, end) in [(&good, &empty), (&empty, &good), (&plain, &good), (&good, &plain)] {
            assert_eq!(ObservedRange::new(start, end, &region()), ObservedRange::Whole);
        }
    }

    #[test]
    fn bounds_that_enclose_the_region_see_all_of_it() {
        let exact = ObservedRange::new(&keys::encode(b"b"), &keys::encode(b"m"), &region());
        let wider = ObservedRange::new(&keys::encode(b"a"), &keys::encode(b"z"), &region());
        let crossing = ObservedRange::new(&keys::encode(b"k"), &keys::encode(b"z"), &region());
        assert_eq!((exact, wider), (ObservedRange::Whole, ObservedRange::Whole));
        assert!(crossing.covers(b"l") && !crossing.covers(b"c"));
    }
}
