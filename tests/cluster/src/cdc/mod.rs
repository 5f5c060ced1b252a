//! The ChangeData service of a store: registrations, initial scans, live rows, resolved timestamps.
//!
//! Row effects come from the store's regions through [`Endpoint`](endpoint::Endpoint), which is their observer.
//! Each subscribed region has a [`Region`](region::Region): its tracked locks and its subscriptions. Each stream
//! has an [`Outbox`](outbox::Outbox). One ticker per store sends all resolved timestamps.

mod config;
mod endpoint;
mod outbox;
mod packing;
mod range;
mod region;
mod registration;
mod rows;
mod scan;
mod service;
mod version;

pub use config::{CdcConfig, CdcControl, ScanHold};
pub use service::CdcService;
