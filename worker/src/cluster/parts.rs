//! Connections to source and sink that a worker's two roles share.

use std::sync::Arc;

use tidemark_crds::Changefeed;
use tidemark_model::Ts;
use tidemark_pull::PdClient;
use tidemark_sink::{OpenContext, Sink};
use tokio::sync::Mutex;

use crate::error::FeedError;
use crate::feed::initial::time_zone;
use crate::feed::source;
use crate::secrets::SecretDir;

/// Opens source and sink when they are first needed, and keeps them while they work: a worker that becomes owner has its
/// sink open already.
pub(crate) struct Parts {
    feed: Changefeed,
    secrets: Arc<SecretDir>,
    pd: Mutex<Option<PdClient>>,
    sink: Mutex<Option<Arc<dyn Sink>>>,
}

impl Parts {
    pub(crate) fn new(feed: Changefeed, secrets: Arc<SecretDir>) -> Self {
        Self {
            feed,
            secrets,
            pd: Mutex::new(None),
            sink: Mutex::new(None),
        }
    }

    /// Opens what takes long while a worker still contends for its Leases: a client of Kafka takes most of a second. What
    /// goes wrong shows when it is needed.
    pub(crate) async fn warm(&self) {
        let sink = async {
            if self.feed.spec.sink.kafka.is_some() {
                let _ = self.sink(0, Ts::ZERO).await;
            }
        };
        let _ = tokio::join!(self.pd(), sink);
    }

    /// PD of the feed's source.
    pub(crate) async fn pd(&self) -> Result<PdClient, FeedError> {
        let mut kept = self.pd.lock().await;
        if let Some(pd) = kept.as_ref() {
            return Ok(pd.clone());
        }
        let pd = source::connect(&self.feed.spec.source, &self.secrets).await?;
        *kept = Some(pd.clone());
        Ok(pd)
    }

    /// The feed's sink. `epoch` and `start` are what is known when it is first opened.
    pub(crate) async fn sink(&self, epoch: u64, start: Ts) -> Result<Arc<dyn Sink>, FeedError> {
        let mut kept = self.sink.lock().await;
        if let Some(sink) = kept.as_ref() {
            return Ok(Arc::clone(sink));
        }
        let meta = &self.feed.metadata;
        let name = |part: &Option<String>| part.clone().unwrap_or_default();
        let context = OpenContext {
            feed: format!("{}/{}", name(&meta.namespace), name(&meta.name)),
            secrets: Arc::clone(&self.secrets) as _,
            zone: time_zone(&self.feed.spec)?,
            epoch,
            start_ts: start,
        };
        let sink = tidemark_sink::open(&self.feed.spec.sink, context).await?;
        *kept = Some(Arc::clone(&sink));
        Ok(sink)
    }

    /// Closes what may be broken: it is opened anew when it is next needed.
    pub(crate) async fn discard(&self) {
        *self.sink.lock().await = None;
        *self.pd.lock().await = None;
    }
}
