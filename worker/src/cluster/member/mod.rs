//! A worker as member of its feed: streams the spans that the owner gives it.
//!
//! [`session`] is one connection to an owner; [`streaming`] is what goes on while owners come and go.

mod known;
mod passing;
mod session;
mod streaming;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tidemark_lease::{Authority, Hints, Standing};
use tidemark_model::Ts;
use tidemark_proto::peerspb::{Hello, from_member};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::memory::{PositionsFile, WatermarkFile, position};
use super::peers::{JoinError, Joined, join};
use super::span_key::SpanKey;
use super::{ADDRESS, POD, Shared};
use crate::error::FeedError;
use crate::feed::retry::Backoff;
use streaming::{Happened, Streaming};

/// How often the bytes of spans are reported.
pub(crate) const LOADS: Duration = Duration::from_secs(5);
/// How soon a failed connection is tried again.
const AGAIN: Duration = Duration::from_millis(150);
/// A worker that can't reach a living owner for so long ends: it holds up spans that others could stream.
const UNREACHED: Duration = Duration::from_secs(30);

/// What a member needs.
pub(crate) struct Member {
    shared: Shared,
    /// Our own Lease.
    lease: watch::Receiver<Standing>,
    authority: Authority,
    /// The owner's Lease, as we see it.
    owner: watch::Receiver<Standing>,
    hints: Hints,
    stop: CancellationToken,
    streaming: Option<Streaming>,
    epoch: u64,
    watermark: Ts,
    /// DDLs up to here have passed, as owners told.
    through: Ts,
    /// Positions of spans that we don't stream any more.
    remembered: BTreeMap<SpanKey, Ts>,
    file: PositionsFile,
    backoff: Backoff,
}

/// Who owns the feed, as its Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    identity: String,
    pod: String,
    address: SocketAddr,
    acquired: Option<Timestamp>,
}

impl Owner {
    fn read(standing: &Standing) -> Option<Self> {
        let seen = standing.seen.as_ref()?;
        Some(Self {
            identity: seen.holder.clone()?,
            pod: seen.annotations.get(POD).cloned().unwrap_or_default(),
            address: seen.annotations.get(ADDRESS)?.parse().ok()?,
            acquired: seen.acquired,
        })
    }
}

impl Member {
    pub(crate) fn new(
        shared: Shared,
        lease: (watch::Receiver<Standing>, Authority),
        owner: (watch::Receiver<Standing>, Hints),
        stop: CancellationToken,
    ) -> Self {
        let folder = shared.state.path();
        let file = PositionsFile::new(folder);
        Self {
            epoch: 0,
            watermark: WatermarkFile::new(folder).load(),
            through: Ts::ZERO,
            remembered: file.load().into_iter().collect(),
            file,
            shared,
            lease: lease.0,
            authority: lease.1,
            owner: owner.0,
            hints: owner.1,
            stop,
            streaming: None,
            backoff: Backoff::new(),
        }
    }

    /// Takes part until `stop`, then drains.
    pub(crate) async fn run(mut self) -> Result<(), FeedError> {
        let mut unreached: Option<Instant> = None;
        loop {
            let Some(owner) = self.find_owner().await else {
                return self.drain().await;
            };
            self.settle().await;
            let began = Instant::now();
            let hello = self.hello();
            let tls = self.shared.tls.clone();
            let joined = self.meanwhile(join(owner.address, &tls, hello)).await;
            match joined {
                Ok(joined) => {
                    unreached = None;
                    let ended = self.session(joined, &owner).await;
                    if let session::End::Drained = ended {
                        return Ok(());
                    }
                    if let session::End::Failed(error) = ended {
                        self.pause(&error, began).await;
                    }
                }
                Err(JoinError::NotOwner) => unreached = None,
                Err(JoinError::Unreachable(error)) => {
                    tracing::debug!(%error, "Could not reach the owner");
                    let since = *unreached.get_or_insert_with(Instant::now);
                    // In an outage of the API everyone is in doubt about who owns the feed.
                    if since.elapsed() >= UNREACHED && self.authority.unreachable_since().is_none() {
                        self.drain().await?;
                        return Err(error);
                    }
                }
            }
            self.inquire(&owner).await;
            self.meanwhile(sleep(AGAIN)).await;
        }
    }

    /// Waits until we may take part and someone owns the feed; `None` on a stop.
    async fn find_owner(&mut self) -> Option<Owner> {
        let (mut lease, mut owner, stop) = (self.lease.clone(), self.owner.clone(), self.stop.clone());
        let granted = self.streaming.is_some();
        self.meanwhile(async move {
            tokio::select! {
                found = async {
                    if !granted {
                        lease.wait_for(Standing::is_held).await.ok()?;
                    }
                    let standing = owner.wait_for(|standing| Owner::read(standing).is_some()).await.ok()?;
                    Owner::read(&standing)
                } => found,
                () = stop.cancelled() => None,
            }
        })
        .await
    }

    /// Does what is to be done for the spans while something else is awaited.
    async fn meanwhile<T>(&mut self, other: impl Future<Output = T>) -> T {
        tokio::pin!(other);
        loop {
            let Some(streaming) = &mut self.streaming else {
                return other.await;
            };
            if !streaming.gate.is_open() {
                tracing::warn!("The Lease has run out; gives all spans up");
                self.give_up().await;
                continue;
            }
            tokio::select! {
                done = &mut other => return done,
                happened = streaming.next() => match happened {
                    Happened::Started(_) | Happened::Flushed => {}
                    Happened::Stopped(positions) => self.remembered.extend(positions),
                    Happened::Failed(error) => {
                        tracing::warn!(%error, "Gives all spans up");
                        self.give_up().await;
                    }
                },
                () = sleep(AGAIN) => {}
            }
        }
    }

    /// Waits for spans that are being taken up or given up; those that wait or are received ahead are called off. What we
    /// say in Hello is then all there is.
    async fn settle(&mut self) {
        if let Some(streaming) = &mut self.streaming {
            streaming.call_off();
        }
        while let Some(streaming) = &mut self.streaming
            && !streaming.is_settled()
        {
            match streaming.next().await {
                Happened::Started(_) | Happened::Flushed => {}
                Happened::Stopped(positions) => self.remembered.extend(positions),
                Happened::Failed(error) => {
                    tracing::warn!(%error, "Gives all spans up");
                    self.give_up().await;
                }
            }
        }
    }

    /// An owner has let DDLs up to here pass.
    fn let_pass(&mut self, through: Ts) {
        self.through = self.through.max(through);
        if let Some(streaming) = &mut self.streaming {
            streaming.let_pass(through);
        }
    }

    fn hello(&self) -> from_member::Message {
        let me = &self.shared.me;
        let running = self
            .streaming
            .as_ref()
            .map(Streaming::positions)
            .unwrap_or_default();
        let remembered = self.remembered.iter();
        from_member::Message::Hello(Hello {
            pod: me.pod.clone(),
            identity: me.identity.clone(),
            feed_uid: me.feed_uid.clone(),
            revision: me.revision.clone(),
            epoch: self.epoch,
            watermark: self.watermark.0,
            through: self.through.0,
            running: running.iter().map(|(key, at)| position(key, *at)).collect(),
            remembered: remembered.map(|(key, at)| position(key, *at)).collect(),
        })
    }

    /// Ends all streaming at once; what is durable is remembered.
    async fn give_up(&mut self) {
        let Some(streaming) = self.streaming.take() else {
            return;
        };
        self.shared.metrics.set_ready(false);
        self.remembered.extend(streaming.end().await);
        self.shared.parts.discard().await;
        self.shared.deadman.release();
    }

    /// Without an owner to take the spans: makes all durable and remembers how far.
    async fn drain(&mut self) -> Result<(), FeedError> {
        let Some(streaming) = &mut self.streaming else {
            return Ok(());
        };
        streaming.stop_all();
        self.settle().await;
        let positions = self
            .remembered
            .iter()
            .map(|(key, at)| position(key, *at))
            .collect();
        self.file.save(positions);
        self.give_up().await;
        Ok(())
    }

    /// Looks whether the owner that can't be reached has ended, so that its Lease needn't run out first.
    async fn inquire(&mut self, owner: &Owner) {
        self.hints.look();
        if owner.identity == self.shared.me.identity || self.authority.unreachable_since().is_some() {
            return;
        }
        let sightings = self.shared.sightings.clone();
        let asked = async {
            // If we come to own the feed, its spans go to others as soon as its own Lease has run out too.
            let _ = sightings.look(&owner.pod).await;
            sightings
                .has_ended(&owner.pod, &owner.identity, owner.acquired)
                .await
        };
        if self.meanwhile(asked).await {
            tracing::info!(pod = owner.pod, "The owner has ended");
            self.hints.ended(&owner.identity);
        }
    }

    async fn pause(&mut self, error: &FeedError, began: Instant) {
        let pause = self.backoff.after(began.elapsed());
        tracing::warn!(%error, ?pause, "Takes part again after a pause");
        let stop = self.stop.clone();
        self.meanwhile(async move {
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        })
        .await;
    }
}
