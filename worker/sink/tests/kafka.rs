//! The Kafka sink against a real Kafka, read back by a real consumer.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "kafka/cost.rs"]
mod cost;
#[path = "kafka/ddl.rs"]
mod ddl;
#[path = "kafka/faults.rs"]
mod faults;
#[path = "kafka/login.rs"]
mod login;
#[path = "kafka/rows.rs"]
mod rows;
#[path = "kafka/setup.rs"]
mod setup;
#[path = "kafka/sizes.rs"]
mod sizes;
#[path = "kafka/topics.rs"]
mod topics;
#[path = "kafka/watermarks.rs"]
mod watermarks;
