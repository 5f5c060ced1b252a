//! The operator's part of a feed's status; the workers' is never touched.

use jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tidemark_crds::{Changefeed, ChangefeedStatus};

use crate::conditions::{Situation, conditions};
use crate::deadline::bounded;
use crate::plan::{Identity, MANAGER};
use crate::{Context, Error, events};

/// Writes what is known, if it differs from what is told already, and publishes what changed as Events.
pub(super) async fn write(
    context: &Context,
    feed: &Changefeed,
    situation: &Situation<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    let empty = ChangefeedStatus::default();
    let old = feed.status.as_ref().unwrap_or(&empty);
    let identity = Identity::of(feed);
    let new = ChangefeedStatus {
        observed_generation: feed.metadata.generation,
        conditions: conditions(situation, &old.conditions, now),
        sink: Some(sink(feed).to_owned()),
        replicas: Some(situation.workers.there),
        ready_replicas: Some(situation.workers.ready),
        selector: Some(identity.selector()),
        // The rest is the workers' own.
        ..old.clone()
    };
    if new == *old {
        return Ok(());
    }
    context.may_act()?;
    let api: Api<Changefeed> = Api::namespaced(context.client.clone(), &identity.namespace);
    let patch = Patch::Merge(json!({"status": {
        "observedGeneration": new.observed_generation,
        "conditions": new.conditions,
        "sink": new.sink,
        "replicas": new.replicas,
        "readyReplicas": new.ready_replicas,
        "selector": new.selector,
    }}));
    let params = PatchParams {
        field_manager: Some(MANAGER.into()),
        ..PatchParams::default()
    };
    let what = format!(
        "patch status of Changefeed {}/{}",
        identity.namespace, identity.name
    );
    match bounded(what, api.patch_status(&identity.name, &params, &patch)).await {
        Err(error) if error.is_code(404) => return Ok(()),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    for happening in events::changes(&old.conditions, &new.conditions) {
        events::publish(context, feed, &happening).await;
    }
    Ok(())
}

/// Where a feed's changes go, in a word.
fn sink(feed: &Changefeed) -> &'static str {
    let sink = &feed.spec.sink;
    if sink.kafka.is_some() {
        "kafka"
    } else if sink.storage.is_some() {
        "storage"
    } else {
        "blackhole"
    }
}
