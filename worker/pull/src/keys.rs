use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of key in one group of the memcomparable encoding.
const GROUP: usize = 8;
/// Marks a full group that another one follows.
const MORE: u8 = 0xff;

/// The memcomparable form of a user key, as region boundaries and CDC requests carry it.
///
/// Groups of 8 bytes, zero padded, each followed by `0xff - padding`; the order of encoded keys is
/// that of the keys.
pub fn encode_key(key: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity((key.len() / GROUP + 1) * (GROUP + 1));
    let mut groups = key.chunks_exact(GROUP);
    for group in &mut groups {
        out.put_slice(group);
        out.put_u8(MORE);
    }
    let rest = groups.remainder();
    out.put_slice(rest);
    out.put_bytes(0, GROUP - rest.len());
    out.put_u8(MORE - u8::try_from(GROUP - rest.len()).unwrap_or_default());
    out.freeze()
}

/// The smallest user key whose encoding is at or above a region boundary.
///
/// Boundaries are memcomparable as a rule, but PD's pre-split ones need not be; any bytes are
/// accepted, and the same bytes always give the same key, so that neighbours stay neighbours.
pub fn decode_bound(bound: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(bound.len());
    let mut rest = bound;
    loop {
        if rest.len() <= GROUP {
            let used = rest
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            out.put_slice(&rest[..used]);
            return out.freeze();
        }
        let (group, tail) = rest.split_at(GROUP);
        match tail[0] {
            MORE => {
                out.put_slice(group);
                rest = &tail[1..];
            }
            marker => {
                let padding = usize::from(MORE - marker).min(GROUP);
                out.put_slice(&group[..GROUP - padding]);
                return out.freeze();
            }
        }
    }
}

/// Encodes an end bound; an empty one stays empty, meaning "to the last key".
pub(crate) fn encode_end(key: &[u8]) -> Bytes {
    if key.is_empty() {
        Bytes::new()
    } else {
        encode_key(key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_encodings() {
        assert_eq!(&encode_key(b"")[..], [0, 0, 0, 0, 0, 0, 0, 0, 0xf7]);
        assert_eq!(&encode_key(b"abc")[..], b"abc\0\0\0\0\0\xfa");
        assert_eq!(&encode_key(b"abcdefgh")[..], b"abcdefgh\xff\0\0\0\0\0\0\0\0\xf7");
    }

    #[test]
    fn a_plain_boundary_becomes_the_first_key_at_or_above_it() {
        assert_eq!(&decode_bound(b"r\0\0\0")[..], b"r");
        assert_eq!(&decode_bound(b"r\0\0\x01")[..], b"r\0\0\x01");
        assert_eq!(&decode_bound(b"")[..], b"");
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(key: Vec<u8>) {
            prop_assert_eq!(&decode_bound(&encode_key(&key))[..], &key[..]);
        }

        #[test]
        fn order_is_kept(a: Vec<u8>, b: Vec<u8>) {
            prop_assert_eq!(encode_key(&a).cmp(&encode_key(&b)), a.cmp(&b));
        }

        #[test]
        fn a_bound_cuts_keys_where_its_decoding_does(
            bound in prop::collection::vec(prop::sample::select(vec![0u8, 1, 7, 0xff]), 0..8),
            key in prop::collection::vec(prop::sample::select(vec![0u8, 1, 7, 0xff]), 0..12),
        ) {
            prop_assert_eq!(encode_key(&key)[..] >= bound[..], key[..] >= decode_bound(&bound)[..]);
        }
    }
}
