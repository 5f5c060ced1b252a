//! The task that drives a machine against the API server.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Action, Answer, Authority, Holding, LeaseSettings, Machine, Standing, api, clock};

/// One contender for a Lease: a task that acquires it and renews it until it is stopped, then gives it back.
///
/// The task goes on if this is dropped; only `stop` ends it.
#[derive(Debug)]
pub struct Contender {
    standing: watch::Receiver<Standing>,
    authority: Authority,
    hints: Hints,
    task: JoinHandle<()>,
}

/// What others know that a contender can't see in the Lease; a cheap clone.
#[derive(Debug, Clone)]
pub struct Hints(mpsc::Sender<Hint>);

#[derive(Debug)]
enum Hint {
    Look,
    Ended(String),
}

/// Hints that wait; more say nothing new.
const HINTS: usize = 16;

impl Hints {
    /// The Lease may have changed: it is looked at now, if we don't hold it.
    pub fn look(&self) {
        let _ = self.0.try_send(Hint::Look);
    }

    /// This holder has ended for certain, as its pod's container has: its Lease is taken at once.
    pub fn ended(&self, holder: &str) {
        let _ = self.0.try_send(Hint::Ended(holder.to_owned()));
    }
}

impl Contender {
    /// Starts contending. Must be called within a tokio runtime. A client with kube's retries is fine: each request has a
    /// third of the renew deadline, retries included.
    ///
    /// Cancel `stop` once nothing is being done in the holder's name any more: authority ends at once, then
    /// the Lease is given back (empty holder, duration 1 s) so that another takes it without waiting.
    pub fn spawn(client: Client, settings: LeaseSettings, stop: CancellationToken) -> Self {
        let mut machine = Machine::new(settings.clone(), seed(&settings));
        let (publish, standing) = watch::channel(machine.standing(clock::now()));
        let authority = Authority::default();
        let (send, hints) = mpsc::channel(HINTS);
        let driver = Driver {
            hints,
            api: Api::namespaced(client, &settings.namespace),
            settings,
            machine,
            publish,
            authority: authority.clone(),
        };
        let task = tokio::spawn(driver.run(stop));
        Self {
            standing,
            authority,
            hints: Hints(send),
            task,
        }
    }

    /// Where the contender stands, as it changes. The channel closes when the task has ended.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Where to tell what isn't seen in the Lease.
    pub fn hints(&self) -> Hints {
        self.hints.clone()
    }

    /// Until when the holder may act.
    pub fn authority(&self) -> Authority {
        self.authority.clone()
    }

    /// Waits until the Lease is given back, or can't be, after a stop. At most about 1.5 renew deadlines.
    pub async fn finished(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that renews a Lease broke off");
        }
    }
}

/// Contenders differ by identity, so their waits do too.
fn seed(settings: &LeaseSettings) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&settings.namespace, &settings.name, &settings.identity).hash(&mut hasher);
    hasher.finish()
}

struct Driver {
    api: Api<Lease>,
    settings: LeaseSettings,
    machine: Machine,
    publish: watch::Sender<Standing>,
    authority: Authority,
    hints: mpsc::Receiver<Hint>,
}

impl Driver {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let stopping = stop.is_cancelled();
            if stopping {
                self.machine.stop(clock::now());
                self.publish();
            }
            match self.machine.next(clock::now(), Timestamp::now()) {
                Action::Done => break,
                Action::Wait(wait) => {
                    let end = clock::now() + wait;
                    tokio::select! {
                        // In this order, so that a simulation can be repeated.
                        biased;
                        () = sleep_until(self.wake(end)) => {}
                        () = stop.cancelled(), if !stopping => {}
                        Some(hint) = self.hints.recv() => match hint {
                            Hint::Look => self.machine.look(),
                            Hint::Ended(holder) => self.machine.holder_ended(&holder),
                        },
                    }
                }
                request => {
                    let answer = self.send(request, &stop).await;
                    self.log(&answer);
                    self.machine.answer(clock::now(), answer);
                }
            }
            self.publish();
        }
    }

    /// Sends a request; meanwhile a passing deadline and a stop are published as they come.
    async fn send(&mut self, request: Action, stop: &CancellationToken) -> Answer {
        let api = self.api.clone();
        let (name, timeout) = (self.settings.name.clone(), self.settings.times.call_timeout());
        let call = api::send(&api, &name, request, timeout);
        tokio::pin!(call);
        let mut stopping = false;
        loop {
            let lapse = self.machine.lapses_at();
            tokio::select! {
                biased;
                answer = &mut call => return answer,
                () = sleep_until(lapse.unwrap_or_else(clock::now)), if lapse.is_some() => {}
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.machine.stop(clock::now());
                }
            }
            self.publish();
        }
    }

    /// The end of a wait, or the end of authority if that comes first.
    fn wake(&self, end: Instant) -> Instant {
        self.machine.lapses_at().map_or(end, |lapse| lapse.min(end))
    }

    fn publish(&mut self) {
        let standing = self.machine.standing(clock::now());
        // Authority first: whoever wakes by the channel must find it up to date.
        self.authority.set(self.machine.grant());
        self.publish.send_if_modified(|last| {
            if *last == standing {
                return false;
            }
            log_change(&self.settings, last.holding, &standing);
            *last = standing;
            true
        });
    }

    fn log(&self, answer: &Answer) {
        let (lease, identity) = (&self.settings.name, &self.settings.identity);
        match answer {
            Answer::Refused(why) => {
                tracing::warn!(lease, identity, why, "the API server refused a Lease request");
            }
            Answer::Unanswered(why) => tracing::debug!(lease, identity, why, "no answer to a Lease request"),
            Answer::Lease(_) | Answer::Missing | Answer::Conflict => {}
        }
    }
}

fn log_change(settings: &LeaseSettings, before: Holding, standing: &Standing) {
    if before == standing.holding {
        return;
    }
    let (lease, identity, term) = (&settings.name, &settings.identity, standing.term);
    match standing.holding {
        Holding::Waiting => {}
        Holding::Held => tracing::info!(lease, identity, term, "holds the Lease"),
        Holding::Lost(reason) => tracing::info!(lease, identity, term, ?reason, "holds the Lease no more"),
    }
}

async fn sleep_until(at: Instant) {
    tokio::time::sleep_until(at.into()).await;
}
