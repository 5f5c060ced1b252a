//! Variable-length integers: seven bits a byte, low bits first; signed ones zigzag.

use crate::ValueError;

/// Reads an unsigned integer and how many bytes it takes.
///
/// # Errors
/// If it is cut short or exceeds 64 bits.
pub fn read_u64(bytes: &[u8]) -> Result<(u64, usize), ValueError> {
    let fail = |offset, problem| ValueError {
        what: "varint",
        offset,
        problem,
    };
    let mut number = 0_u64;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if at == 9 && byte > 1 {
            return Err(fail(at, "more than 64 bits"));
        }
        number |= bits << (at * 7);
        if byte & 0x80 == 0 {
            return Ok((number, at + 1));
        }
    }
    Err(fail(bytes.len().min(10), "cut short"))
}

/// Reads a signed integer and how many bytes it takes.
///
/// # Errors
/// As [`read_u64`].
pub fn read_i64(bytes: &[u8]) -> Result<(i64, usize), ValueError> {
    let (zigzag, used) = read_u64(bytes)?;
    Ok(((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed(), used))
}

/// Appends an unsigned integer.
pub fn write_u64(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

/// Appends a signed integer.
pub fn write_i64(number: i64, out: &mut Vec<u8>) {
    write_u64(((number << 1) ^ (number >> 63)).cast_unsigned(), out);
}
