//! What kinds of messages a stream of traffic holds: the same function for a recording and for a live run.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use tidemark_proto::cdcpb::change_data_request::Request;
use tidemark_proto::cdcpb::event::{self, LogType, Row};
use tidemark_proto::cdcpb::{self, ChangeDataEvent, ChangeDataRequest};

use crate::client::Traffic;

/// Kinds of messages, and broken promises of the protocol.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) kinds: BTreeSet<String>,
    pub(crate) broken: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Subscription {
    checkpoint: u64,
    initialized: bool,
    ended: bool,
    /// The highest ts told; what a message says of its group can be lower.
    resolved: u64,
    /// Open prewrites by key and start ts.
    open: BTreeSet<(Vec<u8>, u64)>,
}

type Subscriptions = BTreeMap<(u64, u64), Subscription>;

impl Shape {
    /// Adds one stream.
    pub(crate) fn add(&mut self, traffic: &[Traffic]) {
        let mut subscriptions = Subscriptions::new();
        for item in traffic {
            match item {
                Traffic::Request(request) => registered(&mut subscriptions, request),
                Traffic::Message(message) => self.message(&mut subscriptions, message),
            }
        }
    }

    fn message(&mut self, subscriptions: &mut Subscriptions, message: &ChangeDataEvent) {
        if message.encoded_len() > 4 << 20 {
            self.kinds.insert("a message above 4 MiB".to_owned());
        }
        for event in &message.events {
            let key = (event.request_id, event.region_id);
            let subscription = subscriptions.entry(key).or_default();
            match event.event.as_ref().unwrap() {
                event::Event::Entries(entries) => {
                    for row in &entries.entries {
                        self.row(subscription, row);
                    }
                }
                event::Event::Error(error) => {
                    self.kinds.insert(format!("error {}", error_kind(error)));
                    subscription.ended |= error.duplicate_request.is_none();
                }
                event::Event::ResolvedTs(ts) => {
                    self.kinds.insert("resolved as an event of one region".to_owned());
                    self.resolved(subscription, *ts);
                }
                other => {
                    self.broken
                        .insert(format!("an event that TiKV never sends: {other:?}"));
                }
            }
        }
        let Some(resolved) = &message.resolved_ts else {
            return;
        };
        let own = if resolved.request_id == 0 {
            "without"
        } else {
            "with"
        };
        self.kinds.insert(format!("resolved {own} request id"));
        if resolved.regions.len() > 1 {
            self.kinds.insert("resolved of several regions".to_owned());
        }
        for ((request, region), subscription) in subscriptions {
            let meant = resolved.request_id == 0 || resolved.request_id == *request;
            if meant && resolved.regions.contains(region) {
                // Without request ids, another request of the region may be meant.
                if resolved.request_id == 0 && (!subscription.initialized || subscription.ended) {
                    continue;
                }
                self.resolved(subscription, resolved.ts);
            }
        }
    }

    fn resolved(&mut self, subscription: &mut Subscription, ts: u64) {
        if !subscription.initialized {
            self.broken.insert("resolved before INITIALIZED".to_owned());
        }
        if subscription.ended {
            self.broken.insert("resolved after an error".to_owned());
        }
        if subscription.open.iter().any(|(_, start_ts)| *start_ts == ts) {
            self.kinds
                .insert("resolved at the start ts of an open PREWRITE".to_owned());
        }
        if ts < subscription.checkpoint {
            self.kinds.insert("resolved below the checkpoint".to_owned());
        }
        subscription.resolved = subscription.resolved.max(ts);
    }

    fn row(&mut self, subscription: &mut Subscription, row: &Row) {
        if subscription.ended {
            self.broken.insert("a row after an error".to_owned());
        }
        let kind = row.r#type();
        let (initialized, open) = (subscription.initialized, (row.key.to_vec(), row.start_ts));
        if initialized {
            self.kinds.insert(detail(row));
        } else {
            self.kinds
                .insert(format!("before INITIALIZED: {}", kind.as_str_name()));
        }
        match kind {
            LogType::Prewrite => {
                if initialized && row.start_ts <= subscription.resolved {
                    self.kinds
                        .insert("PREWRITE that began at or below the resolved ts".to_owned());
                }
                if !subscription.open.insert(open) {
                    self.kinds.insert("PREWRITE again".to_owned());
                }
            }
            LogType::Commit => {
                let known = subscription.open.remove(&open);
                if !known && initialized {
                    self.broken
                        .insert("COMMIT without PREWRITE after INITIALIZED".to_owned());
                }
                if !known && !initialized {
                    self.kinds
                        .insert("before INITIALIZED: COMMIT without PREWRITE".to_owned());
                }
            }
            LogType::Rollback if !subscription.open.remove(&open) => {
                self.kinds.insert("ROLLBACK without PREWRITE".to_owned());
            }
            LogType::Initialized if initialized => {
                self.broken.insert("INITIALIZED twice".to_owned());
            }
            LogType::Initialized => subscription.initialized = true,
            _ => {}
        }
        if matches!(kind, LogType::Commit | LogType::Committed) && row.commit_ts <= subscription.resolved {
            self.broken
                .insert("a commit at or below the resolved ts".to_owned());
        }
    }
}

fn registered(subscriptions: &mut Subscriptions, request: &ChangeDataRequest) {
    if matches!(request.request, Some(Request::Register(_)) | None) {
        let subscription = subscriptions
            .entry((request.request_id, request.region_id))
            .or_default();
        // A duplicate doesn't begin anything.
        if subscription.ended || !subscription.initialized {
            *subscription = Subscription {
                checkpoint: request.checkpoint_ts,
                ..Subscription::default()
            };
        }
    }
}

/// A live row without its key and times.
fn detail(row: &Row) -> String {
    let value = match row.value.len() {
        0 => "no",
        1..=255 => "a short",
        _ => "a long",
    };
    let old = if row.old_value.is_empty() { "no" } else { "an" };
    let commit = if row.commit_ts == 0 { "no" } else { "a" };
    let (kind, op) = (row.r#type().as_str_name(), row.op_type().as_str_name());
    format!("{kind} {op} with {value} value, {old} old value, {commit} commit ts")
}

fn error_kind(error: &cdcpb::Error) -> String {
    let mut kinds = Vec::new();
    if let Some(not_leader) = &error.not_leader {
        kinds.push(if not_leader.leader.is_some() {
            "not_leader with leader"
        } else {
            "not_leader"
        });
    }
    if let Some(epoch) = &error.epoch_not_match {
        kinds.push(match epoch.current_regions.len() {
            0 => "epoch_not_match without regions",
            1 => "epoch_not_match with the region",
            _ => "epoch_not_match with new regions",
        });
    }
    let plain = [
        (error.region_not_found.is_some(), "region_not_found"),
        (error.duplicate_request.is_some(), "duplicate_request"),
        (error.compatibility.is_some(), "compatibility"),
        (error.cluster_id_mismatch.is_some(), "cluster_id_mismatch"),
        (error.server_is_busy.is_some(), "server_is_busy"),
        (error.congested.is_some(), "congested"),
    ];
    kinds.extend(plain.into_iter().filter(|(is, _)| *is).map(|(_, kind)| kind));
    kinds.join(" and ")
}
