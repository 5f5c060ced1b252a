//! The whole stream under test: a cluster, a workload, a worker process, faults, and the judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod consumer;
mod feed;
mod nemesis;
mod scenario;
mod worker;

pub use consumer::Destination;
pub use feed::Feed;
pub use nemesis::{Deeds, Nemesis, record_key};
pub use scenario::{Outcome, Plan, Say, run};
pub use worker::Worker;
