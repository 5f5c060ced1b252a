//! The rules of one contender as a pure state machine: no I/O, no clock.
//!
//! The driver asks [`Machine::next`] what to do, does it, and hands the outcome to [`Machine::answer`]; one request is
//! open at a time. `decide.rs` chooses the next action, `learn.rs` takes answers in.

mod decide;
mod learn;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;

use crate::authority::Grant;
use crate::jitter::Jitter;
use crate::{Holding, LeaseSettings, SeenRecord, Standing};

/// What the driver is to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// GET the Lease.
    Read,
    /// POST this Lease: of two who create it, one gets a conflict.
    Create(Box<Lease>),
    /// PUT this Lease, with the resourceVersion and UID in it as preconditions.
    Update(Box<Lease>),
    /// Ask again after this time, or earlier on a stop.
    Wait(Duration),
    /// Stopped, and given back where it was ours. Nothing more to do.
    Done,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The Lease as read or written.
    Lease(Box<Lease>),
    /// There is no such Lease (404).
    Missing,
    /// The precondition failed, or the Lease exists already (409).
    Conflict,
    /// The API server won't do it (other 4xx), and says why.
    Refused(String),
    /// No answer: no connection, a timeout, 429 or 5xx. The request may have been carried out, now or later.
    Unanswered(String),
}

/// The state of one contender.
#[derive(Debug, Clone)]
pub struct Machine {
    settings: LeaseSettings,
    jitter: Jitter,
    view: View,
    /// The view is known to be outdated: read before the next write.
    stale: bool,
    /// A claim went unanswered: it may have been carried out.
    uncertain: bool,
    /// Conflicts since the last confirmed write.
    conflicts: u32,
    /// No request before this instant.
    not_before: Option<Instant>,
    /// A Lease that we knew, or should have known, is gone; its last holder may act until then, so nobody's new one is claimed before.
    guard: Option<Instant>,
    pending: Option<Pending>,
    holding: Holding,
    until: Option<Instant>,
    term: u64,
    unreachable_since: Option<Instant>,
    refused: Option<String>,
    /// A holder that is known to have ended.
    ended: Option<String>,
    /// Stopping, and when to give up giving back.
    give_up: Option<Instant>,
}

/// The Lease as last seen.
#[derive(Debug, Clone)]
enum View {
    Unknown,
    Missing,
    /// It was missing, and someone may have made one that we haven't seen.
    Hidden,
    /// This version, first seen at `since`.
    Seen {
        lease: Box<Lease>,
        since: Instant,
    },
}

/// The open request. Authority counts from the instant before it was sent.
#[derive(Debug, Clone, Copy)]
struct Pending {
    request: Request,
    sent: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Read,
    Create,
    Claim,
    Release,
}

impl Machine {
    /// A contender that knows nothing yet. The seed spreads its waits.
    pub fn new(settings: LeaseSettings, seed: u64) -> Self {
        Self {
            settings,
            jitter: Jitter::new(seed),
            view: View::Unknown,
            stale: false,
            uncertain: false,
            conflicts: 0,
            not_before: None,
            guard: None,
            pending: None,
            holding: Holding::Waiting,
            until: None,
            term: 0,
            unreachable_since: None,
            refused: None,
            ended: None,
            give_up: None,
        }
    }

    /// Takes note that `holder` has ended for certain, and can't come back under this identity: its Lease is free.
    ///
    /// The claim still rests on the version that names this holder, so it fails if someone else has the Lease by now.
    pub fn holder_ended(&mut self, holder: &str) {
        self.ended = Some(holder.to_owned());
        self.look();
    }

    /// Looks at the Lease next instead of waiting; a holder goes on as before.
    pub fn look(&mut self) {
        if self.holding != Holding::Held && self.give_up.is_none() {
            self.not_before = None;
        }
    }

    /// The instant at which authority ends unless a renewal is confirmed; `None` where we don't hold the Lease.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// When the driver should look again at [`Machine::standing`] even if nothing was answered.
    pub fn lapses_at(&self) -> Option<Instant> {
        self.until.filter(|_| self.holding == Holding::Held)
    }

    /// Where the contender stands at `now`.
    pub fn standing(&mut self, now: Instant) -> Standing {
        self.lapse(now);
        Standing {
            holding: self.holding,
            term: self.term,
            seen: match &self.view {
                View::Seen { lease, .. } => Some(SeenRecord::of(lease)),
                View::Unknown | View::Missing | View::Hidden => None,
            },
            unreachable_since: self.unreachable_since,
            refused: self.refused.clone(),
        }
    }

    pub(crate) fn grant(&self) -> Grant {
        Grant {
            until: self.until,
            term: self.term,
            unreachable_since: self.unreachable_since,
        }
    }
}
