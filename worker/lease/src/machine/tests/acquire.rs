//! How a Lease is acquired and kept.

use std::time::Instant;

use super::setup::{SECOND, contender, holder, lease, next, settings, waits, write};
use crate::LeaseTimes;
use crate::machine::{Action, Answer, Machine};
use crate::record;

#[test]
fn a_missing_lease_is_created_and_held_from_the_instant_of_sending() {
    let start = Instant::now();
    let mut machine = contender("a", true);
    next(&mut machine, start);
    machine.answer(start, Answer::Missing);
    let created = write(next(&mut machine, start), 1);
    let spec = created.spec.clone().unwrap();
    assert_eq!(
        (spec.holder_identity.as_deref(), spec.lease_transitions),
        (Some("a"), Some(0))
    );
    assert_eq!(
        created.metadata.annotations.as_ref().unwrap()["address"],
        "a:7000"
    );
    machine.answer(start + 3 * SECOND, Answer::Lease(Box::new(created)));
    assert_eq!(machine.until(), Some(start + 10 * SECOND));
    let standing = machine.standing(start + 3 * SECOND);
    assert!(standing.is_held());
    assert_eq!(
        (standing.term, standing.seen.unwrap().holder.as_deref()),
        (1, Some("a"))
    );
}

#[test]
fn a_renewal_rests_on_the_cached_version_and_keeps_the_acquisition() {
    let start = Instant::now();
    let mut machine = holder(start);
    assert!(waits(&next(&mut machine, start + SECOND)));
    let at = start + 3 * SECOND;
    let Action::Update(renewal) = next(&mut machine, at) else {
        panic!("no renewal")
    };
    assert_eq!(renewal.metadata.resource_version.as_deref(), Some("1"));
    assert_eq!(renewal.spec.as_ref().unwrap().lease_transitions, Some(0));
    machine.answer(at, Answer::Lease(Box::new(write(Action::Update(renewal), 2))));
    assert_eq!(machine.until(), Some(at + 10 * SECOND));
    assert_eq!(machine.standing(at).term, 1);
}

#[test]
fn anothers_lease_is_taken_only_after_a_whole_duration_unchanged() {
    let start = Instant::now();
    let mut machine = contender("b", true);
    let mut now = start;
    let mut version = 7;
    // Renewed once, 4 s after we first saw it: the time starts over.
    let mut changed = start;
    loop {
        match next(&mut machine, now) {
            Action::Read => {
                if version == 7 && now >= start + 4 * SECOND {
                    (version, changed) = (8, now);
                }
                machine.answer(now, Answer::Lease(Box::new(lease("a", version))));
            }
            Action::Wait(wait) => now += wait,
            Action::Update(claim) => {
                assert_eq!(now, changed + 15 * SECOND);
                let spec = claim.spec.unwrap();
                assert_eq!(
                    (spec.holder_identity.as_deref(), spec.lease_transitions),
                    (Some("b"), Some(1))
                );
                assert_eq!(claim.metadata.resource_version.as_deref(), Some("8"));
                break;
            }
            other => panic!("{other:?}"),
        }
        assert!(now < start + 60 * SECOND);
    }
}

#[test]
fn a_released_lease_is_claimed_at_once() {
    let start = Instant::now();
    let mut machine = contender("b", false);
    next(&mut machine, start);
    machine.answer(start, Answer::Lease(Box::new(lease("", 5))));
    let claim = write(next(&mut machine, start), 6);
    assert_eq!(record::holder(&claim), Some("b"));
}

#[test]
fn the_successor_of_a_deleted_lease_waits_for_its_last_holder() {
    let start = Instant::now();
    let mut machine = contender("b", true);
    next(&mut machine, start);
    machine.answer(start, Answer::Lease(Box::new(lease("a", 1))));
    let mut now = start;
    let mut gone = None;
    loop {
        match next(&mut machine, now) {
            Action::Wait(wait) => now += wait,
            Action::Read => {
                gone.get_or_insert(now);
                machine.answer(now, Answer::Missing);
            }
            Action::Create(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(now, gone.unwrap() + 15 * SECOND);
}

/// Someone else may have made one meanwhile, and hold it: what we see next, or see no more, needn't be that one.
#[test]
fn a_lease_that_may_have_been_made_unseen_is_waited_for_like_one_that_was_seen() {
    let start = Instant::now();
    let lost = || Answer::Unanswered("timeout".to_owned());
    for hidden in [Answer::Conflict, lost()] {
        for found in [Answer::Missing, Answer::Lease(Box::new(lease("", 7)))] {
            let mut machine = contender("b", true);
            next(&mut machine, start);
            machine.answer(start, Answer::Missing);
            assert!(matches!(next(&mut machine, start), Action::Create(_)));
            machine.answer(start, hidden.clone());
            let mut now = start;
            let mut seen = None;
            loop {
                match next(&mut machine, now) {
                    Action::Wait(wait) => now += wait,
                    Action::Read => {
                        seen.get_or_insert(now);
                        machine.answer(now, found.clone());
                    }
                    _ => break,
                }
            }
            assert_eq!(now, seen.unwrap() + 15 * SECOND, "{hidden:?}, then {found:?}");
        }
    }
}

/// The holder of the new Lease has ended, but that of the deleted one may act still.
#[test]
fn the_successor_of_an_ended_holder_waits_for_that_of_a_lease_deleted_before() {
    let start = Instant::now();
    let mut machine = contender("b", false);
    next(&mut machine, start);
    machine.answer(start, Answer::Lease(Box::new(lease("a", 1))));
    let mut anew = lease("c", 2);
    anew.metadata.uid = Some("second".to_owned());
    let seen = start + 3 * SECOND;
    assert_eq!(next(&mut machine, seen), Action::Read);
    machine.answer(seen, Answer::Lease(Box::new(anew.clone())));
    machine.holder_ended("c");
    let (mut now, mut looks) = (seen, 0);
    loop {
        match next(&mut machine, now) {
            Action::Wait(wait) => now += wait,
            Action::Read => {
                looks += 1;
                machine.answer(now, Answer::Lease(Box::new(anew.clone())));
            }
            _ => break,
        }
    }
    assert_eq!(now, seen + 15 * SECOND);
    assert!(looks < 12, "{looks} looks");
}

#[test]
fn a_refusal_is_an_answer_and_waits_a_whole_retry() {
    let start = Instant::now();
    let mut machine = contender("b", true);
    next(&mut machine, start);
    machine.answer(start, Answer::Refused("leases is forbidden".to_owned()));
    let standing = machine.standing(start);
    assert_eq!(
        (standing.unreachable_since, standing.refused.as_deref()),
        (None, Some("leases is forbidden"))
    );
    assert!(matches!(next(&mut machine, start), Action::Wait(wait) if wait >= SECOND));
}

#[test]
fn an_earlier_run_of_ours_is_succeeded_at_once() {
    let start = Instant::now();
    let mut settings = settings("pod.2", LeaseTimes::default(), None);
    settings.lineage = Some("pod".to_owned());
    let mut machine = Machine::new(settings, 1);
    next(&mut machine, start);
    machine.answer(start, Answer::Lease(Box::new(lease("pod.1", 5))));
    let claim = write(next(&mut machine, start), 6);
    assert_eq!(record::holder(&claim), Some("pod.2"));
    machine.answer(start, Answer::Lease(Box::new(claim)));
    assert!(machine.standing(start).is_held());
}

#[test]
fn a_holder_that_is_known_to_have_ended_is_succeeded_and_nobody_else() {
    let start = Instant::now();
    for (ended, taken) in [("a", true), ("other", false)] {
        let mut machine = contender("b", false);
        next(&mut machine, start);
        machine.answer(start, Answer::Lease(Box::new(lease("a", 5))));
        assert!(waits(&next(&mut machine, start)));
        machine.holder_ended(ended);
        let action = next(&mut machine, start);
        assert_eq!(matches!(action, Action::Update(_)), taken, "{action:?}");
    }
}

#[test]
fn a_look_never_brings_a_renewal_forward() {
    let start = Instant::now();
    let mut machine = holder(start);
    machine.look();
    assert!(waits(&next(&mut machine, start + SECOND)));
}
