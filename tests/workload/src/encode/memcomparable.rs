//! Byte encodings whose order is that of the values, and the compact forms of row format v1.

/// Appends an integer so that byte order is numeric order: big-endian with the sign bit flipped.
pub(super) fn put_int(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&(value.cast_unsigned() ^ (1 << 63)).to_be_bytes());
}

/// Appends an unsigned integer, big-endian.
pub(super) fn put_uint(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a float so that byte order is numeric order.
pub(super) fn put_float(out: &mut Vec<u8>, value: f64) {
    let bits = value.to_bits();
    let ordered = if value.is_sign_negative() {
        !bits
    } else {
        bits | 1 << 63
    };
    out.extend_from_slice(&ordered.to_be_bytes());
}

/// Appends bytes in groups of eight, each followed by a marker of 0xFF less its padding.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let (group, tail) = rest.split_at(rest.len().min(8));
        out.extend_from_slice(group);
        let padding = 8 - group.len();
        out.resize(out.len() + padding, 0);
        out.push(0xff - u8::try_from(padding).unwrap_or(8));
        if padding > 0 {
            return;
        }
        rest = tail;
    }
}

/// The memcomparable form of a key, as PD's region bounds use it.
pub fn encode_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 8 * 9 + 9);
    put_bytes(&mut out, bytes);
    out
}

/// Takes a key out of its memcomparable form; `None` if the bytes aren't one.
pub fn decode_bytes(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(encoded.len());
    for group in encoded.chunks(9) {
        let (marker, bytes) = group.split_last()?;
        let padding = usize::from(0xff - marker);
        out.extend_from_slice(bytes.get(..8_usize.checked_sub(padding)?)?);
        if padding > 0 {
            return Some(out);
        }
    }
    None
}

/// Appends an unsigned LEB128 integer.
pub(super) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a zigzag LEB128 integer.
pub(super) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Appends the fewest of 1, 2, 4 or 8 little-endian bytes that hold the integer.
pub(super) fn put_minimal_int(out: &mut Vec<u8>, value: i64) {
    if let Ok(small) = i8::try_from(value) {
        out.extend_from_slice(&small.to_le_bytes());
    } else if let Ok(small) = i16::try_from(value) {
        out.extend_from_slice(&small.to_le_bytes());
    } else if let Ok(small) = i32::try_from(value) {
        out.extend_from_slice(&small.to_le_bytes());
    } else {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Appends the fewest of 1, 2, 4 or 8 little-endian bytes that hold the unsigned integer.
pub(super) fn put_minimal_uint(out: &mut Vec<u8>, value: u64) {
    if let Ok(small) = u8::try_from(value) {
        out.push(small);
    } else if let Ok(small) = u16::try_from(value) {
        out.extend_from_slice(&small.to_le_bytes());
    } else if let Ok(small) = u32::try_from(value) {
        out.extend_from_slice(&small.to_le_bytes());
    } else {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex_of(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        hex::encode(out)
    }

    #[test]
    fn bytes_are_grouped_by_eight() {
        assert_eq!(hex::encode(encode_bytes(b"abc")), "6162630000000000fa");
        assert_eq!(
            hex::encode(encode_bytes(b"12345678")),
            "3132333435363738ff0000000000000000f7"
        );
        assert_eq!(hex::encode(encode_bytes(b"")), "0000000000000000f7");
        assert_eq!(
            decode_bytes(&encode_bytes(b"12345678")),
            Some(b"12345678".to_vec())
        );
        assert_eq!(decode_bytes(b"1234"), None);
    }

    #[test]
    fn numbers_keep_their_order() {
        assert_eq!(hex_of(|out| put_int(out, 1)), "8000000000000001");
        assert_eq!(hex_of(|out| put_int(out, -1)), "7fffffffffffffff");
        assert_eq!(hex_of(|out| put_float(out, 1.5)), "bff8000000000000");
        assert_eq!(hex_of(|out| put_float(out, -1.5)), "4007ffffffffffff");
    }

    #[test]
    fn compact_integers_are_short() {
        assert_eq!(hex_of(|out| put_varint(out, -1_000_000_000)), "ffa7d6b907");
        assert_eq!(hex_of(|out| put_minimal_int(out, -5)), "fb");
        assert_eq!(hex_of(|out| put_minimal_uint(out, 300)), "2c01");
    }
}
