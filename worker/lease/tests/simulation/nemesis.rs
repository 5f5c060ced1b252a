//! What goes wrong, by a seed.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use turmoil::Sim;

use crate::world::{API, SINK, WORKERS, World};

/// How long a message takes at most while a link is well.
pub(crate) const LATENCY: Duration = Duration::from_millis(150);
/// Faults that last at the same time.
const FAULTS: usize = 4;

/// What is broken now.
enum Fault {
    /// A link between two hosts.
    Link(&'static str, &'static str),
    /// A host that has crashed.
    Down(&'static str),
    /// The Lease is deleted, and the operator has not seen that yet.
    NoLease,
}

pub(crate) struct Nemesis {
    rng: SmallRng,
    world: Arc<World>,
    faults: Vec<(Duration, Fault)>,
    next: Duration,
    /// How many Leases it deleted.
    pub(crate) deleted: u64,
}

impl Nemesis {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(world.seed ^ 0x6e65_6d65_7369_7300),
            world: Arc::clone(world),
            faults: Vec::new(),
            next: Duration::ZERO,
            deleted: 0,
        }
    }

    /// Mends what has been broken long enough, and breaks something now and then.
    pub(crate) fn act(&mut self, sim: &mut Sim<'_>, now: Duration) {
        for at in (0..self.faults.len()).rev() {
            if self.faults[at].0 <= now {
                let (_, fault) = self.faults.swap_remove(at);
                self.mend(sim, fault);
            }
        }
        if now >= self.next && self.faults.len() < FAULTS {
            self.next = now + self.millis(500, 6_000);
            self.break_something(sim, now);
        }
    }

    /// Mends everything.
    pub(crate) fn heal(&mut self, sim: &mut Sim<'_>) {
        for (_, fault) in std::mem::take(&mut self.faults) {
            self.mend(sim, fault);
        }
        self.note("all is mended");
    }

    /// Kills the process on this host.
    pub(crate) fn crash(&mut self, sim: &mut Sim<'_>, host: &'static str) {
        sim.crash(host);
        let ended = self.world.judge.lock().unregister(host);
        self.note(&format!("{host} crashed"));
        if let Some(subject) = ended
            && self.rng.random_bool(0.2)
        {
            self.world.judge.lock().tell_ended(&subject.identity);
        }
    }

    fn mend(&mut self, sim: &mut Sim<'_>, fault: Fault) {
        match fault {
            Fault::Link(a, b) => {
                sim.release(a, b);
                sim.set_link_max_message_latency(a, b, LATENCY);
                self.note(&format!("{a}-{b} is well"));
            }
            Fault::Down(host) => {
                sim.bounce(host);
                self.note(&format!("{host} is back"));
            }
            Fault::NoLease => self.world.store.lock().make_lease(),
        }
    }

    fn break_something(&mut self, sim: &mut Sim<'_>, now: Duration) {
        match self.rng.random_range(0..100) {
            0..55 => self.break_link(sim, now),
            55..75 => self.break_worker(sim, now),
            75..80 => self.take_down(sim, now, API),
            80..85 => self.take_down(sim, now, SINK),
            85..93 => self.stop_worker(now),
            _ => self.delete_lease(now),
        }
    }

    fn break_link(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let host = self.victim(now);
        let server = if self.rng.random_bool(0.8) { API } else { SINK };
        let busy =
            |(_, fault): &(Duration, Fault)| matches!(fault, Fault::Link(a, b) if (*a, *b) == (host, server));
        if self.faults.iter().any(busy) {
            return;
        }
        let how = match self.rng.random_range(0..6) {
            0 => {
                sim.partition(host, server);
                "cut"
            }
            1 => {
                sim.partition_oneway(host, server);
                "cut towards the server"
            }
            2 => {
                sim.partition_oneway(server, host);
                "cut from the server"
            }
            3 => {
                sim.hold(host, server);
                "held"
            }
            _ => {
                let slow = self.millis(500, 6_000);
                sim.set_link_max_message_latency(host, server, slow);
                "slow"
            }
        };
        self.note(&format!("{host}-{server} is {how}"));
        let until = now + self.millis(500, 30_000);
        self.faults.push((until, Fault::Link(host, server)));
    }

    fn break_worker(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let host = self.victim(now);
        if self.is_down(host) {
            return;
        }
        self.crash(sim, host);
        let until = now + self.millis(100, 25_000);
        self.faults.push((until, Fault::Down(host)));
    }

    fn take_down(&mut self, sim: &mut Sim<'_>, now: Duration, server: &'static str) {
        if self.is_down(server) {
            return;
        }
        sim.crash(server);
        self.note(&format!("{server} crashed"));
        let until = now + self.millis(500, 20_000);
        self.faults.push((until, Fault::Down(server)));
    }

    fn stop_worker(&mut self, now: Duration) {
        let host = self.victim(now);
        let mut judge = self.world.judge.lock();
        if let Some(subject) = judge.subject(host) {
            subject.stop.cancel();
            judge.note(&format!("{host} is stopped"));
        }
    }

    fn delete_lease(&mut self, now: Duration) {
        let deleted = self.world.store.lock().lease.take();
        if deleted.is_none() {
            return;
        }
        self.deleted += 1;
        self.note("the Lease is deleted");
        if !self.world.contenders_create {
            let until = now + self.millis(0, 8_000);
            self.faults.push((until, Fault::NoLease));
        }
    }

    /// Rather the holder than others.
    fn victim(&mut self, now: Duration) -> &'static str {
        let holder = self.world.judge.lock().holder(now).map(|(host, _)| host);
        let any = WORKERS.choose(&mut self.rng).copied().unwrap_or("w0");
        let aimed = self.rng.random_bool(0.5);
        holder.filter(|_| aimed).unwrap_or(any)
    }

    fn is_down(&self, host: &str) -> bool {
        self.faults
            .iter()
            .any(|(_, fault)| matches!(fault, Fault::Down(down) if *down == host))
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(from..to))
    }

    fn note(&self, what: &str) {
        self.world.judge.lock().note(what);
    }
}
