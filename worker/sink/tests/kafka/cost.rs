//! What the sink costs a message, against bare librdkafka with the same messages. Run with
//! `cargo test --release -p tidemark-sink --test kafka -- --ignored --nocapture cost`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::json;
use tidemark_harness::{Kafka, Usage};
use tidemark_model::{KvChange, Op, Ts};
use tidemark_sink::Sink;
use tidemark_sink::encode::{CanalJson, CanalOptions, RowChange};
use tidemark_tidb::{Column, Handle, Layout, RowKey, Table, Value, key};

use crate::setup::{Acks, open, utc};

const ROWS: u64 = 400_000;
const BATCH: usize = 4096;

/// CPU time of this process and wall time of some work, a row.
struct Cost {
    cpu: f64,
    wall: f64,
}

struct Meter {
    cpu: Duration,
    begun: Instant,
}

impl Meter {
    fn start() -> Self {
        Self {
            cpu: Usage::own().unwrap().cpu,
            begun: Instant::now(),
        }
    }

    fn stop(self, what: &str) -> Cost {
        let per_row = |time: Duration| time.as_secs_f64() * 1e6 / ROWS as f64;
        let cost = Cost {
            cpu: per_row(Usage::own().unwrap().cpu - self.cpu),
            wall: per_row(self.begun.elapsed()),
        };
        eprintln!(
            "{what:42} {:6.2} µs CPU, {:6.2} µs wall a row",
            cost.cpu, cost.wall
        );
        cost
    }
}

/// Ten columns of about 200 B in all.
fn wide_table() -> Arc<Table> {
    let mut table = Table::plain_kv();
    let some = table.columns[0].clone();
    let column = |id: i64, name: &str, tp: u8, flags: u32, decimal: i64| {
        let mut column = Column {
            id,
            name: name.into(),
            ..some.clone()
        };
        column.ty.tp = tp;
        column.ty.flags = flags;
        column.ty.decimal = decimal;
        column.ty.charset = if matches!(tp, 15 | 252) {
            "utf8mb4".into()
        } else {
            "binary".into()
        };
        column.ty.collate = if matches!(tp, 15 | 252) {
            "utf8mb4_bin".into()
        } else {
            "binary".into()
        };
        if tp == 247 {
            column.ty.elems = vec!["new".into(), "paid".into(), "sent".into()];
        }
        column.primary = id == 1;
        column
    };
    table.columns = vec![
        column(1, "id", 8, 3, 0),
        column(2, "customer", 3, 0, 0),
        column(3, "product", 8, 32, 0),
        column(4, "quantity", 3, 0, 0),
        column(5, "price", 246, 0, 2),
        column(6, "status", 247, 0, 0),
        column(7, "email", 15, 0, 0),
        column(8, "address", 15, 0, 0),
        column(9, "created", 12, 0, 0),
        column(10, "note", 15, 0, 0),
    ];
    (table.id, table.schema, table.name) = (100, "shop".into(), "orders".into());
    table.layout = Layout::Tidb(Handle::Int(0));
    Arc::new(table)
}

/// A row in TiDB's row format 2: ids, ends and values of columns 2 to 10.
fn stored(n: u64) -> Bytes {
    let price = [
        &[12, 2, 0x81][..],
        &(n as u32 % 1_000_000_000).to_be_bytes(),
        &[42],
    ]
    .concat();
    let values: [Vec<u8>; 9] = [
        (n as u32 % 100_000).to_le_bytes().to_vec(),
        (n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes().to_vec(),
        vec![(n % 100) as u8],
        price,
        vec![(n % 3 + 1) as u8],
        format!("customer{n:08}@example.com").into_bytes(),
        format!("{n:05} Some Street, 12345 Some Town, Some Country, {n:08}").into_bytes(),
        // 2026-11-23 05:00:00 in TiDB's packed form.
        (((((2026 * 13 + 11) << 5 | 23) << 17 | 5 << 12) << 24) as u64)
            .to_le_bytes()
            .to_vec(),
        b"please ring twice and leave it with the neighbours".to_vec(),
    ];
    let mut row = vec![128, 0];
    row.extend((values.len() as u16).to_le_bytes());
    row.extend(0u16.to_le_bytes());
    row.extend(2..=10u8);
    let mut end = 0u16;
    for value in &values {
        end += value.len() as u16;
        row.extend(end.to_le_bytes());
    }
    row.extend(values.concat());
    row.into()
}

fn changes() -> Vec<Vec<KvChange>> {
    let all: Vec<KvChange> = (0..ROWS)
        .map(|n| KvChange {
            key: key::int_record_key(100, n as i64).into(),
            value: stored(n),
            old_value: Bytes::new(),
            start_ts: Ts(n),
            commit_ts: Ts::new(1_764_000_000_000, n),
            op: Op::Put,
        })
        .collect();
    all.chunks(BATCH).map(<[KvChange]>::to_vec).collect()
}

/// Decodes and encodes all rows on one thread; the messages end up in `keep`.
fn encode(table: &Arc<Table>, batches: &[Vec<KvChange>], mut keep: impl FnMut(&[u8], u64)) {
    let options = CanalOptions {
        tidb_extension: true,
        zone: utc(),
    };
    let encoder = CanalJson::new(table, &options);
    let mut message = Vec::new();
    for change in batches.iter().flatten() {
        let key = RowKey::new(&change.key);
        let row = RowChange::decode(table, &key, change).unwrap();
        for event in row.events() {
            message.clear();
            encoder
                .row(&event, change.commit_ts, 1_764_000_000_000, &mut message)
                .unwrap();
            let Value::Int(id) = event.row()[0] else {
                panic!("an integer key")
            };
            keep(&message, id as u64);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn cost_of_a_message_against_bare_librdkafka() {
    let kafka = Kafka::shared().await.unwrap();
    let (table, acks) = (wide_table(), Acks::default());
    for compression in ["none", "lz4"] {
        let more = json!({"partitions": 4, "compression": compression});
        let sink = open(kafka, &format!("cost-{compression}"), more).await.unwrap();
        let batches = changes();

        let mut bytes = 0;
        let meter = Meter::start();
        encode(&table, &batches, |message, _| bytes += message.len());
        let encoding = meter.stop("decode and encode, one thread");
        eprintln!("messages of {} B, compression {compression}", bytes as u64 / ROWS);

        let mut messages = Vec::new();
        encode(&table, &batches, |message, id| {
            messages.push((id as i32 % 4, message.to_vec()));
        });
        for round in 1..=2 {
            let bare = {
                let producer = bare(kafka, compression);
                let topic = format!("cost-{compression}");
                let meter = Meter::start();
                for (partition, message) in &messages {
                    let record = BaseRecord::<(), [u8]>::to(&topic)
                        .partition(*partition)
                        .payload(message);
                    let mut record = Some(record);
                    while let Some(one) = record.take() {
                        if let Err((_, back)) = producer.send(one) {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                            record = Some(back);
                        }
                    }
                }
                producer.flush(Duration::from_secs(60)).unwrap();
                meter.stop(&format!("bare librdkafka, round {round}"))
            };
            let mine = batches.clone();
            let meter = Meter::start();
            for batch in mine {
                sink.write(acks.batch(&table, batch)).await.unwrap();
            }
            sink.flush().await.unwrap();
            let whole = meter.stop(&format!("sink from row to acknowledgement, round {round}"));
            eprintln!(
                "sink / bare: {:.2}; the sink's own part {:.2} µs; wall {:.2} of bare",
                whole.cpu / bare.cpu,
                whole.cpu - bare.cpu - encoding.cpu,
                whole.wall / bare.wall,
            );
        }
    }
}

fn bare(kafka: &Kafka, compression: &str) -> ThreadedProducer<DefaultProducerContext> {
    let mut config: ClientConfig = kafka.client();
    for consumers in ["group.id", "allow.auto.create.topics", "enable.auto.commit"] {
        config.remove(consumers);
    }
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", compression)
        .set("queue.buffering.max.kbytes", "65536")
        .set("queue.buffering.max.messages", "0")
        .create()
        .unwrap()
}
