//! Pods that hold up a rolling update.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;

use crate::conditions::Workers;
use crate::plan::{Identity, Surplus};

/// A pod that isn't ready for so long won't become so.
const PATIENCE: Duration = Duration::from_secs(30);
const REVISION_LABEL: &str = "controller-revision-hash";

/// The pods of a StatefulSet in numbers.
pub(crate) fn workers(set: Option<&StatefulSet>) -> Workers {
    let Some(set) = set else { return Workers::default() };
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let Some(status) = &set.status else {
        return Workers {
            wanted,
            ..Workers::default()
        };
    };
    let seen = status.observed_generation >= set.metadata.generation;
    let updated = status.updated_replicas.unwrap_or_default();
    Workers {
        wanted,
        there: status.replicas,
        ready: status.ready_replicas.unwrap_or_default(),
        // Not `currentRevision != updateRevision`: they are the same while pods of an older template are left, where the
        // template was edited before Kubernetes had noted its first revision. A template that it has not looked at yet
        // may be a new one.
        rolling: wanted > 0 && (updated < status.replicas || !seen && wanted == status.replicas),
    }
}

/// Pods of an older template that can't become ready. Kubernetes waits for them before it goes on with a rolling update
/// (kubernetes/kubernetes#67250), also when the new template is the mend.
pub(crate) fn stuck(
    identity: &Identity,
    set: Option<&StatefulSet>,
    pods: &[Pod],
    now: Timestamp,
) -> Vec<Surplus> {
    let Some(set) = set else { return Vec::new() };
    let Some(status) = &set.status else {
        return Vec::new();
    };
    if !identity.owns(&set.metadata) || status.observed_generation < set.metadata.generation {
        return Vec::new();
    }
    let Some(current) = &status.update_revision else {
        return Vec::new();
    };
    pods.iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter(|pod| belongs_to(pod, set))
        .filter(|pod| {
            let labels = pod.metadata.labels.as_ref();
            labels
                .and_then(|labels| labels.get(REVISION_LABEL))
                .is_some_and(|revision| revision != current)
        })
        .filter(|pod| unready_since(pod).is_some_and(|since| passed(since, now) >= PATIENCE))
        .map(|pod| Surplus {
            // Its status changes all the time.
            version: None,
            ..Surplus::of(pod)
        })
        .collect()
}

/// Whether a pod is the set's.
pub(crate) fn belongs_to(pod: &Pod, set: &StatefulSet) -> bool {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners
        .into_iter()
        .any(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())
}

/// Since when a pod isn't ready; `None` if it is.
pub(crate) fn unready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    match ready {
        Some(ready) if ready.status == "True" => None,
        Some(ready) => ready.last_transition_time.as_ref().map(|time| time.0),
        None => pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
    }
}

/// How long ago; nothing for what is to come.
pub(crate) fn passed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::{feed, noon};

    fn set() -> StatefulSet {
        let identity = Identity::of(&feed("shop"));
        serde_json::from_value(json!({
            "metadata": {
                "name": "shop", "uid": "set", "generation": 3,
                "ownerReferences": [identity.owner()],
            },
            "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": {
                "observedGeneration": 3, "replicas": 2, "readyReplicas": 1, "updatedReplicas": 1,
                "currentRevision": "shop-1", "updateRevision": "shop-2",
            },
        }))
        .unwrap()
    }

    fn pod(revision: &str, ready: &str, seconds: u64) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": format!("shop-{revision}-{ready}-{seconds}"),
                "labels": {"controller-revision-hash": revision},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "shop", "uid": "set"}],
            },
            "status": {"conditions": [{
                "type": "Ready", "status": ready,
                "lastTransitionTime": (noon() - Duration::from_secs(seconds)).to_string(),
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn only_old_pods_that_stay_unready_are_stuck() {
        let pods = [
            pod("shop-1", "False", 60),
            pod("shop-1", "False", 5),
            pod("shop-1", "True", 60),
            pod("shop-2", "False", 60),
        ];
        let identity = Identity::of(&feed("shop"));
        let names = |set: &StatefulSet| -> Vec<_> {
            let stuck = stuck(&identity, Some(set), &pods, noon());
            stuck.into_iter().map(|pod| pod.name).collect()
        };
        assert_eq!(names(&set()), ["shop-shop-1-False-60"]);
        let mut unseen = set();
        unseen.metadata.generation = Some(4);
        assert_eq!(
            names(&unseen),
            [""; 0],
            "Kubernetes has not looked at the template yet"
        );
        let mut foreign = set();
        foreign.metadata.owner_references = None;
        assert_eq!(names(&foreign), [""; 0]);
    }

    #[test]
    fn a_set_is_told_in_numbers() {
        assert_eq!(
            workers(Some(&set())),
            Workers {
                wanted: 2,
                there: 2,
                ready: 1,
                rolling: true
            }
        );
        assert_eq!(workers(None), Workers::default());
        let mut early = set();
        let status = early.status.as_mut().unwrap();
        status.current_revision = status.update_revision.clone();
        assert!(
            workers(Some(&early)).rolling,
            "one pod is still of an older template"
        );
    }
}
