#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use futures::FutureExt;
use tidemark_model::Op;
use tidemark_proto::cdcpb::event::{LogType, Row};

use super::*;
use crate::cdc::config::CdcConfig;
use crate::faults::StreamFaults;

const REGION: u64 = 3;

struct Client {
    outbox: Arc<Outbox>,
}

impl Client {
    fn new(config: &CdcConfig) -> Self {
        Self {
            outbox: Arc::new(Outbox::new(config, StreamFaults::default())),
        }
    }

    fn subscription(&self, request: u64, range: ObservedRange) -> Subscription {
        let key = SubscriptionKey { stream: 1, request };
        Subscription::new(request, key, Arc::clone(&self.outbox), range, false)
    }

    /// Everything that was sent since the last look.
    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(Some(Ok(message))) = self.outbox.next().now_or_never() {
            events.extend(message.events);
        }
        events
    }

    fn rows(&self) -> Vec<Row> {
        let events = self.events().into_iter();
        let rows = events.flat_map(|event| match event.event {
            Some(event::Event::Entries(entries)) => entries.entries,
            other => panic!("rows were expected, not {other:?}"),
        });
        rows.collect()
    }
}

fn key(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn prewrite(name: &str, start_ts: u64) -> Applied {
    Applied::Prewrite {
        key: key(name),
        start_ts: Ts(start_ts),
        op: Op::Put,
        value: key("value"),
        old_value: key("old"),
        for_update_ts: Ts::ZERO,
        txn_source: 0,
    }
}

fn commit(name: &str, start_ts: u64, commit_ts: u64) -> Applied {
    Applied::Commit {
        key: key(name),
        start_ts: Ts(start_ts),
        commit_ts: Ts(commit_ts),
        op: Op::Put,
        short_value: key("value"),
        txn_source: 0,
    }
}

fn whole(locks: &[(&str, u64)]) -> (Region, Client) {
    let client = Client::new(&CdcConfig::default());
    let locks = locks.iter().map(|(name, ts)| (key(name), Ts(*ts)));
    let mut region = Region::new(REGION, locks, 1);
    region.subscribe(client.subscription(1, ObservedRange::Whole));
    region.scanned(1, Vec::new(), true);
    client.events();
    (region, client)
}

fn resolved(region: &mut Region, ts: u64) -> Vec<u64> {
    region
        .resolve(Some(Ts(ts)))
        .map(|subscription| subscription.resolved.0)
        .collect()
}

fn apply(region: &mut Region, effects: Vec<Applied>) -> Vec<SubscriptionKey> {
    region.apply(effects, Quirks::default())
}

#[test]
fn live_rows_come_before_the_scan_ends_but_resolved_timestamps_do_not() {
    let client = Client::new(&CdcConfig::default());
    let mut region = Region::new(REGION, [], 1);
    region.subscribe(client.subscription(1, ObservedRange::Whole));
    apply(&mut region, vec![commit("a", 5, 6)]);
    assert!(resolved(&mut region, 100).is_empty());
    assert!(region.scanned(1, vec![rows::live(prewrite("a", 5))], true));
    let kinds: Vec<_> = client.rows().iter().map(Row::r#type).collect();
    assert_eq!(kinds, [LogType::Commit, LogType::Prewrite, LogType::Initialized]);
    assert_eq!(resolved(&mut region, 101), [101]);
}

#[test]
fn locks_hold_the_resolved_ts_until_they_are_committed_or_rolled_back() {
    let (mut region, _client) = whole(&[("a", 10)]);
    assert_eq!(resolved(&mut region, 100), [10]);
    apply(&mut region, vec![prewrite("b", 20), prewrite("c", 20)]);
    apply(&mut region, vec![commit("a", 10, 30)]);
    assert_eq!(resolved(&mut region, 110), [20]);
    apply(&mut region, vec![commit("b", 20, 40)]);
    assert_eq!(
        resolved(&mut region, 120),
        [20],
        "one of two locks of the ts is left"
    );
    let rollback = Applied::Rollback {
        key: key("c"),
        start_ts: Ts(20),
        protected: true,
    };
    apply(&mut region, vec![rollback]);
    assert_eq!(resolved(&mut region, 130), [130]);
}

#[test]
fn a_resolved_ts_never_falls_and_is_repeated_without_a_new_one() {
    let (mut region, _client) = whole(&[]);
    assert_eq!(resolved(&mut region, 100), [100]);
    apply(&mut region, vec![prewrite("a", 50)]);
    assert_eq!(resolved(&mut region, 110), [100]);
    let repeated: Vec<_> = region
        .resolve(None)
        .map(|subscription| subscription.resolved.0)
        .collect();
    assert_eq!(repeated, [100]);
}

#[test]
fn a_lock_that_vanishes_silently_holds_every_subscription_until_its_key_is_prewritten_again() {
    let (mut region, client) = whole(&[("ghost", 10)]);
    region.subscribe(client.subscription(2, ObservedRange::Whole));
    region.scanned(2, Vec::new(), true);
    assert_eq!(resolved(&mut region, 100), [10, 10]);
    region.unsubscribe(
        SubscriptionKey {
            stream: 1,
            request: 1,
        },
        None,
    );
    assert_eq!(resolved(&mut region, 110), [10]);
    apply(&mut region, vec![prewrite("ghost", 120)]);
    apply(&mut region, vec![commit("ghost", 120, 121)]);
    assert_eq!(resolved(&mut region, 130), [130]);
}

#[test]
fn locks_outside_of_a_sub_range_do_not_hold_it() {
    let client = Client::new(&CdcConfig::default());
    let mut region = Region::new(REGION, [(key("z"), Ts(10))], 1);
    let range = ObservedRange::Part {
        start: key("a"),
        end: key("m"),
    };
    region.subscribe(client.subscription(1, range));
    region.scanned(1, Vec::new(), true);
    client.events();
    apply(&mut region, vec![prewrite("x", 20), prewrite("b", 30)]);
    assert_eq!(resolved(&mut region, 100), [30]);
    let seen: Vec<_> = client.rows().into_iter().map(|row| row.key).collect();
    assert_eq!(seen, [key("b")]);
}

#[test]
fn the_row_without_fields_reaches_subscriptions_of_the_whole_region_only() {
    let (mut region, client) = whole(&[]);
    let part = Client::new(&CdcConfig::default());
    let range = ObservedRange::Part {
        start: key("a"),
        end: key("m"),
    };
    region.subscribe(part.subscription(2, range));
    apply(&mut region, vec![Applied::CommitLockOnly { key: key("b") }]);
    assert_eq!(client.rows(), [Row::default()]);
    assert!(part.rows().is_empty());
}

#[test]
fn a_write_to_a_key_that_begins_with_r_ends_all_subscriptions() {
    let (mut region, client) = whole(&[]);
    let ended = apply(&mut region, vec![prewrite("row", 5)]);
    assert_eq!(
        ended,
        [SubscriptionKey {
            stream: 1,
            request: 1
        }]
    );
    let events = client.events();
    let [only] = events.as_slice() else {
        panic!("one error was expected, not {events:?}");
    };
    assert_eq!(only.event, Some(event::Event::Error(region_not_found(REGION))));
}

#[test]
fn a_full_queue_ends_its_own_subscription_with_congested() {
    let (mut region, client) = whole(&[]);
    let slow = Client::new(&CdcConfig {
        stream_quota: 8,
        ..CdcConfig::default()
    });
    let mut subscription = slow.subscription(2, ObservedRange::Whole);
    subscription.key.stream = 2;
    region.subscribe(subscription);
    let ended = apply(&mut region, vec![prewrite("a", 5)]);
    assert_eq!(
        ended,
        [SubscriptionKey {
            stream: 2,
            request: 2
        }]
    );
    assert_eq!(
        slow.events()[0].event,
        Some(event::Event::Error(congested(REGION)))
    );
    assert_eq!(client.rows().len(), 1);
    apply(&mut region, vec![prewrite("b", 6)]);
    assert!(slow.events().is_empty(), "nothing follows an error");
}

#[test]
fn a_scan_of_an_ended_subscription_stops() {
    let (mut region, client) = whole(&[]);
    region.stop(&region_not_found(REGION));
    assert!(!region.scanned(1, Vec::new(), true));
    assert_eq!(client.events().len(), 1);
}

#[test]
fn fake_prewrites_repeat_puts_without_their_values() {
    let (mut region, client) = whole(&[]);
    let quirks = Quirks {
        fake_prewrites: true,
        ..Quirks::default()
    };
    region.apply(vec![prewrite("a", 5)], quirks);
    let rows = client.rows();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0].value[..], &rows[1].value[..]),
        (&b"value"[..], &b""[..])
    );
    assert_eq!(rows[0].start_ts, rows[1].start_ts);
}
