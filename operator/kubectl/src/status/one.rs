//! One feed, in full.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use tidemark_crds::{Changefeed, ChangefeedStatus, Placement};

use crate::cluster::full_name;
use crate::output::{Table, line};
use crate::times::{age, age_of};

/// What is known of a feed.
pub(super) fn render(feed: &Changefeed, now: Timestamp) -> String {
    let status = feed.status.clone().unwrap_or_default();
    let mut text = String::new();
    for (label, value) in facts(feed, &status, now) {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{:<12} {}", format!("{label}:"), line(&value));
    }
    if !status.conditions.is_empty() {
        let mut table = Table::new(&["CONDITION", "STATUS", "REASON", "FOR", "MESSAGE"]);
        for condition in &status.conditions {
            table.row([
                condition.type_.clone(),
                condition.status.clone(),
                condition.reason.clone(),
                age(condition.last_transition_time.0, now),
                condition.message.clone(),
            ]);
        }
        let _ = write!(text, "\n{table}");
    }
    let placement = Placement::of(feed.metadata.annotations.as_ref().unwrap_or(&BTreeMap::new()));
    if let Some(table) = members(&status, &placement) {
        let _ = write!(text, "\n{table}");
    }
    text
}

fn facts(feed: &Changefeed, status: &ChangefeedStatus, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Feed", full_name(feed)),
        ("State", format!("{:?}", feed.spec.state)),
    ];
    if feed.metadata.deletion_timestamp.is_some() {
        facts.push(("Deletion", "asked for".into()));
    }
    let cluster = status.cluster_id.as_ref().map(|id| format!(" (cluster {id})"));
    let source = feed.spec.source.pd.join(", ");
    facts.push(("Source", format!("{source}{}", cluster.unwrap_or_default())));
    facts.extend(status.sink.clone().map(|sink| ("Sink", sink)));
    if let Some(stream) = &status.stream {
        let since = stream
            .since
            .as_ref()
            .map(|since| format!(" for {}", age(since.0, now)));
        let phase = format!("{:?}{}", stream.phase, since.unwrap_or_default());
        let words = match stream.message.as_str() {
            "" => phase,
            message => format!("{phase}: {message}"),
        };
        facts.push(("Stream", words));
    }
    if let Some(ts) = &status.checkpoint_ts {
        let since = age_of(status.checkpoint_time.as_ref(), now);
        let time = status.checkpoint_time.as_ref();
        let time = time.map(|time| format!(", {:.0}, {since} ago", time.0));
        facts.push(("Checkpoint", format!("{ts}{}", time.unwrap_or_default())));
    }
    facts.extend(
        status
            .lag
            .clone()
            .map(|lag| ("Lag", format!("{lag} when last told"))),
    );
    if let Some(held) = &status.held_by {
        let since = held
            .since
            .as_ref()
            .map(|since| format!(", for {}", age(since.0, now)));
        let words = format!(
            "{}: {}: {}{}",
            held.span,
            held.stage,
            held.reason,
            since.unwrap_or_default()
        );
        facts.push(("Held by", words));
    }
    if let Some(owner) = &status.owner {
        let epoch = status.epoch.map(|epoch| format!(", epoch {epoch}"));
        facts.push(("Owner", format!("{owner}{}", epoch.unwrap_or_default())));
    }
    let count = |number: Option<i32>| number.unwrap_or(0);
    let workers = format!(
        "{} of {} ready, {} wanted",
        count(status.ready_replicas),
        count(status.replicas),
        feed.spec.workers.replicas
    );
    facts.push(("Workers", workers));
    facts.extend(status.spans.map(|spans| ("Spans", spans.to_string())));
    facts
}

/// The workers with their spans, and what people have said about them.
fn members(status: &ChangefeedStatus, placement: &Placement) -> Option<Table> {
    let mut spans: BTreeMap<&str, String> = BTreeMap::new();
    for member in &status.members {
        spans.insert(&member.name, member.spans.to_string());
    }
    for pod in placement.drained.iter().chain(placement.pinned.values()) {
        spans.entry(pod).or_default();
    }
    if spans.is_empty() {
        return None;
    }
    let mut table = Table::new(&["WORKER", "SPANS", "NOTE"]);
    for (pod, count) in spans {
        let mut notes = Vec::new();
        if status.owner.as_deref() == Some(pod) {
            notes.push("owner".to_owned());
        }
        if placement.drained.contains(pod) {
            notes.push("drained".into());
        }
        let pins = placement.pinned.iter().filter(|(_, to)| *to == pod);
        notes.extend(pins.map(|(span, _)| format!("keeps {span}")));
        table.row([pod.to_owned(), count, notes.join(", ")]);
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use tidemark_crds::{DRAIN, MOVE};

    use super::*;
    use crate::fixture::{feed, new_feed, noon};

    #[test]
    fn a_feed_is_shown_in_full() {
        let mut feed = feed();
        let said = [(DRAIN, "orders-1"), (MOVE, "shop.items=orders-0,shop.b=orders-0")];
        let owned = said.map(|(key, value)| (key.to_owned(), value.to_owned()));
        feed.metadata.annotations = Some(owned.into());
        let checkpoint = feed.status.as_ref().unwrap().checkpoint_ts.clone().unwrap();
        let expected = "\
Feed:        shop/orders
State:       Running
Source:      http://pd:2379 (cluster 7311)
Sink:        kafka
Stream:      Streaming for 60m
Checkpoint:  CHECKPOINT, 2026-01-31T11:59:50Z, 10s ago
Lag:         8s when last told
Held by:     shop.items: sink: broker 1 is away, for 8s
Owner:       orders-0, epoch 3
Workers:     2 of 2 ready, 2 wanted
Spans:       12

CONDITION   STATUS   REASON        FOR    MESSAGE
Ready       True     Replicating   5m0s   2 of 2 workers are ready

WORKER     SPANS   NOTE
orders-0   7       owner, keeps shop.b, keeps shop.items
orders-1   5       drained
";
        assert_eq!(
            render(&feed, noon()),
            expected.replace("CHECKPOINT,", &format!("{checkpoint},"))
        );
    }

    #[test]
    fn a_new_feed_is_shown_as_far_as_it_goes() {
        let expected = "\
Feed:        shop/orders
State:       Running
Source:      http://pd:2379
Workers:     0 of 0 ready, 2 wanted
";
        assert_eq!(render(&new_feed(), noon()), expected);
    }
}
