use std::fmt;
use std::sync::Arc;

use tidemark_crds::SinkSpec;
use tidemark_model::Ts;
use tidemark_tidb::TimeZone;

use crate::blackhole::Blackhole;
use crate::storage::StorageSink;
use crate::{Secrets, Sink, SinkError};

/// What a sink is told about the feed that it works for.
#[derive(Clone)]
pub struct OpenContext {
    /// Names the feed in logs and at the destination: `namespace/name`.
    pub feed: String,
    /// Where logins and keys come from.
    pub secrets: Arc<dyn Secrets>,
    /// The zone that TIMESTAMP columns are written in, and that date folders follow.
    pub zone: TimeZone,
    /// The owner's epoch when the sink is opened; 0 for a worker that runs alone. With another, watermarks are refused until
    /// [`Sink::take_over`] was called.
    pub epoch: u64,
    /// Where this run begins: everything at or below has been delivered.
    pub start_ts: Ts,
}

impl fmt::Debug for OpenContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenContext")
            .field("feed", &self.feed)
            .field("epoch", &self.epoch)
            .field("start_ts", &self.start_ts)
            .finish_non_exhaustive()
    }
}

/// Opens the sink that the settings name, and checks that it can be written to.
///
/// # Errors
/// [`SinkError::Config`] if the settings can't work, [`SinkError::Unavailable`] if the destination doesn't answer.
pub async fn open(spec: &SinkSpec, context: OpenContext) -> Result<Arc<dyn Sink>, SinkError> {
    match (&spec.kafka, &spec.storage, &spec.blackhole) {
        (Some(settings), None, None) => open_kafka(settings, &context).await,
        (None, Some(settings), None) => {
            let sink = StorageSink::open(settings, &context).await?;
            Ok(Arc::new(sink))
        }
        (None, None, Some(_)) => Ok(Arc::new(Blackhole::new())),
        _ => Err(SinkError::Config(
            "spec.sink: set exactly one of kafka, storage and blackhole".into(),
        )),
    }
}

#[cfg(feature = "kafka")]
async fn open_kafka(
    settings: &tidemark_crds::KafkaSink,
    context: &OpenContext,
) -> Result<Arc<dyn Sink>, SinkError> {
    use crate::kafka::{KafkaPatience, KafkaSink};

    let patience = KafkaPatience::default();
    let sink = KafkaSink::connect(settings, &*context.secrets, &context.zone, patience).await?;
    Ok(Arc::new(sink))
}

#[cfg(not(feature = "kafka"))]
async fn open_kafka(
    _settings: &tidemark_crds::KafkaSink,
    _context: &OpenContext,
) -> Result<Arc<dyn Sink>, SinkError> {
    Err(SinkError::Config(
        "spec.sink.kafka: this build has no Kafka sink; build tidemark with the feature `kafka`".into(),
    ))
}
