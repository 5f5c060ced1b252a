//! What the tests of single steps need.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;

use crate::machine::{Action, Answer, Machine};
use crate::{LeaseCreation, LeaseSettings, LeaseTimes, record};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn contender(identity: &str, creates: bool) -> Machine {
    Machine::new(
        settings(
            identity,
            LeaseTimes::default(),
            creates.then(LeaseCreation::default),
        ),
        1,
    )
}

pub(super) fn wall() -> Timestamp {
    "2026-01-02T03:04:05.678901Z".parse().unwrap()
}

/// The Lease as `holder` left it in version `version`.
pub(super) fn lease(holder: &str, version: u32) -> Lease {
    let mut lease = record::created(
        &settings(holder, LeaseTimes::default(), Some(LeaseCreation::default())),
        wall(),
    )
    .unwrap();
    lease.metadata.uid = Some("first".to_owned());
    lease.metadata.resource_version = Some(version.to_string());
    if holder.is_empty() {
        record::released(&lease, wall())
    } else {
        lease
    }
}

/// The write that the machine asks for, as the API server would store it.
pub(super) fn write(action: Action, version: u32) -> Lease {
    let (Action::Create(written) | Action::Update(written)) = action else {
        panic!("expected a write, got {action:?}");
    };
    let mut lease = *written;
    lease.metadata.uid.get_or_insert("first".to_owned());
    lease.metadata.resource_version = Some(version.to_string());
    lease
}

pub(super) fn next(machine: &mut Machine, now: Instant) -> Action {
    machine.next(now, wall())
}

/// A machine that creates its Lease at `start`, answered at once.
pub(super) fn holder(start: Instant) -> Machine {
    let mut machine = contender("a", true);
    assert_eq!(next(&mut machine, start), Action::Read);
    machine.answer(start, Answer::Missing);
    let created = write(next(&mut machine, start), 1);
    machine.answer(start, Answer::Lease(Box::new(created)));
    machine
}

pub(super) fn waits(action: &Action) -> bool {
    matches!(action, Action::Wait(_))
}

pub(super) fn settings(identity: &str, times: LeaseTimes, create: Option<LeaseCreation>) -> LeaseSettings {
    LeaseSettings {
        namespace: "shop".to_owned(),
        name: "orders".to_owned(),
        identity: identity.to_owned(),
        times,
        create,
        annotations: BTreeMap::from([("address".to_owned(), format!("{identity}:7000"))]),
        lineage: None,
    }
}
