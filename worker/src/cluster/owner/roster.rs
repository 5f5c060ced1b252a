//! The workers that an owner knows. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidemark_model::Ts;
use tidemark_proto::peerspb::{Held, Hello, Report};

use super::table::Seat;
use crate::cluster::peers::Link;

/// A member that hasn't reported for so long counts as cut off; reports come five times a second.
const SILENCE: Duration = Duration::from_secs(2);

/// What a worker is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It takes spans.
    Working,
    /// It has other settings, and waits until those who have ours are gone.
    Standby,
    /// It gave all up because of an error, and joins again when it has recovered.
    Failed,
    /// It drains.
    Leaving,
}

/// One run of a worker's process.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) pod: String,
    pub(crate) identity: String,
    /// `None` while it isn't connected: it may still write.
    pub(crate) link: Option<Link>,
    pub(crate) role: Role,
    /// The last report that was read.
    pub(crate) heard: u64,
    heard_at: Instant,
    unreachable: bool,
    /// All of its spans were received up to here.
    pub(crate) received: Ts,
    /// What holds its slowest span back.
    pub(crate) held: Option<Held>,
}

impl Worker {
    /// Whether it should have reported by now: it is stopped or cut off, or its machine is very busy.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        now.duration_since(self.heard_at) >= SILENCE
    }
}

/// Someone who may hold spans and isn't connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    pub(crate) pod: String,
    /// `None` where only the pod's name is known.
    pub(crate) identity: Option<String>,
}

/// All workers that may write, and pods that nothing is known of yet.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    last: u64,
    workers: BTreeMap<Seat, Worker>,
    unknown: Vec<String>,
}

impl Roster {
    /// A roster of pods that may have workers of which the owner before us knew.
    pub(crate) fn new(pods: Vec<String>) -> Self {
        Self {
            unknown: pods,
            ..Self::default()
        }
    }

    /// A member says hello. Gives its seat, and the seats of earlier runs of the same pod: their Lease is the newcomer's.
    pub(crate) fn join(&mut self, hello: &Hello, link: Link, role: Role, now: Instant) -> (Seat, Vec<Seat>) {
        self.unknown.retain(|pod| *pod != hello.pod);
        let known = self
            .workers
            .iter()
            .find(|(_, worker)| worker.identity == hello.identity)
            .map(|(seat, _)| *seat);
        let seat = known.unwrap_or_else(|| self.next());
        let earlier: Vec<_> = self
            .workers
            .iter()
            .filter(|(other, worker)| **other != seat && worker.pod == hello.pod)
            .map(|(seat, _)| *seat)
            .collect();
        for seat in &earlier {
            self.workers.remove(seat);
        }
        self.workers.insert(
            seat,
            Worker {
                pod: hello.pod.clone(),
                identity: hello.identity.clone(),
                link: Some(link),
                role,
                heard: 0,
                heard_at: now,
                unreachable: false,
                received: Ts::ZERO,
                held: None,
            },
        );
        (seat, earlier)
    }

    fn next(&mut self) -> Seat {
        self.last += 1;
        Seat(self.last)
    }

    /// A stream has ended; gives whose it was.
    pub(crate) fn gone(&mut self, stream: u64) -> Option<Seat> {
        let seat = self.seat_of(stream)?;
        // A member that we don't hear any more may still hear us.
        self.workers.get_mut(&seat)?.link.take()?.close();
        Some(seat)
    }

    /// Whose stream that is.
    pub(crate) fn seat_of(&self, stream: u64) -> Option<Seat> {
        self.workers
            .iter()
            .find(|(_, worker)| worker.link.as_ref().is_some_and(|link| link.number == stream))
            .map(|(seat, _)| *seat)
    }

    /// Takes a report in.
    pub(crate) fn report(&mut self, seat: Seat, report: &Report, now: Instant) {
        if let Some(worker) = self.workers.get_mut(&seat) {
            worker.heard = report.number;
            worker.heard_at = now;
            worker.unreachable = report.unreachable;
            worker.received = Ts(report.received);
            worker.held.clone_from(&report.held);
        }
    }

    pub(crate) fn get(&self, seat: Seat) -> Option<&Worker> {
        self.workers.get(&seat)
    }

    pub(crate) fn set_role(&mut self, seat: Seat, role: Role) {
        if let Some(worker) = self.workers.get_mut(&seat) {
            worker.role = role;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Seat, &Worker)> {
        self.workers.iter().map(|(seat, worker)| (*seat, worker))
    }

    /// Those who may hold spans and can't be asked.
    pub(crate) fn doubts(&self) -> Vec<Doubt> {
        let unknown = self.unknown.iter().map(|pod| Doubt {
            pod: pod.clone(),
            identity: None,
        });
        let cut_off = self
            .workers
            .values()
            .filter(|worker| worker.link.is_none())
            .map(|worker| Doubt {
                pod: worker.pod.clone(),
                identity: Some(worker.identity.clone()),
            });
        unknown.chain(cut_off).collect()
    }

    /// A pod's worker turned out to be this run, which lives and isn't connected yet.
    pub(crate) fn found(&mut self, pod: &str, identity: &str, now: Instant) {
        if !self.unknown.iter().any(|name| name == pod) {
            return;
        }
        self.unknown.retain(|name| name != pod);
        let seat = self.next();
        self.workers.insert(
            seat,
            Worker {
                pod: pod.to_owned(),
                identity: identity.to_owned(),
                link: None,
                role: Role::Working,
                heard: 0,
                heard_at: now,
                unreachable: false,
                received: Ts::ZERO,
                held: None,
            },
        );
    }

    /// A run that isn't connected can't write any more; gives its seat. Without an identity: nothing runs in that pod.
    pub(crate) fn over(&mut self, doubt: &Doubt) -> Option<Seat> {
        let Some(identity) = &doubt.identity else {
            self.unknown.retain(|pod| *pod != doubt.pod);
            return None;
        };
        let (seat, _) = self
            .workers
            .iter()
            .find(|(_, worker)| worker.link.is_none() && worker.identity == *identity)?;
        let seat = *seat;
        self.workers.remove(&seat);
        Some(seat)
    }

    /// Whether all members are connected and none of them reaches the API.
    pub(crate) fn is_cut_off(&self, now: Instant) -> bool {
        self.unknown.is_empty()
            && self
                .workers
                .values()
                .all(|worker| worker.link.is_some() && worker.unreachable && !worker.is_silent(now))
    }
}
