//! Why workers can't start or keep ending, as their pods' status tells.

mod container;
#[cfg(test)]
mod tests;
mod words;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use crate::conditions::PATIENCE;
use crate::plan::{Identity, names};
use crate::rollout::{belongs_to, passed, unready_since};
use container::Ailment;
use words::clip;

/// What keeps workers from working.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The first pod that has trouble, what its trouble is, and how many more have some.
    pub words: String,
    /// Whether it has lasted for so long, or come back so often, that it won't pass in a moment.
    pub lasts: bool,
}

/// Reads the trouble of a feed's pods; what merely takes time, like pulling an image, is none.
pub(crate) fn trouble(
    identity: &Identity,
    set: Option<&StatefulSet>,
    pods: &[Pod],
    now: Timestamp,
) -> Option<Trouble> {
    let set = set?;
    let ordinal = |pod: &Pod| names::ordinal(&identity.name, &pod.name_any());
    let mut pods: Vec<_> = pods.iter().filter(|pod| belongs_to(pod, set)).collect();
    pods.sort_by_key(|pod| ordinal(pod));
    let ailing: Vec<_> = pods
        .into_iter()
        .filter_map(|pod| Some((pod, ailment(pod, now)?)))
        .collect();
    // What lasts is told first: the rest may be of the moment.
    let (pod, ailment) = ailing
        .iter()
        .find(|(_, ailment)| ailment.lasts)
        .or_else(|| ailing.first())?;
    let mut words = format!("{}: {}", pod.name_any(), clip(&ailment.words));
    match ailing.len() - 1 {
        0 => {}
        1 => words.push_str("; 1 more worker has trouble"),
        more => words = format!("{words}; {more} more workers have trouble"),
    }
    Some(Trouble {
        words,
        lasts: ailment.lasts,
    })
}

fn ailment(pod: &Pod, now: Timestamp) -> Option<Ailment> {
    let status = pod.status.as_ref();
    if let Some(end) = &pod.metadata.deletion_timestamp {
        // The time by which it shall have ended.
        return (passed(end.0, now) >= PATIENCE).then(|| Ailment {
            words: overdue(pod),
            lasts: true,
        });
    }
    let unready = passed(unready_since(pod)?, now);
    let lasts = unready >= PATIENCE;
    let status = status?;
    if status.phase.as_deref() == Some("Failed") {
        let reason = status.reason.as_deref().unwrap_or("Failed");
        let words = reason_and(reason, status.message.as_deref());
        return Some(Ailment { words, lasts });
    }
    let conditions = status.conditions.iter().flatten();
    let mut unscheduled = conditions.filter(|have| have.type_ == "PodScheduled" && have.status == "False");
    if let Some(unscheduled) = unscheduled.next() {
        let reason = unscheduled.reason.as_deref().unwrap_or("Unschedulable");
        let words = reason_and(reason, unscheduled.message.as_deref());
        return Some(Ailment { words, lasts });
    }
    let statuses = [&status.init_container_statuses, &status.container_statuses];
    let mut containers = statuses.into_iter().flatten().flatten();
    containers.find_map(|status: &ContainerStatus| container::ailment(status, lasts, now))
}

/// Of a pod that should have ended: a StatefulSet makes no other before it is gone.
fn overdue(pod: &Pod) -> String {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let node = node.unwrap_or("without a name");
    format!(
        "Terminating, and should have ended by now: if its node {node} is gone, delete the Node or taint it \
         node.kubernetes.io/out-of-service"
    )
}

fn reason_and(reason: &str, message: Option<&str>) -> String {
    match message.map(words::one_line) {
        Some(message) if !message.is_empty() => format!("{reason}: {message}"),
        _ => reason.to_owned(),
    }
}
