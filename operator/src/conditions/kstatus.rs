//! The rules by which Flux, Argo CD, cli-utils and `kubectl wait` judge any resource: kstatus' generic ones, restated.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kstatus {
    InProgress,
    Failed,
    Current,
    Terminating,
}

pub(crate) fn judge(
    generation: Option<i64>,
    observed: Option<i64>,
    deleted: bool,
    conditions: &[Condition],
) -> Kstatus {
    if deleted {
        return Kstatus::Terminating;
    }
    if observed.is_some() && observed != generation {
        return Kstatus::InProgress;
    }
    let status = |type_: &str| {
        conditions
            .iter()
            .find(|condition| condition.type_ == type_)
            .map(|condition| condition.status.as_str())
    };
    if status("Reconciling") == Some("True") {
        return Kstatus::InProgress;
    }
    if status("Stalled") == Some("True") {
        return Kstatus::Failed;
    }
    match status("Ready") {
        Some("True") | None => Kstatus::Current,
        Some(_) => Kstatus::InProgress,
    }
}
