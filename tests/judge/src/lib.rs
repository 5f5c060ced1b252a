//! Holds what a consumer read against the truth: lost, invented, torn or out of order.
//!
//! [`Judge`] takes the truth (what was committed, by the one who committed it), then what a consumer read, partition by
//! partition, and gives a [`Verdict`]. [`source`] reads Kafka topics and storage folders as a consumer would, with
//! parsers of its own: nothing here shares code with the product.

mod cut;
mod history;
mod image;
mod judge;
mod observation;
mod replay;
mod settings;
pub mod source;
mod truth;
mod truth_file;
mod verdict;

pub use judge::Judge;
pub use observation::{Observation, RowObservation, RowOp};
pub use settings::{Bank, DeleteImage, OldImage, Placement, ReplayFloor, ReplayUnit, Settings, Watermarks};
pub use truth::{Columns, TruthOp, TruthRow};
pub use truth_file::{TruthError, read_truth};
pub use verdict::{Figures, Invariant, Latency, Verdict, Violation};
