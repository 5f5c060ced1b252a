//! The TiKV service of a store: commands on its regions.

mod answer;
mod batch;
mod raw;
mod run;
mod service;
mod txn;
