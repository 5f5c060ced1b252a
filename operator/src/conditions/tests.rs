use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::kstatus::{Kstatus, judge};
use super::*;
use crate::fixture::noon;
use crate::judge::StallReason;

fn stream(phase: StreamPhase) -> StreamStatus {
    StreamStatus {
        phase,
        message: "broker 1 is away".into(),
        since: Some(Time(noon() - Duration::from_secs(5))),
    }
}

fn whole() -> Workers {
    Workers {
        wanted: 2,
        there: 2,
        ready: 2,
        rolling: false,
    }
}

fn running(stream: Option<&StreamStatus>) -> Situation<'_> {
    Situation {
        generation: Some(3),
        runs: true,
        workers: whole(),
        stream,
        ..Situation::default()
    }
}

/// Ready's status and reason, the other types, and kstatus' word.
fn shown(situation: &Situation<'_>) -> (String, BTreeSet<String>, Kstatus) {
    let all = conditions(situation, &[], noon());
    let ready = all.iter().find(|have| have.type_ == "Ready").unwrap();
    let others = all
        .iter()
        .filter(|have| have.type_ != "Ready")
        .inspect(|have| assert_eq!(have.status, "True", "{} is shown only while it holds", have.type_))
        .map(|have| format!("{}={}", have.type_, have.reason))
        .collect();
    let word = judge(
        situation.generation,
        situation.generation,
        situation.deleting.is_some(),
        &all,
    );
    (format!("{} {}", ready.status, ready.reason), others, word)
}

fn expect(situation: &Situation<'_>, ready: &str, others: &[&str], word: Kstatus) {
    let others = others.iter().map(|other| (*other).to_owned()).collect();
    assert_eq!(shown(situation), (ready.to_owned(), others, word));
}

#[test]
fn a_feed_that_streams_is_current() {
    let stream = stream(StreamPhase::Streaming);
    expect(&running(Some(&stream)), "True Replicating", &[], Kstatus::Current);
}

#[test]
fn a_feed_that_starts_is_in_progress() {
    let (early, late) = (stream(StreamPhase::Starting), stream(StreamPhase::Streaming));
    let mut situation = running(Some(&early));
    expect(
        &situation,
        "False Starting",
        &["Reconciling=Starting"],
        Kstatus::InProgress,
    );
    situation.stream = None;
    expect(
        &situation,
        "False Starting",
        &["Reconciling=Starting"],
        Kstatus::InProgress,
    );
    // Words of workers from before a pause.
    situation.stream = Some(&late);
    situation.workers.ready = 0;
    expect(
        &situation,
        "False Starting",
        &["Reconciling=Starting"],
        Kstatus::InProgress,
    );
}

#[test]
fn a_feed_that_rolls_or_scales_streams_on_and_is_in_progress() {
    let stream = stream(StreamPhase::Streaming);
    let mut situation = running(Some(&stream));
    situation.workers.rolling = true;
    expect(
        &situation,
        "True Replicating",
        &["Reconciling=RollingUpdate"],
        Kstatus::InProgress,
    );
    situation.workers.ready = 0;
    expect(
        &situation,
        "False RollingUpdate",
        &["Reconciling=RollingUpdate"],
        Kstatus::InProgress,
    );
    situation.workers = Workers { wanted: 4, ..whole() };
    expect(
        &situation,
        "True Replicating",
        &["Reconciling=Scaling"],
        Kstatus::InProgress,
    );
}

#[test]
fn passing_trouble_counts_only_when_it_lasts() {
    let mut trouble = stream(StreamPhase::Retrying);
    let old = conditions(&running(Some(&stream(StreamPhase::Streaming))), &[], noon());
    let now = conditions(&running(Some(&trouble)), &old, noon());
    assert_eq!(
        (now[0].status.as_str(), now[0].reason.as_str()),
        ("True", "Retrying")
    );
    trouble.since = Some(Time(noon() - PATIENCE));
    let now = conditions(&running(Some(&trouble)), &old, noon());
    assert_eq!(
        (now[0].status.as_str(), now[0].message.as_str()),
        ("False", "broker 1 is away")
    );
    expect(
        &running(Some(&trouble)),
        "False Retrying",
        &[],
        Kstatus::InProgress,
    );
}

#[test]
fn a_halted_stream_needs_a_person() {
    let stream = stream(StreamPhase::Halted);
    let mut situation = running(Some(&stream));
    expect(&situation, "False Halted", &["Stalled=Halted"], Kstatus::Failed);
    situation.workers.ready = 0;
    expect(&situation, "False Halted", &["Stalled=Halted"], Kstatus::Failed);
}

fn crashing(lasts: bool) -> Option<Trouble> {
    let words = "shop-0: CrashLoopBackOff, ended 4 times".to_owned();
    Some(Trouble { words, lasts })
}

#[test]
fn workers_that_fail_are_told_and_heal_by_themselves() {
    let mut situation = running(None);
    situation.workers.ready = 0;
    situation.trouble = crashing(false);
    let starting = ["Reconciling=Starting"];
    expect(&situation, "False Starting", &starting, Kstatus::InProgress);
    for condition in conditions(&situation, &[], noon()) {
        assert_eq!(
            condition.message,
            "0 of 2 workers are ready; shop-0: CrashLoopBackOff, ended 4 times"
        );
    }
    situation.trouble = crashing(true);
    expect(&situation, "False WorkersFailing", &starting, Kstatus::InProgress);
    situation.workers.rolling = true;
    let rolling = ["Reconciling=RollingUpdate"];
    expect(&situation, "False WorkersFailing", &rolling, Kstatus::InProgress);
    // What they said when they still could doesn't count.
    situation.workers.rolling = false;
    for phase in [
        StreamPhase::Retrying,
        StreamPhase::Streaming,
        StreamPhase::Starting,
    ] {
        let last = stream(phase);
        let situation = Situation {
            stream: Some(&last),
            ..situation.clone()
        };
        expect(&situation, "False WorkersFailing", &starting, Kstatus::InProgress);
    }
}

#[test]
fn one_worker_that_fails_takes_no_stream_away() {
    let streams = stream(StreamPhase::Streaming);
    let mut situation = running(Some(&streams));
    situation.workers.ready = 1;
    situation.trouble = crashing(true);
    let starting = ["Reconciling=Starting"];
    expect(&situation, "True Replicating", &starting, Kstatus::InProgress);
    let ready = &conditions(&situation, &[], noon())[0];
    assert!(ready.message.ends_with("ended 4 times"), "{}", ready.message);
    // A stream that stands still needs a person, whatever the pods do.
    let halted = stream(StreamPhase::Halted);
    situation.stream = Some(&halted);
    expect(&situation, "False Halted", &["Stalled=Halted"], Kstatus::Failed);
}

#[test]
fn a_worker_that_cant_end_is_told_too() {
    let mut situation = running(None);
    situation.state = State::Paused;
    situation.trouble = crashing(true);
    let all = conditions(&situation, &[], noon());
    let draining = all.iter().find(|have| have.reason == "Draining").unwrap();
    assert!(
        draining.message.starts_with("2 workers end; shop-0: "),
        "{}",
        draining.message
    );
}

#[test]
fn an_invalid_edit_fails_while_the_stream_goes_on() {
    let stream = stream(StreamPhase::Streaming);
    let mut situation = running(Some(&stream));
    situation.stall = Some(Stall::new(
        StallReason::InvalidSpec,
        "spec.limits.memory: is below 32Mi",
    ));
    expect(
        &situation,
        "True Replicating",
        &["Stalled=InvalidSpec"],
        Kstatus::Failed,
    );
}

#[test]
fn a_first_spec_that_cant_work_is_told_by_ready_too() {
    for reason in [
        StallReason::InvalidSpec,
        StallReason::SecretMissing,
        StallReason::StorageConflict,
        StallReason::NameConflict,
    ] {
        let situation = Situation {
            generation: Some(1),
            stall: Some(Stall::new(reason, "x")),
            ..Situation::default()
        };
        expect(
            &situation,
            &format!("False {reason}"),
            &[&format!("Stalled={reason}")],
            Kstatus::Failed,
        );
    }
}

#[test]
fn a_resting_feed_is_current_once_its_workers_are_gone() {
    // Its last words don't count.
    let stream = stream(StreamPhase::Halted);
    let mut situation = running(Some(&stream));
    situation.state = State::Paused;
    expect(
        &situation,
        "True Paused",
        &["Paused=UserRequest", "Reconciling=Draining"],
        Kstatus::InProgress,
    );
    situation.workers = Workers::default();
    expect(
        &situation,
        "True Paused",
        &["Paused=UserRequest"],
        Kstatus::Current,
    );
    situation.state = State::Stopped;
    expect(&situation, "True Stopped", &[], Kstatus::Current);
    situation.state = State::Paused;
    situation.stall = Some(Stall::new(StallReason::SafepointLost, "gone"));
    expect(
        &situation,
        "True Paused",
        &["Paused=UserRequest", "Stalled=SafepointLost"],
        Kstatus::Failed,
    );
}

#[test]
fn a_feed_that_waits_or_goes_away_is_in_progress_or_terminating() {
    let mut situation = Situation {
        generation: Some(1),
        waiting: Some("Service shop-workers of an earlier feed goes away".into()),
        ..Situation::default()
    };
    expect(
        &situation,
        "False Starting",
        &["Reconciling=Provisioning"],
        Kstatus::InProgress,
    );
    situation.waiting = None;
    situation.deleting = Some("2 workers end".into());
    expect(
        &situation,
        "False Deleting",
        &["Reconciling=Deleting"],
        Kstatus::Terminating,
    );
    situation.stall = Some(Stall::new(StallReason::CleanupFailed, "PD is away"));
    expect(
        &situation,
        "False Deleting",
        &["Stalled=CleanupFailed"],
        Kstatus::Terminating,
    );
}

#[test]
fn hands_off_is_shown_beside_the_rest() {
    let stream = stream(StreamPhase::Streaming);
    let mut situation = running(Some(&stream));
    situation.hands_off = true;
    let other = ["ReconciliationPaused=AnnotationSet"];
    expect(&situation, "True Replicating", &other, Kstatus::Current);
}

#[test]
fn times_move_only_when_a_status_flips() {
    let streams = stream(StreamPhase::Streaming);
    let first = conditions(&running(Some(&streams)), &[], noon());
    let later = noon() + Duration::from_secs(60);
    let mut situation = running(Some(&streams));
    situation.generation = Some(4);
    situation.workers.ready = 1;
    let second = conditions(&situation, &first, later);
    assert_eq!(second[0].last_transition_time, first[0].last_transition_time);
    assert_eq!(second[0].observed_generation, Some(4));
    assert_ne!(second[0].message, first[0].message);
    situation.workers.ready = 0;
    let third = conditions(&situation, &second, later);
    assert_eq!(third[0].last_transition_time, Time(later));
}

#[test]
fn a_new_generation_that_was_not_seen_is_in_progress() {
    let stream = stream(StreamPhase::Streaming);
    let all = conditions(&running(Some(&stream)), &[], noon());
    assert_eq!(judge(Some(4), Some(3), false, &all), Kstatus::InProgress);
}
