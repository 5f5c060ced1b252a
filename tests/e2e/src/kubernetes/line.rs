use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tidemark_harness::eventually;

use super::feed::Changefeed;
use super::site::Site;
use super::watch::Watch;
use crate::Feed;

/// How long a feed may take to come to rest after a disturbance. Kubernetes waits up to a minute before it starts a container
/// again that died often.
pub(super) const PATIENCE: Duration = Duration::from_secs(150);

/// Whether a feed streams a table, by database and name.
pub(super) type Streams = fn(&str, &str) -> bool;

/// A feed, what it is to stream, and the consumer that reads what it writes.
pub(super) struct Line {
    pub(super) feed: Changefeed,
    pub(super) document: Value,
    pub(super) streams: Streams,
    pub(super) watch: Watch,
}

impl Line {
    pub(super) fn new(feed: &Feed, streams: Streams, watch: Watch) -> Result<Self> {
        let document = feed.document();
        Ok(Self {
            feed: Changefeed::of(&document)?,
            document,
            streams,
            watch,
        })
    }

    /// The feed's name.
    pub(super) fn name(&self) -> &str {
        &self.feed.name
    }

    /// Waits until the feed is as its spec says and has streamed everything up to now.
    pub(super) async fn settle(&self, site: &Site) -> Result<()> {
        let name = self.name();
        eventually(PATIENCE, &format!("rest of feed {name}"), || {
            self.feed.settled(site)
        })
        .await?;
        self.watch
            .reached(site.tikv.now().0, PATIENCE)
            .await
            .with_context(|| format!("feed {name} is at rest, but doesn't stream"))?;
        Ok(())
    }

    /// Notes the checkpoint of the status: what a consumer has to have, and what must not come again.
    pub(super) async fn note_checkpoint(&self, site: &Site) -> Result<()> {
        let checkpoint = self.feed.checkpoint(site).await?;
        self.watch.checkpoint(checkpoint).await
    }
}
