//! The worker: streams a changefeed from TiKV to its sink.
//!
//! [`feed`] opens source and sink and decides where to begin; [`stream`] moves the changes: pull, merge,
//! sink; [`cluster`] is what workers do together under Kubernetes; [`state`] keeps the checkpoint of a feed that runs without Kubernetes.

mod admin;
pub mod cli;
pub mod cluster;
pub mod error;
pub mod feed;
pub mod live;
pub mod metrics;
pub mod secrets;
pub mod state;
pub mod stream;
