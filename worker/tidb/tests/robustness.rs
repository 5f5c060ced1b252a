//! Damaged input gives errors, never panics.
#![allow(clippy::unwrap_used, missing_docs)]

mod tables;

use proptest::prelude::*;
use tables::{ALL_TYPES, Part, TABLE_ID, clustered_key, column, table};
use tidemark_tidb::codec::{datum, json};
use tidemark_tidb::key::{RecordKey, int_record_key};
use tidemark_tidb::meta_key::MetaKey;
use tidemark_tidb::schema::{DdlJob, SnapshotBuilder};
use tidemark_tidb::{Handle, RowKey, Table, TimeZone};

/// Two tables with a column of each type: one with a row id, one with a clustered key of them all.
fn everything() -> [Table; 2] {
    let columns: Vec<_> = ALL_TYPES
        .iter()
        .zip(1..)
        .map(|(tp, id)| column(id, *tp))
        .collect();
    let handle = (0..columns.len()).map(|at| (at, None)).collect();
    [
        table(Handle::RowId, columns.clone()),
        table(Handle::Common(handle), columns),
    ]
}

fn read_all(key: &[u8], row: &[u8]) {
    let key = RowKey::new(key);
    for table in everything() {
        if let Ok(values) = table.decode(&key, row) {
            assert_eq!(values.len(), table.columns.len());
            let zone = TimeZone::parse("+08:00").unwrap();
            for (column, value) in table.columns.iter().zip(values) {
                // Errors are fine.
                let _ = value.write_text(column, &zone, &mut Vec::new());
                let _ = value.set_names(column).count();
                let _ = value.enum_name(column);
            }
        }
        let _ = table.decode_handle(&key);
        let _ = table.verify_checksum(&key, row);
    }
}

/// A row of version 2 with plausible lists in front of random data.
fn plausible_row() -> impl Strategy<Value = Vec<u8>> {
    let cells = prop::collection::vec((1..=30_u8, prop::collection::vec(any::<u8>(), 0..14)), 0..20);
    (cells, 0..4_u8, prop::collection::vec(any::<u8>(), 0..10)).prop_map(|(mut cells, flags, tail)| {
        cells.sort();
        cells.dedup_by_key(|(id, _)| *id);
        let cells: Vec<_> = cells
            .iter()
            .map(|(id, cell)| (*id, Some(cell.as_slice())))
            .collect();
        let mut row = tables::row_v2(&cells);
        row[1] = flags;
        row.extend(tail);
        row
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn random_rows(row in prop::collection::vec(any::<u8>(), 0..120)) {
        read_all(&int_record_key(TABLE_ID, 1), &row);
        let mut second = vec![128];
        second.extend(row);
        read_all(&int_record_key(TABLE_ID, 1), &second);
    }

    #[test]
    fn plausible_rows_and_their_pieces(row in plausible_row(), cut in any::<prop::sample::Index>()) {
        let key = int_record_key(TABLE_ID, 1);
        read_all(&key, &row);
        read_all(&key, &row[..cut.index(row.len())]);
    }

    #[test]
    fn random_keys(key in prop::collection::vec(any::<u8>(), 0..60)) {
        read_all(&key, &[]);
        let _ = MetaKey::parse(&key);
        let mut meta = b"m".to_vec();
        meta.extend(&key);
        let _ = MetaKey::parse(&meta).map(|key| key.schema_key());
        let mut record = int_record_key(TABLE_ID, 1);
        record.truncate(11);
        record.extend(&key);
        read_all(&record, &[]);
    }

    #[test]
    fn pieces_of_clustered_keys(bytes in prop::collection::vec(any::<u8>(), 0..40), cut in any::<prop::sample::Index>()) {
        let key = clustered_key(&[Part::Bytes(&bytes), Part::Int(7), Part::Bytes(&bytes)]);
        let parsed = RecordKey::parse(&key).unwrap();
        prop_assert_eq!(parsed.build(), key.clone());
        read_all(&key[..cut.index(key.len())], &[]);
    }

    #[test]
    fn random_datums_and_json(bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 0..20_u8) {
        let mut stored = vec![kind];
        stored.extend(&bytes);
        let _ = datum::Datum::read(&stored);
        let _ = json::stored_len(&stored);
        let mut out = Vec::new();
        let _ = json::write_text(&stored, &mut out);
        // Each byte is printed once, with some marks around it.
        prop_assert!(out.len() <= 64 * stored.len());
    }

    #[test]
    fn random_metadata(key in prop::collection::vec(any::<u8>(), 0..40), value in ".{0,80}") {
        let mut builder = SnapshotBuilder::new(tidemark_model::Ts(1), std::sync::Arc::new(|_: &str, _: &str| true));
        let _ = builder.add(&key, value.as_bytes());
        let table = tidemark_tidb::meta_key::hash_field("DB:1", "Table:5");
        let _ = builder.add(&table, value.as_bytes());
        let _ = builder.finish();
        let _ = DdlJob::parse_done(value.as_bytes());
    }
}
