use std::sync::Arc;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tidemark_lease::Authority;

use crate::backoff::Backoff;
use crate::feeds::Feeds;
use crate::metrics::Metrics;
use crate::pd::SafePoints;
use crate::plan::MANAGER;
use crate::{Error, backoff};

/// What every pass over a feed shares.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The image of workers whose feed names none.
    pub image: String,
    /// Publishes Events; remembers which it has published, so there is one for all feeds.
    pub recorder: Recorder,
    /// When to try again.
    pub backoff: Arc<Backoff>,
    /// The safe points of paused feeds.
    pub safe_points: Arc<SafePoints>,
    /// Counts passes.
    pub metrics: Arc<Metrics>,
    /// All feeds that are watched.
    pub feeds: Feeds,
    /// Whether this operator may act; `None` in tests that have one operator only.
    pub authority: Option<Authority>,
}

impl Context {
    /// A context with nothing remembered.
    pub fn new(
        client: Client,
        image: String,
        feeds: Feeds,
        metrics: Arc<Metrics>,
        authority: Option<Authority>,
    ) -> Self {
        let reporter = Reporter {
            controller: MANAGER.into(),
            instance: std::env::var("POD_NAME").ok(),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            image,
            backoff: Arc::new(backoff::Backoff::default()),
            safe_points: Arc::new(SafePoints::default()),
            metrics,
            feeds,
            authority,
        }
    }

    /// Fails once another operator may lead: asked before whatever goes out.
    pub fn may_act(&self) -> Result<(), Error> {
        match &self.authority {
            Some(authority) if !authority.holds() => Err(Error::NotLeading),
            _ => Ok(()),
        }
    }
}
