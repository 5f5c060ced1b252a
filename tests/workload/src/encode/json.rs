//! JSON values: TiDB's binary form and its normalised text.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::memcomparable::put_uvarint;
use super::temporal::{CivilTime, duration_text};

/// A JSON value as TiDB knows it.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// A finite double.
    Double(f64),
    /// Text.
    Text(String),
    /// An array.
    Array(Vec<Json>),
    /// An object; TiDB keeps keys in byte order.
    Object(BTreeMap<String, Json>),
    /// Bytes of a MySQL type.
    Opaque(u8, Vec<u8>),
    /// A date.
    Date(CivilTime),
    /// A date and time.
    Datetime(CivilTime),
    /// A TIME in nanoseconds, and its fractional digits.
    Time(i64, u8),
}

impl Json {
    /// Appends the type byte and the body.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(self.type_byte());
        self.put_body(out);
    }

    fn type_byte(&self) -> u8 {
        match self {
            Self::Object(_) => 0x01,
            Self::Array(_) => 0x03,
            Self::Null | Self::Bool(_) => 0x04,
            Self::Int(_) => 0x09,
            Self::UInt(_) => 0x0a,
            Self::Double(_) => 0x0b,
            Self::Text(_) => 0x0c,
            Self::Opaque(..) => 0x0d,
            Self::Date(_) => 0x0e,
            Self::Datetime(_) => 0x0f,
            Self::Time(..) => 0x11,
        }
    }

    fn literal(&self) -> Option<u8> {
        match self {
            Self::Null => Some(0),
            Self::Bool(true) => Some(1),
            Self::Bool(false) => Some(2),
            _ => None,
        }
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null | Self::Bool(_) => out.extend(self.literal()),
            Self::Int(value) => out.extend_from_slice(&value.to_le_bytes()),
            Self::UInt(value) => out.extend_from_slice(&value.to_le_bytes()),
            Self::Double(value) => out.extend_from_slice(&value.to_le_bytes()),
            Self::Text(text) => {
                put_uvarint(out, text.len() as u64);
                out.extend_from_slice(text.as_bytes());
            }
            Self::Opaque(tp, bytes) => {
                out.push(*tp);
                put_uvarint(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Self::Date(time) | Self::Datetime(time) => out.extend_from_slice(&time.core().to_le_bytes()),
            Self::Time(nanos, fsp) => {
                out.extend_from_slice(&nanos.to_le_bytes());
                out.extend_from_slice(&u32::from(*fsp).to_le_bytes());
            }
            Self::Array(items) => put_container(out, &[], items.iter()),
            Self::Object(members) => {
                let keys: Vec<&str> = members.keys().map(String::as_str).collect();
                put_container(out, &keys, members.values());
            }
        }
    }

    /// TiDB's text: keys in byte order, `", "` and `": "` between.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.push_text(&mut text);
        text
    }

    fn push_text(&self, text: &mut String) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Self::Int(value) => text.push_str(&value.to_string()),
            Self::UInt(value) => text.push_str(&value.to_string()),
            Self::Double(value) => text.push_str(&double_text(*value)),
            Self::Text(value) => push_quoted(text, value),
            Self::Opaque(tp, bytes) => {
                text.push_str(&format!("\"base64:type{tp}:{}\"", STANDARD.encode(bytes)));
            }
            Self::Date(time) => text.push_str(&format!("\"{}\"", time.date_text())),
            Self::Datetime(time) => text.push_str(&format!("\"{}\"", time.datetime_text(6))),
            Self::Time(nanos, _) => text.push_str(&format!("\"{}\"", duration_text(*nanos, 6))),
            Self::Array(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    text.push_str(if index > 0 { ", " } else { "" });
                    item.push_text(text);
                }
                text.push(']');
            }
            Self::Object(members) => {
                text.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    text.push_str(if index > 0 { ", " } else { "" });
                    push_quoted(text, key);
                    text.push_str(": ");
                    value.push_text(text);
                }
                text.push('}');
            }
        }
    }
}

/// Appends count, size, key entries, value entries, keys and values; offsets count from the count.
fn put_container<'a>(
    out: &mut Vec<u8>,
    keys: &[&str],
    values: impl ExactSizeIterator<Item = &'a Json> + Clone,
) {
    let count = values.len();
    let mut keys_at = 8 + keys.len() * 6 + count * 5;
    let keys_len: usize = keys.iter().map(|key| key.len()).sum();
    let values_at = keys_at + keys_len;
    let mut bodies = Vec::new();
    let mut entries = Vec::with_capacity(count * 5);
    for value in values {
        entries.push(value.type_byte());
        if let Some(literal) = value.literal() {
            entries.extend_from_slice(&u32::from(literal).to_le_bytes());
        } else {
            entries.extend_from_slice(&((values_at + bodies.len()) as u32).to_le_bytes());
            value.put_body(&mut bodies);
        }
    }
    out.extend_from_slice(&(count as u32).to_le_bytes());
    out.extend_from_slice(&((values_at + bodies.len()) as u32).to_le_bytes());
    for key in keys {
        out.extend_from_slice(&(keys_at as u32).to_le_bytes());
        out.extend_from_slice(&(key.len() as u16).to_le_bytes());
        keys_at += key.len();
    }
    out.extend_from_slice(&entries);
    keys.iter().for_each(|key| out.extend_from_slice(key.as_bytes()));
    out.extend_from_slice(&bodies);
}

/// An exponent only below 1e-15 and from 1e15 on; whole plain numbers keep `.0`.
fn double_text(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-15..1e15).contains(&size) {
        return format!("{value:e}");
    }
    let text = format!("{value}");
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}

fn push_quoted(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(json: &Json) -> String {
        let mut out = Vec::new();
        json.put(&mut out);
        hex::encode(out)
    }

    #[test]
    fn containers_hold_offsets_from_their_start() {
        let members = [
            ("a", Json::Int(1)),
            ("b", Json::Bool(true)),
            ("c", Json::Text("hi".into())),
        ];
        let object = Json::Object(members.map(|(key, value)| (key.to_owned(), value)).into());
        assert_eq!(
            encoded(&object),
            "0103000000370000002900000001002a00000001002b0000000100092c00000004010000000c340000006162630100000000000000026869"
        );
        assert_eq!(object.text(), r#"{"a": 1, "b": true, "c": "hi"}"#);
        let array = Json::Array(vec![Json::Int(1), Json::Null, Json::Text("z".into())]);
        assert_eq!(
            encoded(&array),
            "030300000021000000091700000004000000000c1f0000000100000000000000017a"
        );
        let nested = Json::Array(vec![Json::Array(vec![Json::Int(1)])]);
        assert_eq!(
            encoded(&nested),
            "030100000022000000030d0000000100000015000000090d0000000100000000000000"
        );
    }

    #[test]
    fn doubles_print_as_tidb_prints_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (4.0, "4.0"),
            (1e-7, "0.0000001"),
            (1e15, "1e15"),
            (-6.208321269459253e16, "-6.208321269459253e16"),
            (1e-16, "1e-16"),
        ] {
            assert_eq!(Json::Double(value).text(), text);
        }
    }

    #[test]
    fn odd_characters_are_escaped() {
        let text = Json::Text("\"\\\n\u{1}\u{2028}é".into()).text();
        assert_eq!(text, r#""\"\\\n\u0001\u2028é""#);
        assert_eq!(
            Json::Opaque(252, b"{".to_vec()).text(),
            r#""base64:type252:ew==""#
        );
        assert_eq!(encoded(&Json::Opaque(252, b"{".to_vec())), "0dfc017b");
    }

    #[test]
    fn times_have_six_digits() {
        assert_eq!(Json::Time(629_500_000, 4).text(), "\"00:00:00.629500\"");
        assert_eq!(encoded(&Json::Time(629_500_000, 4)), "11606885250000000004000000");
    }
}
