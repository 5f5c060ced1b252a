//! The rules of the chain, each of which can be broken to see that the simulation notices.

use std::time::Duration;

use tidemark_lease::LeaseTimes;

/// Which rules hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) times: LeaseTimes,
    /// The real contender, or one that makes this mistake.
    pub(crate) mistake: Option<Mistake>,
    /// A worker that comes back knows the identities of its earlier runs.
    pub(crate) lineage: bool,
    /// The sink refuses writers of older epochs.
    pub(crate) fence: bool,
    /// The API server refuses a status that falls.
    pub(crate) rising_status: bool,
}

/// What a careless contender does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// It counts authority from the instant at which the answer came, not from before it asked.
    CountsFromAnswer,
    /// It compares `renewTime` with its own wall clock.
    TrustsWallClocks,
    /// It claims a Lease that was made anew at once.
    ForgetsDeletedLease,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            times: LeaseTimes::default(),
            mistake: None,
            lineage: true,
            fence: true,
            rising_status: true,
        }
    }
}

impl Rules {
    /// A deadline that leaves little room before the duration.
    pub(crate) fn tight() -> LeaseTimes {
        let [duration, deadline, retry] = [15_000, 14_900, 2_000].map(Duration::from_millis);
        LeaseTimes::new(duration, deadline, retry).unwrap_or_default()
    }
}
