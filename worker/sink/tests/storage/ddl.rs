//! What a folder tells of schema changes.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::tempdir;
use tidemark_model::Ts;
use tidemark_sink::Sink;
use tidemark_tidb::Table;
use tidemark_tidb::schema::{ActionType, Ddl, TableChange};

use crate::setup::{files, names, open, put, table, write};

fn ddl(ts: u64, action: u16, table: &str, query: &str, changes: Vec<TableChange>) -> Ddl {
    Ddl {
        ts: Ts(ts),
        action: ActionType(action),
        schema: "shop".into(),
        table: table.into(),
        query: query.into(),
        changes,
    }
}

fn altered(old: &Arc<Table>, new: &Arc<Table>) -> TableChange {
    let (old, new) = (Arc::clone(old), Arc::clone(new));
    TableChange::Altered { old, new }
}

/// The only schema file of a version in a folder.
fn schema(folder: &std::path::Path, meta: &str, version: u64) -> Value {
    let begins = format!("{meta}/schema_{version}_");
    let found = files(folder);
    let mut of_version = found.iter().filter(|(name, _)| name.starts_with(&begins));
    let (_, text) = of_version.next().unwrap_or_else(|| panic!("{:?}", found.keys()));
    assert!(of_version.next().is_none(), "{:?}", found.keys());
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_ddl_makes_a_version_with_its_statement_and_rows_after_it_lie_there() {
    let dir = tempdir().unwrap();
    let sink = open(dir.path(), json!({"dateSeparator": "none"})).await.unwrap();
    let (old, mut new) = (table(7, "orders"), Table::clone(&table(7, "orders")));
    new.columns[1].name = "worth".into();
    let new = Arc::new(new);
    sink.announce(&old, Ts(400)).await.unwrap();
    write(&sink, &old, vec![put("a", "1", 1)]).await;
    let query = "ALTER TABLE orders RENAME COLUMN value TO worth";
    let change = ddl(500, 12, "orders", query, vec![altered(&old, &new)]);
    // Twice, as after a death.
    for _ in 0..2 {
        sink.ddl(&change).await.unwrap();
        sink.announce(&new, Ts(500)).await.unwrap();
    }
    write(&sink, &new, vec![put("b", "2", 2)]).await;
    let file = schema(dir.path(), "shop/orders/meta", 500);
    assert_eq!((&file["Query"], &file["Type"]), (&json!(query), &json!(12)));
    assert_eq!(
        (&file["TableVersion"], &file["TableColumnsTotal"]),
        (&json!(500), &json!(2))
    );
    let found = files(dir.path());
    assert!(found["shop/orders/400/CDC000001.json"].contains("\"value\""));
    assert!(found["shop/orders/500/CDC000001.json"].contains("\"worth\""));
}

#[tokio::test]
async fn a_change_that_leaves_the_columns_alone_makes_a_version_too() {
    let dir = tempdir().unwrap();
    let sink = open(dir.path(), json!({"dateSeparator": "none"})).await.unwrap();
    let orders = table(7, "orders");
    sink.announce(&orders, Ts(400)).await.unwrap();
    let change = ddl(
        500,
        7,
        "orders",
        "ALTER TABLE orders ADD INDEX i (value)",
        vec![altered(&orders, &orders)],
    );
    sink.ddl(&change).await.unwrap();
    sink.announce(&orders, Ts(500)).await.unwrap();
    write(&sink, &orders, vec![put("b", "2", 2)]).await;
    assert!(names(dir.path()).contains(&"shop/orders/500/CDC000001.json".to_owned()));
}

#[tokio::test]
async fn renamed_exchanged_and_dropped_tables_tell_the_statement_once() {
    let dir = tempdir().unwrap();
    let sink = open(dir.path(), json!({})).await.unwrap();
    let (orders, other, split) = (table(7, "orders"), table(8, "other"), table(9, "split"));
    let renamed = ddl(
        500,
        14,
        "new",
        "RENAME TABLE orders TO new",
        vec![altered(&orders, &table(7, "new"))],
    );
    sink.ddl(&renamed).await.unwrap();
    assert_eq!(
        schema(dir.path(), "shop/new/meta", 500)["Query"],
        "RENAME TABLE orders TO new"
    );
    let exchanged = vec![altered(&other, &other), altered(&split, &split)];
    sink.ddl(&ddl(600, 42, "other", "EXCHANGE", exchanged))
        .await
        .unwrap();
    assert_eq!(schema(dir.path(), "shop/other/meta", 600)["Query"], "EXCHANGE");
    let second = schema(dir.path(), "shop/split/meta", 600);
    assert_eq!((&second["Query"], &second["Type"]), (&json!(""), &json!(0)));
    let dropped = vec![TableChange::Dropped(other)];
    sink.ddl(&ddl(700, 4, "other", "DROP TABLE other", dropped))
        .await
        .unwrap();
    assert_eq!(schema(dir.path(), "shop/other/meta", 700)["Type"], 4);
    let gone = vec![TableChange::Dropped(split)];
    sink.ddl(&ddl(800, 2, "", "DROP DATABASE shop", gone))
        .await
        .unwrap();
    let database = schema(dir.path(), "shop/meta", 800);
    assert_eq!(
        (&database["Query"], &database["Table"]),
        (&json!("DROP DATABASE shop"), &json!(""))
    );
    assert_eq!(database["TableColumnsTotal"], 0);
}
