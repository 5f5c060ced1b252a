//! Going on where a run before ended, however it ended.

use std::fs;
use std::sync::Arc;

use serde_json::json;
use tempfile::tempdir;
use tidemark_model::Ts;
use tidemark_sink::{Sink, SinkError};

use crate::setup::{Acks, files, names, open, put, rows, table, write};

#[tokio::test]
async fn numbers_go_on_after_a_restart() {
    let dir = tempdir().unwrap();
    let orders = table(7, "orders");
    for run in 1..=3_u64 {
        let sink = open(dir.path(), json!({"dateSeparator": "none"})).await.unwrap();
        // Each run resumes at a checkpoint of its own; the definition is the same.
        sink.announce(&orders, Ts(400 + run)).await.unwrap();
        write(&sink, &orders, vec![put("a", format!("{run}"), run)]).await;
    }
    let found = files(dir.path());
    for run in 1..=3 {
        let name = format!("shop/orders/401/CDC00000{run}.json");
        assert_eq!(rows(&found[&name]), [format!("a={run}")]);
    }
    assert_eq!(found["shop/orders/401/meta/CDC.index"], "CDC000003.json\n");
    let schemas = found.keys().filter(|name| name.contains("schema_")).count();
    assert_eq!(schemas, 1, "an unchanged table keeps its version");
}

#[tokio::test]
async fn a_crash_between_data_and_index_loses_and_overwrites_nothing() {
    let dir = tempdir().unwrap();
    let orders = table(7, "orders");
    let folder = dir.path().join("shop/orders/400");
    {
        let sink = open(dir.path(), json!({"dateSeparator": "none"})).await.unwrap();
        sink.announce(&orders, Ts(400)).await.unwrap();
        write(&sink, &orders, vec![put("a", "1", 1)]).await;
    }
    // The crash: file 2 is there and the index does not say so.
    let first = fs::read(folder.join("CDC000001.json")).unwrap();
    fs::write(folder.join("CDC000002.json"), &first).unwrap();
    let sink = open(dir.path(), json!({"dateSeparator": "none"})).await.unwrap();
    sink.announce(&orders, Ts(400)).await.unwrap();
    write(&sink, &orders, vec![put("a", "2", 2)]).await;
    let found = files(&folder);
    assert_eq!(found["CDC000002.json"].as_bytes(), first, "never written over");
    assert_eq!(rows(&found["CDC000003.json"]), ["a=2"]);
    assert_eq!(found["meta/CDC.index"], "CDC000003.json\n");
}

#[tokio::test]
async fn a_crash_before_the_first_index_is_noticed_too() {
    let dir = tempdir().unwrap();
    let orders = table(7, "orders");
    let folder = dir.path().join("shop/orders/400");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("CDC000001.json"), "").unwrap();
    let sink = open(dir.path(), json!({"dateSeparator": "none"})).await.unwrap();
    sink.announce(&orders, Ts(400)).await.unwrap();
    write(&sink, &orders, vec![put("a", "2", 2)]).await;
    assert_eq!(files(&folder)["CDC000001.json"], "");
    assert_eq!(files(&folder)["meta/CDC.index"], "CDC000002.json\n");
}

#[tokio::test]
async fn two_writers_take_turns_when_each_hands_over() {
    let dir = tempdir().unwrap();
    let orders = table(7, "orders");
    let here = open(dir.path(), json!({"dateSeparator": "none"})).await.unwrap();
    let there = open(dir.path(), json!({"dateSeparator": "none"})).await.unwrap();
    for sink in [&here, &there] {
        sink.announce(&orders, Ts(400)).await.unwrap();
    }
    let acks = Acks::default();
    for turn in 1..=4_u64 {
        let sink = if turn % 2 == 1 { &here } else { &there };
        let changes = vec![put("a", format!("{turn}"), turn)];
        sink.write(acks.batch(&orders, changes)).await.unwrap();
        sink.hand_over().await.unwrap();
        assert_eq!(acks.count() as u64, turn, "all is durable on return");
    }
    let found = files(&dir.path().join("shop/orders/400"));
    for turn in 1..=4 {
        assert_eq!(
            rows(&found[&format!("CDC00000{turn}.json")]),
            [format!("a={turn}")]
        );
    }
}

#[tokio::test]
async fn a_second_writer_is_noticed_and_its_file_stays() {
    let dir = tempdir().unwrap();
    let orders = table(7, "orders");
    let sink = open(dir.path(), json!({"dateSeparator": "none"})).await.unwrap();
    sink.announce(&orders, Ts(400)).await.unwrap();
    write(&sink, &orders, vec![put("a", "1", 1)]).await;
    let intruder = dir.path().join("shop/orders/400/CDC000002.json");
    fs::write(&intruder, "another feed").unwrap();
    let acks = Acks::default();
    sink.write(acks.batch(&orders, vec![put("a", "2", 2)]))
        .await
        .unwrap();
    let error = sink.flush().await.unwrap_err();
    assert!(
        matches!(&error, SinkError::Fenced(text) if text.contains("CDC000002.json") && text.contains("prefix")),
        "{error}"
    );
    assert_eq!(acks.count(), 0);
    assert_eq!(fs::read_to_string(intruder).unwrap(), "another feed");
    assert!(sink.watermark(Ts(500)).await.is_err(), "it stays failed");
    assert!(!dir.path().join("metadata").exists());
}

#[tokio::test]
async fn a_changed_table_gets_a_version_and_going_back_gets_another() {
    let dir = tempdir().unwrap();
    let one = table(7, "orders");
    let mut more = (*one).clone();
    more.columns[1].name = "renamed".into();
    let two = Arc::new(more);
    let announce = async |versions: &[(&Arc<tidemark_tidb::Table>, u64)]| {
        let sink = open(dir.path(), json!({"dateSeparator": "none"})).await.unwrap();
        for (table, since) in versions {
            sink.announce(table, Ts(*since)).await.unwrap();
        }
        sink
    };
    drop(announce(&[(&one, 400), (&two, 500)]).await);
    // A crash before the checkpoint passed 500: the old definition first, then the new again.
    let sink = announce(&[(&one, 450), (&two, 500), (&one, 600)]).await;
    write(&sink, &one, vec![put("a", "3", 3)]).await;
    write(&sink, &two, vec![put("a", "2", 2)]).await;
    let found = names(dir.path());
    let versions: Vec<&str> = found
        .iter()
        .filter_map(|name| name.strip_prefix("shop/orders/meta/schema_")?.split('_').next())
        .collect();
    assert_eq!(versions, ["400", "500", "600"]);
    assert!(
        found.contains(&"shop/orders/600/CDC000001.json".to_owned()),
        "{found:?}"
    );
    assert!(
        found.contains(&"shop/orders/500/CDC000001.json".to_owned()),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_schema_file_tells_the_columns_and_is_named_by_their_hash() {
    let dir = tempdir().unwrap();
    let mut kv = (*table(7, "a&b")).clone();
    kv.columns[0].ty.flen = 20;
    kv.columns[1].default = Some("<x>".into());
    let sink = open(dir.path(), json!({})).await.unwrap();
    sink.announce(&Arc::new(kv), Ts(400)).await.unwrap();
    let found = files(dir.path());
    let (name, text) = found.iter().next().unwrap();
    let columns = |indent: &str| {
        format!(
            r#"
{indent}{{
{indent}    "ColumnName": "key",
{indent}    "ColumnType": "VARBINARY",
{indent}    "ColumnPrecision": "20",
{indent}    "ColumnNullable": "false",
{indent}    "ColumnIsPk": "true"
{indent}}},
{indent}{{
{indent}    "ColumnName": "value",
{indent}    "ColumnType": "LONGBLOB",
{indent}    "ColumnDefault": "\u003cx\u003e",
{indent}    "ColumnPrecision": "4294967295",
{indent}    "ColumnNullable": "false"
{indent}}}"#
        )
    };
    let columns = columns("        ");
    assert_eq!(
        *text,
        format!(
            r#"{{
    "Table": "a\u0026b",
    "Schema": "shop",
    "Version": 1,
    "TableVersion": 400,
    "Query": "",
    "Type": 0,
    "TableColumns": [{columns}
    ],
    "TableColumnsTotal": 2
}}"#
        )
    );
    let hashed = format!(
        r#"{{
    "Table": "a\u0026b",
    "Schema": "shop",
    "Version": 0,
    "TableColumns": [{columns}
    ],
    "TableColumnsTotal": 2
}}"#
    );
    let hash = crc32fast::hash(hashed.as_bytes());
    assert_eq!(*name, format!("shop/a&b/meta/schema_400_{hash:010}.json"));
}
