//! Seeded writers: a bank, mixed changes of every table shape, large transactions, plain keys.

mod config;
mod kv;
pub mod shapes;
mod table;
mod truth;
mod unit;
mod values;
mod workload;
mod writer;

pub use config::{TransactionMix, ValueSizes, WorkloadConfig};
pub use kv::{KvConfig, KvWorkload, RunningKv};
pub use truth::Truth;
pub use values::{key_value, random_value};
pub use workload::{Ddl, RunningWorkload, Workload, WorkloadError, WorkloadTable};
