//! A contender that drives the real machine, but makes one mistake.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client, Error};
use parking_lot::Mutex;
use tidemark_lease::{Action, Answer, LeaseSettings, Machine};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::rules::Mistake;
use crate::world::WORKERS;

/// What the contender believes.
#[derive(Default)]
pub(crate) struct Grant {
    pub(crate) until: Option<Instant>,
    pub(crate) term: u64,
    pub(crate) lease: Option<String>,
}

impl Grant {
    pub(crate) fn holds(&self, term: u64) -> bool {
        self.term == term && self.until.is_some_and(|until| now() < until)
    }
}

pub(crate) async fn run(
    mistake: Mistake,
    client: Client,
    settings: LeaseSettings,
    grant: Arc<Mutex<Grant>>,
    stop: CancellationToken,
) {
    let api = Api::<Lease>::namespaced(client, &settings.namespace);
    let mut machine = Machine::new(settings.clone(), 1);
    let mut earlier_terms = 0;
    loop {
        if stop.is_cancelled() {
            machine.stop(now());
            grant.lock().until = None;
        }
        let request = match machine.next(now(), wall(&settings)) {
            Action::Done => return,
            Action::Wait(wait) => {
                tokio::select! {
                    biased;
                    () = sleep(wait) => {}
                    () = stop.cancelled(), if !stop.is_cancelled() => {}
                }
                continue;
            }
            request => request,
        };
        let before = machine.until();
        let answer = send(&api, &settings, request).await;
        let mut grant = grant.lock();
        let forgets = mistake == Mistake::ForgetsDeletedLease;
        if forgets && grant.lease.is_some() && grant.lease != uid(&answer) && knows(&answer) {
            earlier_terms += machine.standing(now()).term;
            machine = Machine::new(settings.clone(), 1);
        }
        if mistake == Mistake::TrustsWallClocks
            && let Some(holder) = expired(&answer, wall(&settings))
        {
            machine.holder_ended(&holder);
        }
        if knows(&answer) {
            grant.lease = uid(&answer);
        }
        machine.answer(now(), answer);
        let confirmed = machine.until().is_some() && machine.until() != before;
        if confirmed && mistake == Mistake::CountsFromAnswer {
            grant.until = Some(now() + settings.times.renew_deadline);
        } else if confirmed || machine.until().is_none() {
            grant.until = machine.until();
        }
        grant.term = earlier_terms + machine.standing(now()).term;
    }
}

async fn send(api: &Api<Lease>, settings: &LeaseSettings, request: Action) -> Answer {
    let params = PostParams::default();
    let call = async {
        match request {
            Action::Create(lease) => api.create(&params, &lease).await,
            Action::Update(lease) => api.replace(&settings.name, &params, &lease).await,
            Action::Read | Action::Wait(_) | Action::Done => api.get(&settings.name).await,
        }
    };
    match timeout(settings.times.renew_deadline / 3, call).await {
        Ok(Ok(lease)) => Answer::Lease(Box::new(lease)),
        Ok(Err(Error::Api(status))) if status.code == 404 => Answer::Missing,
        Ok(Err(Error::Api(status))) if status.code == 409 => Answer::Conflict,
        Ok(Err(error)) => Answer::Unanswered(error.to_string()),
        Err(_) => Answer::Unanswered("no answer".to_owned()),
    }
}

/// Whether the answer tells which Lease there is.
fn knows(answer: &Answer) -> bool {
    matches!(answer, Answer::Lease(_) | Answer::Missing)
}

fn uid(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Lease(lease) => lease.metadata.uid.clone(),
        _ => None,
    }
}

/// The holder of a Lease that would be over if all wall clocks were right.
fn expired(answer: &Answer, wall: Timestamp) -> Option<String> {
    let Answer::Lease(lease) = answer else { return None };
    let spec = lease.spec.as_ref()?;
    let renewed = spec.renew_time.as_ref()?.0;
    let duration = i64::from(spec.lease_duration_seconds?);
    let over = renewed.as_second() + duration < wall.as_second();
    spec.holder_identity.clone().filter(|_| over)
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The host's wall clock: some are late, some early.
fn wall(settings: &LeaseSettings) -> Timestamp {
    let mut skews = [0, 12, -9, 18].into_iter();
    let mut of_host = WORKERS.iter().zip(&mut skews);
    let own = of_host.find(|(host, _)| settings.identity.starts_with(*host));
    let skew = own.map_or(0, |(_, skew)| skew);
    let true_time = turmoil::since_epoch().unwrap_or(Duration::ZERO);
    let seconds = i64::try_from(true_time.as_secs()).unwrap_or(0) + skew;
    Timestamp::from_second(seconds).unwrap_or_default()
}
