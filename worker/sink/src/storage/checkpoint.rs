//! `metadata`: the checkpoint, and whose it is.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use serde::Deserialize;
use tidemark_model::Ts;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::store::{Seen, Store, Swapped};
use crate::{OpenContext, SinkError};

/// Between two writes of `metadata`.
const INTERVAL: Duration = Duration::from_secs(2);

/// A writer that finds `metadata` changed so often in a row isn't getting anywhere.
const ATTEMPTS: usize = 10;

/// The object `metadata`, which the feed's owner alone writes.
#[derive(Debug)]
pub(super) struct Checkpoint {
    store: Arc<Store>,
    path: Path,
    /// Tells owners apart that were given the same epoch, as after a backup of the cluster was restored. Random, and no
    /// more than 53 bits, so that readers that take numbers for floats don't stumble.
    writer: u64,
    start: Ts,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    right: Right,
    /// `metadata` as it was last read or written.
    seen: Seen,
    /// The checkpoint in it.
    written: Ts,
    pending: Option<Ts>,
    at: Option<Instant>,
}

/// Whether this process may write the checkpoint.
#[derive(Clone, Debug)]
enum Right {
    /// It runs alone; nobody is asked.
    Alone,
    /// It shares the feed, and hasn't taken it over.
    NotYet,
    /// It owns the feed, with this epoch.
    Owner(u64),
    /// It owned the feed until somebody else wrote.
    Lost(String),
}

/// What `metadata` says.
#[derive(Debug, Default, Deserialize)]
struct Text {
    #[serde(rename = "checkpoint-ts")]
    checkpoint: u64,
    epoch: Option<u64>,
    writer: Option<u64>,
}

impl Checkpoint {
    /// Reads `metadata`.
    pub(super) async fn open(store: Arc<Store>, context: &OpenContext) -> Result<Self, SinkError> {
        let path = store.path(["metadata"]);
        let seen = store.look(&path).await?;
        let text = parse(&path, &seen)?.unwrap_or_default();
        let written = Ts(text.checkpoint);
        if written > context.start_ts {
            tracing::info!(
                %path,
                start_ts = %context.start_ts,
                checkpoint_ts = %written,
                "storage: changes up to the stored checkpoint are written again"
            );
        }
        let right = if context.epoch == 0 {
            Right::Alone
        } else {
            Right::NotYet
        };
        if let (Right::Alone, Some(epoch)) = (&right, text.epoch) {
            tracing::warn!(
                %path,
                epoch,
                "storage: workers under Kubernetes wrote here; if they still run they will find themselves replaced"
            );
        }
        Ok(Self {
            store,
            path,
            writer: RandomState::new().hash_one(()) >> 11,
            start: context.start_ts,
            state: Mutex::new(State {
                right,
                seen,
                written,
                pending: None,
                at: None,
            }),
        })
    }

    /// The epoch in `metadata`.
    pub(super) async fn epoch(&self) -> Result<Option<u64>, SinkError> {
        let seen = self.store.look(&self.path).await?;
        Ok(parse(&self.path, &seen)?.and_then(|text| text.epoch))
    }

    /// Writes `metadata` with the epoch: what an owner before writes from then on is refused. The checkpoint stays what it
    /// is.
    pub(super) async fn take_over(&self, epoch: u64) -> Result<(), SinkError> {
        let mut state = self.state.lock().await;
        state.pending = None;
        let mut seen = self.store.look(&self.path).await?;
        for _ in 0..ATTEMPTS {
            let there = parse(&self.path, &seen)?;
            if let Some(text) = &there
                && let Some(why) = self.refusal(text, epoch)
            {
                state.right = Right::Lost(why.clone());
                return Err(SinkError::Fenced(why));
            }
            let written = there.map_or(self.start, |text| Ts(text.checkpoint));
            match self
                .store
                .swap(&self.path, &seen, &self.text(written, epoch))
                .await?
            {
                Swapped::Done(seen) => {
                    *state = State {
                        right: Right::Owner(epoch),
                        seen,
                        written,
                        pending: None,
                        at: None,
                    };
                    return Ok(());
                }
                Swapped::Changed(now) => seen = now,
            }
        }
        Err(self.contended())
    }

    /// Publishes the checkpoint, or the last that was held back; not more often than every two seconds, unless it must be
    /// `now`.
    pub(super) async fn publish(&self, ts: Option<Ts>, now: bool) -> Result<(), SinkError> {
        let mut state = self.state.lock().await;
        if let Some(ts) = ts {
            match &state.right {
                Right::Alone | Right::Owner(_) => state.pending = Some(ts),
                Right::Lost(why) => return Err(SinkError::Fenced(why.clone())),
                Right::NotYet => {
                    return Err(SinkError::Fenced(format!(
                        "storage: {}: this worker has not taken the feed over, so it publishes no checkpoint",
                        self.path
                    )));
                }
            }
        }
        let Some(ts) = state.pending else { return Ok(()) };
        if !now && state.at.is_some_and(|at| at.elapsed() < INTERVAL) {
            return Ok(());
        }
        state.pending = None;
        if ts > state.written {
            state.at = Some(Instant::now());
            match state.right {
                Right::Owner(epoch) => self.write_as_owner(&mut state, ts, epoch).await?,
                _ => {
                    let text = Bytes::from(format!("{{\"checkpoint-ts\":{ts}}}"));
                    self.store.replace(&self.path, text).await?;
                }
            }
            state.written = ts;
        }
        Ok(())
    }

    async fn write_as_owner(&self, state: &mut State, ts: Ts, epoch: u64) -> Result<(), SinkError> {
        let text = self.text(ts, epoch);
        for _ in 0..ATTEMPTS {
            match self.store.swap(&self.path, &state.seen, &text).await? {
                Swapped::Done(seen) => {
                    state.seen = seen;
                    return Ok(());
                }
                Swapped::Changed(now) => {
                    let there = parse(&self.path, &now)?.unwrap_or_default();
                    if (there.epoch, there.writer) != (Some(epoch), Some(self.writer)) {
                        let why = self
                            .refusal(&there, epoch)
                            .unwrap_or_else(|| self.overwritten(epoch));
                        state.right = Right::Lost(why.clone());
                        return Err(SinkError::Fenced(why));
                    }
                    // Ours, from a try that was given up.
                    state.seen = now;
                }
            }
        }
        Err(self.contended())
    }

    fn text(&self, ts: Ts, epoch: u64) -> Bytes {
        let writer = self.writer;
        Bytes::from(format!(
            "{{\"checkpoint-ts\":{ts},\"epoch\":{epoch},\"writer\":{writer}}}"
        ))
    }

    /// Why an owner of this epoch may not write over what is there.
    fn refusal(&self, there: &Text, epoch: u64) -> Option<String> {
        let path = &self.path;
        let found = there.epoch?;
        if found > epoch {
            return Some(format!(
                "storage: {path} was written with epoch {found}, and this worker's is {epoch}: a newer owner has taken the \
                 feed over"
            ));
        }
        (found == epoch && there.writer != Some(self.writer)).then(|| {
            format!(
                "storage: {path} was written with epoch {epoch} by another owner: the epoch in the feed's status was set \
                 back, and has to be raised above this one"
            )
        })
    }

    fn overwritten(&self, epoch: u64) -> String {
        format!(
            "storage: {} was removed, or written by somebody who doesn't know epoch {epoch}: another feed, or `tidemark run`; \
             give each feed a prefix of its own",
            self.path
        )
    }

    fn contended(&self) -> SinkError {
        SinkError::Unavailable(format!(
            "storage: {} was changed by others {ATTEMPTS} times in a row",
            self.path
        ))
    }
}

/// What an object says, if it is there.
fn parse(path: &Path, seen: &Seen) -> Result<Option<Text>, SinkError> {
    let Some(bytes) = &seen.bytes else { return Ok(None) };
    serde_json::from_slice(bytes).map(Some).map_err(|_| {
        SinkError::Config(format!(
            "storage: {path} is no {{\"checkpoint-ts\":…}}; was something else written to this prefix?"
        ))
    })
}
