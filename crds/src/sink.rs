use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::Tls;
use crate::{DurationText, Quantity};

/// Where changes go: exactly one of the fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new(
    "[has(self.kafka), has(self.storage), has(self.blackhole)].exists_one(set, set)"
).message("set exactly one of kafka, storage and blackhole"))]
#[serde(rename_all = "camelCase")]
pub struct SinkSpec {
    /// A Kafka cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSink>,
    /// Files in a bucket or folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSink>,
    /// Nowhere: changes are decoded and dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blackhole: Option<BlackholeSink>,
}

/// Drops every row after decoding it; for measuring the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlackholeSink {}

/// A Kafka cluster and how rows are laid out on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaSink {
    /// Bootstrap brokers, `host:port` each.
    pub brokers: Vec<String>,
    /// Topic expression: letters, digits, `.`, `_`, `-` and the fields `{schema}` and `{table}`.
    pub topic: String,
    /// Message format.
    #[serde(default)]
    pub format: KafkaFormat,
    /// What decides a row's partition.
    #[serde(default)]
    pub partition_by: PartitionBy,
    /// Partitions of topics that are created, and the number that rows are spread over in any topic
    /// with at least so many. Unset: 3 for new topics, all of an existing one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// Replication factor of topics that are created.
    #[serde(default = "one")]
    pub replication_factor: u16,
    /// Whether missing topics are created.
    #[serde(default = "yes")]
    pub create_topics: bool,
    /// Largest message; the broker's or topic's own limit counts where it is lower.
    #[serde(default = "ten_mib")]
    pub max_message_bytes: Quantity,
    /// Compression of record batches.
    #[serde(default)]
    pub compression: KafkaCompression,
    /// How often watermarks are published at most.
    #[serde(default = "one_second")]
    pub watermark_interval: DurationText,
    /// Whether messages carry the `_tidb` object (commit ts) and watermarks are published.
    #[serde(default = "yes")]
    pub enable_tidb_extension: bool,
    /// TLS to the brokers; an empty object uses the system's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How to log in to the brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
}

/// Message formats of the Kafka sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KafkaFormat {
    /// canal-json, one message a row.
    #[default]
    CanalJson,
}

/// What decides a row's partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PartitionBy {
    /// The row's key columns: all changes of a key stay in one partition.
    #[default]
    Key,
    /// The table: all its changes stay in one partition, in commit order.
    Table,
    /// The commit ts: spreads evenly, keeps no order of a key.
    Ts,
}

/// Compression of Kafka record batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KafkaCompression {
    /// None.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

/// Login to Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: SaslMechanism,
    /// Secret with the keys `username` and `password`.
    pub secret_name: String,
}

/// SASL mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaslMechanism {
    /// PLAIN.
    #[serde(rename = "PLAIN")]
    Plain,
    /// SCRAM-SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// SCRAM-SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// Files in a bucket or folder, in the layout that TiCDC's storage consumers read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageSink {
    /// `s3://bucket/prefix` or `file:///folder`.
    pub url: String,
    /// File format.
    #[serde(default)]
    pub format: StorageFormat,
    /// Secret with `access-key-id` and `secret-access-key` (and `session-token`). Unset: the environment's identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// Endpoint of an S3-compatible server; unset for AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A file is written when its first row is so old.
    #[serde(default = "five_seconds")]
    pub flush_interval: DurationText,
    /// A file is written when it is so large.
    #[serde(default = "sixty_four_mib")]
    pub file_size: Quantity,
    /// Date folders below the table's version.
    #[serde(default)]
    pub date_separator: DateSeparator,
    /// Digits of a file's number.
    #[serde(default = "twenty")]
    pub file_index_digits: u8,
    /// Options of the CSV format.
    #[serde(default)]
    pub csv: CsvOptions,
}

/// File formats of the storage sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StorageFormat {
    /// canal-json, one row a line, always with the `_tidb` object.
    #[default]
    CanalJson,
    /// CSV.
    Csv,
}

/// Date folders of the storage layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DateSeparator {
    /// No date folder.
    None,
    /// `2006`.
    Year,
    /// `2006-01`.
    Month,
    /// `2006-01-02`.
    #[default]
    Day,
}

/// Options of the CSV format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CsvOptions {
    /// Between fields: 1 to 3 characters.
    #[serde(default = "comma")]
    pub delimiter: String,
    /// Around text fields: one character or none.
    #[serde(default = "double_quote")]
    pub quote: String,
    /// What stands for NULL.
    #[serde(default = "backslash_n")]
    pub null: String,
    /// Whether the commit ts is a column.
    #[serde(default = "yes")]
    pub include_commit_ts: bool,
    /// Whether an update is written as two rows, the old image and the new.
    #[serde(default)]
    pub output_old_value: bool,
    /// Whether each file begins with the columns' names.
    #[serde(default)]
    pub output_field_header: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: comma(),
            quote: double_quote(),
            null: backslash_n(),
            include_commit_ts: true,
            output_old_value: false,
            output_field_header: false,
        }
    }
}

fn one() -> u16 {
    1
}

fn twenty() -> u8 {
    20
}

fn yes() -> bool {
    true
}

fn ten_mib() -> Quantity {
    Quantity::mib(10)
}

fn sixty_four_mib() -> Quantity {
    Quantity::mib(64)
}

fn one_second() -> DurationText {
    DurationText::millis(1000)
}

fn five_seconds() -> DurationText {
    DurationText::millis(5000)
}

fn comma() -> String {
    ",".into()
}

fn double_quote() -> String {
    "\"".into()
}

fn backslash_n() -> String {
    "\\N".into()
}
