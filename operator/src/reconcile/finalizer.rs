//! The finalizer: nothing is deleted before its history is released.

use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tidemark_crds::Changefeed;

use crate::Error;
use crate::deadline::bounded;
use crate::plan::{FINALIZER, MANAGER};

/// Whether a feed has the finalizer.
pub(super) fn is_set(feed: &Changefeed) -> bool {
    feed.finalizers().iter().any(|have| have == FINALIZER)
}

/// Adds the finalizer; gives the feed as it is then.
pub(super) async fn add(client: &Client, feed: &Changefeed) -> Result<Changefeed, Error> {
    let mut finalizers = feed.finalizers().to_vec();
    finalizers.push(FINALIZER.into());
    put(client, feed, &finalizers).await
}

/// Removes the finalizer: the feed goes away.
pub(super) async fn remove(client: &Client, feed: &Changefeed) -> Result<(), Error> {
    let mut finalizers = feed.finalizers().to_vec();
    finalizers.retain(|have| have != FINALIZER);
    match put(client, feed, &finalizers).await {
        Err(error) if error.is_code(404) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

async fn put(client: &Client, feed: &Changefeed, finalizers: &[String]) -> Result<Changefeed, Error> {
    let namespace = feed.namespace().unwrap_or_default();
    let name = feed.name_any();
    let api: Api<Changefeed> = Api::namespaced(client.clone(), &namespace);
    // The version guards other people's finalizers: a merge patch replaces the whole list.
    let patch = Patch::Merge(json!({"metadata": {
        "resourceVersion": feed.resource_version(),
        "finalizers": finalizers,
    }}));
    let params = PatchParams {
        field_manager: Some(MANAGER.into()),
        ..PatchParams::default()
    };
    let what = format!("patch finalizers of Changefeed {namespace}/{name}");
    bounded(what, api.patch(&name, &params, &patch)).await
}
