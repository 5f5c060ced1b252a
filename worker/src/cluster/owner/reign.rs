//! The owner's loop: takes in what members say, plans, and tells.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidemark_model::Ts;
use tidemark_sink::SinkError;
use tidemark_tidb::schema::Ddl;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::cutting::Cut;
use super::judge::judge;
use super::open::Opened;
use super::phase::Trouble;
use super::publisher::publish;
use super::resource::StatusWriter;
use super::roster::{Doubt, Roster};
use super::status::{Told, Wishes};
use super::{history, view};
use crate::cluster::Shared;
use crate::cluster::memory::WatermarkFile;
use crate::cluster::span_key::SpanKey;
use crate::error::FeedError;
use crate::feed::engine::first_failure;

mod ddl;
mod members;
mod planning;
mod telling;

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
    /// Spans that are received ahead by the workers that they go to, and since when.
    moving: BTreeMap<SpanKey, Instant>,
    /// Where spans are to be cut, once they are given up.
    cuts: BTreeMap<SpanKey, Vec<Bytes>>,
    found_cuts: mpsc::Sender<Cut>,
    /// DDLs that were met and have not passed, in their order.
    pending: VecDeque<Arc<Ddl>>,
    /// The first of them, while the sink is given it.
    carrying_out: Option<AbortOnDropHandle<Result<(), SinkError>>>,
    /// DDLs up to here have passed.
    through: Ts,
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
    let sink = Arc::clone(&opened.sink);
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
    let metrics = Arc::clone(&shared.metrics);
    opened
        .tasks
        .spawn(history::tell_time(pd, metrics, published, set_clock));
    let looking = tokio::spawn(judge(shared.sightings.clone(), open_doubts, rule));
    let _looking = AbortOnDropHandle::new(looking);
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
        moving: BTreeMap::new(),
        cuts: BTreeMap::new(),
        found_cuts,
        pending: VecDeque::new(),
        carrying_out: None,
        through: Ts::ZERO,
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
                reign.pass_ddl();
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
            Some(met) = reign.opened.met.recv() => reign.meet(met),
            carried_out = ddl::carried_out(&mut reign.carrying_out) => reign.carried_out(carried_out)?,
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
