use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// A condition before it has a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) type_: &'static str,
    pub(super) holds: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

/// Conditions from facts. A time moves only when a status flips: a fresh one with every pass would make a change of
/// every pass, and each change makes a pass.
pub(super) fn stamp(
    facts: Vec<Fact>,
    old: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    facts
        .into_iter()
        .map(|fact| {
            let status = if fact.holds { "True" } else { "False" };
            let before = old.iter().find(|have| have.type_ == fact.type_);
            let since = before
                .filter(|have| have.status == status)
                .map(|have| have.last_transition_time.clone());
            Condition {
                type_: fact.type_.into(),
                status: status.into(),
                reason: fact.reason,
                message: fact.message,
                observed_generation: generation,
                last_transition_time: since.unwrap_or(Time(whole)),
            }
        })
        .collect()
}
