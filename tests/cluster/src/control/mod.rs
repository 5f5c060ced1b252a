//! The control port: commands to a running cluster, one JSON line each, answered by one JSON line.

mod command;
mod port;

pub use command::Command;
pub use port::{Answer, ControlError, ask, serve};
