//! The whole stream under test: a cluster, a workload, a worker process or a Kubernetes full of them, faults, and the judge.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code"
)]

pub mod audit;
mod consumer;
pub mod cost;
mod feed;
mod fleet;
pub mod judging;
mod kubelet;
pub mod kubernetes;
mod nemesis;
mod plane;
mod progress;
mod scenario;
mod worker;

pub use consumer::Destination;
pub use feed::Feed;
pub use fleet::Fleet;
pub use nemesis::{Deeds, Nemesis, record_key};
pub use plane::{OPERATOR, Plane};
pub use progress::{Progress, now_ms};
pub use scenario::{Outcome, Plan, Say, run};
pub use worker::Worker;
