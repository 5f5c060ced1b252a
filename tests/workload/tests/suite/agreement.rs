//! The workload's encoders and the product's decoder are written apart; here they must agree.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidemark_tidb::schema::TableInfo;
use tidemark_tidb::{Checksum, RowKey, Table};
use tidemark_workload::encode::{Datum, RowFormat, encode_row};
use tidemark_workload::schema::{Generated, TableSpec, Underway, table_info};
use tidemark_workload::{ValueSizes, key_value, random_value, shapes};

use crate::canonical;

fn sample(table: &TableSpec, rng: &mut StdRng, identity: u64) -> Vec<Datum> {
    let keys = table.key_offsets();
    let mut row: Vec<Datum> = Vec::new();
    for (offset, column) in table.columns.iter().enumerate() {
        row.push(if keys.contains(&offset) {
            key_value(&column.kind, identity)
        } else if matches!(column.generated, Some(Generated::Virtual(_))) {
            Datum::Null
        } else if let Some(origin) = column.origin.as_ref().filter(|_| rng.random()) {
            origin.clone()
        } else {
            random_value(rng, column, &ValueSizes::default())
        });
    }
    row
}

/// Columns of the row's value; those whose absence means the same are left out half of the time.
fn stored<'a>(table: &'a TableSpec, rng: &mut StdRng, row: &'a [Datum]) -> Vec<(i64, &'a Datum)> {
    let mut columns = Vec::new();
    for (offset, column) in table.columns.iter().enumerate() {
        let implied = *column.origin.as_ref().unwrap_or(&Datum::Null) == row[offset];
        if table.in_row(offset) && !(implied && rng.random()) {
            columns.push((column.id, &row[offset]));
        }
    }
    columns
}

fn decoded_table(spec: &TableSpec) -> Table {
    let json = serde_json::to_vec(&table_info(spec, 1, Underway::default())).unwrap();
    let info: TableInfo = serde_json::from_slice(&json).expect("the product reads the schema");
    Table::from_info("shop", &info).expect("the product knows the schema")
}

#[test]
fn every_shape_of_row_decodes_to_its_own_text() {
    let mut tables = shapes::mixed(true);
    tables.push(shapes::bank());
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        for (index, spec) in tables.iter_mut().enumerate() {
            spec.id = 104 + index as i64;
            let row = sample(spec, &mut rng, seed);
            let table = decoded_table(spec);
            let key = spec.record_key(&row, 77);
            let columns = stored(spec, &mut rng, &row);
            let value = encode_row(spec.row_format, &columns, &key, &spec.handle(&row, 77));
            let row_key = RowKey::new(&key);
            let values = table
                .decode(&row_key, &value)
                .unwrap_or_else(|problem| panic!("seed {seed}, {}: {problem}", spec.name));
            let emitted = spec
                .columns
                .iter()
                .zip(&row)
                .filter(|(column, _)| column.is_emitted());
            for ((column, datum), (known, decoded)) in emitted.zip(table.columns.iter().zip(&values)) {
                let place = format!("seed {seed}, {}.{}", spec.name, column.name);
                assert_eq!(column.name, known.name, "{place}");
                // NULL gives no text, and so does an empty string: the kinds of value tell them apart.
                assert_eq!(
                    *decoded == tidemark_tidb::Value::Null,
                    *datum == Datum::Null,
                    "{place}"
                );
                assert_eq!(
                    canonical(decoded, known),
                    datum.text(&column.kind).unwrap_or_default(),
                    "{place}"
                );
            }
            if matches!(spec.row_format, RowFormat::V2Checksum(_)) {
                let checksum = table.verify_checksum(&row_key, &value).expect("a checksum");
                assert_eq!(checksum, Checksum::Match, "seed {seed}, {}", spec.name);
            }
        }
    }
}

#[test]
fn the_product_names_rows_by_the_same_columns() {
    for spec in shapes::mixed(true) {
        let table = decoded_table(&spec);
        let name = |offset: &usize| table.columns[*offset].name.clone();
        let expected: Vec<String> = spec
            .key_offsets()
            .iter()
            .map(|offset| spec.columns[*offset].name.clone())
            .collect();
        assert_eq!(
            table.handle_key.iter().map(name).collect::<Vec<_>>(),
            expected,
            "{}",
            spec.name
        );
        let physical: Vec<i64> = table.physical_ids().collect();
        assert_eq!(physical, spec.physical_ids(), "{}", spec.name);
    }
}
