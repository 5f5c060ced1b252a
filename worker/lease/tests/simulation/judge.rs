//! Watches the whole world at every step, by the simulation's own time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::time::{Duration, Instant};

use tidemark_lease::{Hints, LeaseTimes};
use tokio_util::sync::CancellationToken;

use crate::holder::Right;
use crate::lives::Lives;
use crate::world::World;

pub(crate) const TWO: &str = "two workers hold the Lease at once";
pub(crate) const LATE: &str = "the sink took a row of an older epoch after one of a newer";
pub(crate) const SHARED: &str = "the sink took rows of one epoch from two writers";
pub(crate) const FELL: &str = "the status fell";
pub(crate) const AHEAD: &str = "the checkpoint covers what the sink doesn't have";
pub(crate) const IDLE: &str = "nobody holds the Lease two durations after the faults ended";
pub(crate) const STUCK: &str = "no progress after the faults ended";

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) at: Duration,
    pub(crate) what: String,
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) at {:?}", self.rule, self.what, self.at)
    }
}

/// A process under watch.
pub(crate) struct Subject {
    pub(crate) identity: String,
    pub(crate) stop: CancellationToken,
    hints: Option<Hints>,
    right: Right,
    /// One instant by the clock of its host and by the simulation's.
    began: (Instant, Duration),
    term: u64,
    /// When its term was first seen.
    acquired: Duration,
}

impl Subject {
    /// To be made on its host.
    pub(crate) fn new(identity: String, right: Right, hints: Option<Hints>, stop: CancellationToken) -> Self {
        let host = tokio::time::Instant::now().into_std();
        Self {
            identity,
            stop,
            hints,
            right,
            began: (host, turmoil::sim_elapsed().unwrap_or_default()),
            term: 0,
            acquired: Duration::ZERO,
        }
    }

    /// When its authority ends, by the simulation's time.
    fn until(&self) -> Option<Duration> {
        let until = self.right.until()?;
        Some(self.began.1 + until.saturating_duration_since(self.began.0))
    }
}

/// What it has seen.
#[derive(Default)]
pub(crate) struct Judge {
    now: Duration,
    boots: BTreeMap<&'static str, u64>,
    subjects: BTreeMap<&'static str, Subject>,
    status: (u64, u64),
    pub(crate) lives: Lives,
    pub(crate) events: Vec<String>,
    pub(crate) terms: u64,
    /// Two holders where the second couldn't know of the first's Lease, which was deleted.
    pub(crate) excused: BTreeSet<String>,
}

impl Judge {
    /// The number of the process that starts on this host now.
    pub(crate) fn boot(&mut self, host: &'static str) -> u64 {
        let boot = self.boots.entry(host).or_default();
        *boot += 1;
        *boot
    }

    pub(crate) fn register(&mut self, host: &'static str, subject: Subject) {
        self.note(&format!("{} starts", subject.identity));
        self.subjects.insert(host, subject);
    }

    /// The process on this host has ended.
    pub(crate) fn unregister(&mut self, host: &'static str) -> Option<Subject> {
        let subject = self.subjects.remove(host)?;
        self.note(&format!("{} ended", subject.identity));
        Some(subject)
    }

    pub(crate) fn note(&mut self, what: &str) {
        self.events
            .push(format!("{:>9.3} {what}", self.now.as_secs_f64()));
    }

    pub(crate) fn subject(&self, host: &str) -> Option<&Subject> {
        self.subjects.get(host)
    }

    /// Tells all others that this process has ended.
    pub(crate) fn tell_ended(&mut self, identity: &str) {
        self.note(&format!("all know that {identity} has ended"));
        for hints in self
            .subjects
            .values()
            .filter_map(|subject| subject.hints.as_ref())
        {
            hints.ended(identity);
        }
    }

    /// Who holds the Lease at `now`: its host, and until when.
    pub(crate) fn holder(&self, now: Duration) -> Option<(&'static str, Duration)> {
        self.subjects.iter().find_map(|(host, subject)| {
            let until = subject.until()?;
            (until > now).then_some((*host, until))
        })
    }

    /// Looks at everything after a step of the simulation that ended at `now`.
    pub(crate) fn look(&mut self, world: &World, now: Duration, tick: Duration) -> Option<Violation> {
        self.now = now;
        self.lives.see(world.store.lock().uid(), now);
        self.look_at_holders(world.rules.times, now, tick).or_else(|| {
            let found = self.look_at_servers(world);
            found.map(|rule| Violation {
                rule,
                at: now,
                what: format!("status {:?}", self.status),
            })
        })
    }

    /// Clocks of hosts differ within a step: who held during any part of it counts.
    fn look_at_holders(&mut self, times: LeaseTimes, now: Duration, tick: Duration) -> Option<Violation> {
        let mut begun = Vec::new();
        let mut acting = Vec::new();
        for subject in self.subjects.values_mut() {
            if let Some(lease) = subject.right.lease() {
                self.lives.meet(&lease, &subject.identity, None);
            }
            if subject.right.term() != subject.term {
                subject.term = subject.right.term();
                subject.acquired = now;
                begun.push(format!("{} holds in term {}", subject.identity, subject.term));
            }
            if subject
                .until()
                .is_some_and(|until| until > now.saturating_sub(tick))
            {
                acting.push(&*subject);
            }
        }
        // A claim that was confirmed late may begin a term after its Lease has been deleted and made anew.
        acting.sort_by_key(|subject| {
            let made = subject.right.lease().and_then(|lease| self.lives.made(&lease));
            (made, subject.acquired)
        });
        let mut found = None;
        for (at, newer) in acting.iter().enumerate() {
            for older in &acting[..at] {
                let what = format!("{} and {}", older.identity, newer.identity);
                let lease = older.right.lease();
                let other = lease.filter(|lease| newer.right.lease().as_ref() != Some(lease));
                let known = |lease: &String| self.lives.knowable(lease, &newer.identity, times);
                if other.as_ref().is_some_and(|lease| !known(lease)) {
                    self.excused.insert(what);
                } else {
                    let (rule, at) = (TWO, now);
                    found.get_or_insert(Violation { rule, at, what });
                }
            }
        }
        self.terms += u64::try_from(begun.len()).unwrap_or(0);
        for event in begun {
            self.note(&event);
        }
        found
    }

    fn look_at_servers(&mut self, world: &World) -> Option<&'static str> {
        let (store, sink) = (world.store.lock(), world.sink.lock());
        let before = self.status;
        self.status = (store.epoch(), store.checkpoint());
        let fell = store.fell || self.status.0 < before.0 || self.status.1 < before.1;
        let broken = [
            (sink.late, LATE),
            (sink.shared, SHARED),
            (fell, FELL),
            (sink.gap || self.status.1 > sink.rows, AHEAD),
        ];
        broken
            .into_iter()
            .find_map(|(broken, rule)| broken.then_some(rule))
    }
}
