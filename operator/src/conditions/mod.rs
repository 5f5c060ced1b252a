//! Conditions as kstatus reads them: `Ready` always, `Reconciling` and `Stalled` only while they hold.

#[cfg(test)]
mod kstatus;
mod set;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tidemark_crds::{State, StreamPhase, StreamStatus};

use crate::judge::Stall;
use crate::trouble::Trouble;
use set::Fact;

/// Trouble that passes by itself in this time doesn't make a feed unready.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The pods of a feed, as its StatefulSet tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Workers {
    /// Pods that shall exist.
    pub wanted: i32,
    /// Pods that exist.
    pub there: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Whether pods are being replaced by those of a newer template.
    pub rolling: bool,
}

/// All that conditions depend on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Situation<'a> {
    /// The generation of the spec that was looked at.
    pub generation: Option<i64>,
    /// What the spec asks for.
    pub state: State,
    /// Whether there is a spec that can work.
    pub runs: bool,
    /// What a person has to mend.
    pub stall: Option<Stall>,
    /// The pods.
    pub workers: Workers,
    /// Why some of them can't start or keep ending.
    pub trouble: Option<Trouble>,
    /// How the stream is, as its owner last told.
    pub stream: Option<&'a StreamStatus>,
    /// What the operator waits for, while the feed is being deleted.
    pub deleting: Option<String>,
    /// What the operator waits for before it can begin.
    pub waiting: Option<String>,
    /// Something to add about a feed that rests.
    pub note: Option<String>,
    /// Whether an annotation keeps the operator's hands off.
    pub hands_off: bool,
}

/// The conditions of a feed; `old` are those it has.
pub(crate) fn conditions(situation: &Situation<'_>, old: &[Condition], now: Timestamp) -> Vec<Condition> {
    let stall = situation.stall.clone().or_else(|| halted(situation));
    let mut facts = vec![ready(situation, stall.as_ref(), old, now)];
    match &stall {
        Some(stall) => facts.push(fact("Stalled", true, stall.reason.to_string(), &stall.message)),
        // kstatus looks at Reconciling first, so a feed that needs a person must not have both.
        None => facts.extend(reconciling(situation)),
    }
    if situation.deleting.is_none() && situation.state == State::Paused && situation.runs {
        facts.push(fact("Paused", true, "UserRequest", "spec.state is Paused"));
    }
    if situation.hands_off {
        let message = "the annotation tidemark.io/reconcile is \"disabled\": remove it to go on";
        facts.push(fact("ReconciliationPaused", true, "AnnotationSet", message));
    }
    set::stamp(facts, old, situation.generation, now)
}

fn fact(type_: &'static str, holds: bool, reason: impl Into<String>, message: impl Into<String>) -> Fact {
    Fact {
        type_,
        holds,
        reason: reason.into(),
        message: message.into(),
    }
}

/// A stream that waits for a person, as its owner told; a resting feed's last words don't count.
fn halted(situation: &Situation<'_>) -> Option<Stall> {
    let stream = situation.stream?;
    let counts = situation.state == State::Running && situation.runs && situation.deleting.is_none();
    (counts && stream.phase == StreamPhase::Halted)
        .then(|| Stall::new(crate::judge::StallReason::Halted, stream.message.clone()))
}

fn ready(situation: &Situation<'_>, stall: Option<&Stall>, old: &[Condition], now: Timestamp) -> Fact {
    let ready = |holds, reason: &str, message: String| fact("Ready", holds, reason, message);
    if let Some(message) = &situation.deleting {
        return ready(false, "Deleting", message.clone());
    }
    if !situation.runs {
        return match (stall, &situation.waiting) {
            (Some(stall), _) => ready(false, &stall.reason.to_string(), stall.message.clone()),
            (None, Some(waiting)) => ready(false, "Starting", waiting.clone()),
            (None, None) => ready(false, "Starting", "no worker was started yet".into()),
        };
    }
    match situation.state {
        State::Paused => ready(true, "Paused", rests("history stays protected", situation)),
        State::Stopped => {
            let message = "history is released when limits.gcTtl has passed";
            ready(true, "Stopped", rests(message, situation))
        }
        State::Running => running(situation, old, now),
    }
}

fn rests(message: &str, situation: &Situation<'_>) -> String {
    match &situation.note {
        Some(note) => format!("no workers; {message}; {note}"),
        None => format!("no workers; {message}"),
    }
}

fn running(situation: &Situation<'_>, old: &[Condition], now: Timestamp) -> Fact {
    let ready = |holds, reason: &str, message: String| fact("Ready", holds, reason, message);
    let workers = situation.workers;
    let count = counts(situation);
    let failing = situation.trouble.as_ref().is_some_and(|trouble| trouble.lasts);
    let unready = match (failing, workers.rolling) {
        (true, _) => "WorkersFailing",
        (false, true) => "RollingUpdate",
        (false, false) => "Starting",
    };
    let Some(stream) = situation.stream else {
        return ready(false, unready, count);
    };
    let words = |otherwise: String| match stream.message.as_str() {
        "" => otherwise,
        message => message.to_owned(),
    };
    match stream.phase {
        StreamPhase::Halted => ready(false, "Halted", words("the stream stands still".into())),
        // The last words of workers that are gone.
        _ if workers.ready == 0 && failing => ready(false, unready, count),
        StreamPhase::Retrying => {
            let lasts = stream.since.as_ref().is_none_or(|since| {
                Duration::try_from(now.duration_since(since.0)).is_ok_and(|passed| passed >= PATIENCE)
            });
            let was_ready = old
                .iter()
                .any(|have| have.type_ == "Ready" && have.status == "True");
            let holds = was_ready && !lasts && workers.ready > 0;
            ready(holds, "Retrying", words("a server can't be reached".into()))
        }
        _ if workers.ready == 0 => ready(false, unready, count),
        StreamPhase::Starting if failing => ready(false, unready, count),
        StreamPhase::Starting => ready(false, unready, words(count)),
        StreamPhase::Streaming => ready(true, "Replicating", count),
    }
}

/// How many workers are ready, and why not all.
fn counts(situation: &Situation<'_>) -> String {
    let workers = situation.workers;
    let message = format!("{} of {} workers are ready", workers.ready, workers.wanted);
    with_trouble(message, situation)
}

fn with_trouble(message: String, situation: &Situation<'_>) -> String {
    match &situation.trouble {
        Some(trouble) => format!("{message}; {}", trouble.words),
        None => message,
    }
}

fn reconciling(situation: &Situation<'_>) -> Option<Fact> {
    let reconciling = |reason: &str, message: String| Some(fact("Reconciling", true, reason, message));
    let workers = situation.workers;
    if let Some(message) = &situation.deleting {
        return reconciling("Deleting", message.clone());
    }
    if let Some(message) = &situation.waiting {
        return reconciling("Provisioning", message.clone());
    }
    if !situation.runs {
        return reconciling("Provisioning", "no worker was started yet".into());
    }
    if situation.state != State::Running {
        let message = with_trouble(format!("{} workers end", workers.there), situation);
        return (workers.there > 0).then(|| fact("Reconciling", true, "Draining", message));
    }
    let counts = counts(situation);
    if workers.rolling {
        return reconciling("RollingUpdate", counts);
    }
    if workers.there != workers.wanted {
        let message = format!("{} workers become {}", workers.there, workers.wanted);
        return reconciling("Scaling", with_trouble(message, situation));
    }
    let starting = situation
        .stream
        .is_none_or(|stream| stream.phase == StreamPhase::Starting);
    if workers.ready < workers.wanted || starting {
        return reconciling("Starting", counts);
    }
    None
}
