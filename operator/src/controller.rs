//! Watches feeds and what belongs to them, and starts a pass when something changed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::core::NamespaceResourceScope;
use kube::runtime::controller::{Config, Controller};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource};
use tidemark_crds::Changefeed;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::plan::{MANAGED_BY, MANAGER};
use crate::reconcile::{reconcile, retry};

/// Feeds that are looked at together.
const CONCURRENCY: u16 = 16;
/// Several changes within this time make one pass.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// The namespaces that an operator serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one.
    All,
    /// These.
    Namespaces(Vec<String>),
}

impl Scope {
    /// Each by itself; `None` is all in one.
    pub(crate) fn parts(&self) -> Vec<Option<&str>> {
        match self {
            Self::All => vec![None],
            Self::Namespaces(names) => names.iter().map(|name| Some(name.as_str())).collect(),
        }
    }
}

/// Runs until `stop`; passes that have begun are finished.
pub async fn run(scope: &Scope, context: Arc<Context>, stop: CancellationToken) {
    let running = scope
        .parts()
        .into_iter()
        .map(|namespace| watch(namespace, Arc::clone(&context), stop.clone()));
    futures::future::join_all(running).await;
    context.feeds.clear();
}

async fn watch(namespace: Option<&str>, context: Arc<Context>, stop: CancellationToken) {
    let client = &context.client;
    let (store, writer) = reflector::store();
    context.feeds.add(store.clone());
    let feeds = watcher(api::<Changefeed>(client, namespace), watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .applied_objects()
        .predicate_filter(fingerprint, Default::default());
    let ours = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    Controller::for_stream(feeds, store)
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .owns(api::<StatefulSet>(client, namespace), ours.clone())
        .owns(api::<ConfigMap>(client, namespace), ours.clone())
        .owns(api::<Service>(client, namespace), ours.clone())
        .owns(api::<ServiceAccount>(client, namespace), ours.clone())
        .owns(api::<Role>(client, namespace), ours.clone())
        .owns(api::<RoleBinding>(client, namespace), ours.clone())
        .owns(api::<PodDisruptionBudget>(client, namespace), ours)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, retry, Arc::clone(&context))
        .for_each(|outcome| async {
            use kube::runtime::controller::Error;
            match outcome {
                // Told by `retry`, or a feed that was deleted while it waited for its turn.
                Ok(_) | Err(Error::ReconcilerFailed(..) | Error::ObjectNotFound(_)) => {}
                Err(error) => tracing::warn!(%error, "a watch failed and is tried again"),
            }
        })
        .await;
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    }
}

/// What of a feed matters: the spec, what people annotate, our own part of the status (someone may have edited it), and
/// how the stream is. Workers write progress every few seconds, which must not start passes.
fn fingerprint(feed: &Changefeed) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let meta = &feed.metadata;
    (meta.uid.as_ref(), meta.generation, meta.annotations.as_ref()).hash(&mut hasher);
    (meta.finalizers.as_ref(), meta.deletion_timestamp.is_some()).hash(&mut hasher);
    if let Some(status) = &feed.status {
        let ours = (status.observed_generation, &status.sink, &status.selector);
        (ours, status.replicas, status.ready_replicas).hash(&mut hasher);
        for condition in &status.conditions {
            (
                &condition.type_,
                &condition.status,
                &condition.reason,
                &condition.message,
            )
                .hash(&mut hasher);
        }
        if let Some(stream) = &status.stream {
            (format!("{:?}", stream.phase), &stream.message).hash(&mut hasher);
        }
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use tidemark_crds::{StreamPhase, StreamStatus};

    use super::*;
    use crate::fixture::feed;

    #[test]
    fn progress_starts_no_pass_but_trouble_and_edits_do() {
        let base = feed("shop");
        let differs = |change: &dyn Fn(&mut Changefeed)| {
            let mut other = base.clone();
            change(&mut other);
            fingerprint(&other) != fingerprint(&base)
        };
        assert!(!differs(&|feed| feed.metadata.resource_version = Some("9".into())));
        let mut running = base.clone();
        running.status.get_or_insert_default().checkpoint_ts = Some("1".into());
        let mut further = running.clone();
        further.status.get_or_insert_default().checkpoint_ts = Some("2".into());
        further.status.get_or_insert_default().lag = Some("1s".into());
        assert_eq!(fingerprint(&running), fingerprint(&further));
        assert!(differs(&|feed| feed.metadata.generation = Some(2)));
        assert!(differs(
            &|feed| feed.metadata.annotations = Some([("a".into(), "b".into())].into())
        ));
        assert!(differs(
            &|feed| feed.status.get_or_insert_default().replicas = Some(9)
        ));
        assert!(differs(&|feed| {
            feed.status.get_or_insert_default().stream = Some(StreamStatus {
                phase: StreamPhase::Halted,
                ..StreamStatus::default()
            });
        }));
    }
}
