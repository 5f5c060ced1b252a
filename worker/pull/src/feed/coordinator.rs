use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tidemark_model::{Span, SpanId, Ts};
use tidemark_proto::{cdcpb, metapb};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::heal::Heals;
use super::locate::{Locating, Want};
use super::mailbox::mailbox;
use super::shared::{FeedSpan, Shared};
use super::store::Stores;
use super::stream::{Cause, Command, End, Report, Ticket};
use super::stuck::{Checked, Stuck};
use super::{PullError, PullEvent};
use crate::backoff::Backoff;
use crate::kv::KvClient;
use crate::pd::Region;
use crate::ranges::{Holder, Idle, Ranges};
use crate::stats::add;

/// Request ids for spans whose own id was used before begin here.
const SPARE_REQUESTS: u64 = 1 << 40;
/// A region that was read well for this long has its failures forgiven.
const GOOD_SPELL: Duration = Duration::from_secs(2);
/// TiKV's wish for a pause is honoured up to this.
const BUSY_MAX: Duration = Duration::from_secs(600);

/// What the handle and the advancer ask for.
#[derive(Debug)]
pub(super) enum Control {
    Subscribe {
        id: SpanId,
        span: Span,
        checkpoint: Ts,
        events: mpsc::Sender<PullEvent>,
    },
    Unsubscribe {
        id: SpanId,
    },
    /// The consumer has gone.
    Deaf {
        request: u64,
    },
}

/// Something to be done at a time.
#[derive(Debug)]
pub(super) enum Later {
    /// Find the regions of a range.
    Locate(Want),
    /// A store's pause ends.
    Store(u64),
}

/// The end of a background task.
pub(super) enum Done {
    Located(Box<super::locate::Located>),
    Checked(Checked),
    Told,
}

/// A region's hold on a piece.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) region: u64,
    pub(super) epoch: metapb::RegionEpoch,
    pub(super) store: u64,
    /// The stream it is registered on; `None` while it waits for admission.
    pub(super) stream: Option<u64>,
    pub(super) number: u64,
    pub(super) since: Instant,
    pub(super) initialised: bool,
    /// Its end has been asked for.
    pub(super) releasing: bool,
}

impl Holder for Hold {
    fn version(&self) -> u64 {
        self.epoch.version
    }
}

/// A span, as the coordinator sees it.
#[derive(Debug)]
pub(super) struct SpanState {
    pub(super) feed: Arc<FeedSpan>,
    pub(super) ranges: Ranges<Hold>,
    /// Pieces whose region is initialised.
    pub(super) initialised: usize,
    /// Pieces that are held.
    pub(super) held: usize,
}

/// Decides who reads what: one task that owns all spans' ranges.
pub(super) struct Coordinator {
    pub(super) shared: Arc<Shared>,
    pub(super) kv: KvClient,
    controls: mpsc::UnboundedReceiver<Control>,
    reports: mpsc::UnboundedReceiver<Report>,
    pub(super) reporter: mpsc::UnboundedSender<Report>,
    pub(super) spans: HashMap<u64, SpanState>,
    requests: HashMap<SpanId, u64>,
    used_requests: HashSet<u64>,
    pub(super) stores: Stores,
    pub(super) locating: Locating,
    pub(super) stuck: Stuck,
    pub(super) heals: Heals,
    timers: BinaryHeap<Reverse<Timer>>,
    pub(super) tasks: JoinSet<Done>,
    pub(super) backoff: Backoff,
    next_number: u64,
}

struct Timer {
    at: Instant,
    number: u64,
    what: Later,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Timer {}
impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Coordinator {
    pub(super) fn new(shared: Arc<Shared>, controls: mpsc::UnboundedReceiver<Control>) -> Self {
        let (reporter, reports) = mailbox();
        let config = &shared.config;
        let kv = crate::kv::KvConfig {
            net: config.net.clone(),
            ..Default::default()
        };
        Self {
            kv: KvClient::with_config(shared.pd.clone(), kv),
            controls,
            reports,
            reporter,
            spans: HashMap::new(),
            requests: HashMap::new(),
            used_requests: HashSet::new(),
            stores: Stores::default(),
            locating: Locating::default(),
            stuck: Stuck::default(),
            heals: Heals::default(),
            timers: BinaryHeap::new(),
            tasks: JoinSet::new(),
            backoff: Backoff::new(config.backoff_min, config.backoff_max, config.seed),
            next_number: 1,
            shared,
        }
    }

    /// Runs until the puller stops; its streams and look-ups end with it.
    pub(super) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        let mut tick = tokio::time::interval(self.shared.config.stuck_tick);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reports = Vec::new();
        loop {
            let next = self.timers.peek().map(|Reverse(timer)| timer.at);
            let alarm = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                control = self.controls.recv() => match control {
                    Some(control) => self.control(control),
                    None => break,
                },
                _ = self.reports.recv_many(&mut reports, 1024) => {
                    for report in reports.drain(..) {
                        self.report(report);
                    }
                }
                Some(done) = self.tasks.join_next() => match done {
                    Ok(Done::Located(located)) => self.located(*located),
                    Ok(Done::Checked(checked)) => self.checked(checked),
                    Ok(Done::Told) => {}
                    Err(error) => self.task_failed(&error),
                },
                _ = tick.tick() => self.tick(),
                () = alarm => self.ring(),
            }
            self.dispatch();
            self.start_locating();
            self.count();
        }
        for span in self.spans.values() {
            span.feed.gone.cancel();
        }
        self.stores.release_all();
        self.tasks.shutdown().await;
        // Streams end by the stop token; their farewells are awaited so that no task outlives the puller.
        while self.stores.streams() > 0 {
            match tokio::time::timeout(Duration::from_secs(5), self.reports.recv()).await {
                Ok(Some(Report::Closed { stream, .. })) => {
                    self.stores.remove(stream);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(super) fn after(&mut self, pause: Duration, what: Later) {
        let number = self.number();
        let at = Instant::now() + pause;
        self.timers.push(Reverse(Timer { at, number, what }));
    }

    fn ring(&mut self) {
        let now = Instant::now();
        while self.timers.peek().is_some_and(|Reverse(timer)| timer.at <= now) {
            match self.timers.pop().map(|Reverse(timer)| timer.what) {
                Some(Later::Locate(want)) => self.locating.want(want),
                Some(Later::Store(store)) => self.stores.wake(store),
                None => {}
            }
        }
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::Subscribe {
                id,
                span,
                checkpoint,
                events,
            } => {
                self.unsubscribe(id);
                let mut request = id.0;
                while request == 0 || !self.used_requests.insert(request) {
                    request = SPARE_REQUESTS + self.number();
                }
                let gone = self.shared.stop.child_token();
                let feed = FeedSpan::new(id, request, checkpoint, events, gone);
                let ranges = Ranges::new(span.clone(), checkpoint, &mut feed.frontier.lock());
                let state = SpanState {
                    feed: Arc::new(feed),
                    ranges,
                    initialised: 0,
                    held: 0,
                };
                self.requests.insert(id, request);
                self.spans.insert(request, state);
                self.locating.want(Want { request, range: span });
            }
            Control::Unsubscribe { id } => self.unsubscribe(id),
            Control::Deaf { request } => self.end_span(request),
        }
    }

    fn unsubscribe(&mut self, id: SpanId) {
        if let Some(request) = self.requests.get(&id) {
            self.end_span(*request);
        }
    }

    fn end_span(&mut self, request: u64) {
        let Some(state) = self.spans.remove(&request) else {
            return;
        };
        state.feed.gone.cancel();
        if self.requests.get(&state.feed.id) == Some(&request) {
            self.requests.remove(&state.feed.id);
        }
        for (_, piece) in state.ranges.iter() {
            if let Some(hold) = &piece.holder {
                self.stores.left(hold);
            }
        }
        self.stores.forget_span(request);
        for wants in self.heals.forget_span(request) {
            self.locating.want(wants);
        }
    }

    /// Ends a span that can't be pulled and tells its consumer.
    pub(super) fn fail(&mut self, request: u64, error: PullError) {
        let Some(state) = self.spans.get(&request) else {
            return;
        };
        tracing::error!(span = %state.feed.id, %error, "span can't be pulled");
        let (span, events) = (state.feed.id, state.feed.events.clone());
        self.tasks.spawn(async move {
            // A consumer that has gone needs no news.
            let _ = events.send(PullEvent::Failed { span, error }).await;
            Done::Told
        });
        self.end_span(request);
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Initialised { ticket } => self.initialised(&ticket),
            Report::Ended { ticket, end } => self.ended(&ticket, end),
            Report::Deaf { request } => self.end_span(request),
            Report::Closed { stream, cause } => self.closed(stream, &cause),
        }
    }

    fn initialised(&mut self, ticket: &Ticket) {
        let Some(state) = self.spans.get_mut(&ticket.request) else {
            return;
        };
        let Some(piece) = state.ranges.get_mut(&ticket.start) else {
            return;
        };
        let Some(hold) = piece.holder.as_mut().filter(|hold| hold.number == ticket.number) else {
            return;
        };
        self.stores.scanned(hold);
        hold.initialised = true;
        hold.since = Instant::now();
        state.initialised += 1;
        if state.initialised == state.ranges.len() && !state.feed.initialised.swap(true, Ordering::AcqRel) {
            self.shared.advance(&state.feed);
        }
    }

    /// Frees a piece whose registration has ended; gives the hold and the piece's range.
    pub(super) fn free(&mut self, ticket: &Ticket) -> Option<(Hold, Span)> {
        let state = self.spans.get_mut(&ticket.request)?;
        let range = state.ranges.range_of(&ticket.start)?;
        let piece = state.ranges.get_mut(&ticket.start)?;
        let hold = piece.holder.take_if(|hold| hold.number == ticket.number)?;
        state.held -= 1;
        if hold.initialised {
            state.initialised -= 1;
            if hold.since.elapsed() >= GOOD_SPELL {
                piece.attempt = 0;
            }
        }
        self.stores.left(&hold);
        Some((hold, range))
    }

    fn ended(&mut self, ticket: &Ticket, end: End) {
        let Some((hold, range)) = self.free(ticket) else {
            return;
        };
        let healed = self.heals.ended(ticket, &range);
        if let Some(wants) = healed {
            for want in wants {
                self.locating.want(want);
            }
            return;
        }
        let request = ticket.request;
        match end {
            End::Error(error) => self.region_error(request, &hold, &range, *error),
            End::Missing => self.retry(
                request,
                &range,
                Duration::ZERO,
                "a commit came without its prewrite",
            ),
            End::Asked => self.retry(request, &range, Duration::ZERO, "its range changed"),
            End::Occupied => self.retry(request, &range, Duration::ZERO, "its old subscription lingers"),
        }
    }

    fn region_error(&mut self, request: u64, hold: &Hold, range: &Span, error: cdcpb::Error) {
        add(&self.shared.counters.errors, 1);
        let (store, region) = (hold.store, hold.region);
        tracing::debug!(store, region, ?error, "region subscription ended");
        if let Some(wrong) = error.cluster_id_mismatch {
            let (current, request_id) = (wrong.current, wrong.request);
            return self.fail(
                request,
                PullError::WrongCluster {
                    store,
                    current,
                    request: request_id,
                },
            );
        }
        if let Some(old) = error.compatibility {
            let required_version = old.required_version;
            return self.fail(
                request,
                PullError::Incompatible {
                    store,
                    required_version,
                },
            );
        }
        if error.duplicate_request.is_some() {
            return self.fail(request, PullError::Duplicate { store, region });
        }
        // What TiKV tells is followed once; after that PD is asked, so that no two stores play ball.
        let first = self.attempt(request, range) == 0;
        if let Some(moved) = error.not_leader {
            if let Some(leader) = moved.leader.filter(|leader| first && leader.store_id != 0) {
                self.failed_once(request, range);
                let region = Region {
                    id: region,
                    span: range.clone(),
                    epoch: hold.epoch,
                    leader: Some(leader),
                    peers: Vec::new(),
                };
                return self.place(request, &region);
            }
            return self.retry(request, range, Duration::ZERO, "its leader moved");
        }
        if let Some(changed) = error.epoch_not_match {
            if first && !changed.current_regions.is_empty() {
                self.failed_once(request, range);
                for meta in changed.current_regions {
                    let leader = meta.peers.iter().find(|peer| peer.store_id == store).cloned();
                    let region = Region::from_meta(meta, leader);
                    if region.span.intersect(range).is_some() {
                        self.place(request, &region);
                    }
                }
                let free = self
                    .spans
                    .get(&request)
                    .map(|state| state.ranges.free_within(range));
                for range in free.unwrap_or_default() {
                    self.locating.want(Want { request, range });
                }
                return;
            }
            return self.retry(request, range, Duration::ZERO, "it was split or merged");
        }
        if let Some(busy) = error.server_is_busy {
            let pause = Duration::from_millis(busy.backoff_ms).min(BUSY_MAX);
            return self.retry(request, range, pause, "its store is busy");
        }
        let why = if error.congested.is_some() {
            "its store is congested"
        } else {
            "its store doesn't have it"
        };
        self.retry(request, range, Duration::ZERO, why);
    }

    fn attempt(&mut self, request: u64, range: &Span) -> u32 {
        let piece = self
            .spans
            .get_mut(&request)
            .and_then(|state| state.ranges.get_mut(&range.start));
        piece.map_or(0, |piece| piece.attempt)
    }

    fn failed_once(&mut self, request: u64, range: &Span) {
        if let Some(state) = self.spans.get_mut(&request)
            && let Some(piece) = state.ranges.get_mut(&range.start)
        {
            piece.attempt += 1;
        }
    }

    /// Has the free pieces of a range located again after a pause that grows with their failures.
    pub(super) fn retry(&mut self, request: u64, range: &Span, least: Duration, why: &str) {
        let Some(state) = self.spans.get_mut(&request) else {
            return;
        };
        let mut attempt = 0;
        for start in state.ranges.free_pieces(range) {
            let Some(piece) = state.ranges.get_mut(&start) else {
                continue;
            };
            attempt = attempt.max(piece.attempt);
            piece.attempt = piece.attempt.saturating_add(1);
            let since = piece.idle.as_ref().map_or_else(Instant::now, |idle| idle.since);
            let why = why.to_owned();
            piece.idle = Some(Box::new(Idle { since, why }));
        }
        let pause = self.backoff.pause(attempt).max(least);
        let want = Want {
            request,
            range: range.clone(),
        };
        self.after(pause, Later::Locate(want));
    }

    fn closed(&mut self, stream: u64, cause: &Cause) {
        let Some(closed) = self.stores.remove(stream) else {
            return;
        };
        let store = closed.store;
        let unimplemented = matches!(cause, Cause::Unimplemented);
        let why = match cause {
            Cause::Released => String::new(),
            Cause::Unimplemented if closed.multiplexed => {
                tracing::info!(store, "store is old: one stream per span");
                self.stores.use_single(store);
                String::new()
            }
            Cause::Unimplemented => "the store doesn't serve change data".to_owned(),
            Cause::Failed(why) => why.clone(),
        };
        if !why.is_empty() {
            tracing::warn!(store, why, "stream to store lost");
            add(&self.shared.counters.errors, 1);
            self.shared.pd.forget_store(store);
            let pause = self.shared.config.store_pause;
            self.stores.pause(store, Instant::now() + pause);
            self.after(pause, Later::Store(store));
        }
        let lost: Vec<Ticket> = self.tickets(|hold| hold.stream == Some(stream));
        for ticket in lost {
            let Some((_, range)) = self.free(&ticket) else {
                continue;
            };
            if let Some(wants) = self.heals.ended(&ticket, &range) {
                wants.into_iter().for_each(|want| self.locating.want(want));
            } else if unimplemented && why.is_empty() {
                let request = ticket.request;
                self.locating.want(Want { request, range });
            } else {
                self.retry(ticket.request, &range, Duration::ZERO, &why);
            }
        }
    }

    /// The registrations whose hold fits.
    pub(super) fn tickets(&self, fits: impl Fn(&Hold) -> bool) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        for (request, state) in &self.spans {
            for (start, piece) in state.ranges.iter() {
                if let Some(hold) = piece.holder.as_ref().filter(|hold| fits(hold)) {
                    tickets.push(Ticket {
                        request: *request,
                        start: start.clone(),
                        number: hold.number,
                    });
                }
            }
        }
        tickets
    }

    /// Asks for the end of a registration; its piece stays held until the stream has answered.
    pub(super) fn release(&mut self, request: u64, start: &Bytes, why: &str) {
        let Some(hold) = self.hold_mut(request, start) else {
            return;
        };
        if hold.releasing {
            return;
        }
        let (region, number) = (hold.region, hold.number);
        match hold.stream {
            Some(stream) => {
                hold.releasing = true;
                self.stores
                    .command(stream, Command::Deregister { request, region });
            }
            None => {
                let ticket = Ticket {
                    request,
                    start: start.clone(),
                    number,
                };
                if let Some((_, range)) = self.free(&ticket) {
                    self.retry(request, &range, Duration::ZERO, why);
                }
            }
        }
    }

    pub(super) fn hold_mut(&mut self, request: u64, start: &Bytes) -> Option<&mut Hold> {
        self.spans
            .get_mut(&request)?
            .ranges
            .get_mut(start)?
            .holder
            .as_mut()
    }

    fn count(&self) {
        let (mut held, mut initialised) = (0, 0);
        for state in self.spans.values() {
            held += state.held as u64;
            initialised += state.initialised as u64;
        }
        let counters = &self.shared.counters;
        counters.spans.store(self.spans.len() as u64, Ordering::Relaxed);
        counters.regions.store(held, Ordering::Relaxed);
        counters.initialised.store(initialised, Ordering::Relaxed);
    }
}
