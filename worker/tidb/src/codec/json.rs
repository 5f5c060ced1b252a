//! TiDB's binary JSON and its normalised text: `, ` and `: ` between parts, keys as stored.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::ValueError;

use super::time::{self, Civil};
use super::{Cursor, digits, varint};

const OBJECT: u8 = 0x01;
const ARRAY: u8 = 0x03;
const LITERAL: u8 = 0x04;
const INT: u8 = 0x09;
const UINT: u8 = 0x0a;
const DOUBLE: u8 = 0x0b;
const STRING: u8 = 0x0c;
const OPAQUE: u8 = 0x0d;
const DATE: u8 = 0x0e;
const DATETIME: u8 = 0x0f;
const TIMESTAMP: u8 = 0x10;
const TIME: u8 = 0x11;

/// TiDB refuses deeper documents at 100; a little more is allowed here.
const MAX_DEPTH: usize = 128;
/// Bytes of a key entry (offset, length) and of a value entry (type, offset or inline value).
const KEY_ENTRY: usize = 6;
const VALUE_ENTRY: usize = 5;
/// Bytes before the entries: count and total size.
const CONTAINER_HEADER: usize = 8;

/// The stored form of JSON's `null`.
pub const NULL: [u8; 2] = [LITERAL, 0];

/// Bytes that the value at the front takes, its type byte included.
///
/// # Errors
/// If the type is unknown or the value is cut short.
pub fn stored_len(bytes: &[u8]) -> Result<usize, ValueError> {
    let mut cursor = Cursor::new(bytes, "JSON");
    let kind = cursor.u8()?;
    let body = body_len(kind, cursor.rest())?;
    cursor.take(body)?;
    Ok(cursor.at())
}

fn body_len(kind: u8, body: &[u8]) -> Result<usize, ValueError> {
    let mut cursor = Cursor::new(body, "JSON");
    Ok(match kind {
        OBJECT | ARRAY => {
            cursor.take(4)?;
            usize::try_from(cursor.u32_le()?).unwrap_or(usize::MAX)
        }
        LITERAL => 1,
        INT | UINT | DOUBLE | DATE | DATETIME | TIMESTAMP => 8,
        TIME => 12,
        STRING | OPAQUE => {
            if kind == OPAQUE {
                cursor.take(1)?;
            }
            let (len, used) = varint::read_u64(cursor.rest())?;
            cursor.take(used)?;
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            len.checked_add(cursor.at())
                .ok_or_else(|| cursor.fail("cut short"))?
        }
        _ => return Err(cursor.fail("an unknown type")),
    })
}

/// Appends the text of a stored value.
///
/// # Errors
/// If the bytes are no binary JSON, nest deeper than 128 levels, or hold a date out of range.
pub fn write_text(stored: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let Some((&kind, body)) = stored.split_first() else {
        return Err(fail("empty"));
    };
    let mut printer = Printer {
        out,
        budget: stored.len(),
    };
    printer.value(kind, body, 0)
}

fn fail(problem: &'static str) -> ValueError {
    ValueError {
        what: "JSON",
        offset: 0,
        problem,
    }
}

struct Printer<'o> {
    out: &'o mut Vec<u8>,
    /// Stored bytes not yet printed: damaged offsets that share parts would print them again and again.
    budget: usize,
}

impl Printer<'_> {
    fn spend(&mut self, bytes: usize) -> Result<(), ValueError> {
        let left = self.budget.checked_sub(bytes);
        self.budget = left.ok_or_else(|| fail("parts that overlap"))?;
        Ok(())
    }

    fn value(&mut self, kind: u8, body: &[u8], depth: usize) -> Result<(), ValueError> {
        let mut cursor = Cursor::new(body, "JSON");
        match kind {
            OBJECT | ARRAY => return self.container(kind, body, depth),
            LITERAL => {
                let text: &[u8] = match cursor.u8()? {
                    0 => b"null",
                    1 => b"true",
                    2 => b"false",
                    _ => return Err(cursor.fail("an unknown literal")),
                };
                self.out.extend_from_slice(text);
            }
            INT => digits::write_i64(i64::from_le_bytes(cursor.array()?), self.out),
            UINT => digits::write_u64(u64::from_le_bytes(cursor.array()?), self.out),
            DOUBLE => write_double(f64::from_le_bytes(cursor.array()?), self.out),
            STRING => {
                let text = prefixed(&mut cursor)?;
                self.spend(text.len())?;
                write_string(text, self.out);
            }
            OPAQUE => {
                let tp = cursor.u8()?;
                let bytes = prefixed(&mut cursor)?;
                self.spend(bytes.len())?;
                let base64 = Base64Display::new(bytes, &STANDARD);
                digits::write_fmt(format_args!("\"base64:type{tp}:{base64}\""), self.out);
            }
            DATE | DATETIME | TIMESTAMP => {
                let civil = Civil::from_core(u64::from_le_bytes(cursor.array()?))?;
                self.out.push(b'"');
                if kind == DATE {
                    civil.write_date(self.out);
                } else {
                    civil.write_datetime(6, self.out);
                }
                self.out.push(b'"');
            }
            TIME => {
                self.out.push(b'"');
                time::write_duration(i64::from_le_bytes(cursor.array()?), 6, self.out);
                self.out.push(b'"');
            }
            _ => return Err(cursor.fail("an unknown type")),
        }
        Ok(())
    }

    /// Offsets inside count from the body's first byte.
    fn container(&mut self, kind: u8, body: &[u8], depth: usize) -> Result<(), ValueError> {
        if depth >= MAX_DEPTH {
            return Err(fail("nested too deep"));
        }
        let mut cursor = Cursor::new(body, "JSON");
        let count = cursor.u32_le()?;
        let size = usize::try_from(cursor.u32_le()?).unwrap_or(usize::MAX);
        let body = body.get(..size).ok_or_else(|| cursor.fail("cut short"))?;
        self.spend(CONTAINER_HEADER)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let object = kind == OBJECT;
        let keys = if object {
            count.saturating_mul(KEY_ENTRY)
        } else {
            0
        };
        let mut key_entries = Cursor::new(body, "JSON");
        key_entries.take(CONTAINER_HEADER)?;
        let mut value_entries = key_entries.clone();
        value_entries.take(keys)?;

        self.out.push(if object { b'{' } else { b'[' });
        for at in 0..count {
            if at > 0 {
                self.out.extend_from_slice(b", ");
            }
            if object {
                let start = key_entries.u32_le()?;
                let len = usize::from(key_entries.u16_le()?);
                self.spend(KEY_ENTRY + len)?;
                let key = tail(body, start)?
                    .get(..len)
                    .ok_or_else(|| fail("a key cut short"))?;
                write_string(key, self.out);
                self.out.extend_from_slice(b": ");
            }
            self.spend(VALUE_ENTRY)?;
            let kind = value_entries.u8()?;
            let place: [u8; 4] = value_entries.array()?;
            if kind == LITERAL {
                self.value(kind, &place, depth + 1)?;
            } else {
                self.value(kind, tail(body, u32::from_le_bytes(place))?, depth + 1)?;
            }
        }
        self.out.push(if object { b'}' } else { b']' });
        Ok(())
    }
}

fn tail(body: &[u8], start: u32) -> Result<&[u8], ValueError> {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    body.get(start..).ok_or_else(|| fail("an offset past the end"))
}

/// Bytes after a varint length.
fn prefixed<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], ValueError> {
    let (len, used) = varint::read_u64(cursor.rest())?;
    cursor.take(used)?;
    cursor.take(usize::try_from(len).unwrap_or(usize::MAX))
}

/// TiDB's notation: an exponent below 1e-15 and from 1e15 on, else plain digits with at least one
/// after the point.
fn write_double(number: f64, out: &mut Vec<u8>) {
    let size = number.abs();
    if size != 0.0 && !(1e-15..1e15).contains(&size) {
        digits::write_fmt(format_args!("{number:e}"), out);
        return;
    }
    let start = out.len();
    digits::write_fmt(format_args!("{number}"), out);
    if !out.iter().skip(start).any(|&byte| byte == b'.') {
        out.extend_from_slice(b".0");
    }
}

/// A quoted string, escaped as TiDB does: quotes, backslashes, controls, U+2028 and U+2029; bytes that
/// are no UTF-8 become `\ufffd`.
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        write_escaped(chunk.valid(), out);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

fn write_escaped(text: &str, out: &mut Vec<u8>) {
    let special = |char: char| matches!(char, '"' | '\\' | '\u{2028}' | '\u{2029}') || char < ' ';
    for piece in text.split_inclusive(special) {
        let (plain, last) = match piece.char_indices().next_back() {
            Some((at, char)) if special(char) => (piece.get(..at).unwrap_or_default(), Some(char)),
            _ => (piece, None),
        };
        out.extend_from_slice(plain.as_bytes());
        let Some(char) = last else { continue };
        let short: &[u8] = match char {
            '"' => b"\\\"",
            '\\' => b"\\\\",
            '\n' => b"\\n",
            '\r' => b"\\r",
            '\t' => b"\\t",
            '\u{8}' => b"\\b",
            '\u{c}' => b"\\f",
            _ => {
                digits::write_fmt(format_args!("\\u{:04x}", u32::from(char)), out);
                continue;
            }
        };
        out.extend_from_slice(short);
    }
}
