//! The owner's loop: takes in what members say, plans, and tells.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidemark_crds::MemberStatus;
use tidemark_model::Ts;
use tidemark_proto::peerspb::{Beat, Hello, Refused, Start, Stop, Welcome, from_member, from_owner};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::cutting::Cut;
use super::judge::{Ruling, judge};
use super::open::Opened;
use super::phase::{Situation, Trouble, held_by, phase};
use super::publisher::publish;
use super::resource::StatusWriter;
use super::roster::{Doubt, Role, Roster};
use super::schema::NewSpans;
use super::status::{Told, Wishes, entered};
use super::table::{Place, Seat};
use super::{history, view};
use crate::cluster::Shared;
use crate::cluster::memory::{WatermarkFile, position, read_positions};
use crate::cluster::peers::{Arrival, Link};
use crate::cluster::span_key::SpanKey;
use crate::error::FeedError;
use crate::feed::engine::first_failure;

mod planning;

/// How often the loop looks at the time.
const TICK: Duration = Duration::from_millis(50);
/// How often a watermark is published at most.
const PUBLISH: Duration = Duration::from_millis(200);
/// How often members are told that the owner is there, and the status is brought up to date.
const BEAT: Duration = Duration::from_millis(500);
/// How long the first spans wait for workers that are still starting.
const GATHER: Duration = Duration::from_secs(2);
/// How long the last words of an owner may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// One term of an owner.
struct Reign<'a> {
    shared: &'a Shared,
    opened: Opened,
    roster: Roster,
    wishes: Wishes,
    doubts: watch::Sender<Vec<Doubt>>,
    wanted: watch::Sender<Ts>,
    told: watch::Sender<Told>,
    clock: watch::Receiver<Ts>,
    /// Nothing at or below it is published: consumers may have seen it.
    floor: Ts,
    /// Whether everyone who may have spans has been heard or is over.
    gathered: bool,
    begun: Instant,
    dirty: bool,
    streamed: bool,
    idle_since: Option<Instant>,
    trouble: Option<Trouble>,
    balanced: Instant,
    /// Where spans are to be cut, once they are given up.
    cuts: BTreeMap<SpanKey, Vec<Bytes>>,
    found_cuts: mpsc::Sender<Cut>,
}

/// Owns the feed until the right is lost, `stop`, or an error.
pub(super) async fn reign(
    shared: &Shared,
    mut opened: Opened,
    stop: &CancellationToken,
) -> Result<(), FeedError> {
    let mut arrivals = shared.door.open();
    let mut questions = shared.views.open();
    let (doubts, open_doubts) = watch::channel(Vec::new());
    let (rule, mut rulings) = mpsc::channel(64);
    let (wanted, to_publish) = watch::channel(Ts::ZERO);
    let (publish_to, published) = watch::channel(Ts::ZERO);
    let (told, to_write) = watch::channel(Told {
        checkpoint: opened.start,
        stream: opened.stream.clone(),
        spans: opened.table.len(),
        ..Told::default()
    });
    let (saved, saved_at) = watch::channel(opened.start);
    let (wish, mut wishes) = watch::channel(opened.wishes.clone());
    let (found_cuts, mut cuts) = mpsc::channel(1);
    let (set_clock, clock) = watch::channel(Ts::ZERO);
    let file = WatermarkFile::new(shared.state.path());
    let floor = file.load();
    let writer = || StatusWriter {
        resource: opened.resource.clone(),
        teller: opened.teller.clone(),
        right: opened.right.clone(),
        told: to_write.clone(),
        saved: saved.clone(),
        wishes: wish.clone(),
    };
    let last_words = writer();
    let (pd, right) = (opened.pd.clone(), opened.right.clone());
    let ttl = shared.feed.spec.limits.gc_ttl.0;
    let writing = writer().run();
    opened.tasks.spawn(writing);
    let sink = std::sync::Arc::clone(&opened.sink);
    opened
        .tasks
        .spawn(publish(sink, right.clone(), file, to_publish, publish_to));
    opened.tasks.spawn(history::protect(
        pd.clone(),
        shared.me.service(),
        ttl,
        right,
        saved_at,
    ));
    let metrics = std::sync::Arc::clone(&shared.metrics);
    opened
        .tasks
        .spawn(history::tell_time(pd, metrics, published, set_clock));
    let looking = tokio::spawn(judge(shared.sightings.clone(), open_doubts, rule));
    let _looking = tokio_util::task::AbortOnDropHandle::new(looking);
    let mut reign = Reign {
        roster: Roster::new(opened.pods.clone()),
        wishes: opened.wishes.clone(),
        shared,
        opened,
        doubts,
        wanted,
        told,
        clock,
        floor,
        gathered: false,
        begun: Instant::now(),
        dirty: true,
        streamed: false,
        idle_since: None,
        trouble: None,
        balanced: Instant::now(),
        cuts: BTreeMap::new(),
        found_cuts,
    };
    reign.streamed = reign.opened.stream.phase == tidemark_crds::StreamPhase::Streaming;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut beat_at, mut publish_at) = (Instant::now(), Instant::now());
    reign.doubt();
    while reign.opened.right.holds() {
        tokio::select! {
            _ = ticks.tick() => {
                let now = Instant::now();
                if now.duration_since(publish_at) >= PUBLISH {
                    publish_at = now;
                    reign.publish();
                }
                if now.duration_since(beat_at) >= BEAT {
                    beat_at = now;
                    reign.beat(now);
                    reign.tell(now);
                    reign.dirty = true;
                }
                if std::mem::take(&mut reign.dirty) {
                    reign.plan(now);
                }
            }
            Some(arrival) = arrivals.recv() => reign.arrive(arrival),
            Some(new) = reign.opened.new_spans.recv() => reign.add(new),
            Some(question) = questions.recv() => {
                let _ = question.send(view::view(&reign.opened.table, &reign.roster));
            }
            Some(cut) = cuts.recv() => reign.cut(cut),
            Some(ruling) = rulings.recv() => reign.rule(ruling),
            Ok(()) = wishes.changed() => {
                reign.wishes = wishes.borrow_and_update().clone();
                reign.dirty = true;
            }
            error = first_failure(&mut reign.opened.tasks) => return Err(error),
            () = stop.cancelled() => {
                reign.farewell(&last_words).await;
                return Ok(());
            }
        }
    }
    tracing::warn!(epoch = reign.opened.teller.epoch, "Owns the feed no more");
    Ok(())
}

impl Reign<'_> {
    /// Everything at or below it is durable. A feed without spans follows the schema.
    fn checkpoint(&self) -> Ts {
        let barrier = self.opened.barrier.at();
        self.opened
            .table
            .checkpoint()
            .map_or(barrier, |spans| spans.min(barrier))
    }

    fn publish(&mut self) {
        let checkpoint = self.checkpoint();
        // Until everyone has spoken spans may be further than we know.
        if !self.gathered || checkpoint <= self.floor || checkpoint == Ts::MAX {
            return;
        }
        self.floor = checkpoint;
        self.beat(Instant::now());
        self.wanted.send_replace(checkpoint);
    }

    /// Tells all members that we are there, and up to where consumers know.
    fn beat(&mut self, now: Instant) {
        self.opened.right.set_alone(self.roster.is_cut_off(now));
        let grant = self.opened.right.holds();
        let mut lost = Vec::new();
        for (_, worker) in self.roster.iter() {
            let Some(link) = &worker.link else { continue };
            if worker.is_silent(now) {
                lost.push(link.number);
                continue;
            }
            let beat = from_owner::Message::Beat(Beat {
                watermark: self.floor.0,
                grant,
                heard: worker.heard,
            });
            if !link.send(beat) {
                lost.push(link.number);
            }
        }
        self.drop_links(lost);
    }

    fn drop_links(&mut self, links: Vec<u64>) {
        for number in links {
            self.gone(number);
        }
    }

    fn gone(&mut self, stream: u64) {
        if let Some(seat) = self.roster.gone(stream) {
            let pod = self.roster.get(seat).map(|worker| worker.pod.clone());
            tracing::info!(pod, "A worker is not connected any more");
            self.doubt();
        }
    }

    /// Has those who can't be asked looked at.
    fn doubt(&self) {
        let doubts = self.roster.doubts();
        self.doubts.send_if_modified(|open| {
            let changed = *open != doubts;
            *open = doubts;
            changed
        });
    }

    fn rule(&mut self, ruling: Ruling) {
        match ruling {
            Ruling::Lives(pod, identity) => self.roster.found(&pod, &identity, Instant::now()),
            Ruling::Over(doubt) => {
                if let Some(seat) = self.roster.over(&doubt) {
                    tracing::info!(pod = doubt.pod, "A worker is over; its spans go to others");
                    self.opened.table.vacate(seat);
                }
            }
        }
        self.doubt();
        self.dirty = true;
    }

    fn add(&mut self, new: NewSpans) {
        for (key, name) in new.spans {
            self.opened.table.add(key, name, new.since);
        }
        let _ = new.done.send(());
        self.dirty = true;
    }

    fn arrive(&mut self, arrival: Arrival) {
        let (link, message) = match arrival {
            Arrival::Gone(stream) => return self.gone(stream),
            Arrival::Message(link, message) => (link, message),
        };
        if let from_member::Message::Hello(hello) = message {
            return self.hello(hello, &link);
        }
        let Some(seat) = self.roster.seat_of(link.number) else {
            return;
        };
        let table = &mut self.opened.table;
        match message {
            from_member::Message::Hello(_) => {}
            from_member::Message::Report(report) => {
                table.floor(seat, report.floor.map(Ts));
                self.roster.report(seat, &report, Instant::now());
                return;
            }
            from_member::Message::Started(started) => {
                for span in started.spans {
                    table.started(seat, &span.into());
                }
            }
            from_member::Message::Stopped(stopped) => {
                for (key, at) in read_positions(stopped.positions) {
                    table.stopped(seat, &key, at);
                }
            }
            from_member::Message::Loads(loads) => {
                let bytes: HashMap<SpanKey, u64> = loads
                    .loads
                    .into_iter()
                    .filter_map(|load| Some((load.span?.into(), load.bytes)))
                    .collect();
                table.load(seat, &bytes, crate::cluster::member::LOADS.as_secs());
                return;
            }
            from_member::Message::Failed(failed) => {
                let pod = self
                    .roster
                    .get(seat)
                    .map(|worker| worker.pod.clone())
                    .unwrap_or_default();
                tracing::warn!(pod, failed.message, "A worker gave its spans up");
                table.vacate(seat);
                for (key, at) in read_positions(failed.positions) {
                    table.remember(&key, at);
                }
                self.roster.set_role(seat, Role::Failed);
                self.trouble = Some(Trouble {
                    pod,
                    message: failed.message,
                    transient: failed.transient,
                });
            }
            from_member::Message::Leaving(_) => self.roster.set_role(seat, Role::Leaving),
        }
        self.dirty = true;
    }

    /// A member joins, or is turned away.
    fn hello(&mut self, hello: Hello, link: &Link) {
        let me = &self.shared.me;
        let refuse = |reason: String| {
            link.send(from_owner::Message::Refused(Refused { reason }));
        };
        if hello.feed_uid != me.feed_uid || hello.epoch > self.opened.teller.epoch {
            let epoch = self.opened.teller.epoch;
            return refuse(format!("this is epoch {epoch} of feed {}", me.feed_uid));
        }
        let stranger = hello.revision != me.revision;
        if stranger && !hello.running.is_empty() {
            return refuse(format!("settings of revision {} are in force", me.revision));
        }
        let role = if stranger { Role::Standby } else { Role::Working };
        let (seat, earlier) = self.roster.join(&hello, link.clone(), role, Instant::now());
        let table = &mut self.opened.table;
        for seat in earlier {
            table.vacate(seat);
        }
        let strange = table.hello(seat, &read_positions(hello.running));
        if !stranger {
            for (key, at) in read_positions(hello.remembered) {
                table.remember(&key, at);
            }
        }
        self.floor = self.floor.max(Ts(hello.watermark));
        tracing::info!(
            pod = hello.pod,
            ?role,
            spans = table.held(seat),
            "A worker has joined"
        );
        link.send(from_owner::Message::Welcome(Welcome {
            epoch: self.opened.teller.epoch,
            checkpoint: self.checkpoint_for_schema().0,
        }));
        if !strange.is_empty() {
            let spans = strange.iter().map(Into::into).collect();
            link.send(from_owner::Message::Stop(Stop { spans }));
        }
        self.doubt();
        self.dirty = true;
    }

    /// From where on a member has to know the schema.
    fn checkpoint_for_schema(&self) -> Ts {
        match self.checkpoint() {
            // Plain keys have no schema.
            Ts::MAX => self.opened.start,
            checkpoint => checkpoint,
        }
    }

    /// Brings what is told up to date.
    fn tell(&mut self, now: Instant) {
        let table = &self.opened.table;
        let idle = table.idle();
        self.idle_since = match (idle, self.idle_since) {
            (0, _) => None,
            (_, since) => since.or(Some(now)),
        };
        let all_run = idle == 0 && self.gathered;
        self.streamed |= all_run;
        if all_run {
            self.trouble = None;
        }
        let halt = self.opened.halt.borrow().clone();
        let situation = Situation {
            halt: halt.as_ref(),
            trouble: self.trouble.as_ref(),
            streamed: self.streamed,
            spans: table.len(),
            idle,
            idle_since: self.idle_since,
        };
        let (phase, message) = phase(&situation, now);
        let wall = jiff::Timestamp::now();
        let clock = *self.clock.borrow();
        let before = self.told.borrow().clone();
        let received = self.roster.iter().map(|(_, worker)| worker.received);
        let checkpoint = self.checkpoint_for_schema();
        let told = Told {
            checkpoint: checkpoint.max(before.checkpoint),
            resolved: received.filter(|ts| *ts > Ts::ZERO).min().unwrap_or(Ts::ZERO),
            now: clock.max(checkpoint),
            spans: table.len(),
            held_by: held_by(
                table,
                &self.roster,
                self.opened.barrier.at(),
                clock,
                before.held_by.as_ref(),
                wall,
            ),
            stream: entered(&before.stream, phase, message, wall),
            members: self.members(),
        };
        self.told.send_if_modified(|last| {
            let changed = *last != told;
            *last = told;
            changed
        });
    }

    fn members(&self) -> Vec<MemberStatus> {
        let mut members: Vec<_> = self
            .roster
            .iter()
            .map(|(seat, worker)| MemberStatus {
                name: worker.pod.clone(),
                spans: i64::try_from(self.opened.table.held(seat)).unwrap_or(i64::MAX),
            })
            .collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// Publishes and writes what is reached, so that the next owner goes on right there.
    async fn farewell(&mut self, writer: &StatusWriter) {
        self.tell(Instant::now());
        let told = self.told.borrow().clone();
        let words = async {
            if self.gathered && told.checkpoint > self.floor && self.opened.right.holds() {
                WatermarkFile::new(self.shared.state.path()).save(told.checkpoint);
                self.opened.sink.watermark(told.checkpoint).await?;
            }
            self.opened.sink.flush().await?;
            writer.write(&told).await
        };
        match timeout(FAREWELL, words).await {
            Ok(Ok(true)) => tracing::info!(checkpoint = %told.checkpoint, "Gives the feed to the next owner"),
            Ok(Ok(false)) | Err(_) => tracing::warn!("Could not write the last status in time"),
            Ok(Err(error)) => tracing::warn!(%error, "Could not publish the last checkpoint"),
        }
    }

    /// Sends spans to start, or to stop, to the worker that they are meant for.
    fn send_start(&mut self, seat: Seat, keys: &[(SpanKey, Ts)]) {
        let positions = keys.iter().map(|(key, at)| position(key, *at)).collect();
        self.send(seat, from_owner::Message::Start(Start { positions }));
    }

    fn send_stop(&mut self, seat: Seat, keys: &[SpanKey]) {
        let spans = keys.iter().map(Into::into).collect();
        self.send(seat, from_owner::Message::Stop(Stop { spans }));
    }

    fn send(&mut self, seat: Seat, message: from_owner::Message) {
        let link = self.roster.get(seat).and_then(|worker| worker.link.as_ref());
        if let Some(link) = link
            && !link.send(message)
        {
            let number = link.number;
            self.gone(number);
        }
    }

    fn place_of(&self, key: &SpanKey) -> Option<Place> {
        self.opened.table.get(key).map(|(place, _)| place)
    }
}
