//! The whole stream under test: a cluster, a workload, a worker process, faults, and the judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod feed;
mod worker;

pub use feed::Feed;
pub use worker::Worker;
