use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::fixture::{feed, noon};

fn ago(seconds: u64) -> String {
    (noon() - Duration::from_secs(seconds)).to_string()
}

/// A pod of the set that isn't ready since some seconds.
fn pod(ordinal: u32, seconds: u64, mut status: Value) -> Pod {
    let conditions = json!([{"type": "Ready", "status": "False", "lastTransitionTime": ago(seconds)}]);
    let own = status["conditions"].as_array().cloned().unwrap_or_default();
    let mut all = conditions.as_array().cloned().unwrap_or_default();
    all.extend(own);
    status["conditions"] = all.into();
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("shop-{ordinal}"),
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "shop", "uid": "set"}],
        },
        "spec": {"containers": [], "nodeName": "n1"},
        "status": status,
    }))
    .unwrap()
}

fn worker(restarts: i32, state: impl Into<Value>, last: impl Into<Value>) -> Value {
    let (state, last) = (state.into(), last.into());
    json!({"containerStatuses": [{
        "name": "worker", "image": "i", "imageID": "", "ready": false,
        "restartCount": restarts, "state": state, "lastState": last,
    }]})
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

fn terminated(code: i32, reason: &str, message: &str, seconds: u64) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": ago(seconds)}})
}

fn looping(restarts: i32) -> Value {
    let log = "starting\nerror: no such broker\n";
    let back_off = waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container");
    worker(restarts, back_off, terminated(2, "Error", log, 5))
}

fn read(pods: &[Pod]) -> Option<Trouble> {
    let set = json!({"metadata": {"name": "shop", "uid": "set"}});
    let set: StatefulSet = serde_json::from_value(set).unwrap();
    trouble(&Identity::of(&feed("shop")), Some(&set), pods, noon())
}

/// The words, and whether it lasts.
fn told(pods: &[Pod]) -> (String, bool) {
    let trouble = read(pods).expect("trouble");
    (trouble.words, trouble.lasts)
}

#[test]
fn a_worker_that_keeps_ending_is_told_with_its_last_words() {
    let words = |times: i32| {
        format!("shop-0: CrashLoopBackOff, ended {times} times, last with exit code 2: no such broker")
    };
    assert_eq!(told(&[pod(0, 5, looping(1))]), (words(2), false));
    assert_eq!(told(&[pod(0, 5, looping(3))]), (words(4), true), "often");
    assert_eq!(told(&[pod(0, 30, looping(1))]), (words(2), true), "long");
    let first = worker(0, terminated(101, "Error", "", 1), json!({}));
    let words = "shop-0: ended once, last with exit code 101".to_owned();
    assert_eq!(told(&[pod(0, 1, first)]), (words, false));
}

#[test]
fn words_stay_while_it_runs_between_two_ends() {
    let running = json!({"running": {"startedAt": ago(2)}});
    let again = |restarts, seconds| {
        let last = terminated(2, "Error", "error: no such broker", seconds);
        pod(0, 60, worker(restarts, running.clone(), last))
    };
    let words = |times: &str| format!("shop-0: ended {times}, last with exit code 2: no such broker");
    assert_eq!(
        told(&[again(1, 5)]),
        (words("once"), false),
        "it may be about to work"
    );
    assert_eq!(told(&[again(4, 5)]), (words("4 times"), true));
    assert_eq!(read(&[again(4, 700)]), None, "that was long ago");
}

#[test]
fn too_little_memory_is_told_with_the_mend() {
    let last = terminated(137, "OOMKilled", "{}", 5);
    let (words, _) = told(&[pod(0, 5, worker(2, waiting("CrashLoopBackOff", ""), last))]);
    assert_eq!(
        words,
        "shop-0: CrashLoopBackOff, ended 3 times, last with exit code 137 (OOMKilled): it had too little memory, \
         raise its limit or lower spec.limits.memory"
    );
}

#[test]
fn an_image_that_cant_be_pulled_and_a_pod_that_fits_nowhere_are_told() {
    let pull = worker(
        0,
        waiting("ImagePullBackOff", "Back-off pulling image \"x\":\n not found"),
        json!({}),
    );
    let words = "shop-1: ImagePullBackOff: Back-off pulling image \"x\": not found".to_owned();
    assert_eq!(told(&[pod(1, 40, pull)]), (words, true));
    let unscheduled = json!({"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient memory.",
    }]});
    let words = "shop-2: Unschedulable: 0/3 nodes are available: 3 Insufficient memory.".to_owned();
    assert_eq!(told(&[pod(2, 10, unscheduled)]), (words, false));
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource"});
    let words = "shop-0: Evicted: The node was low on resource".to_owned();
    assert_eq!(told(&[pod(0, 1, evicted)]), (words, false));
}

#[test]
fn other_containers_are_named() {
    let mut status = worker(0, waiting("PodInitializing", ""), json!({}));
    status["initContainerStatuses"] = json!([{
        "name": "roots", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": waiting("CreateContainerConfigError", "secret \"roots\" not found"),
    }]);
    let words = "shop-0: container roots: CreateContainerConfigError: secret \"roots\" not found".to_owned();
    assert_eq!(told(&[pod(0, 31, status)]), (words, true));
}

#[test]
fn the_first_that_lasts_is_told_and_the_others_counted() {
    let pods = [
        pod(10, 60, looping(9)),
        pod(0, 5, looping(0)),
        pod(2, 5, looping(4)),
    ];
    let (words, lasts) = told(&pods);
    assert!(words.starts_with("shop-2: CrashLoopBackOff"), "{words}");
    assert!(words.ends_with("; 2 more workers have trouble"), "{words}");
    assert!(lasts);
    let (words, _) = told(&pods[..2]);
    assert!(words.ends_with("; 1 more worker has trouble"), "{words}");
}

#[test]
fn what_takes_time_or_works_or_is_anothers_is_no_trouble() {
    let creating = worker(0, waiting("ContainerCreating", ""), json!({}));
    assert_eq!(read(&[pod(0, 600, creating)]), None);
    let running = worker(0, json!({"running": {}}), json!({}));
    assert_eq!(read(&[pod(0, 600, running)]), None);
    let mut ready = pod(0, 600, looping(9));
    ready.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "True".into();
    assert_eq!(read(&[ready]), None);
    let mut stranger = pod(0, 600, looping(9));
    stranger.metadata.owner_references = None;
    assert_eq!(read(&[stranger]), None);
    assert_eq!(
        trouble(
            &Identity::of(&feed("shop")),
            None,
            &[pod(0, 600, looping(9))],
            noon()
        ),
        None
    );
}

#[test]
fn a_pod_that_ends_is_no_trouble_until_it_should_have_ended() {
    let ending = |seconds: u64| {
        let mut pod = pod(0, 600, looping(9));
        pod.metadata.deletion_timestamp = Some(serde_json::from_value(ago(seconds).into()).unwrap());
        pod
    };
    assert_eq!(read(&[ending(5)]), None);
    let (words, lasts) = told(&[ending(30)]);
    assert!(
        words.starts_with("shop-0: Terminating, and should have ended by now: if its node n1 is gone"),
        "{words}"
    );
    assert!(lasts);
}

#[test]
fn words_of_any_length_are_bounded() {
    let last = terminated(1, "Error", &"x".repeat(2048), 5);
    let (words, _) = told(&[pod(0, 5, worker(1, waiting("CrashLoopBackOff", ""), last))]);
    assert!(words.chars().count() < 450, "{}", words.len());
}
