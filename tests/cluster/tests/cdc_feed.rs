//! The change feed of the embedded cluster, seen by a raw client: each behaviour of a real TiKV.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test crate.
#![allow(dead_code)] // The raw client is shared with `cdc_recordings`.

#[path = "cdc_feed/changes.rs"]
mod changes;
#[path = "cdc_feed/client.rs"]
mod client;
#[path = "cdc_feed/faults.rs"]
mod faults;
#[path = "cdc_feed/live.rs"]
mod live;
#[path = "cdc_feed/load.rs"]
mod load;
#[path = "cdc_feed/requests.rs"]
mod requests;
#[path = "cdc_feed/resolved.rs"]
mod resolved;
#[path = "cdc_feed/scan.rs"]
mod scan;
#[path = "cdc_feed/writer.rs"]
mod writer;
