//! Writes to a TiKV cluster as TiDB does, and keeps the truth of what was committed.
//!
//! Nothing here uses the product's decoder: the workload is the oracle that it is judged by.

pub mod catalog;
pub mod client;
pub mod encode;
pub mod schema;
