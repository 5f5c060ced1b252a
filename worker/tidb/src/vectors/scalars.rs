//! Files of single values.

use crate::codec::comparable::{self, Grouped};
use crate::codec::datum::Datum;
use crate::codec::time::{self, Civil};
use crate::codec::{decimal as codec_decimal, json as codec_json, varint};
use crate::row::{datum_value, read_value};
use crate::table::tp;
use crate::{Column, TimeZone, Value};

use super::line::{Line, Problem, same};
use super::value::{check, column, json_text, text, zone};

pub(super) fn datum(line: &Line<'_>) -> Result<(), Problem> {
    let encoded = line.bytes("encoded")?;
    match (line.text("form")?, line.text("kind")?) {
        ("raw", kind) => raw(kind, &encoded, line),
        (_, "seq") => {
            let mut rest = encoded.as_slice();
            for (item, len) in line.list("items")?.zip(line.list("lens")?) {
                let used = one_datum(rest, &item)?;
                same("length", &used, &len.as_number()?)?;
                rest = rest.get(used..).unwrap_or_default();
            }
            same("bytes left over", &rest.len(), &0)
        }
        _ => same("length", &one_datum(&encoded, line)?, &encoded.len()),
    }
}

/// Checks the datum at the front, and says how long it is.
fn one_datum(bytes: &[u8], line: &Line<'_>) -> Result<usize, Problem> {
    let (datum, used) = Datum::read(bytes)?;
    let fsp = || line.number::<i64>("fsp");
    let zone = || {
        if line.has("tz") {
            zone(line.text("tz")?)
        } else {
            Ok(TimeZone::Utc)
        }
    };
    let as_column = match line.text("kind")? {
        "null" => {
            same("datum", &datum, &Datum::Nil)?;
            return Ok(used);
        }
        "bytes" => {
            let mut plain = Vec::new();
            match datum {
                Datum::Grouped(grouped) => grouped.unpack(&mut plain),
                Datum::Bytes(bytes) => plain.extend_from_slice(bytes),
                other => return Err(Problem::new(format!("decoded {other:?}, expected bytes"))),
            }
            same("bytes", &plain, &line.bytes("hex")?)?;
            return Ok(used);
        }
        "int" => column(tp::LONGLONG, 0),
        "uint" => {
            let mut unsigned = column(tp::LONGLONG, 0);
            unsigned.ty.flags = crate::table::flag::UNSIGNED;
            unsigned
        }
        "float" => column(tp::DOUBLE, -1),
        "decimal" => column(tp::DECIMAL, line.number("frac")?),
        "duration" => column(tp::DURATION, fsp()?),
        "date" => column(tp::DATE, fsp()?),
        "datetime" => column(tp::DATETIME, fsp()?),
        "timestamp" => column(tp::TIMESTAMP, fsp()?),
        "json" => column(tp::JSON, 0),
        "vector" => column(tp::VECTOR, 0),
        other => return Err(Problem::new(format!("an unknown kind {other:?}"))),
    };
    check(&as_column, &datum_value(&as_column.ty, datum)?, line, &zone()?)?;
    Ok(used)
}

fn raw(kind: &str, encoded: &[u8], line: &Line<'_>) -> Result<(), Problem> {
    let bits = || -> Result<u64, Problem> {
        let bytes = <[u8; 8]>::try_from(encoded).map_err(|_| Problem::new("not 8 bytes"))?;
        Ok(u64::from_be_bytes(bytes))
    };
    let mut again = Vec::new();
    match kind {
        "i64" | "i64_desc" => {
            let down = kind == "i64_desc";
            let bits = if down {
                comparable::descending(bits()?)
            } else {
                bits()?
            };
            let number = comparable::to_i64(bits);
            same(kind, &number, &line.number("text")?)?;
            comparable::write_i64(number, &mut again);
        }
        "u64" | "u64_desc" => {
            let down = kind == "u64_desc";
            let number = if down {
                comparable::descending(bits()?)
            } else {
                bits()?
            };
            same(kind, &number, &line.number("text")?)?;
            comparable::write_u64(number, &mut again);
        }
        "f64" | "f64_desc" => {
            let down = kind == "f64_desc";
            let number = comparable::to_f64(if down {
                comparable::descending(bits()?)
            } else {
                bits()?
            });
            same(kind, &number.to_bits(), &line.hex_number("bits")?)?;
            same("text", &number.to_string().as_str(), &line.text("text")?)?;
            comparable::write_f64(number, &mut again);
        }
        "var_i64" => {
            let (number, used) = varint::read_i64(encoded)?;
            same(kind, &(number, used), &(line.number("text")?, encoded.len()))?;
            varint::write_i64(number, &mut again);
        }
        "var_u64" => {
            let (number, used) = varint::read_u64(encoded)?;
            same(kind, &(number, used), &(line.number("text")?, encoded.len()))?;
            varint::write_u64(number, &mut again);
        }
        "bytes" | "bytes_desc" => {
            let down = kind == "bytes_desc";
            let grouped = if down {
                Grouped::read_descending(encoded)?
            } else {
                Grouped::read(encoded)?
            };
            let mut plain = Vec::new();
            grouped.unpack(&mut plain);
            same(kind, &plain, &line.bytes("hex")?)?;
            same("length", &grouped.encoded_len(), &encoded.len())?;
            comparable::write_bytes(&plain, &mut again);
        }
        "compact_bytes" => {
            let (len, used) = varint::read_i64(encoded)?;
            let plain = encoded.get(used..).unwrap_or_default();
            same(kind, &plain.to_vec(), &line.bytes("hex")?)?;
            same("length", &len, &i64::try_from(plain.len()).unwrap_or(-1))?;
            varint::write_i64(len, &mut again);
            again.extend_from_slice(plain);
        }
        _ => return Err(Problem::new(format!("an unknown kind {kind:?}"))),
    }
    if kind.ends_with("_desc") {
        again.iter_mut().for_each(|byte| *byte = !*byte);
    }
    same("encoded again", &again.as_slice(), &encoded)
}

pub(super) fn decimal(line: &Line<'_>) -> Result<(), Problem> {
    let encoded = line.bytes("encoded")?;
    let (precision, scale): (u8, u8) = (line.number("prec")?, line.number("frac")?);
    let of_type = column(tp::DECIMAL, scale.into());
    check(
        &of_type,
        &read_value(&of_type.ty, &encoded)?,
        line,
        &TimeZone::Utc,
    )?;
    let again = codec_decimal::from_text(line.text("input")?, precision, scale);
    same("encoded again", &again, &Some(encoded))
}

pub(super) fn duration(line: &Line<'_>) -> Result<(), Problem> {
    let of_type = column(tp::DURATION, line.number("fsp")?);
    three_forms(line, &of_type, &TimeZone::Utc)?;
    let nanos = time::duration_from_text(line.text("text")?);
    same("read from text", &nanos, &Some(line.number("nanos")?))
}

/// Checks a value in a v2 row, in a key and, where there is one, in a v1 row.
fn three_forms(line: &Line<'_>, of_type: &Column, zone: &TimeZone) -> Result<(), Problem> {
    check(
        of_type,
        &read_value(&of_type.ty, &line.bytes("rowv2")?)?,
        line,
        zone,
    )?;
    for form in ["key", "value"] {
        if line.has(form) {
            let bytes = line.bytes(form)?;
            let (datum, used) = Datum::read(&bytes)?;
            same("length", &used, &bytes.len())?;
            check(of_type, &datum_value(&of_type.ty, datum)?, line, zone)?;
        }
    }
    Ok(())
}

pub(super) fn time(line: &Line<'_>) -> Result<(), Problem> {
    let kind = match line.text("type")? {
        "date" => tp::DATE,
        "datetime" => tp::DATETIME,
        "timestamp" => tp::TIMESTAMP,
        other => return Err(Problem::new(format!("an unknown type {other:?}"))),
    };
    let of_type = column(kind, line.number("fsp")?);
    let shown = if kind == tp::TIMESTAMP {
        zone(line.text("tz")?)?
    } else {
        TimeZone::Utc
    };
    three_forms(line, &of_type, &shown)?;

    let packed: u64 = line.number("packed")?;
    same("packed", &packed, &line.hex_number("packed_hex")?)?;
    let stored = Civil::from_packed(packed)?;
    same("packed again", &stored.to_packed(), &packed)?;
    if kind == tp::TIMESTAMP {
        let utc = text(&Value::Time(packed), &of_type, &TimeZone::Utc)?;
        same("in UTC", &utc.as_str(), &line.text("utc_text")?)?;
    }
    let parts = Civil {
        year: line.number("year")?,
        month: line.number("month")?,
        day: line.number("day")?,
        hour: line.number("hour")?,
        minute: line.number("minute")?,
        second: line.number("second")?,
        micro: line.number("micro")?,
    };
    same(
        "parts",
        &if kind == tp::TIMESTAMP {
            shown.localise(stored)
        } else {
            stored
        },
        &parts,
    )?;
    let core = <[u8; 8]>::try_from(line.bytes("core")?).map_err(|_| Problem::new("core is not 8 bytes"))?;
    same("core", &Civil::from_core(u64::from_le_bytes(core))?, &parts)?;
    same(
        "read from text",
        &Civil::from_text(line.text("text")?),
        &Some(parts),
    )
}

pub(super) fn json(line: &Line<'_>) -> Result<(), Problem> {
    let encoded = line.bytes("encoded")?;
    same("type", &encoded.first().copied(), &Some(line.number("type")?))?;
    same("length", &codec_json::stored_len(&encoded)?, &encoded.len())?;
    let decoded = text(&Value::Json(&encoded), &column(tp::JSON, 0), &TimeZone::Utc)?;
    json_text(&decoded, line.text("text")?)?;
    // Without a reason to differ, every character is the same.
    if line.texts("caveats")?.is_empty() {
        same("text", &decoded.as_str(), &line.text("text")?)?;
    }
    Ok(())
}

pub(super) fn enumset(line: &Line<'_>) -> Result<(), Problem> {
    let kind = match line.text("type")? {
        "enum" => tp::ENUM,
        "set" => tp::SET,
        "bit" => tp::BIT,
        "vector" => tp::VECTOR,
        other => return Err(Problem::new(format!("an unknown type {other:?}"))),
    };
    let mut of_type = column(kind, 0);
    of_type.ty.elems = line.texts("elems")?;
    if kind == tp::BIT {
        of_type.ty.flen = line.number("flen")?;
    }
    three_forms(line, &of_type, &TimeZone::Utc)
}
