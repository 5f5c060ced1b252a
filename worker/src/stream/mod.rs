//! Moves changes: pull → merge → sink.
//!
//! The puller delivers each span's changes and resolved ts to one of a few [`shard`]s. A shard keeps the
//! span's sorter and hands what is resolved to the sink in order; [`progress`] follows what the sink has
//! made durable. [`barrier`] holds all spans at the ts up to which the schema is known.

pub mod barrier;
pub mod progress;
pub mod shard;
pub mod spans;
pub mod wiring;
