//! The embedded cluster, driven like the recordings of a real TiKV, answers with the same kinds of messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test crate.
#![allow(dead_code)] // The raw client is shared with `cdc_feed`, which uses all of it.

#[path = "cdc_feed/client.rs"]
mod client;
#[path = "cdc_recordings/drive.rs"]
mod drive;
#[path = "cdc_recordings/recording.rs"]
mod recording;
#[path = "cdc_recordings/shape.rs"]
mod shape;
#[path = "cdc_feed/writer.rs"]
mod writer;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use shape::Shape;

const ALL: [&str; 12] = [
    "bigtxn",
    "filters",
    "manyregions",
    "mixed",
    "oldserver",
    "pdrestart",
    "resume",
    "silentrollback",
    "splitmerge",
    "stores",
    "stucklock",
    "tables",
];

/// What a live run need not show, since it is left to chance in a recording.
const CHANCE: [&str; 3] = [
    "PREWRITE that began at or below the resolved ts",
    "resolved at the start ts of an open PREWRITE",
    "resolved below the checkpoint",
];

fn recorded(scenario: &str) -> Shape {
    let mut shape = Shape::default();
    for traffic in recording::read(scenario).streams.values() {
        shape.add(traffic);
    }
    shape
}

/// All kinds of messages that a real TiKV was ever seen to send.
fn ever_recorded() -> &'static BTreeSet<String> {
    static KINDS: OnceLock<BTreeSet<String>> = OnceLock::new();
    KINDS.get_or_init(|| {
        ALL.into_iter()
            .flat_map(|scenario| recorded(scenario).kinds)
            .collect()
    })
}

/// The live run breaks no promise, shows every kind of message that the recording shows, and none that no
/// recording shows.
fn agree(live: &Shape, scenario: &str) {
    assert!(live.broken.is_empty(), "{scenario}: {:#?}", live.broken);
    let recorded = recorded(scenario).kinds;
    let chance = |kind: &&String| CHANCE.contains(&kind.as_str()) || kind.starts_with("before INITIALIZED");
    let missing: Vec<_> = recorded
        .difference(&live.kinds)
        .filter(|kind| !chance(kind))
        .collect();
    let invented: Vec<_> = live.kinds.difference(ever_recorded()).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "{scenario}: missing {missing:#?}, invented {invented:#?}"
    );
}

#[test]
fn the_recordings_break_no_promise_of_the_protocol() {
    for scenario in ALL {
        let shape = recorded(scenario);
        assert!(shape.broken.is_empty(), "{scenario}: {:#?}", shape.broken);
        assert!(shape.kinds.len() > 8, "{scenario}: {:#?}", shape.kinds);
    }
}

#[test]
fn refused_streams_are_refused_for_the_same_reason() {
    let notes = recording::read("filters").notes;
    assert!(
        notes
            .iter()
            .any(|note| note.contains("Unimplemented desc = time-travel")),
        "{notes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mixed_traffic_agrees_with_its_recording() {
    let live = drive::mixed().await;
    agree(&live, "mixed");
    let early: Vec<_> = ever_recorded()
        .iter()
        .filter(|kind| kind.starts_with("before INITIALIZED"))
        .collect();
    let missing: Vec<_> = early
        .into_iter()
        .filter(|kind| !live.kinds.contains(*kind))
        .collect();
    assert!(missing.is_empty(), "scans never race {missing:?}");
    assert!(
        CHANCE[..1].iter().all(|kind| live.kinds.contains(*kind)),
        "{:#?}",
        live.kinds
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_and_merges_agree_with_their_recording() {
    agree(&drive::splitmerge().await, "splitmerge");
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_left_behind_agree_with_their_recording() {
    let live = drive::stucklock().await;
    agree(&live, "stucklock");
    assert!(
        CHANCE[1..].iter().all(|kind| live.kinds.contains(*kind)),
        "{:#?}",
        live.kinds
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_refusals_agree_with_their_recording() {
    agree(&drive::filters().await, "filters");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_rollbacks_agree_with_their_recording() {
    agree(&drive::silentrollback().await, "silentrollback");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_method_agrees_with_its_recording() {
    agree(&drive::oldserver().await, "oldserver");
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_moves_agree_with_their_recording() {
    agree(&drive::stores().await, "stores");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once_break_no_promise_and_invent_nothing() {
    let live = drive::crowd().await;
    assert!(live.broken.is_empty(), "{:#?}", live.broken);
    // Whether such a row falls before INITIALIZED is left to chance; no recording has it.
    let chance = "before INITIALIZED: UNKNOWN";
    let invented = live.kinds.difference(ever_recorded());
    let invented: Vec<_> = invented.filter(|kind| *kind != chance).collect();
    assert!(invented.is_empty(), "{invented:#?}");
}
