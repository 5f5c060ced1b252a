//! A feed and its conditions for tests.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tidemark_crds::Changefeed;

/// The time at which tests stand.
pub(crate) fn noon() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

/// A valid feed to Kafka as the API server would have stored it.
pub(crate) fn feed(name: &str) -> Changefeed {
    let mut feed = Changefeed::from_yaml(&format!(
        r#"
apiVersion: tidemark.io/v1alpha1
kind: Changefeed
metadata: {{name: {name}, namespace: default, uid: 8c2e0c1e-0000-4000-8000-000000000001}}
spec:
  source: {{pd: ["http://pd:2379"]}}
  tables: ["shop.*"]
  sink: {{kafka: {{brokers: ["kafka:9092"], topic: "{{schema}}.{{table}}"}}}}
"#
    ))
    .unwrap();
    feed.metadata.generation = Some(1);
    feed.metadata.creation_timestamp = Some(Time(noon()));
    feed
}

/// A condition that has been so since noon.
pub(crate) fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: None,
        last_transition_time: Time(noon()),
    }
}
