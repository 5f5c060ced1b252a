//! What a contender publishes about itself.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

use crate::record;

/// Where a contender stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether we hold the Lease.
    pub holding: Holding,
    /// How many times this contender has acquired the Lease; a rise means that it was lost in between, even where a
    /// watcher saw only `Held` twice. Whatever was begun in an older term (an epoch, say) is void.
    pub term: u64,
    /// The Lease as last seen; `None` before the first answer and while it is missing.
    pub seen: Option<SeenRecord>,
    /// Since when the API server has given no answer at all.
    pub unreachable_since: Option<Instant>,
    /// Why the API server refused the last request, such as missing rights.
    pub refused: Option<String>,
}

impl Standing {
    /// Whether we hold the Lease. For a decision to act, ask [`crate::Authority::holds`]: this value may be late.
    pub fn is_held(&self) -> bool {
        self.holding == Holding::Held
    }
}

/// Whether a contender holds its Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// It has not held it yet.
    Waiting,
    /// It holds it.
    Held,
    /// It held it, and holds it no more. It goes on contending and may hold it again, in a new term.
    Lost(LossReason),
}

/// How a Lease was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossReason {
    /// No renewal was confirmed before the deadline.
    Expired,
    /// Someone else holds it.
    Taken,
    /// It was deleted and isn't ours to make, or someone emptied it.
    Deleted,
    /// We gave it back.
    Released,
}

/// A Lease as seen by a contender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRecord {
    /// Who holds it; `None` where it is released.
    pub holder: Option<String>,
    /// Its annotations, such as the holder's address. Those of the previous holder while it is released.
    pub annotations: BTreeMap<String, String>,
    /// How many times the holder changed; starts over when the Lease is re-created.
    pub transitions: i32,
    /// When the holder acquired it, by the holder's clock.
    pub acquired: Option<Timestamp>,
    /// UID of the object, for audit.
    pub uid: Option<String>,
    /// Its resourceVersion, which each renewal changes.
    pub version: Option<String>,
}

impl SeenRecord {
    pub(crate) fn of(lease: &Lease) -> Self {
        Self {
            holder: record::holder(lease).map(str::to_owned),
            annotations: lease.metadata.annotations.clone().unwrap_or_default(),
            transitions: record::transitions(lease),
            acquired: record::acquired(lease),
            uid: lease.metadata.uid.clone(),
            version: lease.metadata.resource_version.clone(),
        }
    }
}
