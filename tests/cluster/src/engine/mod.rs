//! The multi-version store of one region: records, commands on them, and the effects they tell.
//!
//! Pure: no sockets, no tasks, no clock. Commands read, collect changes and apply them as one.

pub mod apply;
pub mod error;
pub mod finish;
pub mod maintain;
pub mod model;
pub mod observe;
pub mod pessimistic;
pub mod prewrite;
pub mod raw;
pub mod read;
pub mod record;
pub mod snapshot;

#[cfg(test)]
mod tests;
