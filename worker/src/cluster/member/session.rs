//! One connection to an owner.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tidemark_model::Ts;
use tidemark_proto::peerspb::{
    Beat, Failed, FromOwner, Leaving, Loads, Prepared, Report, Started, Stopped, from_member, from_owner,
};
use tokio::time::{MissedTickBehavior, interval};

use super::streaming::{Happened, Streaming};
use super::{Joined, LOADS, Member, Owner};
use crate::cluster::memory::{position, read_positions};
use crate::cluster::span_key::SpanKey;
use crate::error::{FeedError, chain};

/// How often a member reports.
const REPORT: Duration = Duration::from_millis(200);
/// How often gauges are set.
const SAMPLE: Duration = Duration::from_secs(1);
/// How often positions are remembered: every second, and of very many spans less often, by so much for each.
const REMEMBER: Duration = Duration::from_secs(1);
const REMEMBER_A_SPAN: Duration = Duration::from_millis(1);
/// How long an owner's grant lasts from when the report was sent that it answers.
const GRANT: Duration = Duration::from_secs(3);
/// Reports whose answer may come yet.
const REPORTS: usize = 64;
/// How long the owner may take to relieve us of our spans.
const RELIEF: Duration = Duration::from_secs(20);

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The connection ended or another worker owns the feed; what is streamed goes on.
    Gone,
    /// All spans were given up because of an error.
    Failed(FeedError),
    /// All spans were given up since we end.
    Drained,
}

struct Session<'a> {
    member: &'a mut Member,
    joined: Joined,
    /// Reports that were sent, and when.
    sent: VecDeque<(u64, Instant)>,
    number: u64,
    reported_loads: Instant,
    sampled: Instant,
    remembered: Instant,
    held: Option<tidemark_proto::peerspb::Held>,
    /// The last report that the owner has read.
    heard: u64,
    /// The version of our own Lease that the owner was told.
    told: String,
}

/// How far a drain has come.
#[derive(Clone, Copy, Debug)]
struct Drain {
    since: Instant,
    forced: bool,
    /// The report that tells the owner that there are no spans any more.
    last: Option<u64>,
}

impl Member {
    /// Takes part until the connection ends, another owner is there, or we have drained.
    pub(super) async fn session(&mut self, joined: Joined, owner: &Owner) -> End {
        let mut standing = self.owner.clone();
        let (stop, now) = (self.stop.clone(), Instant::now());
        let mut session = Session {
            member: self,
            joined,
            sent: VecDeque::new(),
            number: 0,
            reported_loads: now,
            sampled: now,
            remembered: now,
            held: None,
            heard: 0,
            told: String::new(),
        };
        let mut ticks = interval(REPORT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut drain: Option<Drain> = None;
        loop {
            let step = tokio::select! {
                message = session.joined.from_owner.message() => match message {
                    Ok(Some(message)) => session.obey(message).await,
                    Ok(None) => Err(End::Gone),
                    Err(error) => {
                        tracing::info!(error = chain(&error), "The connection to the owner has ended");
                        Err(End::Gone)
                    }
                },
                happened = next(&mut session.member.streaming) => session.pass_on(happened).await,
                _ = ticks.tick() => session.report().await,
                changed = standing.changed() => {
                    let now = Owner::read(&standing.borrow_and_update());
                    match (changed, now) {
                        (Ok(()), Some(now)) if now.identity != owner.identity => Err(End::Gone),
                        _ => Ok(()),
                    }
                }
                () = stop.cancelled(), if drain.is_none() => {
                    drain = Some(Drain { since: Instant::now(), forced: false, last: None });
                    session.send(from_member::Message::Leaving(Leaving {}))
                }
            };
            if let Err(end) = step {
                return end;
            }
            if let Some(drain) = &mut drain
                && session.drained(drain).await
            {
                return End::Drained;
            }
        }
    }
}

/// What comes to pass in the spans; never, without any.
async fn next(streaming: &mut Option<Streaming>) -> Happened {
    match streaming {
        Some(streaming) => streaming.next().await,
        None => std::future::pending().await,
    }
}

impl Session<'_> {
    fn send(&self, message: from_member::Message) -> Result<(), End> {
        self.joined.send(message).map_err(|error| {
            tracing::info!(%error, "The owner doesn't read");
            End::Gone
        })
    }

    async fn obey(&mut self, message: FromOwner) -> Result<(), End> {
        let member = &mut *self.member;
        match message.message {
            None => {}
            Some(from_owner::Message::Welcome(welcome)) => {
                if welcome.epoch < member.epoch {
                    return Err(End::Gone);
                }
                member.epoch = welcome.epoch;
                member.let_pass(Ts(welcome.through));
                tracing::info!(welcome.epoch, "Takes part");
                if member.streaming.is_none() {
                    self.open(welcome.epoch, Ts(welcome.checkpoint)).await?;
                }
                self.member.shared.metrics.set_ready(true);
            }
            Some(from_owner::Message::Refused(refused)) => {
                tracing::info!(refused.reason, "The owner refuses us; what we stream ends");
                member.give_up().await;
                return Err(End::Gone);
            }
            Some(from_owner::Message::Start(start)) => {
                if let Some(streaming) = &mut member.streaming {
                    streaming.start(read_positions(start.positions));
                }
            }
            Some(from_owner::Message::Prepare(prepare)) => {
                if let Some(streaming) = &mut member.streaming {
                    streaming.prepare(read_positions(prepare.positions));
                }
            }
            Some(from_owner::Message::Stop(stop)) => {
                if let Some(streaming) = &mut member.streaming {
                    let at_once = streaming.stop(stop.spans.into_iter().map(Into::into).collect());
                    self.stopped(&at_once)?;
                }
            }
            Some(from_owner::Message::Beat(beat)) => self.beat(&beat),
        }
        Ok(())
    }

    async fn open(&mut self, epoch: u64, checkpoint: Ts) -> Result<(), End> {
        let (shared, authority) = (self.member.shared.clone(), self.member.authority.clone());
        let stop = self.member.stop.clone();
        let through = self.member.through;
        let mut opening = Box::pin(Streaming::open(&shared, authority, epoch, checkpoint, through));
        let mut ticks = interval(REPORT);
        // An owner drops a member that is silent.
        let opened = loop {
            tokio::select! {
                opened = &mut opening => break opened,
                _ = ticks.tick() => self.report().await?,
                () = stop.cancelled() => return Ok(()),
            }
        };
        match opened {
            Ok(streaming) => {
                self.member.streaming = Some(streaming);
                Ok(())
            }
            Err(error) => {
                self.member.shared.parts.discard().await;
                self.fail(error, &BTreeMap::new())
            }
        }
    }

    fn fail(&self, error: FeedError, positions: &BTreeMap<SpanKey, Ts>) -> Result<(), End> {
        let failed = Failed {
            message: error.to_string(),
            transient: error.may_pass(),
            positions: positions.iter().map(|(key, at)| position(key, *at)).collect(),
        };
        self.send(from_member::Message::Failed(failed))?;
        Err(End::Failed(error))
    }

    fn stopped(&self, positions: &[(SpanKey, Ts)]) -> Result<(), End> {
        if positions.is_empty() {
            return Ok(());
        }
        let positions = positions.iter().map(|(key, at)| position(key, *at)).collect();
        self.send(from_member::Message::Stopped(Stopped { positions }))
    }

    async fn pass_on(&mut self, happened: Happened) -> Result<(), End> {
        match happened {
            Happened::Started(keys) => {
                let spans = keys.iter().map(Into::into).collect();
                self.send(from_member::Message::Started(Started { spans }))
            }
            Happened::Stopped(positions) => {
                self.member.remembered.extend(positions.iter().cloned());
                self.stopped(&positions)
            }
            Happened::Flushed => self.report().await,
            Happened::Failed(error) => {
                self.member.give_up().await;
                self.fail(error, &self.member.remembered)
            }
        }
    }

    fn beat(&mut self, beat: &Beat) {
        self.heard = beat.heard;
        self.member.let_pass(Ts(beat.through));
        self.member.watermark = self.member.watermark.max(Ts(beat.watermark));
        while self.sent.front().is_some_and(|(number, _)| *number < beat.heard) {
            self.sent.pop_front();
        }
        if let Some((number, at)) = self.sent.front()
            && *number == beat.heard
            && beat.grant
            && let Some(streaming) = &self.member.streaming
        {
            streaming.gate.grant(*at + GRANT);
        }
    }

    async fn report(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let mut news = Vec::new();
        let member = &mut *self.member;
        if let Some(streaming) = &mut member.streaming {
            if !streaming.gate.is_open() {
                let error = FeedError::Unavailable("the worker's Lease has run out".into());
                member.give_up().await;
                return self.fail(error, &self.member.remembered);
            }
            streaming.urge();
            let spans: Vec<_> = streaming.prepared().iter().map(Into::into).collect();
            if !spans.is_empty() {
                news.push(from_member::Message::Prepared(Prepared { spans }));
            }
            if now.duration_since(self.sampled) >= SAMPLE {
                self.sampled = now;
                self.held = streaming.held();
                streaming.sample();
            }
            let spans = u32::try_from(streaming.len()).unwrap_or(u32::MAX);
            if now.duration_since(self.remembered) >= REMEMBER.max(REMEMBER_A_SPAN * spans) {
                self.remembered = now;
                let positions = streaming.positions();
                let positions = positions.iter().map(|(key, at)| position(key, *at)).collect();
                member.file.save(positions);
            }
            if now.duration_since(self.reported_loads) >= LOADS {
                self.reported_loads = now;
                let loads = streaming.loads();
                news.push(from_member::Message::Loads(Loads { loads }));
            }
        }
        for message in news {
            self.send(message)?;
        }
        let member = &*self.member;
        let (floor, received) = member
            .streaming
            .as_ref()
            .map_or((None, Ts::ZERO), Streaming::floor);
        self.number += 1;
        let report = Report {
            number: self.number,
            floor: floor.map(|ts| ts.0),
            received: received.0,
            unreachable: member.authority.unreachable_since().is_some(),
            held: self.held.clone(),
            lease_version: self.lease_version(),
        };
        self.send(from_member::Message::Report(report))?;
        self.sent.push_back((self.number, now));
        if self.sent.len() > REPORTS {
            self.sent.pop_front();
        }
        Ok(())
    }

    /// The version of our own Lease, unless the owner knows it.
    fn lease_version(&mut self) -> String {
        let standing = self.member.lease.borrow();
        let version = standing.seen.as_ref().and_then(|seen| seen.version.as_deref());
        let news = version
            .filter(|version| *version != self.told)
            .unwrap_or_default();
        if !news.is_empty() {
            news.clone_into(&mut self.told);
        }
        news.to_owned()
    }

    /// Whether all spans are given up, and the owner knows.
    async fn drained(&mut self, drain: &mut Drain) -> bool {
        let passed = drain.since.elapsed();
        if let Some(streaming) = &mut self.member.streaming {
            if passed >= RELIEF && !drain.forced {
                tracing::warn!("The owner doesn't relieve us of our spans; gives them up");
                drain.forced = true;
                streaming.stop_all();
            }
            if !streaming.is_empty() && passed < 2 * RELIEF {
                return false;
            }
        }
        match drain.last {
            Some(last) if self.heard >= last || passed >= 2 * RELIEF => {
                let positions = self.member.remembered.iter();
                let positions = positions.map(|(key, at)| position(key, *at)).collect();
                self.member.file.save(positions);
                self.member.give_up().await;
                tracing::info!("Drained");
                true
            }
            Some(_) => false,
            None => {
                drain.last = Some(self.number + 1);
                self.report().await.is_err()
            }
        }
    }
}
