//! Holds what a consumer read against the truth: lost, invented, torn or out of order.

mod observation;
mod truth;

pub use observation::{Observation, RowObservation, RowOp};
pub use truth::{TruthOp, TruthRow};
