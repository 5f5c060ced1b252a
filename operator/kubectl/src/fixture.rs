//! A feed for tests.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tidemark_crds::{Changefeed, HeldBy, MemberStatus, StreamPhase, StreamStatus};
use tidemark_model::Ts;

/// The time at which tests stand.
pub(crate) fn noon() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

/// So long before noon.
pub(crate) fn before(seconds: i64) -> Time {
    Time(Timestamp::from_second(noon().as_second() - seconds).unwrap())
}

pub(crate) fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: None,
        last_transition_time: before(300),
    }
}

/// A feed as the API server stores it before anyone has looked at it.
pub(crate) fn new_feed() -> Changefeed {
    let mut feed = Changefeed::from_yaml(
        r#"
apiVersion: tidemark.io/v1alpha1
kind: Changefeed
metadata: {name: orders, namespace: shop, uid: 8c2e0c1e-0000-4000-8000-000000000001, resourceVersion: "7"}
spec:
  source: {pd: ["http://pd:2379"]}
  tables: ["shop.*"]
  sink: {kafka: {brokers: ["kafka:9092"], topic: "{schema}.{table}"}}
  workers: {replicas: 2}
"#,
    )
    .unwrap();
    feed.metadata.generation = Some(1);
    feed.metadata.creation_timestamp = Some(before(7200));
    feed
}

/// A feed that streams, and lies a little behind.
pub(crate) fn feed() -> Changefeed {
    let mut feed = new_feed();
    let status = feed.status.get_or_insert_default();
    status.observed_generation = Some(1);
    status.conditions = vec![condition(
        "Ready",
        "True",
        "Replicating",
        "2 of 2 workers are ready",
    )];
    status.sink = Some("kafka".into());
    status.replicas = Some(2);
    status.ready_replicas = Some(2);
    status.epoch = Some(3);
    status.owner = Some("orders-0".into());
    status.cluster_id = Some("7311".into());
    status.checkpoint_ts = Some(Ts::new(1_769_860_790_000, 1).to_string());
    status.checkpoint_time = Some(before(10));
    status.lag = Some("8s".into());
    status.spans = Some(12);
    status.held_by = Some(HeldBy {
        span: "shop.items".into(),
        stage: "sink".into(),
        reason: "broker 1 is away".into(),
        since: Some(before(8)),
    });
    status.stream = Some(StreamStatus {
        phase: StreamPhase::Streaming,
        message: String::new(),
        since: Some(before(3600)),
    });
    let member = |name: &str, spans| MemberStatus {
        name: name.into(),
        spans,
    };
    status.members = vec![member("orders-0", 7), member("orders-1", 5)];
    feed
}
