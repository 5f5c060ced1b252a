//! One pass over a feed: observe, judge, plan, apply, tell.

mod carry_out;
mod cleanup;
mod finalizer;
mod status;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use tidemark_crds::{Changefeed, State, StreamPhase};

use crate::apply::To;
use crate::backoff::spread;
use crate::conditions::{PATIENCE, Situation, Workers};
use crate::deadline::bounded;
use crate::events::{self, EventReason, Happening};
use crate::judge::{Stall, StallReason, judge, last_good};
use crate::observe::{Foreign, Observed, observe};
use crate::pd::{Protection, SafePoints};
use crate::plan::{Identity, RECONCILE, replicas};
use crate::trouble::{Trouble, trouble};
use crate::{Context, Error, rollout};
use carry_out::{Outcome, carry_out};

/// A pass as a whole is bounded too.
const LONGEST_PASS: Duration = Duration::from_secs(180);
/// Without any event each feed is looked at so often, so that nothing stays unrepaired for long.
const RESYNC: Duration = Duration::from_secs(300);
/// How soon to look again for what no watch tells of.
const LOOK: Duration = Duration::from_secs(15);

/// Looks at a feed and makes the world what it says.
pub(crate) async fn reconcile(feed: Arc<Changefeed>, context: Arc<Context>) -> Result<Action, Error> {
    let begun = Instant::now();
    context.metrics.begin();
    let key = key(&feed);
    let pass = tokio::time::timeout(LONGEST_PASS, Box::pin(pass(&feed, &context))).await;
    let outcome = pass.unwrap_or_else(|_| {
        Err(Error::Late {
            what: format!("pass over Changefeed {key}"),
            seconds: LONGEST_PASS.as_secs(),
        })
    });
    context.metrics.end(outcome.is_ok(), begun.elapsed());
    if outcome.is_ok() {
        context.backoff.succeeded(&key);
    }
    outcome
}

/// After a failed pass: when to try again.
#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
pub(crate) fn retry(feed: Arc<Changefeed>, error: &Error, context: Arc<Context>) -> Action {
    let key = key(&feed);
    let wait = context.backoff.failed(&key);
    tracing::warn!(feed = key, %error, wait_s = wait.as_secs(), "a pass failed and is tried again");
    Action::requeue(wait)
}

fn key(feed: &Changefeed) -> String {
    format!("{}/{}", feed.namespace().unwrap_or_default(), feed.name_any())
}

async fn pass(cached: &Changefeed, context: &Context) -> Result<Action, Error> {
    context.may_act()?;
    let namespace = cached.namespace().unwrap_or_default();
    let name = cached.name_any();
    let api: Api<Changefeed> = Api::namespaced(context.client.clone(), &namespace);
    // What is cached may be older than what we ourselves wrote.
    let fresh = bounded(format!("get Changefeed {namespace}/{name}"), api.get_opt(&name)).await?;
    let Some(mut feed) = fresh else {
        context.safe_points.forget(cached);
        return Ok(Action::await_change());
    };
    if feed
        .annotations()
        .get(RECONCILE)
        .is_some_and(|value| value == "disabled")
    {
        return hands_off(context, &feed).await;
    }
    if feed.metadata.deletion_timestamp.is_some() {
        return Box::pin(cleanup::cleanup(context, &feed)).await;
    }
    if !finalizer::is_set(&feed) {
        context.may_act()?;
        feed = finalizer::add(&context.client, &feed).await?;
    }
    let now = Timestamp::now();
    let observed = observe(&context.client, &feed).await?;
    let identity = Identity::of(&feed);
    let fallback = last_good(&identity, &observed.existing);
    let verdict = judge(&feed, fallback.as_ref(), &observed.found, &context.feeds.all());
    let (outcome, waiting) = if observed.foreign.is_empty() {
        // The one before, with what always counts at once.
        let fallback = fallback.map(|mut spec| {
            spec.state = feed.spec.state;
            spec.deletion_policy = feed.spec.deletion_policy;
            spec
        });
        let done = carry_out(context, &identity, verdict, fallback, &observed, now).await?;
        (done, None)
    } else {
        let (stall, waiting) = strangers(&observed.foreign);
        let outcome = Outcome {
            spec: fallback,
            stall: verdict.stall.or(stall),
            set: observed.existing.set.clone(),
            is_untidy: false,
        };
        (outcome, waiting)
    };
    replace_stuck(context, &feed, &identity, &outcome, &observed, now).await?;
    Box::pin(tell(context, &feed, outcome, waiting, &observed, now)).await
}

/// Writes the status; gives when to look again.
async fn tell(
    context: &Context,
    feed: &Changefeed,
    outcome: Outcome,
    waiting: Option<String>,
    observed: &Observed,
    now: Timestamp,
) -> Result<Action, Error> {
    let wanted = outcome.spec.as_ref().map_or(0, replicas);
    let mut situation = Situation {
        generation: feed.metadata.generation,
        state: outcome.spec.as_ref().map_or(feed.spec.state, |spec| spec.state),
        runs: outcome.spec.is_some(),
        stall: outcome.stall,
        workers: Workers {
            wanted: i32::try_from(wanted).unwrap_or(i32::MAX),
            ..rollout::workers(outcome.set.as_ref())
        },
        trouble: trouble_of(feed, outcome.set.as_ref(), observed, now),
        stream: feed.status.as_ref().and_then(|status| status.stream.as_ref()),
        waiting,
        ..Situation::default()
    };
    let mut wake = RESYNC.mul_f64(1.0 + spread(&key(feed)) / 5.0);
    let mut in_force = feed.clone();
    if let Some(spec) = outcome.spec {
        in_force.spec = spec;
    }
    if situation.runs && situation.state == State::Paused {
        // Until the workers have ended they protect it themselves, and know a later checkpoint.
        if observed.existing.pods.is_empty() && situation.workers.there == 0 {
            protect(context, &in_force, &mut situation).await;
            wake = wake.min(SafePoints::interval(&in_force));
        } else {
            wake = wake.min(LOOK);
        }
    } else {
        context.safe_points.forget(feed);
    }
    if outcome.is_untidy || situation.workers.rolling || situation.waiting.is_some() {
        wake = wake.min(LOOK);
    }
    wake = wake
        .min(by_stall(situation.stall.as_ref()))
        .min(by_workers(&situation));
    if situation
        .stream
        .is_some_and(|stream| stream.phase == StreamPhase::Retrying)
    {
        wake = wake.min(PATIENCE);
    }
    status::write(context, feed, &situation, now).await?;
    Ok(Action::requeue(wake))
}

/// Trouble outside the feed is mended without an event that we would see.
fn by_stall(stall: Option<&Stall>) -> Duration {
    match stall.map(|stall| stall.reason) {
        Some(StallReason::SecretMissing | StallReason::StorageConflict | StallReason::NameConflict) => LOOK,
        Some(StallReason::ApplyRefused | StallReason::InvalidSpec) => 4 * LOOK,
        _ => RESYNC * 2,
    }
}

/// No watch tells how pods are.
fn by_workers(situation: &Situation<'_>) -> Duration {
    match &situation.trouble {
        // Each look costs a pass, and an image that is broken breaks many feeds.
        Some(trouble) if trouble.lasts => 4 * LOOK,
        Some(_) => LOOK,
        None if situation.workers.ready < situation.workers.wanted => LOOK,
        None => RESYNC * 2,
    }
}

fn trouble_of(
    feed: &Changefeed,
    set: Option<&StatefulSet>,
    observed: &Observed,
    now: Timestamp,
) -> Option<Trouble> {
    trouble(&Identity::of(feed), set, &observed.existing.pods, now)
}

/// Keeps a paused feed's history.
async fn protect(context: &Context, feed: &Changefeed, situation: &mut Situation<'_>) {
    match context.safe_points.renew(&context.client, feed).await {
        Protection::Held => {}
        Protection::Lost {
            checkpoint,
            safe_point,
        } => {
            let message = format!(
                "history after the checkpoint {checkpoint} is gone: the cluster's safe point is {safe_point}; make a new \
                 feed and fresh copies of the tables"
            );
            let lost = Stall::new(StallReason::SafepointLost, message);
            situation.stall.get_or_insert(lost);
        }
        Protection::Unknown(error) => {
            tracing::warn!(
                feed = key(feed),
                error,
                "history of a paused feed was not renewed"
            );
            situation.note = Some(format!(
                "but the protection could not be renewed and is tried again: {error}"
            ));
        }
    }
}

/// What foreign objects mean: a conflict, or remains of an earlier feed that are about to go.
fn strangers(foreign: &[Foreign]) -> (Option<Stall>, Option<String>) {
    let list = |inherited: bool| -> Vec<String> {
        let of = foreign.iter().filter(|foreign| foreign.inherited == inherited);
        of.map(ToString::to_string).collect()
    };
    let (strange, old) = (list(false), list(true));
    if strange.is_empty() {
        let message = format!(
            "waiting for what an earlier feed of this name left: {}",
            old.join(", ")
        );
        return (None, Some(message));
    }
    let message = format!(
        "{}: exists already and doesn't belong to this feed: delete it, or give the feed another name",
        strange.join(", ")
    );
    (Some(Stall::new(StallReason::NameConflict, message)), None)
}

/// Deletes pods that hold up a rolling update.
async fn replace_stuck(
    context: &Context,
    feed: &Changefeed,
    identity: &Identity,
    outcome: &Outcome,
    observed: &Observed,
    now: Timestamp,
) -> Result<(), Error> {
    let namespace = identity.namespace.as_str();
    for pod in rollout::stuck(identity, outcome.set.as_ref(), &observed.existing.pods, now) {
        To { context, namespace }.delete(&pod).await?;
        let happening = Happening {
            reason: EventReason::PodReplaced,
            note: format!("{pod} of an older template never became ready and held up the update"),
        };
        events::publish(context, feed, &happening).await;
    }
    Ok(())
}

/// Says that nothing is done, and what can be seen from afar.
async fn hands_off(context: &Context, feed: &Changefeed) -> Result<Action, Error> {
    let observed = observe(&context.client, feed).await?;
    let spec = last_good(&Identity::of(feed), &observed.existing);
    let (set, now) = (observed.existing.set.as_ref(), Timestamp::now());
    let situation = Situation {
        generation: feed.metadata.generation,
        state: spec.as_ref().map_or(feed.spec.state, |spec| spec.state),
        runs: spec.is_some(),
        workers: rollout::workers(set),
        trouble: trouble_of(feed, set, &observed, now),
        stream: feed.status.as_ref().and_then(|status| status.stream.as_ref()),
        deleting: feed
            .metadata
            .deletion_timestamp
            .is_some()
            .then(|| "the annotation tidemark.io/reconcile is \"disabled\"".to_owned()),
        hands_off: true,
        ..Situation::default()
    };
    status::write(context, feed, &situation, now).await?;
    Ok(Action::requeue(RESYNC.min(by_workers(&situation))))
}
