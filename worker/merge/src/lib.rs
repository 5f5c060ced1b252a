//! Orders a span's changes by commit ts within a memory bound, spilling sorted runs to disk.
//!
//! A [`Sorter`] per span takes changes in any order and gives them out by (commit ts, start ts, key) once the
//! span's resolved ts has passed them. All sorters of a process share one [`Spill`]: the memory quota, the disk
//! quota and the folder of the run files. Beyond the memory quota the largest sorter writes what it holds as one
//! sorted run; a run is read back block by block, so a backlog of any size passes within the quota.
//!
//! Runs are no durable state: what they hold is read again from TiKV after a restart.
//!
//! Calls do file I/O when a backlog is on disk; an async caller wraps them in `block_in_place` or runs them on a
//! blocking thread.

mod account;
mod block;
mod error;
mod kway;
mod memory;
mod run;
mod sorter;
mod spill;

pub use error::{MergeError, Refused};
pub use sorter::{Backlog, Sorter};
pub use spill::{Spill, SpillConfig};
