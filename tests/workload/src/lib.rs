//! Writes to a TiKV cluster as TiDB does, and keeps the truth of what was committed.
//!
//! [`Workload`] creates databases and tables and writes rows; [`KvWorkload`] writes plain keys. Both work
//! on any cluster behind a PD address. Nothing here uses the product's decoder: the workload is the oracle that
//! the product is judged by.

pub mod catalog;
pub mod client;
pub mod encode;
mod generate;
pub mod schema;

pub use generate::{
    Ddl, KvConfig, KvWorkload, RunningKv, RunningWorkload, TransactionMix, Truth, ValueSizes, Workload,
    WorkloadConfig, WorkloadError, WorkloadTable, key_value, random_value, shapes,
};
