//! How a Lease is lost and given back.

use std::time::Instant;

use super::setup::{SECOND, contender, holder, lease, next, waits, write};
use crate::machine::{Action, Answer};
use crate::{Authority, Holding, LossReason};

#[test]
fn a_foreign_holder_seen_after_a_conflict_ends_authority_at_once() {
    let start = Instant::now();
    let mut machine = holder(start);
    let at = start + 3 * SECOND;
    assert!(matches!(next(&mut machine, at), Action::Update(_)));
    machine.answer(at, Answer::Conflict);
    assert!(machine.until().is_some());
    assert_eq!(next(&mut machine, at), Action::Read);
    machine.answer(at, Answer::Lease(Box::new(lease("b", 9))));
    assert_eq!(machine.until(), None);
    assert_eq!(machine.standing(at).holding, Holding::Lost(LossReason::Taken));
}

#[test]
fn a_renewal_that_landed_without_an_answer_is_read_and_renewed() {
    let start = Instant::now();
    let mut machine = holder(start);
    let at = start + 3 * SECOND;
    let landed = write(next(&mut machine, at), 2);
    machine.answer(at + 3 * SECOND, Answer::Unanswered("timeout".to_owned()));
    assert_eq!(machine.standing(at + 3 * SECOND).unreachable_since, Some(at));
    assert!(waits(&next(&mut machine, at + 3 * SECOND)));
    let again = at + 4 * SECOND;
    assert!(matches!(next(&mut machine, again), Action::Update(_)));
    machine.answer(again, Answer::Conflict);
    assert_eq!(machine.standing(again).unreachable_since, None);
    assert_eq!(next(&mut machine, again), Action::Read);
    machine.answer(again, Answer::Lease(Box::new(landed)));
    let renewed = write(next(&mut machine, again), 3);
    machine.answer(again, Answer::Lease(Box::new(renewed)));
    assert_eq!(
        (machine.until(), machine.standing(again).term),
        (Some(again + 10 * SECOND), 1)
    );
}

#[test]
fn silence_ends_authority_at_the_deadline_and_a_return_begins_a_new_term() {
    let start = Instant::now();
    let mut machine = holder(start);
    let mut now = start;
    while now < start + 12 * SECOND {
        match next(&mut machine, now) {
            Action::Wait(wait) => now += wait,
            _ => machine.answer(now, Answer::Unanswered("refused".to_owned())),
        }
    }
    assert_eq!(machine.standing(now).holding, Holding::Lost(LossReason::Expired));
    assert!(machine.until().is_some_and(|until| until == start + 10 * SECOND));
    let renewed = loop {
        match next(&mut machine, now) {
            Action::Wait(wait) => now += wait,
            action => break write(action, 2),
        }
    };
    machine.answer(now, Answer::Lease(Box::new(renewed)));
    assert!(machine.standing(now).is_held());
    assert_eq!(machine.standing(now).term, 2);
}

#[test]
fn a_process_that_wakes_past_its_deadline_has_no_authority() {
    let start = Instant::now().checked_sub(11 * SECOND).unwrap();
    let machine = holder(start);
    let authority = Authority::default();
    authority.set(machine.grant());
    assert!(authority.holds_at(start + 9 * SECOND));
    // Nothing ran since; only the clock went on.
    assert!(!authority.holds() && !authority.holds_term(1));
}

#[test]
fn an_answer_slept_over_gives_no_authority() {
    let start = Instant::now();
    let mut machine = contender("a", true);
    next(&mut machine, start);
    machine.answer(start, Answer::Missing);
    let created = write(next(&mut machine, start), 1);
    let woken = start + 30 * SECOND;
    machine.answer(woken, Answer::Lease(Box::new(created)));
    let standing = machine.standing(woken);
    assert_eq!((standing.holding, standing.term), (Holding::Waiting, 0));
    assert_eq!(machine.until(), None);
    assert!(matches!(next(&mut machine, woken), Action::Update(_)));
}

#[test]
fn a_deleted_lease_is_created_anew_in_a_new_term_or_lost() {
    let start = Instant::now();
    let mut machine = holder(start);
    let at = start + 3 * SECOND;
    next(&mut machine, at);
    machine.answer(at, Answer::Missing);
    assert_eq!(machine.until(), None);
    let created = write(next(&mut machine, at), 9);
    machine.answer(at, Answer::Lease(Box::new(created)));
    assert_eq!(
        (machine.standing(at).is_held(), machine.standing(at).term),
        (true, 2)
    );

    let mut machine = contender("b", false);
    next(&mut machine, start);
    machine.answer(start, Answer::Lease(Box::new(lease("", 1))));
    let claimed = write(next(&mut machine, start), 2);
    machine.answer(start, Answer::Lease(Box::new(claimed)));
    next(&mut machine, at);
    machine.answer(at, Answer::Missing);
    assert_eq!(machine.standing(at).holding, Holding::Lost(LossReason::Deleted));
    assert!(waits(&next(&mut machine, at)));
}

#[test]
fn a_stop_ends_authority_before_the_release_is_sent() {
    let start = Instant::now();
    let mut machine = holder(start);
    machine.stop(start + SECOND);
    assert_eq!(machine.until(), None);
    assert_eq!(
        machine.standing(start + SECOND).holding,
        Holding::Lost(LossReason::Released)
    );
    let Action::Update(release) = next(&mut machine, start + SECOND) else {
        panic!("no release")
    };
    let spec = release.spec.clone().unwrap();
    assert_eq!(
        (spec.holder_identity.as_deref(), spec.lease_duration_seconds),
        (Some(""), Some(1))
    );
    machine.answer(start + SECOND, Answer::Lease(release));
    assert_eq!(next(&mut machine, start + SECOND), Action::Done);
}

#[test]
fn a_stop_looks_whether_an_unanswered_claim_landed() {
    let start = Instant::now();
    let mut machine = contender("b", true);
    next(&mut machine, start);
    machine.answer(start, Answer::Lease(Box::new(lease("", 5))));
    let landed = write(next(&mut machine, start), 6);
    machine.stop(start);
    machine.answer(start + SECOND, Answer::Unanswered("timeout".to_owned()));
    let later = start + 2 * SECOND;
    assert_eq!(next(&mut machine, later), Action::Read);
    machine.answer(later, Answer::Lease(Box::new(landed)));
    assert!(matches!(next(&mut machine, later), Action::Update(_)));
    // An API server that stays away doesn't hold the process up for ever.
    assert_eq!(next(&mut machine, start + 10 * SECOND), Action::Done);
}
