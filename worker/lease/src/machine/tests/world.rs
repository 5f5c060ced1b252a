//! Two machines and an API server in simulated time. Requests and answers get lost, late and doubled; processes pause,
//! crash and stop.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

use super::fate::{Fate, Process};
use super::setup::settings;
use crate::machine::{Action, Answer, Machine};
use crate::{Holding, LeaseCreation, LeaseTimes};

#[derive(Debug, Clone)]
enum Event {
    Wake {
        node: usize,
        round: u64,
    },
    Deliver {
        node: usize,
        action: Action,
        answered: Option<(u64, u64)>,
    },
    Arrive {
        node: usize,
        call: u64,
        answer: Answer,
    },
}

struct Node {
    machine: Machine,
    identity: String,
    lives: u64,
    /// The open call, or the last one.
    call: u64,
    waits: bool,
    round: u64,
    paused_until: u64,
}

pub(super) struct World {
    times: LeaseTimes,
    base: Instant,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    lease: Option<Lease>,
    version: u64,
    nodes: Vec<Node>,
    fates: Vec<Fate>,
    /// An API server that ignores resourceVersions, to see that the tests can fail.
    careless: bool,
    /// Identities in the order in which they got authority.
    pub(super) holders: BTreeSet<String>,
    pub(super) overlaps: Vec<String>,
}

impl World {
    pub(super) fn new(times: LeaseTimes, mut fates: Vec<Fate>, careless: bool) -> Self {
        fates.reverse();
        let mut world = Self {
            times,
            base: Instant::now(),
            now: 0,
            events: BTreeMap::new(),
            sequence: 0,
            lease: None,
            version: 0,
            nodes: Vec::new(),
            fates,
            careless,
            holders: BTreeSet::new(),
            overlaps: Vec::new(),
        };
        for node in 0..2 {
            let (machine, identity) = machine(times, node, 0);
            world.nodes.push(Node {
                machine,
                identity,
                lives: 0,
                call: 0,
                waits: false,
                round: 0,
                paused_until: 0,
            });
            world.put(0, Event::Wake { node, round: 0 });
        }
        world
    }

    /// Runs until the fates are used up, then `calm` milliseconds more without any fault.
    pub(super) fn run(&mut self, calm: u64) {
        let mut end = None;
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            if self.fates.is_empty() && end.is_none() {
                end = Some(at + calm);
            }
            if end.is_some_and(|end| at > end) {
                break;
            }
            self.handle(event);
            self.check();
        }
    }

    /// Who holds at the end.
    pub(super) fn holding(&mut self) -> usize {
        let now = self.instant();
        let held = |node: &mut Node| node.machine.standing(now).holding == Holding::Held;
        self.nodes.iter_mut().map(held).filter(|held| *held).count()
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_millis(self.now)
    }

    fn put(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Wake { node, .. } | Event::Arrive { node, .. }
                if self.nodes[node].paused_until > self.now =>
            {
                self.put(self.nodes[node].paused_until, event);
            }
            Event::Wake { node, round } => {
                if self.nodes[node].round == round {
                    self.step(node);
                }
            }
            Event::Deliver {
                node,
                action,
                answered,
            } => {
                let answer = self.serve(action);
                if let Some((call, at)) = answered {
                    self.put(at.max(self.now), Event::Arrive { node, call, answer });
                }
            }
            Event::Arrive { node, call, answer } => {
                if self.nodes[node].waits && self.nodes[node].call == call {
                    let now = self.instant();
                    self.nodes[node].waits = false;
                    self.nodes[node].machine.answer(now, answer);
                    self.step(node);
                }
            }
        }
    }

    fn step(&mut self, node: usize) {
        let now = self.instant();
        let action = self.nodes[node].machine.next(now, Timestamp::UNIX_EPOCH);
        let round = self.nodes[node].round + 1;
        self.nodes[node].round = round;
        match action {
            Action::Done => self.replace(node, 0),
            Action::Wait(wait) => {
                let wait = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap();
                self.put(self.now + wait, Event::Wake { node, round });
            }
            request => self.send(node, request),
        }
    }

    fn send(&mut self, node: usize, action: Action) {
        let fate = self.fates.pop().unwrap_or_default();
        self.nodes[node].call += 1;
        self.nodes[node].waits = true;
        let call = self.nodes[node].call;
        let arrives = self.now + fate.request_delay;
        if !fate.request_lost {
            let answered = (!fate.answer_lost).then_some((call, arrives + fate.answer_delay));
            self.put(
                arrives,
                Event::Deliver {
                    node,
                    action: action.clone(),
                    answered,
                },
            );
        }
        if let Some(later) = fate.doubled {
            self.put(
                arrives + later,
                Event::Deliver {
                    node,
                    action,
                    answered: None,
                },
            );
        }
        let timeout = u64::try_from(self.times.call_timeout().as_millis()).unwrap();
        self.put(
            self.now + timeout,
            Event::Arrive {
                node,
                call,
                answer: Answer::Unanswered("timeout".to_owned()),
            },
        );
        self.nodes[node].paused_until = self.now + fate.pause;
        match fate.process {
            Process::Runs => {}
            Process::Stops => {
                let now = self.instant();
                self.nodes[node].machine.stop(now);
            }
            Process::Crashes => self.replace(node, fate.pause),
        }
    }

    /// A new process in place of the old one; it knows nothing and has another identity.
    fn replace(&mut self, node: usize, after: u64) {
        let lives = self.nodes[node].lives + 1;
        let (machine, identity) = machine(self.times, node, lives);
        let slot = &mut self.nodes[node];
        (slot.machine, slot.identity, slot.lives) = (machine, identity, lives);
        (slot.waits, slot.round) = (false, slot.round + 1);
        let round = slot.round;
        self.put(self.now + after + 100, Event::Wake { node, round });
    }

    fn serve(&mut self, action: Action) -> Answer {
        let write = match (action, &self.lease) {
            (Action::Create(lease), None) => Some(lease),
            (Action::Update(lease), Some(stored)) if self.careless || same_version(&lease, stored) => {
                Some(lease)
            }
            (Action::Create(_) | Action::Update(_), _) => return Answer::Conflict,
            _ => None,
        };
        if let Some(mut lease) = write {
            self.version += 1;
            lease.metadata.resource_version = Some(self.version.to_string());
            lease
                .metadata
                .uid
                .get_or_insert_with(|| format!("uid-{}", self.version));
            self.lease = Some(*lease);
        }
        self.lease
            .clone()
            .map_or(Answer::Missing, |lease| Answer::Lease(Box::new(lease)))
    }

    fn check(&mut self) {
        let now = self.instant();
        let acting: Vec<_> = self
            .nodes
            .iter()
            .filter(|node| node.machine.until().is_some_and(|until| until > now))
            .map(|node| node.identity.clone())
            .collect();
        if acting.len() > 1 {
            self.overlaps.push(format!("{acting:?} at {} ms", self.now));
        }
        self.holders.extend(acting);
    }
}

fn same_version(a: &Lease, b: &Lease) -> bool {
    a.metadata.resource_version == b.metadata.resource_version && a.metadata.uid == b.metadata.uid
}

fn machine(times: LeaseTimes, node: usize, lives: u64) -> (Machine, String) {
    let identity = format!("{node}-{lives}");
    let settings = settings(&identity, times, Some(LeaseCreation::default()));
    (Machine::new(settings, lives * 2 + node as u64), identity)
}
