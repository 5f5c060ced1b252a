//! An embedded TiKV cluster: PD, TiKV and its CDC service over real sockets, in memory.

pub mod config;
pub mod engine;
pub mod faults;
pub mod keys;
mod pd;
mod region;
mod state;
mod topology;
mod tso;

pub use config::{Clock, ClusterConfig, SteppedClock};
pub use faults::StreamFaults;
pub use region::RegionView;
pub use state::StoreHandle;
pub use tso::MaxTs;
