//! The whole product on a real Kubernetes: image, chart, operator and workers, under disturbances, and the judge.

mod close;
mod evidence;
mod feed;
mod figures;
mod line;
mod open;
mod play;
mod site;
mod stage;
mod steps;
mod watch;

pub use figures::{Figure, Figures};
pub use play::{Outcome, Play, Wanted, perform};
pub use site::Binaries;
pub use steps::Step;
