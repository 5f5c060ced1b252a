//! DECIMAL in MySQL's binary form: precision and scale bytes, then base-10^9 words.
//!
//! A word of nine digits takes four big-endian bytes; the first integer word and the last fraction
//! word are shorter. The first bit is flipped; negative numbers have all other bits inverted.

use crate::ValueError;

use super::{Cursor, digits};

/// Digits in a whole word.
const WORD: usize = 9;
/// Bytes that hold 0..=9 digits.
const WIDTH: [usize; WORD + 1] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
/// TiDB's largest precision and scale; TiKV's own encoder reaches a precision of 81.
const MAX_PRECISION: u8 = 81;
const MAX_SCALE: u8 = 30;

fn width(count: usize) -> usize {
    WIDTH.get(count).copied().unwrap_or(4)
}

/// Bytes of the digits alone.
fn body_len(integer: usize, scale: usize) -> usize {
    (integer / WORD + scale / WORD) * 4 + width(integer % WORD) + width(scale % WORD)
}

/// Integer digits, fraction digits.
fn header(bytes: &[u8]) -> Result<(usize, usize), ValueError> {
    let mut cursor = Cursor::new(bytes, "decimal");
    let precision = cursor.u8()?;
    let scale = cursor.u8()?;
    if precision == 0 || precision > MAX_PRECISION || scale > MAX_SCALE || scale > precision {
        return Err(cursor.fail("an impossible precision or scale"));
    }
    Ok((usize::from(precision - scale), usize::from(scale)))
}

/// Bytes that the decimal at the front takes, its two header bytes included.
///
/// # Errors
/// If the header is impossible or the digits are cut short.
pub fn stored_len(bytes: &[u8]) -> Result<usize, ValueError> {
    let (integer, scale) = header(bytes)?;
    let len = 2 + body_len(integer, scale);
    if bytes.len() < len {
        return Err(ValueError {
            what: "decimal",
            offset: bytes.len(),
            problem: "cut short",
        });
    }
    Ok(len)
}

/// Appends the exact text, with zeros added up to `scale` fraction digits; digits beyond it are kept.
///
/// # Errors
/// If the bytes are no decimal.
pub fn write_text(stored: &[u8], scale: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let (integer, fraction) = header(stored)?;
    let mut cursor = Cursor::new(stored, "decimal");
    cursor.take(2)?;
    let negative = cursor.rest().first().is_some_and(|first| first & 0x80 == 0);
    let mask = if negative { 0xff } else { 0 };
    let mut flip = 0x80;
    let mut word = |cursor: &mut Cursor<'_>, count: usize| -> Result<u64, ValueError> {
        let bytes = cursor.take(width(count))?;
        let value = bytes.iter().fold(0_u64, |value, byte| {
            let byte = byte ^ mask ^ std::mem::take(&mut flip);
            value << 8 | u64::from(byte)
        });
        if value >= 10_u64.pow(u32::try_from(count).unwrap_or(0)) {
            return Err(cursor.fail("a word with too many digits"));
        }
        Ok(value)
    };

    let start = out.len();
    let mut zero = true;
    let leading = std::iter::once(integer % WORD).filter(|&count| count > 0);
    for count in leading.chain(std::iter::repeat_n(WORD, integer / WORD)) {
        let value = word(&mut cursor, count)?;
        if !zero {
            digits::write_padded(value, count, out);
        } else if value > 0 {
            zero = false;
            if negative {
                out.push(b'-');
            }
            digits::write_u64(value, out);
        }
    }
    if zero {
        out.push(b'0');
    }
    if fraction.max(scale) > 0 {
        out.push(b'.');
    }
    let trailing = std::iter::once(fraction % WORD).filter(|&count| count > 0);
    for count in std::iter::repeat_n(WORD, fraction / WORD).chain(trailing) {
        let value = word(&mut cursor, count)?;
        if zero && value > 0 {
            zero = false;
            if negative {
                out.insert(start, b'-');
            }
        }
        digits::write_padded(value, count, out);
    }
    out.extend(std::iter::repeat_n(b'0', scale.saturating_sub(fraction)));
    Ok(())
}

/// The stored form of a plain decimal text, such as a column's default; more fraction digits than
/// `scale` are rounded, halves away from zero.
///
/// `None` if the text is no number or too large for the precision.
pub fn from_text(text: &str, precision: u8, scale: u8) -> Option<Vec<u8>> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
    let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if integer.len() + fraction.len() == 0 || !numeric(integer) || !numeric(fraction) {
        return None;
    }
    let room = usize::from(precision.checked_sub(scale)?);
    let kept = usize::from(scale).min(fraction.len());
    let (fraction, cut) = fraction.split_at_checked(kept)?;
    let scale_width = usize::from(scale);
    let mut all: Vec<u8> = format!(
        "{:0>room$}{fraction:0<scale_width$}",
        integer.trim_start_matches('0')
    )
    .into();
    if cut.as_bytes().first().is_some_and(|&digit| digit >= b'5') {
        round_up(&mut all)?;
    }
    if all.len() != room + scale_width {
        return None;
    }

    let mut stored = vec![precision, scale];
    let (integer, fraction) = all.split_at_checked(room)?;
    let (first, whole) = integer.split_at_checked(room % WORD)?;
    let words = std::iter::once(first)
        .chain(whole.chunks(WORD))
        .chain(fraction.chunks(WORD));
    for word in words {
        let value = word
            .iter()
            .fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
        let skip = 4 - width(word.len());
        stored.extend(value.to_be_bytes().into_iter().skip(skip));
    }
    header(&stored).ok()?;
    let zero = all.iter().all(|&digit| digit == b'0');
    let mask = if negative && !zero { 0xff } else { 0 };
    for (at, byte) in stored.iter_mut().skip(2).enumerate() {
        *byte ^= if at == 0 { mask ^ 0x80 } else { mask };
    }
    Some(stored)
}

/// Adds one to the last digit; `None` if all are nines.
fn round_up(digits: &mut [u8]) -> Option<()> {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return Some(());
        }
        *digit = b'0';
    }
    None
}
