use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::sink::SinkSpec;
use crate::status::ChangefeedStatus;
use crate::{DurationText, Quantity};

/// What to stream where.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new(
    "self.source.?format.orValue('tidb') == 'kv' || !has(self.keyRanges) || size(self.keyRanges) == 0"
).message("keyRanges is for source.format kv: choose tables with tables"))]
#[x_kube(validation = Rule::new(
    "self.source.?format.orValue('tidb') == 'tidb' || !has(self.tables) || size(self.tables) == 0"
).message("tables is for source.format tidb: choose keys with keyRanges"))]
#[x_kube(validation = Rule::new(
    "self.source.?format.orValue('tidb') == 'tidb' || (has(self.keyRanges) && size(self.keyRanges) > 0)"
).message("source.format kv needs at least one range in keyRanges"))]
#[x_kube(validation = Rule::new("self.start == oldSelf.start").message("start can't be changed: make a new feed"))]
#[x_kube(validation = Rule::new(
    "(self.source.?format.orValue('tidb') == 'kv') == (oldSelf.source.?format.orValue('tidb') == 'kv')"
).message("source.format can't be changed: make a new feed"))]
#[x_kube(validation = Rule::new(
    "has(self.sink.kafka) == has(oldSelf.sink.kafka) && has(self.sink.storage) == has(oldSelf.sink.storage)"
).message("the kind of sink can't be changed: make a new feed"))]
#[kube(
    group = "tidemark.io",
    version = "v1alpha1",
    kind = "Changefeed",
    namespaced,
    status = "ChangefeedStatus",
    shortname = "cf",
    category = "tidemark",
    scale(
        spec_replicas_path = ".spec.workers.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    selectable = ".spec.state",
    validation = Rule::new("size(self.metadata.name) <= 52")
        .message("metadata.name: use at most 52 characters, so that pods' names have room"),
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name": "State", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].reason"}"#,
    printcolumn = r#"{"name": "Sink", "type": "string", "jsonPath": ".status.sink"}"#,
    printcolumn = r#"{"name": "Checkpoint", "type": "date", "jsonPath": ".status.checkpointTime"}"#,
    printcolumn = r#"{"name": "Lag", "type": "string", "jsonPath": ".status.lag"}"#,
    printcolumn = r#"{"name": "Workers", "type": "integer", "jsonPath": ".status.readyReplicas"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Owner", "type": "string", "priority": 1, "jsonPath": ".status.owner"}"#,
    printcolumn = r#"{"name": "Epoch", "type": "integer", "priority": 1, "jsonPath": ".status.epoch"}"#,
    printcolumn = r#"{"name": "Spans", "type": "integer", "priority": 1, "jsonPath": ".status.spans"}"#,
    printcolumn = r#"{"name": "Held by", "type": "string", "priority": 1, "jsonPath": ".status.heldBy.span"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ChangefeedSpec {
    /// Whether the feed runs.
    #[serde(default)]
    pub state: State,
    /// The cluster whose changes are streamed.
    pub source: Source,
    /// Where the stream begins.
    #[serde(default)]
    pub start: Start,
    /// Rules that choose tables, as `schema.table` with `*`, `?` and `[a-z]`, and `!` in front to leave out; the last
    /// rule that matches decides. For `source.format: tidb` only; empty means all tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// Key ranges to stream. For `source.format: kv` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_ranges: Vec<KeyRange>,
    /// Time zone in which TIMESTAMP columns are written: an IANA name or an offset like `+08:00`.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// Where the changes go.
    pub sink: SinkSpec,
    /// Bounds of one worker.
    #[serde(default)]
    pub limits: Limits,
    /// The worker pods.
    #[serde(default)]
    pub workers: Workers,
    /// What becomes of the protected history when the feed is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// What becomes of a deleted feed's protected history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is released at once, so that the cluster can collect garbage.
    #[default]
    Release,
    /// It stays protected for `limits.gcTtl`, so that a new feed can go on at the checkpoint.
    Retain,
}

/// Whether a feed runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// It streams.
    #[default]
    Running,
    /// No workers; history stays protected from GC.
    Paused,
    /// No workers; history is released when `limits.gcTtl` has passed.
    Stopped,
}

/// The cluster whose changes are streamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// URLs of PD.
    pub pd: Vec<String>,
    /// The cluster's id as decimal text; if set, another cluster is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// TLS to PD and TiKV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What the keys and values are.
    #[serde(default)]
    pub format: SourceFormat,
}

/// What the keys and values of a source are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceFormat {
    /// TiDB's tables.
    #[default]
    Tidb,
    /// Plain transactional keys.
    Kv,
}

/// Certificates by reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Secret with `ca.crt`, and `tls.crt` and `tls.key` where the server asks for a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
}

/// Where a stream begins: at most one field is set; none means now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new(
    "[has(self.at), has(self.ts), has(self.time)].filter(set, set).size() <= 1"
).message("set at most one of at, ts and time"))]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// `now`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<StartAt>,
    /// After this ts, as decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ts: Option<String>,
    /// After this time, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// Named beginnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StartAt {
    /// When the feed is first run.
    #[default]
    Now,
}

/// A half-open range of plain keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRange {
    /// First key inside: text, or `hex:` and hex digits. Empty means the first key.
    #[serde(default)]
    pub start: String,
    /// First key outside, written the same way. Empty means no bound.
    #[serde(default)]
    pub end: String,
}

/// Bounds of one worker process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Memory for changes on their way; beyond it changes wait on disk.
    #[serde(default = "memory")]
    pub memory: Quantity,
    /// Disk for changes that wait; beyond it the source is not read further.
    #[serde(default = "disk")]
    pub disk: Quantity,
    /// How long history stays protected from GC after the worker was last seen.
    #[serde(default = "gc_ttl")]
    pub gc_ttl: DurationText,
    /// Regions that are scanned at once on one store.
    #[serde(default = "scans")]
    pub scans_per_store: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: memory(),
            disk: disk(),
            gc_ttl: gc_ttl(),
            scans_per_store: scans(),
        }
    }
}

/// The worker pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workers {
    /// How many.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: u32,
    /// Bytes per second of one table from which on it is split over several workers, where the sink allows; 0 is never.
    #[serde(default = "split_above")]
    pub split_above: Quantity,
    /// The worker's image. Unset: the one that the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// CPU and memory of a worker's container, as in a pod. Memory has to leave room beside `limits.memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_object")]
    pub resources: Option<Map<String, Value>>,
    /// Merged over the pod template that the operator makes (labels, node selector, tolerations, more containers and
    /// volumes); lists whose items have a `name` are merged by it. The container `worker` keeps its command and ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_object")]
    pub pod_template: Option<Map<String, Value>>,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            replicas: one(),
            split_above: split_above(),
            image: None,
            resources: None,
            pod_template: None,
        }
    }
}

/// An object whose fields Kubernetes itself defines.
fn free_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn one() -> u32 {
    1
}

fn split_above() -> Quantity {
    Quantity::mib(4)
}

fn utc() -> String {
    "UTC".into()
}

fn memory() -> Quantity {
    Quantity::mib(512)
}

fn disk() -> Quantity {
    Quantity::mib(10 << 10)
}

fn gc_ttl() -> DurationText {
    DurationText::millis(86_400_000)
}

fn scans() -> u32 {
    128
}
