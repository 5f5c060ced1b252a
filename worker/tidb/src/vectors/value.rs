//! Columns and values as the vectors describe them.

use crate::table::{flag, tp};
use crate::{Column, ColumnType, StoredValue, TimeZone, Value};

use super::line::{Line, Problem, same};

/// A column for printing a value of the type.
pub(super) fn column(tp: u8, decimal: i64) -> Column {
    Column {
        id: 1,
        name: "c".to_owned(),
        ty: ColumnType {
            tp,
            flags: 0,
            flen: -1,
            decimal,
            charset: "binary".to_owned(),
            collate: "binary".to_owned(),
            elems: Vec::new(),
        },
        not_null: false,
        primary: false,
        generated: false,
        default: None,
        absent: StoredValue::Null,
    }
}

/// The column that a vector describes.
pub(super) fn described(line: &Line<'_>, id: i64) -> Result<Column, Problem> {
    let flags: u32 = line.number("flag")?;
    Ok(Column {
        id,
        name: format!("c{id}"),
        ty: ColumnType {
            tp: line.number("tp")?,
            flags,
            flen: line.number("flen")?,
            decimal: line.number("decimal")?,
            charset: line.text("charset")?.to_owned(),
            collate: line.text("collate")?.to_owned(),
            elems: line.texts("elems")?,
        },
        not_null: flags & flag::NOT_NULL != 0,
        ..column(0, 0)
    })
}

pub(super) fn zone(name: &str) -> Result<TimeZone, Problem> {
    TimeZone::parse(name).map_err(|problem| Problem::new(problem.to_string()))
}

/// The value's text.
pub(super) fn text(value: &Value<'_>, column: &Column, zone: &TimeZone) -> Result<String, Problem> {
    let mut out = Vec::new();
    value.write_text(column, zone, &mut out)?;
    String::from_utf8(out).map_err(|_| Problem::new("the text is no UTF-8"))
}

/// Compares a decoded value with all that the vector says of it.
pub(super) fn check(
    column: &Column,
    value: &Value<'_>,
    expected: &Line<'_>,
    zone: &TimeZone,
) -> Result<(), Problem> {
    if expected.has("null") {
        return same("value", value, &Value::Null);
    }
    let name = &column.name;
    let printed = || text(value, column, zone);
    match *value {
        Value::Null => return Err(Problem::new(format!("{name}: decoded NULL, expected a value"))),
        Value::Int(_) | Value::UInt(_) => same(name, &printed()?.as_str(), &expected.text("text")?)?,
        Value::Float(number) => {
            same(name, &printed()?.as_str(), &expected.text("text")?)?;
            same(
                "bits",
                &f64::from(number).to_bits(),
                &expected.hex_number("bits")?,
            )?;
        }
        Value::Double(number) => {
            same(name, &printed()?.as_str(), &expected.text("text")?)?;
            same("bits", &number.to_bits(), &expected.hex_number("bits")?)?;
        }
        Value::Decimal(stored) => decimal(column, stored, expected)?,
        Value::Bytes(bytes) => {
            same(name, &bytes.to_vec(), &expected.bytes("hex")?)?;
            if expected.has("text") {
                same("text", &printed()?.as_str(), &expected.text("text")?)?;
            }
        }
        Value::Time(packed) => {
            same("packed", &packed, &expected.number("packed")?)?;
            same(name, &printed()?.as_str(), &expected.text("text")?)?;
        }
        Value::Duration(nanos) => {
            same("nanos", &nanos, &expected.number("nanos")?)?;
            same(name, &printed()?.as_str(), &expected.text("text")?)?;
        }
        Value::Enum(member) => {
            same("member", &member, &expected.number("uint")?)?;
            same("integer", &printed()?, &member.to_string())?;
            let named = value.enum_name(column).unwrap_or("(no such member)");
            same(name, &named, &expected.text("text")?)?;
        }
        Value::Set(members) => {
            same("members", &members, &expected.number("uint")?)?;
            same("integer", &printed()?, &members.to_string())?;
            let named: Vec<_> = value.set_names(column).collect();
            same(name, &named.join(",").as_str(), &expected.text("text")?)?;
        }
        Value::Bit(bits) => {
            same("bits", &bits, &expected.number("uint")?)?;
            same("integer", &printed()?, &bits.to_string())?;
            let width = usize::try_from(column.ty.flen).unwrap_or(0).div_ceil(8).min(8);
            let bytes = bits.to_be_bytes();
            let bytes = bytes.get(8 - width..).unwrap_or_default();
            same(name, &bytes.to_vec(), &expected.bytes("hex")?)?;
        }
        Value::Json(_) => json_text(&printed()?, expected.text("text")?)?,
        Value::Vector(_) => same(name, &printed()?.as_str(), &expected.text("text")?)?,
    }
    Ok(())
}

/// At its own scale and at the column's.
fn decimal(declared: &Column, stored: &[u8], expected: &Line<'_>) -> Result<(), Problem> {
    let scale: u8 = expected.number("frac")?;
    let header = [expected.number("prec")?, scale];
    same("precision and scale", &stored.get(..2), &Some(&header))?;
    let value = Value::Decimal(stored);
    let own = text(&value, &column(tp::DECIMAL, scale.into()), &TimeZone::Utc)?;
    same("decimal", &own.as_str(), &expected.text("text")?)?;

    let wanted = usize::try_from(declared.ty.decimal)
        .unwrap_or(0)
        .saturating_sub(scale.into());
    let point = if scale == 0 && wanted > 0 { "." } else { "" };
    let padded = format!("{own}{point}{}", "0".repeat(wanted));
    same(
        "decimal at the column's scale",
        &text(&value, declared, &TimeZone::Utc)?,
        &padded,
    )
}

/// Compares JSON texts. Doubles are compared by value, since TiKV and TiDB differ on when to print an
/// exponent; and TiDB escapes U+2028 and U+2029.
pub(super) fn json_text(decoded: &str, expected: &str) -> Result<(), Problem> {
    let decoded_normal = normal(
        &decoded
            .replace("\\u2028", "\u{2028}")
            .replace("\\u2029", "\u{2029}"),
    );
    if decoded_normal == normal(expected) {
        return Ok(());
    }
    Err(Problem::new(format!(
        "JSON: decoded {decoded}, expected {expected}"
    )))
}

/// The text with every double as its bits.
fn normal(json: &str) -> String {
    let mut out = String::new();
    let mut rest = json;
    let mut quoted = false;
    while let Some(char) = rest.chars().next() {
        let mut used = char.len_utf8();
        if quoted {
            match char {
                '\\' => used += rest.chars().nth(1).map_or(0, char::len_utf8),
                '"' => quoted = false,
                _ => {}
            }
        } else if char == '"' {
            quoted = true;
        } else if char == '-' || char.is_ascii_digit() {
            let end = rest.find(|char: char| !matches!(char, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
            used = end.unwrap_or(rest.len());
            let token = rest.get(..used).unwrap_or_default();
            if let Some(double) = token
                .contains(['.', 'e', 'E'])
                .then(|| token.parse::<f64>().ok())
                .flatten()
            {
                out.push_str(&format!("double {:016x}", double.to_bits()));
                rest = rest.get(used..).unwrap_or_default();
                continue;
            }
        }
        out.push_str(rest.get(..used).unwrap_or_default());
        rest = rest.get(used..).unwrap_or_default();
    }
    out
}
