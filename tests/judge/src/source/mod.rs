//! Reads streams as a consumer would: Kafka topics, storage folders.
//!
//! The parsers here are written from the formats' rules and share nothing with the product's encoders.

mod canal;
mod csv;
mod kafka;
mod schema_file;
mod storage;

use std::io;

pub use canal::{CanalMessage, parse_canal};
pub use csv::{BinaryText, Cell, CsvFormat, CsvReader};
pub use kafka::{KafkaReader, KafkaSource, Topics, Until};
pub use schema_file::{SchemaColumn, SchemaFile};
pub use storage::{StorageFormat, StorageReader, StorageSource};

use crate::{Judge, Observation};

/// One thing that a reader came upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The partition or sequence.
    pub partition: String,
    /// When it got there, in milliseconds since the Unix epoch.
    pub at_ms: Option<u64>,
    /// What it is.
    pub seen: Seen,
}

/// What a reader came upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The partition itself; it may be empty.
    Partition,
    /// A row or watermark.
    Observation(Observation),
    /// A watermark of all partitions.
    WatermarkEverywhere(u64),
    /// A schema change.
    Ddl {
        /// The database.
        schema: String,
        /// The table; empty for a database's DDL.
        table: String,
        /// When it took effect.
        commit_ts: u64,
        /// Its text.
        sql: String,
    },
    /// Something that breaks the format.
    Malformed(String),
}

impl Judge {
    /// Observes what a reader came upon.
    pub fn take(&mut self, sighting: Sighting) {
        let Sighting {
            partition,
            at_ms,
            seen,
        } = sighting;
        match seen {
            Seen::Partition => self.partition(&partition),
            Seen::Observation(observation) => self.observe_at(&partition, &observation, at_ms),
            Seen::WatermarkEverywhere(ts) => self.observe_watermark_everywhere(ts),
            Seen::Ddl { .. } => self.partition(&partition),
            Seen::Malformed(what) => self.observe_malformed(&partition, &what),
        }
    }
}

/// Why a stream can't be read at all.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Kafka refused.
    #[error("cannot {action} at Kafka")]
    Kafka {
        /// What was tried.
        action: String,
        /// What Kafka said.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// The end or the watermark didn't come in time.
    #[error("{waiting_for} did not come in time; so far: {so_far}")]
    Deadline {
        /// What was waited for.
        waiting_for: String,
        /// How far each partition is.
        so_far: String,
    },
    /// The URL names no storage.
    #[error("storage url {url:?} is not valid; give file:///folder or s3://bucket/prefix")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The storage refused.
    #[error("cannot read {path:?} from storage")]
    Storage {
        /// The object or prefix.
        path: String,
        /// What the storage said.
        #[source]
        source: object_store::Error,
    },
}
