//! The `Changefeed` resource: types, defaults, checks and the generated CRD.
//!
//! A worker in standalone mode reads the same YAML that `kubectl apply` takes.

mod duration;
mod quantity;
mod sink;
mod spec;

pub use duration::DurationText;
pub use quantity::Quantity;
pub use sink::{
    BlackholeSink, CsvOptions, DateSeparator, KafkaCompression, KafkaFormat, KafkaSink, PartitionBy, Sasl,
    SaslMechanism, SinkSpec, StorageFormat, StorageSink,
};
pub use spec::{
    Changefeed, ChangefeedSpec, ChangefeedStatus, KeyRange, Limits, Source, SourceFormat, Start, StartAt,
    State, Tls, Workers,
};
