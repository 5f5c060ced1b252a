//! How long each Lease was there, and who could know of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidemark_lease::LeaseTimes;

/// From when to when a Lease was there, and the processes that met it.
#[derive(Default)]
struct Life {
    made: Duration,
    last: Duration,
    met: BTreeSet<String>,
}

/// The lives of all Leases, by UID.
#[derive(Default)]
pub(crate) struct Lives {
    leases: BTreeMap<String, Life>,
    /// When each process had its first answer.
    heard: BTreeMap<String, Duration>,
}

impl Lives {
    /// A process has an answer.
    pub(crate) fn hear(&mut self, process: &str, now: Option<Duration>) {
        if !self.heard.contains_key(process) {
            self.heard.insert(process.to_owned(), now.unwrap_or_default());
        }
    }

    /// The Lease that is there now.
    pub(crate) fn see(&mut self, lease: Option<&str>, now: Duration) {
        let Some(lease) = lease else { return };
        if !self.leases.contains_key(lease) {
            self.leases.entry(lease.to_owned()).or_default().made = now;
        }
        if let Some(life) = self.leases.get_mut(lease) {
            life.last = now;
        }
    }

    /// This process knows, or must suspect, that this Lease is or was there.
    pub(crate) fn meet(&mut self, lease: &str, process: &str, there: Option<Duration>) {
        if let Some(now) = there {
            self.see(Some(lease), now);
        }
        if let Some(life) = self.leases.get_mut(lease) {
            life.met.insert(process.to_owned());
        }
    }

    /// When this Lease was made.
    pub(crate) fn made(&self, lease: &str) -> Option<Duration> {
        self.leases.get(lease).map(|life| life.made)
    }

    /// Whether a process could know that this Lease was there. It couldn't if it had no answer to anything before, or if the
    /// Lease came and went between two of its looks.
    pub(crate) fn knowable(&self, lease: &str, process: &str, times: LeaseTimes) -> bool {
        let between_looks = times.renew_deadline * 2 / 3 + times.retry * 11 / 10;
        self.leases.get(lease).is_some_and(|life| {
            let heard = self.heard.get(process).is_some_and(|first| *first < life.made);
            let long = life.last - life.made > between_looks;
            life.met.contains(process) || (heard && long)
        })
    }
}
