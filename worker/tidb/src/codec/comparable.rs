//! Memcomparable forms: bytes whose order is that of the values.

use crate::ValueError;

use super::Cursor;

/// Bytes in one group of [`write_bytes`].
const GROUP: usize = 8;
/// Marker of a group that is followed by another.
const FULL: u8 = 0xff;
const SIGN: u64 = 1 << 63;

/// The comparable bits of a signed integer; they are stored big-endian.
pub const fn from_i64(number: i64) -> u64 {
    number.cast_unsigned() ^ SIGN
}

/// Undoes [`from_i64`].
pub const fn to_i64(bits: u64) -> i64 {
    (bits ^ SIGN).cast_signed()
}

/// The comparable bits of a float; they are stored big-endian.
pub const fn from_f64(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// Undoes [`from_f64`].
pub const fn to_f64(bits: u64) -> f64 {
    f64::from_bits(if bits & SIGN == 0 { !bits } else { bits ^ SIGN })
}

/// The descending form of a fixed-size comparable value.
pub const fn descending(bits: u64) -> u64 {
    !bits
}

/// Appends a signed integer.
pub fn write_i64(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&from_i64(number).to_be_bytes());
}

/// Appends an unsigned integer.
pub fn write_u64(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a float.
pub fn write_f64(number: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(&from_f64(number).to_be_bytes());
}

/// Appends bytes in groups of eight, each with a marker that says how many of them count.
pub fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve((bytes.len() / GROUP + 1) * (GROUP + 1));
    let groups = bytes.chunks_exact(GROUP);
    let last = groups.remainder();
    for group in groups {
        out.extend_from_slice(group);
        out.push(FULL);
    }
    let padding = GROUP - last.len();
    out.extend_from_slice(last);
    out.extend(std::iter::repeat_n(0, padding));
    out.push(FULL - u8::try_from(padding).unwrap_or(0));
}

/// Bytes in their grouped form, checked and still in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouped<'a> {
    encoded: &'a [u8],
    len: usize,
    descending: bool,
}

impl<'a> Grouped<'a> {
    /// Reads the bytes at the front of `encoded`.
    ///
    /// # Errors
    /// If the groups are cut short, or a marker or padding is wrong.
    pub fn read(encoded: &'a [u8]) -> Result<Self, ValueError> {
        Self::read_as(encoded, false)
    }

    /// Reads the descending form: every byte inverted.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_descending(encoded: &'a [u8]) -> Result<Self, ValueError> {
        Self::read_as(encoded, true)
    }

    fn read_as(encoded: &'a [u8], descending: bool) -> Result<Self, ValueError> {
        let mask = if descending { FULL } else { 0 };
        let mut cursor = Cursor::new(encoded, "memcomparable bytes");
        let mut len = 0;
        loop {
            let group: [u8; GROUP] = cursor.array()?;
            let marker = cursor.u8()? ^ mask;
            if marker == FULL {
                len += GROUP;
                continue;
            }
            let padding = usize::from(FULL - marker);
            let used = GROUP
                .checked_sub(padding)
                .ok_or_else(|| cursor.fail("a wrong marker"))?;
            if group.iter().skip(used).any(|byte| byte ^ mask != 0) {
                return Err(cursor.fail("padding that is not zero"));
            }
            let encoded = encoded.get(..cursor.at()).unwrap_or_default();
            return Ok(Self {
                encoded,
                len: len + used,
                descending,
            });
        }
    }

    /// How many bytes there are, without markers and padding.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes the grouped form takes.
    pub fn encoded_len(&self) -> usize {
        self.encoded.len()
    }

    /// The plain bytes in place, which only one group has.
    pub fn contiguous(&self) -> Option<&'a [u8]> {
        (self.len <= GROUP && !self.descending).then(|| self.encoded.get(..self.len))?
    }

    /// Appends the plain bytes.
    pub fn unpack(&self, out: &mut Vec<u8>) {
        let mask = if self.descending { FULL } else { 0 };
        let data = self
            .encoded
            .chunks(GROUP + 1)
            .flat_map(|group| group.iter().take(GROUP));
        out.reserve(self.len);
        out.extend(data.take(self.len).map(|byte| byte ^ mask));
    }
}
