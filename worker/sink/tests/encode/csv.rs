use std::sync::Arc;

use tidemark_crds::CsvOptions;
use tidemark_sink::encode::{Csv, RowEvent, RowKind};
use tidemark_tidb::{StoredValue, Table, TimeZone, Value};

use crate::columns::{COMMIT, cases, column, row, table};

fn lines(table: &Arc<Table>, options: &CsvOptions, events: &[RowEvent<'_>]) -> String {
    let csv = Csv::new(table, options, &TimeZone::parse("+08:00").unwrap()).unwrap();
    let mut out = Vec::new();
    csv.header(&mut out);
    for event in events {
        csv.row(event, COMMIT, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn event<'a>(kind: RowKind, new: &'a [Value<'a>], old: &'a [Value<'a>]) -> RowEvent<'a> {
    RowEvent {
        kind,
        new,
        old,
        key_only: false,
    }
}

fn small() -> Arc<Table> {
    table(
        vec![column("id", 3, 0, "binary"), column("na\"me", 15, 0, "utf8mb4")],
        &[0],
    )
}

const OLD: [Value<'_>; 2] = [Value::Int(1), Value::Null];
const NEW: [Value<'_>; 2] = [Value::Int(1), Value::Bytes(b"a\"b,\\c\r\nd")];

fn all() -> [RowEvent<'static>; 3] {
    [
        event(RowKind::Insert, &NEW, &[]),
        event(RowKind::Update, &NEW, &OLD),
        event(RowKind::Delete, &[], &OLD),
    ]
}

#[test]
fn each_kind_of_change_is_a_line() {
    let commit = COMMIT.0;
    let text = "\"a\"\"b,\\c\r\nd\"";
    assert_eq!(
        lines(&small(), &CsvOptions::default(), &all()),
        format!(
            "\"I\",\"t\",\"shop\",{commit},1,{text}\r\n\
             \"U\",\"t\",\"shop\",{commit},1,{text}\r\n\
             \"D\",\"t\",\"shop\",{commit},1,\\N\r\n"
        )
    );
}

#[test]
fn with_old_values_an_update_is_two_lines() {
    let options = CsvOptions {
        output_old_value: true,
        include_commit_ts: false,
        output_field_header: true,
        null: "NULL".into(),
        ..CsvOptions::default()
    };
    let text = "\"a\"\"b,\\c\r\nd\"";
    assert_eq!(
        lines(&small(), &options, &all()),
        format!(
            "\"ticdc-meta$operation\",\"ticdc-meta$table\",\"ticdc-meta$schema\",\
             \"ticdc-meta$is-update\",\"id\",\"na\"\"me\"\r\n\
             \"I\",\"t\",\"shop\",false,1,{text}\r\n\
             \"D\",\"t\",\"shop\",true,1,NULL\r\n\
             \"I\",\"t\",\"shop\",true,1,{text}\r\n\
             \"D\",\"t\",\"shop\",false,1,NULL\r\n"
        )
    );
}

#[test]
fn without_quotes_texts_are_escaped() {
    let options = CsvOptions {
        quote: String::new(),
        delimiter: "|+".into(),
        ..CsvOptions::default()
    };
    let new = [Value::Int(1), Value::Bytes(b"a|b|+c\\N\r\nd")];
    assert_eq!(
        lines(&small(), &options, &[event(RowKind::Insert, &new, &[])]),
        format!("I|+t|+shop|+{}|+1|+a|b\\|\\+c\\\\N\\r\\nd\r\n", COMMIT.0)
    );
}

#[test]
fn every_type_has_its_cell() {
    for case in cases() {
        let values = [case.value.clone()];
        let one = table(vec![case.column.clone()], &[]);
        let full = row(&values);
        for (event, operation) in [
            (event(RowKind::Insert, &full, &[]), "I"),
            (event(RowKind::Update, &full, &[Value::Null]), "U"),
            (event(RowKind::Delete, &[], &full), "D"),
        ] {
            assert_eq!(
                lines(&one, &CsvOptions::default(), &[event]),
                format!("\"{operation}\",\"t\",\"shop\",{},{}\r\n", COMMIT.0, case.csv),
                "{}",
                case.mysql_type
            );
        }
    }
    let nulls = [StoredValue::Null];
    assert_eq!(row(&nulls), [Value::Null]);
}

#[test]
fn options_that_can_t_be_read_back_are_refused() {
    let check = |delimiter: &str, quote: &str| {
        let options = CsvOptions {
            delimiter: delimiter.into(),
            quote: quote.into(),
            ..CsvOptions::default()
        };
        Csv::check(&options).map_err(|error| error.to_string())
    };
    assert_eq!(check(";", "'"), Ok(()));
    assert_eq!(check("äöü", ""), Ok(()));
    for (delimiter, quote, field) in [
        ("", "\"", "delimiter"),
        ("abcd", "\"", "delimiter"),
        ("\n", "\"", "delimiter"),
        (",", "''", "quote"),
        ("\"", "\"", "quote"),
        ("\\", "", "delimiter"),
    ] {
        let error = check(delimiter, quote).unwrap_err();
        assert!(error.starts_with(&format!("sink.storage.csv.{field}")), "{error}");
    }
}
