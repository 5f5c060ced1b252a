//! Events: what happens to a feed, for people. They expire, so each is told by a condition too.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::events::{Event, EventType};
use tidemark_crds::Changefeed;

use crate::Context;
use crate::deadline::bounded;
use crate::judge::StallReason;

/// Reasons of Events. Part of the interface: alerts and people look for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventReason {
    /// The feed streams; it didn't before.
    Replicating,
    /// The feed rests, its history is kept.
    Paused,
    /// The feed rests, its history is released after `limits.gcTtl`.
    Stopped,
    /// A server can't be reached for longer than 30 s.
    Retrying,
    /// Workers can't start or keep ending, and none streams.
    WorkersFailing,
    /// A person has to mend something.
    Stalled(StallReason),
    /// What was wrong is mended.
    Mended,
    /// A pod of an older template that never became ready was deleted.
    PodReplaced,
    /// History is released: the feed was deleted.
    HistoryReleased,
    /// History stays protected for `limits.gcTtl`: the feed was deleted, but `deletionPolicy` is `Retain`.
    HistoryRetained,
    /// History was not released, since the annotation `tidemark.io/force-delete` says so.
    CleanupForced,
}

impl EventReason {
    /// Reasons of the condition `Ready` that are told.
    const OF_READY: [Self; 5] = [
        Self::Replicating,
        Self::Paused,
        Self::Stopped,
        Self::Retrying,
        Self::WorkersFailing,
    ];

    fn named(name: &str) -> Option<Self> {
        let stall = StallReason::named(name).map(Self::Stalled);
        stall.or_else(|| {
            Self::OF_READY
                .into_iter()
                .find(|reason| reason.to_string() == name)
        })
    }

    fn is_warning(self) -> bool {
        !matches!(
            self,
            Self::Replicating
                | Self::Paused
                | Self::Stopped
                | Self::Mended
                | Self::HistoryReleased
                | Self::HistoryRetained
        )
    }
}

impl fmt::Display for EventReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled(reason) => reason.fmt(f),
            other => fmt::Debug::fmt(other, f),
        }
    }
}

/// Something worth an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// What.
    pub reason: EventReason,
    /// In words.
    pub note: String,
}

/// What a change of conditions tells.
pub fn changes(old: &[Condition], new: &[Condition]) -> Vec<Happening> {
    let find = |all: &[Condition], type_: &str| all.iter().find(|have| have.type_ == type_).cloned();
    let mut happenings = Vec::new();
    let mut add = |reason: Option<EventReason>, note: &str| {
        let note = note.to_owned();
        happenings.extend(reason.map(|reason| Happening { reason, note }));
    };
    match (find(old, "Stalled"), find(new, "Stalled")) {
        (before, Some(now))
            if before
                .as_ref()
                .is_none_or(|before| (&before.reason, &before.message) != (&now.reason, &now.message)) =>
        {
            add(EventReason::named(&now.reason), &now.message);
        }
        (Some(before), None) => add(
            Some(EventReason::Mended),
            &format!("{} is no more", before.reason),
        ),
        _ => {}
    }
    if let Some(now) = find(new, "Ready") {
        let before = find(old, "Ready");
        let same = before
            .is_some_and(|before| (before.status, before.reason) == (now.status.clone(), now.reason.clone()));
        // Trouble that a person has to mend was told above.
        let told = find(new, "Stalled").is_some_and(|stalled| stalled.reason == now.reason);
        let counts = now.status == "True" || matches!(now.reason.as_str(), "Retrying" | "WorkersFailing");
        let brief = now.status == "True" && now.reason == "Retrying";
        if !same && !told && counts && !brief {
            add(EventReason::named(&now.reason), &now.message);
        }
    }
    happenings
}

/// Publishes an Event; a failure is logged, nothing depends on it.
pub async fn publish(context: &Context, feed: &Changefeed, happening: &Happening) {
    const LONGEST_NOTE: usize = 1000;
    let reason = happening.reason;
    let event = Event {
        type_: if reason.is_warning() {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: reason.to_string(),
        note: Some(happening.note.chars().take(LONGEST_NOTE).collect()),
        action: "Reconcile".into(),
        secondary: None,
    };
    let reference = feed.object_ref(&());
    let call = context.recorder.publish(&event, &reference);
    if let Err(error) = bounded(format!("publish event {reason}"), call).await {
        tracing::warn!(%error, "an Event was not published");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::condition;

    fn told(old: &[Condition], new: &[Condition]) -> Vec<EventReason> {
        changes(old, new)
            .into_iter()
            .map(|happening| happening.reason)
            .collect()
    }

    #[test]
    fn a_feed_that_begins_to_stream_is_told_once() {
        let starting = [condition("Ready", "False", "Starting", "")];
        let streaming = [condition("Ready", "True", "Replicating", "1 of 1")];
        assert_eq!(told(&starting, &streaming), [EventReason::Replicating]);
        assert_eq!(told(&streaming, &streaming), []);
        assert_eq!(told(&[], &starting), []);
    }

    #[test]
    fn trouble_is_told_when_it_comes_changes_and_goes() {
        let good = [condition("Ready", "True", "Replicating", "")];
        let bad = |message: &str| {
            [
                condition("Ready", "False", "Halted", message),
                condition("Stalled", "True", "Halted", message),
            ]
        };
        assert_eq!(
            told(&good, &bad("a")),
            [EventReason::Stalled(StallReason::Halted)]
        );
        assert_eq!(told(&bad("a"), &bad("a")), []);
        assert_eq!(
            told(&bad("a"), &bad("b")),
            [EventReason::Stalled(StallReason::Halted)]
        );
        assert_eq!(
            told(&bad("a"), &good),
            [EventReason::Mended, EventReason::Replicating]
        );
    }

    #[test]
    fn workers_that_fail_are_told_once_whatever_becomes_of_the_words() {
        let starting = [condition("Ready", "False", "Starting", "")];
        let failing = |words: &str| [condition("Ready", "False", "WorkersFailing", words)];
        assert_eq!(told(&starting, &failing("a")), [EventReason::WorkersFailing]);
        assert_eq!(told(&failing("a"), &failing("b")), []);
        assert!(EventReason::WorkersFailing.is_warning());
    }

    #[test]
    fn what_conditions_say_is_found_by_its_name() {
        let stalls = StallReason::ALL.map(EventReason::Stalled);
        for reason in stalls.into_iter().chain(EventReason::OF_READY) {
            assert_eq!(EventReason::named(&reason.to_string()), Some(reason));
        }
        assert_eq!(EventReason::named("Starting"), None);
    }
}
