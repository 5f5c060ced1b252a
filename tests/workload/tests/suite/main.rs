//! The workload against the product's decoder and the embedded cluster; one binary, for it links once.
// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agreement;
mod cluster;
mod outcomes;
mod schema;
