use std::sync::Arc;

use serde_json::json;
use tidemark_harness::Kafka;
use tidemark_model::Ts;
use tidemark_sink::Sink;
use tidemark_tidb::schema::{ActionType, Ddl, TableChange};

use crate::setup::{Acks, json, open, table, write_rows};

#[tokio::test(flavor = "multi_thread")]
async fn a_ddl_lies_in_the_first_partition_of_the_old_name_between_the_rows() {
    let kafka = Kafka::shared().await.unwrap();
    let sink = open(kafka, "ddl.{table}", json!({"partitions": 2}))
        .await
        .unwrap();
    let (old, new) = (table(1, "shop", "orders"), table(1, "shop", "renamed"));
    let acks = Acks::default();
    write_rows(&sink, &old, &acks, (1000, 20, 20, 20)).await.unwrap();
    sink.flush().await.unwrap();
    let ddl = Ddl {
        ts: Ts(1500),
        action: ActionType(14),
        schema: "shop".into(),
        table: "renamed".into(),
        query: "RENAME TABLE `orders` TO `renamed` -- \"quoted\"".into(),
        changes: vec![TableChange::Altered {
            old: Arc::clone(&old),
            new: Arc::clone(&new),
        }],
    };
    sink.ddl(&ddl).await.unwrap();
    // It is there on return.
    let records = kafka.read("ddl.orders").await.unwrap();
    let told: Vec<_> = records
        .iter()
        .filter(|record| json(record)["isDdl"] == true)
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].partition, 0);
    let last = records.iter().rfind(|record| record.partition == 0).unwrap();
    assert_eq!(json(last)["isDdl"], true, "it comes after the rows");
    let message = json(told[0]);
    assert_eq!(
        (&message["database"], &message["table"], &message["type"]),
        (&json!("shop"), &json!("orders"), &json!("RENAME"))
    );
    assert_eq!(message["sql"], ddl.query);
    assert_eq!(message["_tidb"]["commitTs"], 1500);

    sink.announce(&new, ddl.ts).await.unwrap();
    write_rows(&sink, &new, &acks, (1501, 20, 20, 20)).await.unwrap();
    sink.flush().await.unwrap();
    assert_eq!(kafka.read("ddl.renamed").await.unwrap().len(), 20);
}
