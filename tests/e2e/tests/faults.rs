//! The whole stream under splits, merges, leader moves, store deaths, locks, PD pauses and SIGKILLs of the worker: nothing
//! is lost, invented, torn or out of order, whatever the sink.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::Write;
use std::time::Duration;

use tidemark_e2e::{Destination, Plan, Worker, run};
use tidemark_harness::{Kafka, KafkaOptions, S3Server};

async fn assert_all_invariants_hold(name: &str, seed: u64, destination: Destination) {
    let plan = Plan {
        seed,
        writing: Duration::from_secs(12),
        kills: 1,
        ..Plan::default()
    };
    let mut say = |text: &str| eprintln!("{name}: {text}");
    let outcome = run(&plan, &Worker::built().unwrap(), destination, &mut say)
        .await
        .unwrap();
    // Past the test runner's capture: the figures are part of what the tests show.
    let _ = writeln!(
        std::io::stderr(),
        "{name}: {:?}\n{}",
        outcome.deeds,
        outcome.verdict
    );
    assert!(
        outcome.verdict.holds(),
        "{name}, seed {seed}:\n{}",
        outcome.verdict
    );
    assert!(
        outcome.verdict.figures.truth_rows > 1000,
        "the workload hardly wrote"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_gets_everything_in_order() {
    let options = KafkaOptions {
        max_message_bytes: Some(4 << 20),
        ..KafkaOptions::default()
    };
    let kafka = Kafka::start(options).await.unwrap();
    assert_all_invariants_hold("kafka", 11, Destination::kafka(kafka, "faults").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_files_get_everything_in_order() {
    assert_all_invariants_hold("csv", 12, Destination::folder("csv").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_bucket_gets_everything_in_order() {
    let server = S3Server::start().await.unwrap();
    let destination = Destination::s3(server, "faults", "canal-json").unwrap();
    assert_all_invariants_hold("s3", 13, destination).await;
}
