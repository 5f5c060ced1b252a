//! Memcomparable key encoding: the form in which regions' bounds name transactional keys.
//!
//! A key is cut into groups of eight bytes, each followed by a marker byte: `0xFF` for a full group, less by
//! one for each byte of zero padding. The order of encoded keys is the order of the keys.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of the key in one group.
const GROUP: usize = 8;
/// Marker of a group without padding, after which another group follows.
const FULL: u8 = 0xff;

/// Encodes a user key.
pub fn encode(key: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity((key.len() / GROUP + 1) * (GROUP + 1));
    let mut rest = key;
    loop {
        if rest.len() >= GROUP {
            out.put_slice(&rest[..GROUP]);
            out.put_u8(FULL);
            rest = &rest[GROUP..];
        } else {
            let pad = GROUP - rest.len();
            out.put_slice(rest);
            out.put_bytes(0, pad);
            out.put_u8(marker(rest.len()));
            return out.freeze();
        }
    }
}

/// Decodes an encoded key; `None` where the bytes are not one whole encoded key.
pub fn decode(encoded: &[u8]) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(encoded.len());
    let mut rest = encoded;
    loop {
        if rest.len() < GROUP + 1 {
            return None;
        }
        let (group, tail) = rest.split_at(GROUP + 1);
        rest = tail;
        if group[GROUP] == FULL {
            out.put_slice(&group[..GROUP]);
            continue;
        }
        let pad = usize::from(FULL - group[GROUP]);
        if pad > GROUP || !rest.is_empty() || group[GROUP - pad..GROUP].iter().any(|byte| *byte != 0) {
            return None;
        }
        out.put_slice(&group[..GROUP - pad]);
        return Some(out.freeze());
    }
}

/// The least user key whose encoding is at or above the bound.
///
/// Bounds of regions need not be whole encoded keys (raw keys are split as they are), yet they part the user
/// keys all the same.
pub fn first_key_at(bound: &[u8]) -> Bytes {
    let mut key = BytesMut::new();
    let mut rest = bound;
    while rest.len() > GROUP && rest[GROUP] == FULL {
        key.put_slice(&rest[..GROUP]);
        rest = &rest[GROUP + 1..];
    }
    if rest.is_empty() {
        return key.freeze();
    }
    let group = &rest[..rest.len().min(GROUP)];
    let significant = group.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let want = rest.get(GROUP..).unwrap_or_default();
    // Each more byte of zeros raises the marker; a full group carries the highest.
    let length = (significant..GROUP).find(|length| [marker(*length)].as_slice() >= want);
    let length = length.unwrap_or(GROUP);
    key.put_slice(&group[..length.min(group.len())]);
    key.put_bytes(0, length.saturating_sub(group.len()));
    key.freeze()
}

fn marker(length: usize) -> u8 {
    FULL - u8::try_from(GROUP - length.min(GROUP)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_encodings_hold() {
        assert_eq!(&encode(b"")[..], &[0, 0, 0, 0, 0, 0, 0, 0, 0xf7]);
        assert_eq!(&encode(b"abc")[..], b"abc\0\0\0\0\0\xfa");
        assert_eq!(&encode(b"12345678")[..], b"12345678\xff\0\0\0\0\0\0\0\0\xf7");
    }

    #[test]
    fn a_bound_that_is_no_key_still_parts_the_keys() {
        assert_eq!(&first_key_at(b"r\0\0\0")[..], b"r");
        assert_eq!(&first_key_at(b"r\0\0\x01")[..], b"r\0\0\x01");
        assert_eq!(&first_key_at(b"")[..], b"");
        assert!(decode(b"r\0\0\0").is_none());
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(key in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(&decode(&encode(&key)).unwrap()[..], &key[..]);
            prop_assert_eq!(&first_key_at(&encode(&key))[..], &key[..]);
        }

        #[test]
        fn the_first_key_at_a_bound_is_the_least(
            bound in prop::collection::vec(prop_oneof![Just(0u8), Just(0xf7), Just(0xff), any::<u8>()], 0..30),
            key in prop::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..30),
        ) {
            let first = first_key_at(&bound);
            prop_assert!(encode(&first)[..] >= bound[..]);
            prop_assert_eq!(key[..] >= first[..], encode(&key)[..] >= bound[..]);
        }

        #[test]
        fn order_is_kept(a in prop::collection::vec(any::<u8>(), 0..20), b in prop::collection::vec(any::<u8>(), 0..20)) {
            prop_assert_eq!(a.cmp(&b), encode(&a).cmp(&encode(&b)));
        }
    }
}
