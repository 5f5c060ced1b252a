//! Kubernetes Leases: who may act, for how long, judged by monotonic clocks.
//!
//! A [`Contender`] acquires one Lease and renews it; its [`Authority`] tells, on any thread and without a running
//! runtime, whether the holder may still act. A [`LeaseObserver`] judges the Leases of others.
//!
//! Three rules keep two holders apart while clocks run at the same rate:
//!
//! - every write is conditional: a PUT carries the resourceVersion it rests on, and a creation is a POST;
//! - authority ends `renew_deadline` after the instant at which the last confirmed renewal was *sent*;
//! - someone else's Lease is taken only when we ourselves have seen it unchanged for the whole of its `duration`,
//!   which is longer. No timestamp of another machine is ever compared with a clock.
//!
//! What a Lease can't give: safety from a process that is paused between its check and its write, from a machine that
//! is suspended (the monotonic clock stands still meanwhile) and from a Lease that is deleted while held. Those need an
//! epoch, raised by compare-and-swap on each acquisition, and a fence in the sink. `tests/model` checks that the two
//! keep the sink in order even where the Lease fails, and that each is needed; `tests/simulation` runs all of it over a
//! network that fails. A deleted Lease is waited for by all who knew it, or could have: only a process that has just begun, and
//! one between whose looks a Lease came and went, can't.

mod api;
mod authority;
mod clock;
mod contender;
mod jitter;
mod machine;
mod observer;
mod record;
mod settings;
mod standing;
mod times;

pub use authority::Authority;
pub use contender::{Contender, Hints};
pub use machine::{Action, Answer, Machine};
pub use observer::{LeaseObserver, LeaseState, Observed};
pub use settings::{LeaseCreation, LeaseSettings};
pub use standing::{Holding, LossReason, SeenRecord, Standing};
pub use times::{LeaseConfigError, LeaseTimes};
