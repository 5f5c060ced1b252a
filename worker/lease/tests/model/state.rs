//! What the world consists of at one instant, and what may happen to it.

use std::collections::BTreeSet;

use crate::rules::{Lease, Sink, Status};

/// A write under way. It may arrive at any time or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Message {
    Create,
    Claim { uid: u8, version: u8 },
    Raise { from: u8, to: u8 },
    Fence { epoch: u8 },
    Row { epoch: u8, row: u8 },
    Checkpoint { epoch: u8, row: u8 },
}

/// How far a worker has come. A pause is a worker that takes no step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Idle,
    Claimed,
    Raised {
        epoch: u8,
    },
    Fenced {
        epoch: u8,
    },
    Owner {
        epoch: u8,
        written: u8,
    },
    Wrote {
        epoch: u8,
        row: u8,
    },
    /// Waits for the answer to its message.
    Waits(Message),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) lease: Option<Lease>,
    pub(crate) status: Status,
    pub(crate) sink: Sink,
    pub(crate) steps: Vec<Step>,
    pub(crate) flight: BTreeSet<(u8, Message)>,
    pub(crate) claims: u8,
    pub(crate) deletions: u8,
    pub(crate) doubles: u8,
    pub(crate) restores: u8,
    pub(crate) last_owner: Option<u8>,
    pub(crate) handed_over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    /// The worker reads what it needs and sends its next write.
    Go(u8),
    /// The worker loses patience, its authority or its memory, and starts anew.
    GiveUp(u8),
    /// A message arrives; its answer may get lost, or the message may stay to arrive again.
    Arrive {
        by: u8,
        message: Message,
        answered: bool,
        again: bool,
    },
    DeleteLease,
    RestoreStatus,
}
