//! A pass over a feed that is being deleted.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use serde_json::json;
use tidemark_crds::{Changefeed, DeletionPolicy};

use super::{finalizer, status};
use crate::conditions::Situation;
use crate::deadline::bounded;
use crate::events::{self, EventReason, Happening};
use crate::history::{self, Step};
use crate::judge::{Stall, StallReason, last_good};
use crate::observe::observe;
use crate::plan::{FORCE_DELETE, Identity, MANAGER, names};
use crate::{Context, Error, pd, rollout};

/// How soon to look again whether workers have ended; their StatefulSet tells of most earlier.
const LOOK: Duration = Duration::from_secs(5);

pub(super) async fn cleanup(context: &Context, feed: &Changefeed) -> Result<Action, Error> {
    if !finalizer::is_set(feed) {
        return Ok(Action::await_change());
    }
    let now = Timestamp::now();
    let observed = observe(&context.client, feed).await?;
    let identity = Identity::of(feed);
    let mut situation = Situation {
        generation: feed.metadata.generation,
        state: feed.spec.state,
        workers: rollout::workers(observed.existing.set.as_ref()),
        deleting: Some("history is released".into()),
        ..Situation::default()
    };
    match history::next(feed, &observed.existing, now) {
        Step::ScaleDown => {
            scale_down(context, &identity).await?;
            situation.deleting = Some("workers are told to end".into());
            status::write(context, feed, &situation, now).await?;
            return Ok(Action::requeue(LOOK));
        }
        Step::Wait(words) => {
            situation.deleting = Some(words);
            status::write(context, feed, &situation, now).await?;
            return Ok(Action::requeue(LOOK));
        }
        Step::Nothing => {}
        Step::Release => {
            let mut source = feed.clone();
            if let Some(spec) = last_good(&identity, &observed.existing) {
                source.spec = spec;
            }
            if let Err(error) = pd::release(&context.client, &source).await {
                if !history::is_forced(feed) {
                    let message = format!(
                        "history is not released: {error}; mend it, or set the annotation {FORCE_DELETE} to \"true\": \
                         the protection then ends by itself after limits.gcTtl"
                    );
                    situation.stall = Some(Stall::new(StallReason::CleanupFailed, message));
                    status::write(context, feed, &situation, now).await?;
                    return Err(error);
                }
                let note = format!("history was not released: {error}");
                tell(context, feed, EventReason::CleanupForced, note).await;
                return finish(context, feed).await;
            }
        }
    }
    if history::has_run(feed) {
        let (reason, note) = match feed.spec.deletion_policy {
            DeletionPolicy::Retain => (EventReason::HistoryRetained, "history stays for limits.gcTtl"),
            DeletionPolicy::Release => (EventReason::HistoryReleased, "history is released"),
        };
        tell(context, feed, reason, note.into()).await;
    }
    finish(context, feed).await
}

async fn finish(context: &Context, feed: &Changefeed) -> Result<Action, Error> {
    context.may_act()?;
    finalizer::remove(&context.client, feed).await?;
    context.safe_points.forget(feed);
    Ok(Action::await_change())
}

async fn tell(context: &Context, feed: &Changefeed, reason: EventReason, note: String) {
    events::publish(context, feed, &Happening { reason, note }).await;
}

async fn scale_down(context: &Context, identity: &Identity) -> Result<(), Error> {
    context.may_act()?;
    let api: Api<StatefulSet> = Api::namespaced(context.client.clone(), &identity.namespace);
    let name = names::workers(&identity.name);
    let params = PatchParams {
        field_manager: Some(MANAGER.into()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
    let what = format!("scale StatefulSet {}/{name} to 0", identity.namespace);
    bounded(what, api.patch(&name, &params, &patch)).await?;
    Ok(())
}
