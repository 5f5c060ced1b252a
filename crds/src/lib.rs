//! The `Changefeed` resource: types, defaults, checks and the generated CRD.
//!
//! A worker in standalone mode reads the same YAML that `kubectl apply` takes.

mod check;
mod crd;
mod duration;
mod key_range;
mod manifest;
mod placement;
mod quantity;
mod reference;
mod rules;
#[allow(
    unreachable_pub,
    reason = "the schema derive wraps each type in a module of its own"
)]
mod sink;
#[allow(
    unreachable_pub,
    reason = "the schema derive wraps each type in a module of its own"
)]
mod spec;
#[allow(
    unreachable_pub,
    reason = "the schema derive wraps each type in a module of its own"
)]
mod status;
mod unknown;

pub use check::{Problem, check};
pub use crd::crd_yaml;

pub use duration::DurationText;
pub use key_range::KeyBounds;
pub use manifest::ManifestError;
pub use placement::{DRAIN, MOVE, Placement};
pub use quantity::Quantity;
pub use reference::reference;
pub use rules::{RuleError, TableRules};
pub use sink::{
    BlackholeSink, CsvOptions, DateSeparator, KafkaCompression, KafkaFormat, KafkaSink, PartitionBy, Sasl,
    SaslMechanism, SinkSpec, StorageFormat, StorageSink,
};
pub use spec::{
    Changefeed, ChangefeedSpec, DeletionPolicy, KeyRange, Limits, Source, SourceFormat, Start, StartAt,
    State, Tls, Workers,
};
pub use status::{ChangefeedStatus, HeldBy, MemberStatus, StreamPhase, StreamStatus};
