use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus};

use super::{reason_and, words};
use crate::plan::WORKER;
use crate::rollout::passed;

/// A container that was started again so often keeps ending.
const OFTEN: i32 = 3;
/// After a run of this length the kubelet forgets that a container ended before, and so do we.
const MEMORY: Duration = Duration::from_secs(600);

/// What is wrong with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ailment {
    pub(super) words: String,
    pub(super) lasts: bool,
}

/// What is wrong with a container, if anything; `lasts` tells whether its pod has been unready for long.
pub(super) fn ailment(status: &ContainerStatus, lasts: bool, now: Timestamp) -> Option<Ailment> {
    let state = status.state.as_ref()?;
    let before = status
        .last_state
        .as_ref()
        .and_then(|last| last.terminated.as_ref());
    let restarts = status.restart_count;
    let told = |words: String, lasts: bool| {
        let words = match status.name.as_str() {
            WORKER => words,
            other => format!("container {other}: {words}"),
        };
        Some(Ailment { words, lasts })
    };
    if let Some(waiting) = &state.waiting {
        return match waiting.reason.as_deref().unwrap_or_default() {
            "" | "ContainerCreating" | "PodInitializing" => None,
            reason @ "CrashLoopBackOff" => {
                let ended = ended(restarts.saturating_add(1), before);
                told(format!("{reason}, {ended}"), lasts || restarts >= OFTEN)
            }
            reason => told(reason_and(reason, waiting.message.as_deref()), lasts),
        };
    }
    if let Some(terminated) = &state.terminated {
        let has_failed = terminated.exit_code != 0;
        return has_failed
            .then(|| ended(restarts.saturating_add(1), Some(terminated)))
            .and_then(|words| told(words, lasts));
    }
    // It runs, and perhaps not for long: between two ends the words stay.
    let before = before.filter(|before| before.exit_code != 0)?;
    let is_recent = before
        .finished_at
        .as_ref()
        .is_some_and(|end| passed(end.0, now) < MEMORY);
    if status.ready || !is_recent || restarts == 0 {
        return None;
    }
    told(ended(restarts, Some(before)), restarts >= OFTEN)
}

/// How often a container ended, and how the last time.
fn ended(times: i32, last: Option<&ContainerStateTerminated>) -> String {
    let mut told = match times {
        1 => "ended once".to_owned(),
        times => format!("ended {times} times"),
    };
    let Some(last) = last else { return told };
    told = format!("{told}, last with exit code {}", last.exit_code);
    let reason = last.reason.as_deref().unwrap_or_default();
    if reason == "OOMKilled" {
        return format!(
            "{told} (OOMKilled): it had too little memory, raise its limit or lower spec.limits.memory"
        );
    }
    if !matches!(reason, "" | "Error" | "Completed") {
        told = format!("{told} ({reason})");
    }
    match last.message.as_deref().and_then(words::last_words) {
        Some(message) => format!("{told}: {message}"),
        None => told,
    }
}
