//! Tables and keys that several tests use.
#![allow(dead_code, unreachable_pub)]

use tidemark_tidb::codec::{comparable, datum};
use tidemark_tidb::key::common_record_key;
use tidemark_tidb::{Column, ColumnType, Handle, Layout, StoredValue, Table, TimeZone, Value};

pub const TABLE_ID: i64 = 104;
pub const UNSIGNED: u32 = 32;

/// Every type byte that a column can have.
pub const ALL_TYPES: [u8; 26] = [
    1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 225, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254,
];

pub fn column(id: i64, tp: u8) -> Column {
    Column {
        id,
        name: format!("c{id}"),
        ty: ColumnType {
            tp,
            flags: 0,
            flen: -1,
            decimal: 0,
            charset: "binary".to_owned(),
            collate: "binary".to_owned(),
            elems: vec!["red".to_owned(), "green".to_owned()],
        },
        not_null: false,
        primary: false,
        generated: false,
        default: None,
        absent: StoredValue::Null,
    }
}

pub fn text_column(id: i64, tp: u8, collate: &str) -> Column {
    let mut column = column(id, tp);
    column.ty.charset = "utf8mb4".to_owned();
    column.ty.collate = collate.to_owned();
    column
}

pub fn table(handle: Handle, columns: Vec<Column>) -> Table {
    Table {
        id: TABLE_ID,
        columns,
        layout: Layout::Tidb(handle),
        ..Table::plain_kv()
    }
}

pub fn text(column: &Column, value: &Value<'_>, zone: &TimeZone) -> String {
    let mut out = Vec::new();
    value.write_text(column, zone, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// A clustered key of strings and integers.
pub enum Part<'a> {
    Bytes(&'a [u8]),
    Int(i64),
}

pub fn clustered_key(parts: &[Part<'_>]) -> Vec<u8> {
    let mut handle = Vec::new();
    for part in parts {
        match part {
            Part::Bytes(bytes) => {
                handle.push(datum::BYTES);
                comparable::write_bytes(bytes, &mut handle);
            }
            Part::Int(number) => {
                handle.push(datum::INT);
                comparable::write_i64(*number, &mut handle);
            }
        }
    }
    common_record_key(TABLE_ID, &handle)
}

/// A v2 row of small ids: `None` is NULL.
pub fn row_v2(cells: &[(u8, Option<&[u8]>)]) -> Vec<u8> {
    let mut values: Vec<_> = cells
        .iter()
        .filter_map(|(id, cell)| cell.map(|cell| (*id, cell)))
        .collect();
    values.sort_unstable();
    let mut nulls: Vec<_> = cells
        .iter()
        .filter(|(_, cell)| cell.is_none())
        .map(|(id, _)| *id)
        .collect();
    nulls.sort_unstable();
    let mut row = vec![128, 0];
    row.extend(u16::try_from(values.len()).unwrap().to_le_bytes());
    row.extend(u16::try_from(nulls.len()).unwrap().to_le_bytes());
    row.extend(values.iter().map(|(id, _)| *id));
    row.extend(nulls);
    let mut end = 0_u16;
    for (_, cell) in &values {
        end += u16::try_from(cell.len()).unwrap();
        row.extend(end.to_le_bytes());
    }
    row.extend(values.iter().flat_map(|(_, cell)| cell.iter().copied()));
    row
}
