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
#[derive(Clone, Copy)]
enum Fault {
    /// A link between two hosts that loses or holds what is sent.
    Link(&'static str, &'static str),
    /// A link that takes long; may get worse.
    Slow(&'static str, &'static str),
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
                match fault {
                    Fault::Slow(a, b) if self.rng.random_bool(0.5) => self.cut(sim, now, a, b),
                    fault => self.mend(sim, fault),
                }
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
            Fault::Link(a, b) | Fault::Slow(a, b) => {
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
            0..47 => self.break_link(sim, now),
            47..55 => self.pause_worker(sim, now),
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
        if self.is_busy(host, server) {
            return;
        }
        if self.rng.random_bool(0.6) {
            self.cut(sim, now, host, server);
        } else {
            sim.set_link_max_message_latency(host, server, self.millis(500, 6_000));
            self.note(&format!("{host}-{server} is slow"));
            let until = now + self.millis(500, 15_000);
            self.faults.push((until, Fault::Slow(host, server)));
        }
    }

    fn cut(&mut self, sim: &mut Sim<'_>, now: Duration, host: &'static str, server: &'static str) {
        let how = match self.rng.random_range(0..4) {
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
            _ => {
                sim.hold(host, server);
                "held"
            }
        };
        self.note(&format!("{host}-{server} is {how}"));
        let until = now + self.millis(500, 30_000);
        self.faults.push((until, Fault::Link(host, server)));
    }

    /// As the world sees a process that sleeps for a while: what it sent before comes late, as does all that it is told.
    fn pause_worker(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let host = self.victim(now);
        if [API, SINK].iter().any(|server| self.is_busy(host, server)) {
            return;
        }
        let until = now + self.millis(500, 40_000);
        for server in [API, SINK] {
            sim.hold(host, server);
            self.faults.push((until, Fault::Link(host, server)));
        }
        self.note(&format!("{host} is paused"));
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

    fn is_busy(&self, host: &str, server: &str) -> bool {
        self.faults.iter().any(|(_, fault)| match fault {
            Fault::Link(a, b) | Fault::Slow(a, b) => (*a, *b) == (host, server),
            Fault::Down(_) | Fault::NoLease => false,
        })
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
