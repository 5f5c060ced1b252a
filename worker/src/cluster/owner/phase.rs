//! How the stream is and what holds it back, in the words of the status. Pure.

use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tidemark_crds::{HeldBy, StreamPhase};
use tidemark_model::Ts;
use tidemark_tidb::schema::Ddl;

use super::roster::Roster;
use super::table::{Place, SpanTable};
use crate::cluster::span_key::SpanKey;
use crate::feed::follower::Halt;

/// A checkpoint that lies back by less needs no explanation.
const LAG: Duration = Duration::from_secs(3);
/// Spans may be between two workers for so long without a word about it.
const BETWEEN: Duration = Duration::from_secs(10);

/// A member's failure that isn't overcome yet.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) pod: String,
    pub(super) message: String,
    pub(super) transient: bool,
}

/// What the phase depends on.
pub(super) struct Situation<'a> {
    pub(super) halt: Option<&'a Halt>,
    pub(super) trouble: Option<&'a Trouble>,
    /// Whether all spans have streamed at once in this term or before.
    pub(super) streamed: bool,
    pub(super) spans: usize,
    /// Spans that nobody streams, and since when there are any.
    pub(super) idle: usize,
    pub(super) idle_since: Option<Instant>,
}

/// The phase, with words where something is wrong.
pub(super) fn phase(situation: &Situation<'_>, now: Instant) -> (StreamPhase, String) {
    if let Some(halt) = situation.halt {
        return (StreamPhase::Halted, halt.why.clone());
    }
    if let Some(trouble) = situation.trouble {
        let phase = if trouble.transient {
            StreamPhase::Retrying
        } else {
            StreamPhase::Halted
        };
        return (phase, format!("{}: {}", trouble.pod, trouble.message));
    }
    let wait = || {
        format!(
            "{} of {} spans wait for a worker",
            situation.idle, situation.spans
        )
    };
    let long = situation
        .idle_since
        .is_some_and(|since| now.duration_since(since) >= BETWEEN);
    match (situation.idle, situation.streamed) {
        (0, _) => (StreamPhase::Streaming, String::new()),
        (_, true) if !long => (StreamPhase::Streaming, String::new()),
        (_, true) => (StreamPhase::Retrying, wait()),
        (_, false) => (StreamPhase::Starting, wait()),
    }
}

/// What holds the checkpoint back, if it lies behind the source's clock.
pub(super) fn held_by(
    table: &SpanTable,
    roster: &Roster,
    barrier: Ts,
    ddl: Option<&Ddl>,
    now: Ts,
    before: Option<&HeldBy>,
    wall: jiff::Timestamp,
) -> Option<HeldBy> {
    let (key, position) = table.slowest()?;
    if position.min(barrier).lag_behind(now) < LAG {
        return None;
    }
    let (stage, reason) = match ddl.filter(|ddl| position >= ddl.ts.prev()) {
        Some(ddl) => (
            "schema",
            format!("the sink is given the DDL at {}: {}", ddl.ts, ddl.query),
        ),
        None => why(table, roster, key, position, barrier),
    };
    let span = if stage == "schema" {
        "mysql.tidb_ddl_job".to_owned()
    } else {
        table.name(key).map(ToString::to_string).unwrap_or_default()
    };
    let since = match before {
        Some(before) if before.span == span && before.stage == stage => before.since.clone(),
        _ => Some(Time(wall)),
    };
    Some(HeldBy {
        span,
        stage: stage.to_owned(),
        reason,
        since,
    })
}

fn why(
    table: &SpanTable,
    roster: &Roster,
    key: &SpanKey,
    position: Ts,
    barrier: Ts,
) -> (&'static str, String) {
    let seat = match table.get(key).map(|(place, _)| place) {
        Some(Place::Running(seat)) => seat,
        Some(Place::Starting(seat)) => {
            let pod = roster.get(seat).map_or("a worker", |worker| &worker.pod);
            return ("scheduling", format!("{pod} takes it up"));
        }
        Some(Place::Stopping(seat)) => {
            let pod = roster.get(seat).map_or("a worker", |worker| &worker.pod);
            return ("scheduling", format!("{pod} gives it up"));
        }
        Some(Place::Free) | None => return ("scheduling", "no worker has it".to_owned()),
    };
    let Some(worker) = roster.get(seat) else {
        return ("scheduling", "no worker has it".to_owned());
    };
    if worker.link.is_none() {
        return (
            "scheduling",
            format!("{} doesn't answer, and may still write", worker.pod),
        );
    }
    if barrier <= position {
        return ("schema", format!("the schema is known up to {barrier}"));
    }
    match &worker.held {
        Some(held) if held.span.clone().map(SpanKey::from).as_ref() == Some(key) => {
            let stage = if held.stage == "sink" { "sink" } else { "source" };
            (stage, held.reason.clone())
        }
        _ => (
            "source",
            format!("{} has received it up to {}", worker.pod, worker.received),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation() -> Situation<'static> {
        Situation {
            halt: None,
            trouble: None,
            streamed: true,
            spans: 9,
            idle: 0,
            idle_since: None,
        }
    }

    #[test]
    fn spans_between_workers_are_no_trouble_until_it_lasts() {
        let now = Instant::now();
        assert_eq!(phase(&situation(), now).0, StreamPhase::Streaming);
        let moving = Situation {
            idle: 2,
            idle_since: Some(now),
            ..situation()
        };
        assert_eq!(phase(&moving, now).0, StreamPhase::Streaming);
        let (late, words) = phase(&moving, now + BETWEEN);
        assert_eq!(
            (late, words.as_str()),
            (StreamPhase::Retrying, "2 of 9 spans wait for a worker")
        );
        let first = Situation {
            streamed: false,
            ..moving
        };
        assert_eq!(phase(&first, now).0, StreamPhase::Starting);
    }

    #[test]
    fn what_needs_a_person_comes_first() {
        let now = Instant::now();
        let trouble = Trouble {
            pod: "shop-1".into(),
            message: "no broker".into(),
            transient: true,
        };
        let halt = Halt {
            at: Ts(1),
            why: "DDL".into(),
        };
        let troubled = Situation {
            trouble: Some(&trouble),
            ..situation()
        };
        assert_eq!(
            phase(&troubled, now),
            (StreamPhase::Retrying, "shop-1: no broker".to_owned())
        );
        let halted = Situation {
            halt: Some(&halt),
            ..troubled
        };
        assert_eq!(phase(&halted, now), (StreamPhase::Halted, "DDL".to_owned()));
    }
}
