//! An embedded TiKV cluster: PD, TiKV and its CDC service over real sockets, in memory.
//!
//! [`Cluster::start`] gives a cluster that other people's clients can use, and commands to disturb it. Regions
//! have one copy of their data, which all their replicas share: what is tested is the protocol, not Raft.

// Errors of the protocol are the answers of a server here, and as large as the protocol makes them.
#![allow(clippy::result_large_err)]

pub mod cdc;
mod cluster;
pub mod config;
pub mod control;
pub mod engine;
pub mod faults;
pub mod keys;
mod mischief;
mod pd;
mod region;
mod reshape;
mod server;
mod state;
mod tikv;
mod topology;
mod tso;

pub use cluster::{Cluster, ClusterError, GcBarrier, RegionInfo};
pub use config::{Clock, ClusterConfig, SteppedClock};
pub use faults::StreamFaults;
pub use mischief::SilentRollback;
pub use region::RegionView;
pub use reshape::ReshapeError;
pub use state::StoreHandle;
pub use tso::MaxTs;
