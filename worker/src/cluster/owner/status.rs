//! The owner's part of the feed's status, and what people ask of the owner in the resource.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use tidemark_crds::{Changefeed, HeldBy, MemberStatus, Placement, StreamPhase, StreamStatus};
use tidemark_model::Ts;

/// What the owner tells of the feed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) checkpoint: Ts,
    pub(crate) resolved: Ts,
    /// PD's clock.
    pub(crate) now: Ts,
    pub(crate) spans: usize,
    pub(crate) held_by: Option<HeldBy>,
    pub(crate) stream: StreamStatus,
    pub(crate) members: Vec<MemberStatus>,
}

/// Who tells it.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    pub(crate) epoch: u64,
    pub(crate) pod: String,
    pub(crate) cluster_id: Option<u64>,
}

impl Teller {
    /// A merge patch with nothing but the owner's fields. The API server refuses it if a newer owner has raised the epoch.
    pub(crate) fn patch(&self, told: &Told) -> Value {
        let mut status = self.head(&told.stream);
        let lag = told.checkpoint.lag_behind(told.now);
        status["checkpointTs"] = json!(told.checkpoint.to_string());
        status["checkpointTime"] = json!(time_of(told.checkpoint));
        status["resolvedTs"] = json!(told.resolved.max(told.checkpoint).to_string());
        status["lag"] = json!(format!("{:.1}s", lag.as_secs_f64()));
        status["spans"] = json!(told.spans);
        status["heldBy"] = json!(told.held_by);
        status["members"] = json!(told.members);
        json!({"status": status})
    }

    /// A merge patch of an owner that has not got as far as streaming.
    pub(crate) fn opening(&self, stream: &StreamStatus) -> Value {
        json!({"status": self.head(stream)})
    }

    fn head(&self, stream: &StreamStatus) -> Value {
        let mut status = json!({"epoch": self.epoch, "owner": self.pod});
        // An empty message would else stay what it was.
        status["stream"] = json!({
            "phase": stream.phase,
            "message": stream.message,
            "since": stream.since,
        });
        if let Some(id) = self.cluster_id {
            status["clusterId"] = json!(id.to_string());
        }
        status
    }
}

/// A ts as a time for people; none before 1970 or beyond what a time can be.
fn time_of(ts: Ts) -> Option<Time> {
    let ms = i64::try_from(ts.physical_ms()).ok()?;
    Timestamp::from_millisecond(ms).ok().map(Time)
}

/// A phase from now on, unless it is what it was.
pub(crate) fn entered(
    before: &StreamStatus,
    phase: StreamPhase,
    message: String,
    now: Timestamp,
) -> StreamStatus {
    let since = match &before.since {
        Some(since) if before.phase == phase => since.clone(),
        _ => Time(now),
    };
    StreamStatus {
        phase,
        message,
        since: Some(since),
    }
}

/// What people ask of the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Workers that shall be there.
    pub(crate) replicas: usize,
    /// Bytes per second from which on a table is split; 0 is never.
    pub(crate) split_above: u64,
    /// Where they want spans.
    pub(crate) placement: Placement,
}

impl Wishes {
    pub(crate) fn read(feed: &Changefeed) -> Self {
        let annotations = feed.metadata.annotations.as_ref();
        Self {
            replicas: usize::try_from(feed.spec.workers.replicas).unwrap_or(1),
            split_above: feed.spec.workers.split_above.0,
            placement: annotations.map(Placement::of).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_holds_the_owners_fields_and_no_others() {
        let teller = Teller {
            epoch: 7,
            pod: "shop-0".into(),
            cluster_id: Some(9),
        };
        let told = Told {
            checkpoint: Ts::new(1000, 0),
            now: Ts::new(3500, 0),
            ..Told::default()
        };
        let patch = teller.patch(&told);
        let status = patch["status"].as_object().unwrap();
        let fields: Vec<_> = status.keys().map(String::as_str).collect();
        let mut expected = [
            "epoch",
            "owner",
            "clusterId",
            "checkpointTs",
            "checkpointTime",
            "resolvedTs",
            "lag",
            "spans",
            "heldBy",
            "stream",
            "members",
        ];
        expected.sort_unstable();
        let mut sorted = fields;
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
        assert_eq!(status["lag"], "2.5s");
        assert!(
            status["heldBy"].is_null(),
            "what doesn't hold any more is taken out"
        );
        assert_eq!(status["checkpointTime"], "1970-01-01T00:00:01Z");
        assert_eq!(status["stream"]["message"], "");
    }

    #[test]
    fn a_phase_keeps_its_time() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let first = entered(
            &StreamStatus::default(),
            StreamPhase::Starting,
            String::new(),
            at("2026-01-01T00:00:00Z"),
        );
        let again = entered(
            &first,
            StreamPhase::Starting,
            "words".into(),
            at("2026-01-01T00:00:09Z"),
        );
        assert_eq!(first.since, again.since);
        let other = entered(
            &again,
            StreamPhase::Streaming,
            String::new(),
            at("2026-01-01T00:00:10Z"),
        );
        assert_ne!(other.since, again.since);
    }
}
