use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a feed has reached. The operator writes conditions and pods; the feed's owner among the workers writes the rest.
///
/// The API server itself refuses an epoch or a checkpoint that falls, whoever writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new(
    "!has(oldSelf.epoch) || (has(self.epoch) && self.epoch >= oldSelf.epoch)"
).message("status.epoch can't fall: a newer owner has taken the feed"))]
#[x_kube(validation = Rule::new(
    "!has(oldSelf.checkpointTs) || (has(self.checkpointTs) && (size(self.checkpointTs) > size(oldSelf.checkpointTs) || \
     (size(self.checkpointTs) == size(oldSelf.checkpointTs) && self.checkpointTs >= oldSelf.checkpointTs)))"
).message("status.checkpointTs can't fall"))]
#[serde(rename_all = "camelCase")]
pub struct ChangefeedStatus {
    /// The generation of the spec that the operator saw last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` always; `Reconciling`, `Stalled` and `Paused` while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where the changes go, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Worker pods that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Worker pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Selects the worker pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// Grows with every change of ownership.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// The pod that owns the feed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The source cluster's id, once it was reached: another cluster under the same address is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Everything committed at or before it is durable in the sink. Decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub checkpoint_ts: Option<String>,
    /// The time of the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_time: Option<Time>,
    /// Everything committed at or before it has been received. Decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub resolved_ts: Option<String>,
    /// How far the checkpoint lay behind the source's clock when it was written: `1.2s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<String>,
    /// Spans of the feed: tables, partitions or key ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans: Option<i64>,
    /// What holds the checkpoint back, while it lies behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<HeldBy>,
    /// How the stream is, as its owner sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamStatus>,
    /// The workers that take part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberStatus>,
}

/// What holds a feed's checkpoint back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldBy {
    /// The span: `schema.table`, with `#` and the partition's id where there are several.
    pub span: String,
    /// `source`, `schema`, `sink` or `scheduling`.
    pub stage: String,
    /// Why, in words.
    pub reason: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// How a stream is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus {
    /// How it is.
    pub phase: StreamPhase,
    /// One line for people: what is wrong and how to mend it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// How a stream is, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StreamPhase {
    /// Workers connect and take up their spans.
    #[default]
    Starting,
    /// All spans stream.
    Streaming,
    /// A server can't be reached; it is tried again.
    Retrying,
    /// It can't go on until a person acts; it is looked at again now and then.
    Halted,
}

/// A worker that takes part in a feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Its pod.
    pub name: String,
    /// Spans that it streams.
    pub spans: i64,
}
