use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tidemark_harness::anyhow::ensure;
use tidemark_harness::{Kafka, KafkaOptions, eventually};
use tidemark_model::Ts;
use tidemark_sink::kafka::{KafkaPatience, KafkaSink};
use tidemark_sink::{Sink, SinkError};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::setup::{
    Acks, Kept, PATIENCE, assert_whole_and_in_order, commits, open, put, settings, table, utc, write_rows,
};

const SOON: Duration = Duration::from_secs(60);

/// A server that the tests here stop and kill, one at a time.
async fn fragile() -> MutexGuard<'static, Kafka> {
    static SERVER: OnceCell<Mutex<Kafka>> = OnceCell::const_new();
    let make = || async { Mutex::new(Kafka::own(KafkaOptions::default()).await.unwrap()) };
    SERVER.get_or_init(make).await.lock().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_moved_while_the_broker_is_paused() {
    let kafka = fragile().await;
    let sink = open(&kafka, "paused", json!({"partitions": 3})).await.unwrap();
    let (rows, acks) = (table(1, "shop", "paused"), Acks::default());
    write_rows(&sink, &rows, &acks, (1000, 2000, 30, 100))
        .await
        .unwrap();
    kafka.pause().unwrap();
    write_rows(&sink, &rows, &acks, (3000, 2000, 30, 100))
        .await
        .unwrap();
    assert!(
        tokio::time::timeout(Duration::from_secs(1), sink.flush())
            .await
            .is_err(),
        "nobody acknowledges"
    );
    assert!(acks.count() < 40);
    kafka.resume().unwrap();
    write_rows(&sink, &rows, &acks, (5000, 1000, 30, 100))
        .await
        .unwrap();
    sink.flush().await.unwrap();
    assert_eq!(acks.count(), 50);
    assert_whole_and_in_order(&kafka.read("paused").await.unwrap(), 1000, 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_moved_when_the_broker_is_killed_and_comes_back() {
    let kafka = fragile().await;
    let sink = Arc::new(open(&kafka, "killed", json!({"partitions": 3})).await.unwrap());
    let (rows, acks) = (table(1, "shop", "killed"), Acks::default());
    let written = Arc::new(AtomicU64::new(0));
    let writer = tokio::spawn({
        let (sink, written, acks) = (Arc::clone(&sink), Arc::clone(&written), acks.clone());
        async move {
            for batch in 0..200 {
                write_rows(&sink, &rows, &acks, (1000 + batch * 50, 50, 30, 50))
                    .await
                    .unwrap();
                written.fetch_add(50, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    eventually(SOON, "first rows", || async {
        ensure!(written.load(Ordering::Relaxed) > 1000 && acks.count() > 5, "few");
        Ok(())
    })
    .await
    .unwrap();
    kafka.kill().unwrap();
    kafka.restart().await.unwrap();
    writer.await.unwrap();
    sink.flush().await.unwrap();
    assert_eq!(acks.count(), 200);
    assert_whole_and_in_order(&kafka.read("killed").await.unwrap(), 1000, 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stays_silent_fails_the_sink_and_leaves_no_gap() {
    let kafka = fragile().await;
    let patience = KafkaPatience {
        delivery: Duration::from_secs(2),
        ..PATIENCE
    };
    let settings = settings(&kafka.bootstrap(), "silent", json!({"partitions": 1}));
    let sink = KafkaSink::connect(&settings, &Kept::default(), &utc(), patience)
        .await
        .unwrap();
    let (rows, acks) = (table(1, "shop", "silent"), Acks::default());
    write_rows(&sink, &rows, &acks, (1000, 100, 10, 50))
        .await
        .unwrap();
    sink.flush().await.unwrap();
    kafka.pause().unwrap();
    let mut ts = 1100;
    let failure = loop {
        match write_rows(&sink, &rows, &acks, (ts, 10, 10, 10)).await {
            Ok(()) => ts += 10,
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let SinkError::Unavailable(text) = &failure else {
        panic!("{failure:?}")
    };
    assert!(text.contains("acknowledged nothing for 2s"), "{text}");
    assert!(matches!(sink.flush().await, Err(SinkError::Unavailable(_))));
    assert!(matches!(
        sink.watermark(Ts(9999)).await,
        Err(SinkError::Unavailable(_))
    ));
    assert_eq!(
        acks.count(),
        2,
        "nothing counts as durable that was not acknowledged"
    );
    kafka.resume().unwrap();
    drop(sink);
    // What was under way may have arrived, but only from the front.
    let seen = commits(&kafka.read("silent").await.unwrap());
    let expected: Vec<u64> = (1000..1000 + seen.len() as u64).collect();
    assert!(seen.len() >= 100);
    assert_eq!(seen.into_iter().map(|(_, ts)| ts).collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_broker_holds_the_writer_back_in_bounded_memory() {
    let kafka = fragile().await;
    let sink = open(&kafka, "held", json!({"partitions": 1})).await.unwrap();
    let (rows, acks) = (table(1, "shop", "held"), Acks::default());
    kafka.pause().unwrap();
    // Each message is about a megabyte; the queue takes 64.
    let value = "v".repeat(900_000);
    let batch = |n: u64| acks.batch(&rows, vec![put("k", value.clone(), 1000 + n)]);
    let mut taken = 0;
    while tokio::time::timeout(Duration::from_millis(500), sink.write(batch(taken)))
        .await
        .is_ok()
    {
        taken += 1;
        assert!(taken < 100, "nothing holds the writer back");
    }
    assert!(taken > 50, "{taken}");
    kafka.resume().unwrap();
    // The batch that timed out was not handed over, so it comes again.
    sink.write(batch(taken)).await.unwrap();
    sink.flush().await.unwrap();
    assert_eq!(acks.count() as u64, taken + 1);
    assert_whole_and_in_order(&kafka.read("held").await.unwrap(), 1000, taken + 1);
}
