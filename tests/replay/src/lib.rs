//! Replays recorded traffic of a real TiKV through the real puller, and golden vectors through the decoder.
//!
//! A recording holds what a store sent to another client, and what was really committed. A [`server`] plays the
//! messages, in the recorded order, to a [`tidemark_pull::Puller`] that talks to it over sockets and registers regions as
//! it sees fit; [`check`] compares what comes out with the truth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

pub mod check;
pub mod recording;
mod script;
mod server;
