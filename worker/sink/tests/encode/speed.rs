//! `cargo test --release -p tidemark-sink --test encode -- --ignored --nocapture speed`

use std::time::Instant;

use tidemark_crds::CsvOptions;
use tidemark_sink::encode::{CanalJson, CanalOptions, Csv, RowEvent, RowKind};
use tidemark_tidb::{TimeZone, Value};

use crate::columns::{COMMIT, UNSIGNED, column, packed, table};

#[test]
#[ignore = "measures"]
fn ten_columns() {
    let mut columns: Vec<_> = (0..6)
        .map(|n| column(&format!("number_{n}"), 8, 0, "binary"))
        .collect();
    columns[3] = column("count", 3, UNSIGNED, "binary");
    columns.extend((6..9).map(|n| column(&format!("text_{n}"), 15, 0, "utf8mb4")));
    columns.push(column("made_at", 12, 0, "binary"));
    let table = table(columns, &[0]);
    let mut row = vec![Value::Int(1_234_567_890); 6];
    row[3] = Value::UInt(77);
    row.extend([Value::Bytes(b"a text of some forty bytes, as they come"); 3]);
    let made_at = packed("2024-02-29 23:59:59");
    row.push(made_at.as_value());
    let event = RowEvent {
        kind: RowKind::Insert,
        new: &row,
        old: &[],
        key_only: false,
    };
    let zone = TimeZone::Utc;
    let canal = CanalJson::new(
        &table,
        &CanalOptions {
            tidb_extension: true,
            zone: zone.clone(),
        },
    );
    let csv = Csv::new(&table, &CsvOptions::default(), &zone).unwrap();
    measure("canal-json", |out| canal.row(&event, COMMIT, 1, out).unwrap());
    measure("csv", |out| csv.row(&event, COMMIT, out).unwrap());
}

fn measure(what: &str, mut row: impl FnMut(&mut Vec<u8>)) {
    const ROWS: u32 = 1_000_000;
    let mut out = Vec::with_capacity(1 << 20);
    let begun = Instant::now();
    let mut bytes = 0;
    for _ in 0..ROWS {
        row(&mut out);
        if out.len() > 1 << 19 {
            bytes += out.len();
            out.clear();
        }
    }
    let each = begun.elapsed() / ROWS;
    eprintln!(
        "{what:12} {each:?} a row of {} bytes",
        (bytes + out.len()) / ROWS as usize
    );
}
