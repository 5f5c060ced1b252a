//! How long a row takes. Run with `cargo test --release -p tidemark-tidb --test speed -- --ignored --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs
)]

mod tables;

use std::hint::black_box;
use std::time::{Duration, Instant};

use tables::{Part, TABLE_ID, clustered_key, column, row_v2, table};
use tidemark_tidb::key::int_record_key;
use tidemark_tidb::{Handle, RowKey, Table, TimeZone};

/// Ten columns of about 200 bytes: an id, integers, a decimal, times, a double, strings.
fn ten_columns(handle: Handle) -> (Table, Vec<u8>) {
    let types = [8, 3, 15, 246, 12, 7, 5, 15, 1, 252];
    let mut columns: Vec<_> = types.iter().zip(1..).map(|(tp, id)| column(id, *tp)).collect();
    columns[3].ty.decimal = 2;
    let note = [b'n'; 60];
    let body = [b'b'; 90];
    let time = 0x19b2_bad1_4601_e240_u64.to_le_bytes();
    let row = row_v2(&[
        (2, Some(&[1, 2, 3, 4])),
        (3, Some(&note)),
        (4, Some(&[10, 2, 128, 0, 0, 12, 34])),
        (5, Some(&time)),
        (6, Some(&time)),
        (7, Some(&[0xbf, 0xf8, 0, 0, 0, 0, 0, 0])),
        (8, Some(b"a short string")),
        (9, Some(&[1])),
        (10, Some(&body)),
    ]);
    (table(handle, columns), row)
}

fn measure(what: &str, mut once: impl FnMut()) {
    let mut best = Duration::MAX;
    const ROWS: u32 = 100_000;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..ROWS {
            once();
        }
        best = best.min(start.elapsed());
    }
    println!("{what}: {:.0} ns/row", best.as_nanos() as f64 / f64::from(ROWS));
}

#[test]
#[ignore = "a measurement, not a check"]
fn ten_columns_per_row() {
    let (table, row) = ten_columns(Handle::Int(0));
    let key = int_record_key(TABLE_ID, 1);
    measure("decode, 10 columns, integer handle", || {
        let key = RowKey::new(black_box(&key));
        black_box(table.decode(&key, black_box(&row)).unwrap());
    });

    let (clustered, row) = ten_columns(Handle::Common(vec![(0, None)]));
    let clustered_key = clustered_key(&[Part::Int(1)]);
    measure("decode, 10 columns, clustered key", || {
        let key = RowKey::new(black_box(&clustered_key));
        black_box(clustered.decode(&key, black_box(&row)).unwrap());
    });

    let key = RowKey::new(&key);
    let values = table.decode(&key, &row).unwrap();
    for zone in ["UTC", "+08:00", "Europe/Berlin"] {
        let parsed = TimeZone::parse(zone).unwrap();
        let mut out = Vec::new();
        measure(&format!("print, 10 columns, {zone}"), || {
            out.clear();
            for (column, value) in table.columns.iter().zip(&values) {
                value.write_text(column, &parsed, &mut out).unwrap();
            }
            black_box(&out);
        });
    }
}
