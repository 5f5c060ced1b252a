//! Files of rows.

use crate::key::int_record_key;
use crate::{Checksum, Column, Handle, Layout, RowKey, StoredValue, Table, Value};

use super::line::{Line, Problem, same};
use super::value::{check, column, described, zone};

pub(super) fn row(line: &Line<'_>) -> Result<(), Problem> {
    let row = line.bytes("row")?;
    if line.has("large") {
        let large = row.get(1).is_some_and(|flags| flags & 1 != 0);
        same("large", &large, &line.flag("large")?)?;
    }
    let zone = zone(line.text("tz")?)?;
    let described: Vec<(Column, Line<'_>)> = line
        .list("columns")?
        .map(|one| Ok((described(&one, one.number("id")?)?, one.object("value")?)))
        .collect::<Result<_, Problem>>()?;
    let key = if line.has("key") {
        line.bytes("key")?
    } else {
        int_record_key(1, 1)
    };
    let key = RowKey::new(&key);
    let id = crate::RecordKey::parse(key.raw())?.physical_id;

    let columns: Vec<Column> = described.iter().map(|(column, _)| column.clone()).collect();
    let table = table(id, columns);
    for ((column, expected), value) in described.iter().zip(table.decode(&key, &row)?) {
        check(column, &value, expected, &zone)?;
    }

    // In the order of ids, the way tables mostly are; ids in between are skipped, absent ones get a default.
    let mut sorted: Vec<&(Column, Line<'_>)> = described.iter().collect();
    sorted.sort_by_key(|(column, _)| column.id);
    let kept: Vec<_> = sorted.iter().step_by(2).collect();
    let mut columns: Vec<Column> = kept.iter().map(|(column, _)| column.clone()).collect();
    for absent in line.list("absent")? {
        let id = absent.as_number()?;
        columns.push(Column {
            id,
            absent: StoredValue::Int(id),
            ..column(8, 0)
        });
    }
    let some = self::table(id, columns);
    let values = some.decode(&key, &row)?;
    for ((column, expected), value) in kept.iter().zip(&values) {
        check(column, value, expected, &zone)?;
    }
    for (column, value) in some.columns.iter().zip(&values).skip(kept.len()) {
        same("an absent column", value, &Value::Int(column.id))?;
    }

    if line.has("checksum") {
        checksum(line, &table, &key, &row)?;
    }
    Ok(())
}

fn checksum(line: &Line<'_>, table: &Table, key: &RowKey<'_>, row: &[u8]) -> Result<(), Problem> {
    let expected = line.object("checksum")?;
    same("checksum", &table.verify_checksum(key, row)?, &Checksum::Match)?;
    let mut sums = vec![expected.number::<u8>("header")?];
    for sum in ["crc", "extra"] {
        if expected.has(sum) {
            let sum = u32::try_from(expected.hex_number(sum)?).map_err(|_| Problem::new("not 32 bits"))?;
            sums.extend(sum.to_le_bytes());
        }
    }
    same(
        "trailer",
        &row.get(row.len().saturating_sub(sums.len())..),
        &Some(sums.as_slice()),
    )?;
    if line.has("handle") {
        let handle = crate::RecordKey::parse(key.raw())?.handle;
        same("handle", &handle, &line.bytes("handle")?.as_slice())?;
    }
    Ok(())
}

/// A table whose columns all lie in the row.
pub(super) fn table(id: i64, columns: Vec<Column>) -> Table {
    Table {
        id,
        columns,
        layout: Layout::Tidb(Handle::RowId),
        primary_key: Vec::new(),
        handle_key: Vec::new(),
        unique: Vec::new(),
        ..Table::plain_kv()
    }
}
