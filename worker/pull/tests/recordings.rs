//! Feeds the recorded traffic of a real TiKV to the matcher and compares with the recorded truth.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test crate"
)]

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use bytes::Bytes;
use flate2::read::GzDecoder;
use prost::Message;
use serde_json::Value;
use tidemark_model::{KvChange, Op, Span, Ts};
use tidemark_proto::cdcpb::change_data_request::Request;
use tidemark_proto::cdcpb::{ChangeDataEvent, ChangeDataRequest, event};
use tidemark_pull::{Frontier, Matcher, decode_bound};

/// Request ids above this are further pieces of the subscription of their remainder.
const PIECE: u64 = 10_000;

fn scenario(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data/recordings")
        .join(name)
}

/// Direction, stream and payload of each record.
fn records(name: &str) -> Vec<(u8, u16, Bytes)> {
    let mut raw = Vec::new();
    let file = File::open(scenario(name).join("feed.rec.gz")).unwrap();
    GzDecoder::new(file).read_to_end(&mut raw).unwrap();
    let raw = Bytes::from(raw);
    let mut records = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let length = u32::from_be_bytes(raw[at..at + 4].try_into().unwrap()) as usize;
        let stream = u16::from_be_bytes(raw[at + 5..at + 7].try_into().unwrap());
        records.push((raw[at + 4], stream, raw.slice(at + 15..at + 4 + length)));
        at += 4 + length;
    }
    records
}

fn lines(name: &str) -> Vec<Value> {
    let plain = scenario(name).join("truth.jsonl");
    let reader: Box<dyn Read> = if plain.exists() {
        Box::new(File::open(plain).unwrap())
    } else {
        Box::new(GzDecoder::new(
            File::open(scenario(name).join("truth.jsonl.gz")).unwrap(),
        ))
    };
    BufReader::new(reader)
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

fn bytes(value: &Value) -> Bytes {
    hex::decode(value.as_str().unwrap_or_default()).unwrap().into()
}

type Found = BTreeMap<(Ts, Ts, Bytes), KvChange>;

#[derive(Default)]
struct Replay {
    /// By stream, request and region, as TiKV identifies a subscription.
    matchers: HashMap<(u16, u64, u64), (Matcher, Ts)>,
    found: HashMap<u64, Found>,
    early_commits: usize,
    late_rows: usize,
}

impl Replay {
    fn request(&mut self, stream: u16, request: &ChangeDataRequest) {
        let id = (stream, request.request_id, request.region_id);
        if matches!(request.request, None | Some(Request::Register(_))) {
            let span = Span::new(decode_bound(&request.start_key), decode_bound(&request.end_key));
            // A duplicate registration leaves the first as it is.
            self.matchers
                .entry(id)
                .or_insert_with(|| (Matcher::new(span, Ts(request.checkpoint_ts)), Ts::ZERO));
        }
    }

    fn message(&mut self, stream: u16, message: ChangeDataEvent) {
        for event in message.events {
            let id = (stream, event.request_id, event.region_id);
            match event.event.unwrap() {
                event::Event::Entries(entries) => {
                    let Some((matcher, resolved)) = self.matchers.get_mut(&id) else {
                        continue;
                    };
                    let mut out = Vec::new();
                    matcher.apply(entries.entries, &mut out).unwrap();
                    if !matcher.is_initialised() {
                        self.early_commits += matcher.pending();
                    }
                    let found = self.found.entry(event.request_id % PIECE).or_default();
                    for change in out {
                        self.late_rows += usize::from(change.commit_ts <= *resolved);
                        let name = (change.commit_ts, change.start_ts, change.key.clone());
                        if let Some(known) = found.insert(name, change.clone()) {
                            assert_eq!(known, change, "a repeated change must be the same");
                        }
                    }
                }
                event::Event::Error(error) => {
                    if error.duplicate_request.is_none() {
                        self.matchers.remove(&id);
                    }
                }
                event::Event::ResolvedTs(ts) => {
                    self.resolved(stream, event.request_id, &[event.region_id], ts);
                }
                event::Event::Admin(_) | event::Event::LongTxn(_) => {}
            }
        }
        if let Some(resolved) = message.resolved_ts {
            self.resolved(stream, resolved.request_id, &resolved.regions, resolved.ts);
        }
    }

    fn resolved(&mut self, stream: u16, request: u64, regions: &[u64], ts: u64) {
        for ((of_stream, of_request, region), (_, resolved)) in &mut self.matchers {
            if *of_stream == stream && (request == 0 || *of_request == request) && regions.contains(region) {
                *resolved = (*resolved).max(Ts(ts));
            }
        }
    }
}

fn replay(name: &str) -> Replay {
    let mut replay = Replay::default();
    for (direction, stream, payload) in records(name) {
        match direction {
            0 => replay.request(stream, &ChangeDataRequest::decode(payload).unwrap()),
            1 => replay.message(stream, ChangeDataEvent::decode(payload).unwrap()),
            _ => {}
        }
    }
    replay
}

/// Every subscription must have got exactly the truth up to where it came.
fn agrees(name: &str) -> Replay {
    let replay = replay(name);
    let about: Value =
        serde_json::from_reader(File::open(scenario(name).join("scenario.json")).unwrap()).unwrap();
    let truth = lines(name);
    for subscription in about["subscriptions"].as_array().unwrap() {
        let request = subscription["request_id"].as_u64().unwrap();
        let span = Span::new(bytes(&subscription["start"]), bytes(&subscription["end"]));
        let checkpoint = Ts(subscription["checkpoint_ts"].as_u64().unwrap());
        let upto = Ts(subscription["client_resolved_ts"].as_u64().unwrap());
        let no_loop = subscription["filter_loop"].as_bool().unwrap_or_default();
        let mut expected = Found::new();
        for line in &truth {
            let key = bytes(&line["key"]);
            let (start_ts, commit_ts) = (
                Ts(line["start_ts"].as_u64().unwrap()),
                Ts(line["commit_ts"].as_u64().unwrap()),
            );
            let source = line["txn_source"].as_u64().unwrap_or_default();
            let filtered = source >> 8 != 0 || (no_loop && source & 255 != 0);
            if span.contains(&key) && commit_ts > checkpoint && commit_ts <= upto && !filtered {
                let change = KvChange {
                    key: key.clone(),
                    value: bytes(&line["value"]),
                    old_value: bytes(&line["old_value"]),
                    start_ts,
                    commit_ts,
                    op: if line["op"] == "put" { Op::Put } else { Op::Delete },
                };
                expected.insert((commit_ts, start_ts, key), change);
            }
        }
        let mut found = replay.found.get(&request).cloned().unwrap_or_default();
        found.retain(|(commit_ts, ..), _| *commit_ts <= upto);
        for (row, change) in &expected {
            let got = found.get(row);
            assert!(got.is_some(), "{name}: request {request} lost {row:?}");
            assert_eq!(got, Some(change), "{name}: request {request} differs at {row:?}");
        }
        for row in found.keys() {
            assert!(
                expected.contains_key(row),
                "{name}: request {request} invented {row:?}"
            );
        }
        println!("{name}: request {request}: {} versions agree", expected.len());
    }
    assert_eq!(replay.late_rows, 0, "{name}: rows at or below a resolved ts");
    replay
}

macro_rules! scenarios {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            agrees(stringify!($name));
        }
    )*};
}

scenarios!(
    resume,
    splitmerge,
    stucklock,
    stores,
    manyregions,
    pdrestart,
    bigtxn,
    filters,
    oldserver,
    tables,
    silentrollback
);

#[test]
fn mixed() {
    let replay = agrees("mixed");
    assert!(
        replay.early_commits > 0,
        "the recording is known to hold commits that race the scan"
    );
}

#[test]
fn a_recorded_span_frontier_never_falls_and_reaches_the_clients() {
    let mut frontier = Frontier::default();
    let mut slots: HashMap<u64, u32> = HashMap::new();
    let about: Value =
        serde_json::from_reader(File::open(scenario("manyregions").join("scenario.json")).unwrap()).unwrap();
    let subscription = &about["subscriptions"][0];
    let mut last = Ts::ZERO;
    for (direction, _, payload) in records("manyregions") {
        if direction == 0 {
            let request = ChangeDataRequest::decode(payload).unwrap();
            let insert = || frontier.insert(Ts(request.checkpoint_ts));
            slots.entry(request.region_id).or_insert_with(insert);
        } else if direction == 1
            && let Some(resolved) = ChangeDataEvent::decode(payload).unwrap().resolved_ts
        {
            for region in &resolved.regions {
                frontier.raise(slots[region], Ts(resolved.ts));
            }
            assert!(frontier.min() >= last);
            last = frontier.min();
        }
    }
    assert!(slots.len() > 300);
    assert!(last.0 >= subscription["client_resolved_ts"].as_u64().unwrap());
}
