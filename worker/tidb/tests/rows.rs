//! Rows: what comes from the record, what from the key, and how values print.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod tables;

use tables::{Part, TABLE_ID, UNSIGNED, clustered_key, column, row_v2, table, text, text_column};
use tidemark_tidb::key::int_record_key;
use tidemark_tidb::{
    Checksum, DecodeError, Handle, Partition, RowKey, StoredValue, Table, TimeZone, Value, record_span,
};

const UTC: TimeZone = TimeZone::Utc;

#[test]
fn columns_come_in_schema_order_whatever_their_ids() {
    let row = hex::decode("80000400010002030506040500060008001000616c696365fb2c0140e20146d1bab219").unwrap();
    let mut unsigned = column(5, 8);
    unsigned.ty.flags = UNSIGNED;
    let mut at = column(6, 12);
    at.ty.decimal = 6;
    let table = table(
        Handle::RowId,
        vec![at, column(4, 3), column(2, 15), unsigned, column(3, 8)],
    );
    let key = int_record_key(TABLE_ID, 1);
    let key = RowKey::new(&key);
    let values = table.decode(&key, &row).unwrap();
    assert_eq!(
        values[1..],
        [
            Value::Null,
            Value::Bytes(b"alice"),
            Value::UInt(300),
            Value::Int(-5)
        ]
    );
    assert_eq!(
        text(&table.columns[0], &values[0], &UTC),
        "2024-02-29 13:05:06.123456"
    );
}

#[test]
fn unknown_ids_are_skipped_and_absent_columns_have_their_default() {
    let row = row_v2(&[(1, Some(&[7])), (3, None), (9, Some(&[9]))]);
    let mut added = column(5, 3);
    added.absent = StoredValue::Int(42);
    let table = table(Handle::RowId, vec![column(1, 3), column(4, 3), added]);
    let key = int_record_key(TABLE_ID, 1);
    let key = RowKey::new(&key);
    assert_eq!(
        table.decode(&key, &row).unwrap(),
        [Value::Int(7), Value::Null, Value::Int(42)]
    );
}

#[test]
fn a_null_that_is_stored_is_no_default() {
    let row = row_v2(&[(5, None)]);
    let mut added = column(5, 3);
    added.absent = StoredValue::Int(42);
    let table = table(Handle::RowId, vec![added]);
    let key = int_record_key(TABLE_ID, 1);
    assert_eq!(table.decode(&RowKey::new(&key), &row).unwrap(), [Value::Null]);
}

#[test]
fn an_integer_handle_is_a_column() {
    let mut id = column(1, 8);
    let row = row_v2(&[(2, Some(&[7]))]);
    let signed = table(Handle::Int(0), vec![id.clone(), column(2, 3)]);
    let key = int_record_key(TABLE_ID, -2);
    let key = RowKey::new(&key);
    assert_eq!(
        signed.decode(&key, &row).unwrap(),
        [Value::Int(-2), Value::Int(7)]
    );
    assert_eq!(signed.decode_handle(&key).unwrap(), [Value::Int(-2), Value::Null]);
    id.ty.flags = UNSIGNED;
    let unsigned = table(Handle::Int(0), vec![id, column(2, 3)]);
    assert_eq!(unsigned.decode(&key, &row).unwrap()[0], Value::UInt(u64::MAX - 1));
}

#[test]
fn long_strings_of_a_clustered_key_are_put_together() {
    let long = b"a string that takes several groups";
    let longer = b"another one, which takes even more groups than the first";
    let key = clustered_key(&[
        Part::Bytes(long),
        Part::Int(7),
        Part::Bytes(b"short"),
        Part::Bytes(longer),
    ]);
    let columns = vec![
        column(1, 15),
        column(2, 8),
        column(3, 15),
        column(4, 15),
        column(5, 3),
    ];
    let handle = (0..4).map(|at| (at, None)).collect();
    let table = table(Handle::Common(handle), columns);
    let key = RowKey::new(&key);
    let row = row_v2(&[(5, Some(&[1]))]);
    let expected = [
        Value::Bytes(long),
        Value::Int(7),
        Value::Bytes(b"short"),
        Value::Bytes(longer),
        Value::Int(1),
    ];
    assert_eq!(table.decode(&key, &row).unwrap(), expected);
    // The joined strings serve the old row too.
    assert_eq!(table.decode(&key, &row).unwrap(), expected);
    assert_eq!(table.decode_handle(&key).unwrap()[..4], expected[..4]);
}

#[test]
fn a_value_in_the_row_goes_before_the_sort_key() {
    let title = text_column(1, 15, "utf8mb4_general_ci");
    let table = table(Handle::Common(vec![(0, None)]), vec![title]);
    let key = clustered_key(&[Part::Bytes(b"\0H\0E\0L\0L\0O")]);
    let key = RowKey::new(&key);
    let row = row_v2(&[(1, Some(b"Hello"))]);
    assert_eq!(table.decode(&key, &row).unwrap(), [Value::Bytes(b"Hello")]);
    // Without the new collations the key holds the string and the row does not.
    let old = clustered_key(&[Part::Bytes(b"Hello")]);
    let old = RowKey::new(&old);
    assert_eq!(
        table.decode(&old, &row_v2(&[])).unwrap(),
        [Value::Bytes(b"Hello")]
    );
}

#[test]
fn a_key_alone_is_refused_where_it_may_hold_something_else() {
    let cases = [
        (text_column(1, 15, "utf8mb4_bin"), None, false),
        (text_column(1, 254, "utf8mb4_bin"), None, true),
        (text_column(1, 254, "gbk_bin"), None, false),
        (text_column(1, 254, "utf8mb4_0900_ai_ci"), None, false),
        (text_column(1, 15, "utf8mb4_0900_bin"), None, true),
        (column(1, 15), None, true),
        (column(1, 15), Some(3), false),
    ];
    for (column, prefix, whole) in cases {
        let collate = column.ty.collate.clone();
        let table = table(Handle::Common(vec![(0, prefix)]), vec![column]);
        let key = clustered_key(&[Part::Bytes(b"abc")]);
        match table.decode_handle(&RowKey::new(&key)) {
            Ok(values) => assert!(whole && values == [Value::Bytes(b"abc")], "{collate} {prefix:?}"),
            Err(DecodeError::KeyLosesValue { column }) => {
                assert!(!whole && column == "c1", "{collate} {prefix:?}");
            }
            Err(problem) => panic!("{problem}"),
        }
    }
}

#[test]
fn rows_of_other_tables_are_refused() {
    let mut own = table(Handle::RowId, vec![column(1, 3)]);
    let foreign = int_record_key(105, 1);
    let foreign = RowKey::new(&foreign);
    let refused = DecodeError::ForeignKey {
        expected: 104,
        found: 105,
    };
    assert_eq!(own.decode(&foreign, &row_v2(&[])), Err(refused));
    own.partitions = vec![Partition {
        id: 105,
        name: "p0".to_owned(),
    }];
    assert_eq!(own.decode(&foreign, &row_v2(&[])).unwrap(), [Value::Null]);
    for key in [
        &b""[..],
        b"t",
        b"m_meta",
        b"t\x80\0\0\0\0\0\0\x68_i\x80\0\0\0\0\0\0\x01",
    ] {
        assert!(matches!(
            own.decode(&RowKey::new(key), &row_v2(&[])),
            Err(DecodeError::Key(_))
        ));
    }
}

#[test]
fn a_damaged_value_names_its_column() {
    let table = table(Handle::RowId, vec![column(1, 3)]);
    let key = int_record_key(TABLE_ID, 1);
    let damaged = table
        .decode(&RowKey::new(&key), &row_v2(&[(1, Some(&[1, 2, 3]))]))
        .unwrap_err();
    assert_eq!(damaged.to_string(), "column `c1` has no readable value");
}

#[test]
fn plain_keys_are_a_table_of_two_columns() {
    let table = Table::plain_kv();
    let key = RowKey::new(b"any key");
    assert_eq!(
        table.decode(&key, b"any value").unwrap(),
        [Value::Bytes(b"any key"), Value::Bytes(b"any value")]
    );
    assert_eq!(
        table.decode_handle(&key).unwrap(),
        [Value::Bytes(b"any key"), Value::Null]
    );
    let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        (table.schema.as_str(), table.name.as_str(), names.as_slice()),
        ("tikv", "kv", &["key", "value"][..])
    );
}

#[test]
fn a_span_holds_a_table_s_rows_and_nothing_else() {
    let span = record_span(TABLE_ID);
    for handle in [i64::MIN, -1, 0, 1, i64::MAX] {
        assert!(span.contains(&int_record_key(TABLE_ID, handle)));
        assert!(!span.contains(&int_record_key(TABLE_ID + 1, handle)));
        assert!(!span.contains(&int_record_key(TABLE_ID - 1, handle)));
    }
}

#[test]
fn a_changed_row_fails_its_checksum() {
    // INT 7 in column 1 under a checksum of version 1 over row and key.
    let key = int_record_key(TABLE_ID, 1);
    let mut row = vec![128, 2, 1, 0, 0, 0, 1, 1, 0, 7, 1];
    let mut crc = crc32fast::Hasher::new();
    crc.update(&row);
    crc.update(&key);
    row.extend(crc.finalize().to_le_bytes());
    let table = table(Handle::RowId, vec![column(1, 3)]);
    let key = RowKey::new(&key);
    assert_eq!(table.verify_checksum(&key, &row).unwrap(), Checksum::Match);
    row[9] = 8;
    assert!(matches!(
        table.verify_checksum(&key, &row).unwrap(),
        Checksum::Mismatch { .. }
    ));
    row[10] = 5;
    assert!(matches!(
        table.verify_checksum(&key, &row),
        Err(DecodeError::Row(_))
    ));
    assert_eq!(
        table.verify_checksum(&key, &row_v2(&[(1, Some(&[7]))])).unwrap(),
        Checksum::Absent
    );
}

#[test]
fn numbers_print_without_exponents() {
    let shown = |value: Value<'_>| text(&column(1, 5), &value, &UTC);
    assert_eq!(shown(Value::Double(1e21)), "1000000000000000000000");
    assert_eq!(shown(Value::Double(1.5e-7)), "0.00000015");
    assert_eq!(shown(Value::Float(0.1)), "0.1");
    assert_eq!(shown(Value::Double(-0.5)), "-0.5");
    assert_eq!(shown(Value::Int(i64::MIN)), "-9223372036854775808");
    assert_eq!(shown(Value::UInt(u64::MAX)), "18446744073709551615");
    assert_eq!(text(&column(1, 13), &Value::Int(0), &UTC), "0000");
}

#[test]
fn decimals_print_at_the_column_s_scale() {
    let mut price = column(1, 246);
    price.ty.decimal = 4;
    let shown = |hex: &str| text(&price, &Value::Decimal(&hex::decode(hex).unwrap()), &UTC);
    assert_eq!(shown("010080"), "0.0000");
    assert_eq!(shown("02017ffa"), "-0.5000");
    assert_eq!(shown("0a027ffffff3dd"), "-12.3400");
    assert_eq!(shown("0a098000000001"), "0.000000001");
    assert_eq!(shown("0e04810dfb38d204d2"), "1234567890.1234");
}

#[test]
fn only_timestamps_show_in_the_zone() {
    let zone = TimeZone::parse("+08:00").unwrap();
    let packed = 0x19b2_bad1_4601_e240;
    assert_eq!(
        text(&column(1, 7), &Value::Time(packed), &zone),
        "2024-02-29 21:05:06"
    );
    assert_eq!(
        text(&column(1, 12), &Value::Time(packed), &zone),
        "2024-02-29 13:05:06"
    );
    assert_eq!(text(&column(1, 10), &Value::Time(packed), &zone), "2024-02-29");
    assert_eq!(text(&column(1, 7), &Value::Time(0), &zone), "0000-00-00 00:00:00");
}

#[test]
fn enums_and_sets_have_names() {
    let colour = column(1, 247);
    assert_eq!(Value::Enum(2).enum_name(&colour), Some("green"));
    assert_eq!(Value::Enum(0).enum_name(&colour), Some(""));
    assert_eq!(Value::Enum(3).enum_name(&colour), None);
    assert_eq!(
        Value::Set(3).set_names(&colour).collect::<Vec<_>>(),
        ["red", "green"]
    );
    assert_eq!(text(&colour, &Value::Set(3), &UTC), "3");
}

#[test]
fn json_prints_as_tidb_does() {
    let shown = |stored: &[u8]| text(&column(1, 245), &Value::Json(stored), &UTC);
    let double = |number: f64| shown(&[&[0x0b], &number.to_le_bytes()[..]].concat());
    assert_eq!(double(1.0), "1.0");
    assert_eq!(double(-0.0), "-0.0");
    assert_eq!(double(999_999_999_999_999.0), "999999999999999.0");
    assert_eq!(double(1e15), "1e15");
    assert_eq!(double(-6.208_321_269_459_253e16), "-6.208321269459253e16");
    assert_eq!(double(1e-15), "0.000000000000001");
    assert_eq!(double(2.5e-16), "2.5e-16");
    let string = |text: &[u8]| shown(&[&[0x0c, u8::try_from(text.len()).unwrap()], text].concat());
    assert_eq!(
        string("a\"\\\n\u{1}\u{2028}é<&>".as_bytes()),
        "\"a\\\"\\\\\\n\\u0001\\u2028é<&>\""
    );
    assert_eq!(string(b"x\xff\xfey"), "\"x\\ufffd\\ufffdy\"");
    let object = "0103000000370000002900000001002a00000001002b0000000100092c00000004010000000c34000000616263\
                  0100000000000000026869";
    assert_eq!(
        shown(&hex::decode(object).unwrap()),
        "{\"a\": 1, \"b\": true, \"c\": \"hi\"}"
    );
}

#[test]
fn json_that_points_into_itself_is_refused() {
    // An array whose only element begins where the array itself begins.
    let endless = [3, 1, 0, 0, 0, 13, 0, 0, 0, 3, 0, 0, 0, 0];
    let mut out = Vec::new();
    assert!(
        Value::Json(&endless)
            .write_text(&column(1, 245), &UTC, &mut out)
            .is_err()
    );
}
