//! A feed's deletion: its writers end first, then its history is released, then it may go.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tidemark_crds::{Changefeed, DeletionPolicy};

use crate::plan::{Existing, FORCE_DELETE, Identity, is_free};

/// A pod on a node that is gone never ends. After so long, silent Leases are proof enough that nobody writes.
const LONGEST_WAIT: Duration = Duration::from_secs(180);

/// What a feed's deletion needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The workers must be told to end.
    ScaleDown,
    /// Workers end; in words.
    Wait(String),
    /// The history is released.
    Release,
    /// Nothing is to be released: no worker ever ran, or the policy is to retain.
    Nothing,
}

/// The next step for a feed that is being deleted.
pub(crate) fn next(feed: &Changefeed, existing: &Existing, now: Timestamp) -> Step {
    let identity = Identity::of(feed);
    if let Some(set) = existing.set.as_ref().filter(|set| identity.owns(&set.metadata)) {
        let replicas = set.spec.as_ref().and_then(|spec| spec.replicas);
        if replicas != Some(0) && set.metadata.deletion_timestamp.is_none() {
            return Step::ScaleDown;
        }
    }
    let pods: Vec<_> = existing
        .pods
        .iter()
        .filter(|pod| is_worker(&identity, pod))
        .collect();
    if !pods.is_empty() {
        let since = feed.metadata.deletion_timestamp.as_ref();
        let waited = since.and_then(|since| Duration::try_from(now.duration_since(since.0)).ok());
        let long = waited.is_some_and(|waited| waited > LONGEST_WAIT);
        let mut leases = existing
            .leases
            .iter()
            .filter(|lease| identity.owns(&lease.metadata));
        if !long || !leases.all(|lease| is_free(lease, now)) {
            let names: Vec<_> = pods.iter().map(|pod| pod.name_any()).collect();
            return Step::Wait(format!("workers end: {}", names.join(", ")));
        }
    }
    if feed.spec.deletion_policy == DeletionPolicy::Retain || !has_run(feed) {
        return Step::Nothing;
    }
    Step::Release
}

/// Whether an annotation asks to go on without PD.
pub(crate) fn is_forced(feed: &Changefeed) -> bool {
    feed.annotations()
        .get(FORCE_DELETE)
        .is_some_and(|value| value == "true")
}

/// Whether a worker ever owned the feed: only then is there something at PD in its name.
pub(crate) fn has_run(feed: &Changefeed) -> bool {
    feed.status.as_ref().is_some_and(|status| {
        status.epoch.is_some() || status.cluster_id.is_some() || status.checkpoint_ts.is_some()
    })
}

fn is_worker(identity: &Identity, pod: &Pod) -> bool {
    pod.metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.kind == "StatefulSet" && owner.name == identity.name)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
    use serde_json::json;

    use super::*;
    use crate::fixture::{feed, noon};

    fn deleted() -> Changefeed {
        let mut feed = feed("shop");
        feed.metadata.deletion_timestamp = Some(Time(noon()));
        feed.status.get_or_insert_default().epoch = Some(1);
        feed
    }

    fn world(replicas: i32, pods: usize) -> Existing {
        let identity = Identity::of(&feed("shop"));
        let pod: Pod = serde_json::from_value(json!({"metadata": {
            "name": "shop-0",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "shop", "uid": "x"}],
        }}))
        .unwrap();
        Existing {
            set: Some(
                serde_json::from_value(json!({
                    "metadata": {"name": "shop", "ownerReferences": [identity.owner()]},
                    "spec": {"replicas": replicas, "selector": {}, "template": {}},
                }))
                .unwrap(),
            ),
            pods: vec![pod; pods],
            leases: vec![Lease {
                metadata: identity.meta("shop-0".into()),
                spec: Some(LeaseSpec {
                    holder_identity: Some("x".into()),
                    lease_duration_seconds: Some(15),
                    renew_time: Some(MicroTime(noon())),
                    ..LeaseSpec::default()
                }),
            }],
            ..Existing::default()
        }
    }

    #[test]
    fn writers_end_before_history_is_released() {
        let feed = deleted();
        assert_eq!(next(&feed, &world(2, 1), noon()), Step::ScaleDown);
        let wait = Step::Wait("workers end: shop-0".into());
        assert_eq!(next(&feed, &world(0, 1), noon()), wait);
        assert_eq!(next(&feed, &world(0, 0), noon()), Step::Release);
        assert_eq!(next(&feed, &Existing::default(), noon()), Step::Release);
    }

    #[test]
    fn a_pod_that_never_ends_holds_it_up_only_while_its_lease_lives() {
        let feed = deleted();
        let after = |seconds| noon() + Duration::from_secs(seconds);
        assert!(matches!(next(&feed, &world(0, 1), after(100)), Step::Wait(_)));
        assert_eq!(next(&feed, &world(0, 1), after(200)), Step::Release);
        let mut alive = world(0, 1);
        alive.leases[0].spec.as_mut().unwrap().renew_time = Some(MicroTime(after(195)));
        assert!(matches!(next(&feed, &alive, after(200)), Step::Wait(_)));
    }

    #[test]
    fn nothing_is_released_if_nothing_was_protected_or_it_is_to_stay() {
        let mut feed = deleted();
        feed.spec.deletion_policy = DeletionPolicy::Retain;
        assert_eq!(next(&feed, &world(0, 0), noon()), Step::Nothing);
        let mut feed = deleted();
        feed.status = None;
        assert_eq!(next(&feed, &world(0, 0), noon()), Step::Nothing);
    }
}
