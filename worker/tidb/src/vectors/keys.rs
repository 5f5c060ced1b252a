//! The file of keys.

use crate::codec::comparable::{self, Grouped};
use crate::codec::datum::Datum;
use crate::key::{self, RecordKey, RowKey, keyspace_span, record_span};
use crate::row::datum_value;
use crate::{Column, DecodeError, Handle, Layout, Table, TimeZone, Value};

use super::line::{Line, Problem, same};
use super::rows::table;
use super::value::{check, described};

pub(super) fn key(line: &Line<'_>) -> Result<(), Problem> {
    let kind = line.text("kind")?;
    let table_id: i64 = line.number("table_id")?;
    if kind == "record_range" {
        let span = record_span(table_id);
        same("start", &span.start.to_vec(), &line.bytes("start")?)?;
        same("end", &span.end.to_vec(), &line.bytes("end")?)?;
        same(
            "encoded start",
            &grouped(&span.start),
            &line.bytes("encoded_start")?,
        )?;
        return same("encoded end", &grouped(&span.end), &line.bytes("encoded_end")?);
    }
    let key = line.bytes("key")?;
    forms(line, &key)?;
    match kind {
        "record_int" => {
            let parsed = record(line, &key, table_id)?;
            let handle: i64 = line.number("handle")?;
            same("handle", &parsed.int_handle()?, &handle)?;
            same(
                "unsigned handle",
                &handle.cast_unsigned(),
                &line.number("handle_unsigned")?,
            )?;
            same("built again", &key::int_record_key(table_id, handle), &key)
        }
        "record_common" => {
            let parsed = record(line, &key, table_id)?;
            let handle = line.bytes("handle")?;
            same("handle", &parsed.handle, &handle.as_slice())?;
            same("built again", &key::common_record_key(table_id, &handle), &key)?;
            clustered(line, &key, table_id)
        }
        "index" => index(line, &key, table_id),
        other => Err(Problem::new(format!("an unknown kind {other:?}"))),
    }
}

fn grouped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    comparable::write_bytes(bytes, &mut out);
    out
}

/// The key encoded, with a timestamp, and in a keyspace.
fn forms(line: &Line<'_>, key: &[u8]) -> Result<(), Problem> {
    let encoded = line.bytes("encoded")?;
    same("encoded", &grouped(key), &encoded)?;
    let mut plain = Vec::new();
    Grouped::read(&encoded)?.unpack(&mut plain);
    same("decoded", &plain.as_slice(), &key)?;
    let mut versioned = encoded;
    comparable::write_u64(comparable::descending(line.number("ts")?), &mut versioned);
    same("with a timestamp", &versioned, &line.bytes("encoded_ts")?)?;

    let mut inside = Vec::new();
    key::write_keyspace(line.number("keyspace")?, &mut inside);
    inside.extend_from_slice(key);
    same("in a keyspace", &inside, &line.bytes("keyspace_key")?)?;
    same(
        "encoded in a keyspace",
        &grouped(&inside),
        &line.bytes("keyspace_encoded")?,
    )?;
    same("without the keyspace", &key::without_keyspace(&inside), &key)
}

/// Parses and rebuilds a record key, in and out of its keyspace.
fn record<'k>(line: &Line<'_>, key: &'k [u8], table_id: i64) -> Result<RecordKey<'k>, Problem> {
    let parsed = RecordKey::parse(key)?;
    same("table id", &parsed.physical_id, &table_id)?;
    same("keyspace", &parsed.keyspace, &None)?;
    same("built again", &parsed.build().as_slice(), &key)?;
    let span = record_span(table_id);
    same("inside the table's span", &span.contains(key), &true)?;

    let keyspace: u32 = line.number("keyspace")?;
    let inside = line.bytes("keyspace_key")?;
    let parsed_inside = RecordKey::parse(&inside)?;
    same("keyspace", &parsed_inside.keyspace, &Some(keyspace))?;
    same("handle in a keyspace", &parsed_inside.handle, &parsed.handle)?;
    same("built again", &parsed_inside.build(), &inside)?;
    same(
        "inside the keyspace's span",
        &keyspace_span(keyspace, &span).contains(&inside),
        &true,
    )?;
    Ok(parsed)
}

/// Checks a value in a key; strings are there as their sort keys.
fn in_key(column: &Column, value: &Value<'_>, expected: &Line<'_>) -> Result<(), Problem> {
    if !expected.has("sort_key") {
        return check(column, value, &expected.object("value")?, &TimeZone::Utc);
    }
    let sort_key = expected.bytes("sort_key")?;
    same("sort key", value, &Value::Bytes(&sort_key))?;
    let value = expected.object("value")?;
    if column.ty.is_whole_in_keys() && !value.has("null") {
        // CHAR loses trailing spaces before it is stored; some of the generator's values have them.
        let mut stored = value.bytes("hex")?;
        while column.ty.charset != "binary" && stored.last() == Some(&b' ') && stored != sort_key {
            stored.pop();
        }
        same("key and value", &sort_key, &stored)?;
    }
    Ok(())
}

fn clustered(line: &Line<'_>, key: &[u8], table_id: i64) -> Result<(), Problem> {
    let columns: Vec<(Column, Line<'_>)> = line
        .list("columns")?
        .zip(1..)
        .map(|(one, id)| Ok((described(&one, id)?, one)))
        .collect::<Result<_, Problem>>()?;
    let handle = (0..columns.len()).map(|at| (at, None)).collect();
    let table = Table {
        layout: Layout::Tidb(Handle::Common(handle)),
        ..table(
            table_id,
            columns.iter().map(|(column, _)| column.clone()).collect(),
        )
    };
    let key = RowKey::new(key);
    // An empty row: all values come from the key.
    for ((column, expected), value) in columns.iter().zip(table.decode(&key, &[])?) {
        in_key(column, &value, expected)?;
    }
    let whole = columns.iter().all(|(column, _)| column.ty.is_whole_in_keys());
    match table.decode_handle(&key) {
        Ok(values) => {
            same("told from the key alone", &true, &whole)?;
            same("the same values", &values, &table.decode(&key, &[])?)
        }
        Err(DecodeError::KeyLosesValue { .. }) => same("told from the key alone", &false, &whole),
        Err(problem) => Err(problem.into()),
    }
}

/// Index keys are no part of a table's stream, and no record keys; their datums are read all the same.
fn index(line: &Line<'_>, key: &[u8], table_id: i64) -> Result<(), Problem> {
    same("taken for a record", &RecordKey::parse(key).is_ok(), &false)?;
    same(
        "inside the table's span",
        &record_span(table_id).contains(key),
        &false,
    )?;
    let mut prefix = vec![b't'];
    comparable::write_i64(table_id, &mut prefix);
    prefix.extend_from_slice(b"_i");
    comparable::write_i64(line.number("index_id")?, &mut prefix);
    let mut rest = key
        .strip_prefix(prefix.as_slice())
        .ok_or_else(|| Problem::new("another prefix"))?;
    for (one, id) in line.list("columns")?.zip(1..) {
        let column = described(&one, id)?;
        let (datum, used) = Datum::read(rest)?;
        rest = rest.get(used..).unwrap_or_default();
        let mut plain = Vec::new();
        let value = match datum {
            Datum::Grouped(grouped) => {
                grouped.unpack(&mut plain);
                Value::Bytes(&plain)
            }
            datum => datum_value(&column.ty, datum)?,
        };
        if one.object("value")?.has("null") {
            same("value", &value, &Value::Null)?;
        } else {
            in_key(&column, &value, &one)?;
        }
    }
    if line.has("handle") {
        let (datum, used) = Datum::read(rest)?;
        same("handle", &datum, &Datum::Int(line.number("handle")?))?;
        rest = rest.get(used..).unwrap_or_default();
    }
    same("bytes left over", &rest.len(), &0)
}
