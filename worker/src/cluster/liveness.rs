//! Whether another worker can still act, by its Lease and by what the API server tells of its pod.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{Api, Client};
use parking_lot::Mutex;
use tidemark_lease::{LeaseObserver, LeaseState};
use tokio::time::timeout;

use super::me::pod_uid;

/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// What became of a pod's worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nobody holds its Lease, or the holder can't act any more.
    Over,
    /// This run may act.
    Lives(String),
    /// The API server didn't say.
    Unknown,
}

/// Looks at other workers' Leases and pods; a cheap clone. Remembers since when each Lease is unchanged, so that an owner
/// that was cut off from its predecessor as a member needn't begin to count anew.
#[derive(Clone)]
pub(crate) struct Sightings {
    namespace: Arc<str>,
    leases: Api<Lease>,
    pods: Api<Pod>,
    observer: Arc<Mutex<LeaseObserver>>,
    /// Whether missing rights were told.
    warned: Arc<AtomicBool>,
}

impl Sightings {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self {
            namespace: namespace.into(),
            leases: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client, namespace),
            observer: Arc::default(),
            warned: Arc::default(),
        }
    }

    /// A worker that is connected has told which version its Lease has: the time for which it is unchanged counts from here.
    pub(crate) fn told(&self, pod: &str, version: &str) {
        self.observer
            .lock()
            .told(&self.namespace, pod, version, Instant::now());
    }

    /// Looks at the Lease of a pod's worker, and at the pod.
    pub(crate) async fn look(&self, pod: &str) -> Fate {
        let lease = match timeout(ANSWER, self.leases.get_opt(pod)).await {
            Ok(Ok(Some(lease))) => lease,
            Ok(Ok(None)) => return Fate::Over,
            // Without rights to its Lease there is no such pod any more.
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => return Fate::Over,
            Ok(Err(error)) => {
                tracing::debug!(pod, %error, "Could not look at a worker's Lease");
                return Fate::Unknown;
            }
            Err(_) => return Fate::Unknown,
        };
        let observed = self.observer.lock().see(&lease, Instant::now());
        let Some(holder) = observed.holder else {
            return Fate::Over;
        };
        let acquired = lease.spec.and_then(|spec| spec.acquire_time).map(|time| time.0);
        if observed.state == LeaseState::Expired || self.has_ended(pod, &holder, acquired).await {
            return Fate::Over;
        }
        Fate::Lives(holder)
    }

    /// Asks the API server whether the run of a worker that `identity` names, which acquired a Lease at `acquired`, is over.
    ///
    /// `false` where it lives, where that can't be told yet, and where the API server doesn't answer.
    pub(crate) async fn has_ended(&self, pod: &str, identity: &str, acquired: Option<Timestamp>) -> bool {
        match timeout(ANSWER, self.pods.get_opt(pod)).await {
            Ok(Ok(found)) => is_over(found.as_ref(), identity, acquired),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        pod,
                        error = status.message,
                        "The worker may not look at pods, so that a dead one is told only when its Lease runs out"
                    );
                }
                false
            }
            Ok(Err(error)) => {
                tracing::debug!(pod, %error, "Could not look at a worker's pod");
                false
            }
            Err(_) => false,
        }
    }
}

/// Whether the run is over: its pod is gone or done, or the pod's container ended or began anew after the Lease was
/// acquired. Both times come from the pod's own node, so that clocks of different machines don't matter.
fn is_over(pod: Option<&Pod>, identity: &str, acquired: Option<Timestamp>) -> bool {
    let Some(pod) = pod else { return true };
    if pod.metadata.uid.as_deref() != Some(pod_uid(identity)) {
        return true;
    }
    let Some(status) = &pod.status else { return false };
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return true;
    }
    let Some(acquired) = acquired else { return false };
    let containers = status.container_statuses.iter().flatten();
    containers
        .into_iter()
        .any(|container| replaced(container, acquired))
}

fn replaced(container: &ContainerStatus, acquired: Timestamp) -> bool {
    let states = [&container.state, &container.last_state];
    let ended = states.into_iter().flatten().any(|state| {
        let finished = state.terminated.as_ref().and_then(|end| end.finished_at.as_ref());
        finished.is_some_and(|time| time.0 > acquired)
    });
    let running = container.state.as_ref().and_then(|state| state.running.as_ref());
    let begun = running.and_then(|running| running.started_at.as_ref());
    ended || begun.is_some_and(|time| time.0 > acquired)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn over(status: &Value) -> bool {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"uid": "u"}, "status": status})).unwrap();
        is_over(Some(&pod), "u.1", Some("2026-01-01T00:00:10.5Z".parse().unwrap()))
    }

    fn container(state: &Value, last: &Value) -> Value {
        json!({"phase": "Running", "containerStatuses": [{
            "name": "worker", "image": "", "imageID": "", "ready": true, "restartCount": 1,
            "state": state, "lastState": last,
        }]})
    }

    #[test]
    fn a_pod_that_is_gone_replaced_or_done_is_over() {
        assert!(is_over(None, "u.1", None));
        assert!(
            is_over(Some(&Pod::default()), "u.1", None),
            "another pod of the name"
        );
        assert!(over(&json!({"phase": "Failed"})));
        assert!(!over(&json!({"phase": "Running"})));
    }

    #[test]
    fn only_an_end_or_a_beginning_after_the_acquisition_counts() {
        let running = |at: &str| json!({"running": {"startedAt": at}});
        let ended = |at: &str| json!({"terminated": {"exitCode": 137, "finishedAt": at}});
        assert!(!over(&container(&running("2026-01-01T00:00:08Z"), &json!({}))));
        assert!(over(&container(&running("2026-01-01T00:00:11Z"), &json!({}))));
        assert!(over(&container(&ended("2026-01-01T00:00:11Z"), &json!({}))));
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert!(over(&container(&waiting, &ended("2026-01-01T00:00:12Z"))));
        let earlier = container(&running("2026-01-01T00:00:10Z"), &ended("2026-01-01T00:00:09Z"));
        assert!(!over(&earlier), "that was the run before the holder");
    }
}
