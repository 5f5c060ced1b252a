//! The feed's resource, as its owner reads and writes it.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tidemark_crds::Changefeed;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::status::{Teller, Told, Wishes};
use crate::cluster::right::Right;
use crate::error::{FeedError, chain};

/// How often the status is written while only numbers change.
const EVERY: Duration = Duration::from_secs(10);
/// How soon a failed write is tried again, and between two writes that tell more than numbers.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The resource of one feed.
#[derive(Clone)]
pub(crate) struct FeedResource {
    api: Api<Changefeed>,
    name: String,
}

/// Why a write didn't happen.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// A newer owner has raised the epoch, or the feed is gone.
    Deposed(String),
    /// The API server didn't answer or refused; trying again may help.
    Failed(String),
}

impl FeedResource {
    pub(crate) fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
        }
    }

    /// Reads the feed.
    pub(crate) async fn get(&self) -> Result<Changefeed, FeedError> {
        let unread = |why: String| FeedError::Unavailable(format!("Changefeed {}: {why}", self.name));
        match timeout(ANSWER, self.api.get(&self.name)).await {
            Ok(Ok(feed)) => Ok(feed),
            Ok(Err(error)) => Err(unread(chain(&error))),
            Err(_) => Err(unread("the Kubernetes API doesn't answer".into())),
        }
    }

    /// Raises the epoch above what it is and above `found`, by compare-and-swap: of two who raise it from the same number one
    /// fails.
    pub(crate) async fn raise_epoch(&self, pod: &str, found: u64) -> Result<(Changefeed, u64), FeedError> {
        loop {
            let feed = self.get().await?;
            let before = feed.status.as_ref().and_then(|status| status.epoch).unwrap_or(0);
            let epoch = before.max(found.cast_signed()) + 1;
            let patch = json!({
                "metadata": {"resourceVersion": feed.metadata.resource_version},
                "status": {"epoch": epoch, "owner": pod},
            });
            match self.write(&patch).await {
                Ok(feed) => return Ok((feed, epoch.cast_unsigned())),
                Err(WriteError::Failed(why)) if why == CONFLICT => {}
                Err(WriteError::Failed(why) | WriteError::Deposed(why)) => {
                    return Err(FeedError::Unavailable(why));
                }
            }
        }
    }

    /// Writes a merge patch to the status; gives the feed as it is then.
    pub(crate) async fn write(&self, patch: &Value) -> Result<Changefeed, WriteError> {
        let params = PatchParams::default();
        let answer = timeout(
            ANSWER,
            self.api.patch_status(&self.name, &params, &Patch::Merge(patch)),
        )
        .await;
        match answer {
            Ok(Ok(feed)) => Ok(feed),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                Err(WriteError::Failed(CONFLICT.into()))
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 422) => Err(
                WriteError::Deposed(format!("Changefeed {}: {}", self.name, status.message)),
            ),
            Ok(Err(error)) => Err(WriteError::Failed(format!(
                "Changefeed {}: {}",
                self.name,
                chain(&error)
            ))),
            Err(_) => Err(WriteError::Failed("the Kubernetes API doesn't answer".into())),
        }
    }
}

const CONFLICT: &str = "the resource was changed meanwhile";

/// What the writer of the status shares with the owner's loop.
pub(super) struct StatusWriter {
    pub(super) resource: FeedResource,
    pub(super) teller: Teller,
    pub(super) right: Right,
    /// What is to be told.
    pub(super) told: watch::Receiver<Told>,
    /// The checkpoint that was written last.
    pub(super) saved: watch::Sender<tidemark_model::Ts>,
    pub(super) wishes: watch::Sender<Wishes>,
}

impl StatusWriter {
    /// Writes what is told: a new phase at once, members and spans within a second, numbers every ten. Ends when a newer
    /// owner is there.
    pub(super) async fn run(mut self) -> Result<(), FeedError> {
        let mut written = Told::default();
        let mut failed = false;
        let (mut last, mut due) = (None, Instant::now());
        loop {
            tokio::select! {
                changed = self.told.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let told = self.told.borrow();
                    if told.stream != written.stream && !failed {
                        due = Instant::now();
                    } else if told.members != written.members || told.spans != written.spans {
                        due = due.min(last.unwrap_or_else(Instant::now) + AGAIN);
                    }
                    continue;
                }
                () = sleep_until(due) => {}
            }
            let told = self.told.borrow_and_update().clone();
            failed = !self.write(&told).await?;
            let now = Instant::now();
            (last, due) = (Some(now), now + if failed { AGAIN } else { EVERY });
            written = told;
        }
    }

    /// Writes now; `false` where that has to be tried again.
    pub(super) async fn write(&self, told: &Told) -> Result<bool, FeedError> {
        if !self.right.holds() {
            return Ok(false);
        }
        match self.resource.write(&self.teller.patch(told)).await {
            Ok(feed) => {
                self.saved.send_replace(told.checkpoint);
                self.wishes.send_if_modified(|wishes| {
                    let new = Wishes::read(&feed);
                    let changed = *wishes != new;
                    *wishes = new;
                    changed
                });
                Ok(true)
            }
            Err(WriteError::Failed(why)) => {
                tracing::warn!(why, "Could not write the feed's status; trying again");
                Ok(false)
            }
            Err(WriteError::Deposed(why)) => Err(FeedError::Unavailable(why)),
        }
    }
}
