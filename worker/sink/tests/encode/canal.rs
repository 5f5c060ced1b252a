use std::sync::Arc;

use serde_json::{Value as Json, json};
use tidemark_model::Ts;
use tidemark_sink::encode::{CanalDdl, CanalDdlKind, CanalJson, CanalOptions, RowEvent, RowKind};
use tidemark_tidb::{StoredValue, Table, TimeZone, Value};

use crate::columns::{COMMIT, UNSIGNED, cases, column, row, table};

const NOW: u64 = 1_700_000_001_000;

fn encoder(table: &Arc<Table>, tidb_extension: bool) -> CanalJson {
    let zone = TimeZone::parse("+08:00").unwrap();
    CanalJson::new(table, &CanalOptions { tidb_extension, zone })
}

fn text(table: &Arc<Table>, event: &RowEvent<'_>) -> String {
    let mut out = Vec::new();
    encoder(table, true).row(event, COMMIT, NOW, &mut out).unwrap();
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

/// `id INT PRIMARY KEY, n BIGINT UNSIGNED, name VARCHAR`
fn small() -> Arc<Table> {
    let columns = vec![
        column("id", 3, 0, "binary"),
        column("n", 8, UNSIGNED, "binary"),
        column("na\"me", 15, 0, "utf8mb4"),
    ];
    table(columns, &[0])
}

#[test]
fn an_insert_is_written_field_by_field() {
    let new = [Value::Int(1), Value::UInt(5), Value::Bytes(b"x\ty")];
    assert_eq!(
        text(&small(), &event(RowKind::Insert, &new, &[])),
        concat!(
            r#"{"id":0,"database":"shop","table":"t","pkNames":["id"],"isDdl":false,"type":"INSERT","#,
            r#""es":1700000000123,"ts":1700000001000,"sql":"","sqlType":{"id":4,"n":-5,"na\"me":12},"#,
            r#""mysqlType":{"id":"int","n":"bigint unsigned","na\"me":"varchar"},"old":null,"#,
            r#""data":[{"id":"1","n":"5","na\"me":"x\ty"}],"_tidb":{"commitTs":445644800032243713}}"#,
        )
    );
}

#[test]
fn an_update_tells_all_old_values_before_the_new() {
    let old = [Value::Int(1), Value::UInt(u64::MAX), Value::Null];
    let new = [Value::Int(1), Value::UInt(5), Value::Bytes(b"x")];
    assert_eq!(
        text(&small(), &event(RowKind::Update, &new, &old)),
        concat!(
            r#"{"id":0,"database":"shop","table":"t","pkNames":["id"],"isDdl":false,"type":"UPDATE","#,
            r#""es":1700000000123,"ts":1700000001000,"sql":"","sqlType":{"id":4,"n":-5,"na\"me":12},"#,
            r#""mysqlType":{"id":"int","n":"bigint unsigned","na\"me":"varchar"},"#,
            r#""old":[{"id":"1","n":"18446744073709551615","na\"me":null}],"#,
            r#""data":[{"id":"1","n":"5","na\"me":"x"}],"_tidb":{"commitTs":445644800032243713}}"#,
        )
    );
}

#[test]
fn a_delete_tells_the_deleted_row_and_its_codes() {
    let old = [Value::Int(1), Value::UInt(u64::MAX), Value::Null];
    assert_eq!(
        text(&small(), &event(RowKind::Delete, &[], &old)),
        concat!(
            r#"{"id":0,"database":"shop","table":"t","pkNames":["id"],"isDdl":false,"type":"DELETE","#,
            r#""es":1700000000123,"ts":1700000001000,"sql":"","sqlType":{"id":4,"n":3,"na\"me":12},"#,
            r#""mysqlType":{"id":"int","n":"bigint unsigned","na\"me":"varchar"},"old":null,"#,
            r#""data":[{"id":"1","n":"18446744073709551615","na\"me":null}],"#,
            r#""_tidb":{"commitTs":445644800032243713}}"#,
        )
    );
}

#[test]
fn a_delete_without_its_old_row_tells_the_key_alone() {
    let old = [Value::Int(1), Value::Null, Value::Null];
    let mut event = event(RowKind::Delete, &[], &old);
    event.key_only = true;
    let json: Json = serde_json::from_str(&text(&small(), &event)).unwrap();
    assert_eq!(json["data"], json!([{"id": "1"}]));
    assert_eq!(json["sqlType"], json!({"id": 4}));
    assert_eq!(json["mysqlType"], json!({"id": "int"}));
    // A table without a key has nothing to tell.
    let keyless = table(vec![column("a", 3, 0, "binary")], &[]);
    event.old = &[Value::Null];
    let json: Json = serde_json::from_str(&text(&keyless, &event)).unwrap();
    assert_eq!((&json["data"], &json["pkNames"]), (&json!([{}]), &Json::Null));
}

#[test]
fn without_the_extension_there_is_no_commit_ts() {
    let new = [Value::Int(1), Value::UInt(5), Value::Null];
    let mut out = Vec::new();
    encoder(&small(), false)
        .row(&event(RowKind::Insert, &new, &[]), COMMIT, NOW, &mut out)
        .unwrap();
    let json: Json = serde_json::from_slice(&out).unwrap();
    assert_eq!(json.get("_tidb"), None);
    assert_eq!(json["data"][0]["id"], "1");
}

#[test]
fn every_type_has_its_codes_and_texts_in_insert_update_and_delete() {
    let cases = cases();
    let table = table(cases.iter().map(|case| case.column.clone()).collect(), &[7]);
    let values: Vec<StoredValue> = cases.iter().map(|case| case.value.clone()).collect();
    let nulls = vec![Value::Null; values.len()];
    let full = row(&values);
    for (event, full_in, null_in) in [
        (event(RowKind::Insert, &full, &[]), "data", None),
        (event(RowKind::Update, &full, &nulls), "data", Some("old")),
        (event(RowKind::Update, &nulls, &full), "old", Some("data")),
        (event(RowKind::Delete, &[], &full), "data", None),
    ] {
        let text = text(&table, &event);
        let json: Json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let images = json[full_in].as_array().unwrap();
        assert_eq!(images.len(), 1);
        for case in &cases {
            let name = case.column.name.as_str();
            let about = format!("{:?} {} in {}", event.kind, case.mysql_type, full_in);
            assert_eq!(images[0][name], json!(case.canal), "{about}");
            assert_eq!(json["mysqlType"][name], case.mysql_type, "{about}");
            if full_in == "data" {
                assert_eq!(json["sqlType"][name], case.sql_type, "{about}");
            }
            if let Some(null_in) = null_in {
                assert_eq!(json[null_in][0][name], Json::Null, "{about}");
            }
        }
        let columns = images[0].as_object().unwrap().len();
        assert_eq!(columns, cases.len(), "no column twice, none missing");
    }
}

#[test]
fn a_watermark_is_a_message_of_its_own() {
    let mut out = Vec::new();
    CanalJson::watermark(COMMIT, NOW, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            r#"{"id":0,"database":"","table":"","pkNames":null,"isDdl":false,"type":"TIDB_WATERMARK","#,
            r#""es":1700000000123,"ts":1700000001000,"sql":"","sqlType":null,"mysqlType":null,"#,
            r#""data":null,"old":null,"_tidb":{"watermarkTs":445644800032243713}}"#,
        )
    );
}

#[test]
fn a_ddl_tells_its_statement_and_kind() {
    let ddl = CanalDdl {
        schema: "shop",
        table: "t",
        kind: CanalDdlKind::CreateIndex,
        query: "CREATE INDEX \"i\" ON t (a)",
        commit_ts: Ts(COMMIT.0),
    };
    let mut out = Vec::new();
    CanalJson::ddl(&ddl, true, NOW, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            r#"{"id":0,"database":"shop","table":"t","pkNames":null,"isDdl":true,"type":"CINDEX","#,
            r#""es":1700000000123,"ts":1700000001000,"sql":"CREATE INDEX \"i\" ON t (a)","sqlType":null,"#,
            r#""mysqlType":null,"data":null,"old":null,"_tidb":{"commitTs":445644800032243713}}"#,
        )
    );
}
