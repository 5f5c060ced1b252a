use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sink::SinkSpec;
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
#[kube(
    group = "tidemark.io",
    version = "v1alpha1",
    kind = "Changefeed",
    namespaced,
    status = "ChangefeedStatus",
    shortname = "cf",
    category = "tidemark",
    printcolumn = r#"{"name": "State", "type": "string", "jsonPath": ".spec.state"}"#,
    printcolumn = r#"{"name": "Checkpoint", "type": "string", "jsonPath": ".status.checkpointTs"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
}

/// What a feed has reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangefeedStatus {
    /// Everything committed at or before it is durable in the sink. Decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_ts: Option<String>,
    /// Everything committed at or before it has been received. Decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_ts: Option<String>,
}

/// Whether a feed runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// It streams.
    #[default]
    Running,
    /// No workers; history stays protected from GC.
    Paused,
    /// No workers; history is released.
    Stopped,
}

/// The cluster whose changes are streamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workers {
    /// How many.
    #[serde(default = "one")]
    pub replicas: u32,
}

impl Default for Workers {
    fn default() -> Self {
        Self { replicas: one() }
    }
}

fn one() -> u32 {
    1
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
