//! The operator: turns Changefeed resources into workers, and tells in their status how they are.
//!
//! One pass over a feed observes what exists, judges which spec is in force, plans the objects (a pure, printable
//! value), applies them and writes the status. Nothing is remembered between passes but when to try again.

mod apply;
mod backoff;
pub mod check;
pub mod cli;
mod conditions;
mod context;
pub mod controller;
mod deadline;
mod error;
pub mod events;
pub mod feeds;
#[cfg(test)]
mod fixture;
mod history;
mod judge;
pub mod leader;
pub mod metrics;
mod observe;
mod pd;
pub mod plan;
mod reconcile;
mod rollout;
pub mod run;
mod secrets;
mod trouble;

pub use context::Context;
pub use error::Error;
pub use judge::{Stall, StallReason};
