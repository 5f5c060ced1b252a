use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidemark_model::Ts;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::coordinator::{Coordinator, Hold};
use super::mailbox::mailbox;
use super::stream::{Command, Protocol, Registration, Stream, Ticket};

/// A stream without regions is let go after this.
const IDLE: Duration = Duration::from_secs(60);
/// A store that didn't know EventFeedV2 is asked again after this: it may have been upgraded.
const SINGLE_FOR: Duration = Duration::from_secs(600);

/// The stores: their streams, and the regions that wait for admission.
#[derive(Debug, Default)]
pub(super) struct Stores {
    by_id: HashMap<u64, StoreState>,
    store_of: HashMap<u64, u64>,
    /// Stores that may have room for a waiting region.
    awake: Vec<u64>,
}

#[derive(Debug, Default)]
struct StoreState {
    streams: Vec<StreamState>,
    waiting: VecDeque<Ticket>,
    scanning: usize,
    paused_until: Option<Instant>,
    single_until: Option<Instant>,
}

#[derive(Debug)]
struct StreamState {
    id: u64,
    commands: mpsc::UnboundedSender<Command>,
    blocked: Arc<AtomicBool>,
    regions: usize,
    /// The only span, on a stream that isn't multiplexed.
    only: Option<u64>,
    idle_since: Instant,
}

/// A stream that has ended.
pub(super) struct ClosedStream {
    pub(super) store: u64,
    pub(super) multiplexed: bool,
}

impl Stores {
    /// A held piece waits for admission.
    pub(super) fn queue(&mut self, store: u64, request: u64, start: Bytes, number: u64) {
        let state = self.by_id.entry(store).or_default();
        state.waiting.push_back(Ticket {
            request,
            start,
            number,
        });
        self.awake.push(store);
    }

    /// A store may have room.
    pub(super) fn wake(&mut self, store: u64) {
        self.awake.push(store);
    }

    /// A region's initial scan is done.
    pub(super) fn scanned(&mut self, hold: &Hold) {
        if hold.stream.is_some()
            && !hold.initialised
            && let Some(state) = self.by_id.get_mut(&hold.store)
        {
            state.scanning = state.scanning.saturating_sub(1);
            self.awake.push(hold.store);
        }
    }

    /// A region is held no more.
    pub(super) fn left(&mut self, hold: &Hold) {
        self.scanned(hold);
        if let Some(id) = hold.stream
            && let Some(stream) = self.stream_mut(id)
        {
            stream.regions = stream.regions.saturating_sub(1);
            stream.idle_since = Instant::now();
        }
    }

    /// Lets a span's regions go on all streams.
    pub(super) fn forget_span(&mut self, request: u64) {
        for state in self.by_id.values_mut() {
            state.waiting.retain(|ticket| ticket.request != request);
            for stream in &state.streams {
                // A stream that has just failed says so itself.
                let _ = stream.commands.send(Command::Forget { request });
            }
        }
        let alone = |stream: &StreamState| stream.only == Some(request);
        self.drop_streams(alone);
    }

    /// Lets streams go that have had no region for a while.
    pub(super) fn drop_idle(&mut self) {
        self.drop_streams(|stream| stream.regions == 0 && stream.idle_since.elapsed() > IDLE);
    }

    /// Lets all streams go; they stay listed until they have ended.
    pub(super) fn release_all(&mut self) {
        for stream in self.by_id.values_mut().flat_map(|state| &mut state.streams) {
            stream.commands = mailbox().0;
        }
    }

    fn drop_streams(&mut self, which: impl Fn(&StreamState) -> bool) {
        for state in self.by_id.values_mut() {
            state.streams.retain(|stream| !which(stream));
        }
    }

    pub(super) fn streams(&self) -> usize {
        self.by_id.values().map(|state| state.streams.len()).sum()
    }

    /// Sends a command; a stream that has just failed says so itself.
    pub(super) fn command(&mut self, stream: u64, command: Command) {
        if let Some(stream) = self.stream_mut(stream) {
            let _ = stream.commands.send(command);
        }
    }

    /// Whether a stream waits for its consumer, so that what it knows is old.
    pub(super) fn is_blocked(&mut self, stream: u64) -> bool {
        let blocked = |stream: &mut StreamState| stream.blocked.load(Ordering::Relaxed);
        self.stream_mut(stream).is_some_and(blocked)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<ClosedStream> {
        let store = self.store_of.remove(&id)?;
        let state = self.by_id.get_mut(&store)?;
        let at = state.streams.iter().position(|stream| stream.id == id);
        let multiplexed = at.is_none_or(|at| state.streams.remove(at).only.is_none());
        Some(ClosedStream { store, multiplexed })
    }

    pub(super) fn pause(&mut self, store: u64, until: Instant) {
        if let Some(state) = self.by_id.get_mut(&store) {
            state.paused_until = Some(until);
        }
    }

    /// The store doesn't know EventFeedV2.
    pub(super) fn use_single(&mut self, store: u64) {
        if let Some(state) = self.by_id.get_mut(&store) {
            state.single_until = Some(Instant::now() + SINGLE_FOR);
        }
    }

    fn stream_mut(&mut self, id: u64) -> Option<&mut StreamState> {
        let state = self.by_id.get_mut(self.store_of.get(&id)?)?;
        state.streams.iter_mut().find(|stream| stream.id == id)
    }
}

impl Coordinator {
    /// Registers waiting regions where their stores have room.
    pub(super) fn dispatch(&mut self) {
        let mut awake = std::mem::take(&mut self.stores.awake);
        awake.sort_unstable();
        awake.dedup();
        for store in awake {
            while let Some(ticket) = self.admitted(store) {
                self.register(store, ticket);
            }
        }
    }

    /// The next waiting region of a store, if it may be scanned now.
    fn admitted(&mut self, store: u64) -> Option<Ticket> {
        let limit = self.shared.config.scans_per_store.max(1);
        let state = self.stores.by_id.get_mut(&store)?;
        let paused = state.paused_until.is_some_and(|until| until > Instant::now());
        if paused || state.scanning >= limit {
            return None;
        }
        state.waiting.pop_front()
    }

    fn register(&mut self, store: u64, ticket: Ticket) {
        let held = self
            .hold_mut(ticket.request, &ticket.start)
            .is_some_and(|hold| hold.number == ticket.number && hold.stream.is_none());
        if !held {
            return;
        }
        let stream = self.pick_stream(store, ticket.request);
        let Some(state) = self.spans.get_mut(&ticket.request) else {
            return;
        };
        let Some(range) = state.ranges.range_of(&ticket.start) else {
            return;
        };
        let Some(piece) = state.ranges.get_mut(&ticket.start) else {
            return;
        };
        let Some(hold) = piece.holder.as_mut() else {
            return;
        };
        hold.stream = Some(stream);
        hold.since = Instant::now();
        let checkpoint: Ts = state.feed.frontier.lock().get(piece.slot);
        let registration = Registration {
            span: Arc::clone(&state.feed),
            region: hold.region,
            epoch: hold.epoch,
            range,
            slot: piece.slot,
            checkpoint,
            ticket,
        };
        if let Some(state) = self.stores.by_id.get_mut(&store) {
            state.scanning += 1;
        }
        if let Some(stream) = self.stores.stream_mut(stream) {
            stream.regions += 1;
        }
        self.stores
            .command(stream, Command::Register(Box::new(registration)));
    }

    /// The stream with the fewest regions, or a new one while more are allowed.
    fn pick_stream(&mut self, store: u64, request: u64) -> u64 {
        let most = self.shared.config.streams_per_store.max(1);
        let id = self.number();
        let state = self.stores.by_id.entry(store).or_default();
        let single = state.single_until.is_some_and(|until| until > Instant::now());
        let only = single.then_some(request);
        let fit = || state.streams.iter().filter(|stream| stream.only == only);
        if let Some(least) = fit().min_by_key(|stream| stream.regions)
            && (single || least.regions == 0 || fit().count() >= most)
        {
            return least.id;
        }
        let (commands, receiver) = mailbox();
        let blocked = Arc::new(AtomicBool::new(false));
        let stream = Stream {
            id,
            store,
            protocol: if single {
                Protocol::Single
            } else {
                Protocol::Multiplexed
            },
            shared: Arc::clone(&self.shared),
            commands: receiver,
            reports: self.reporter.clone(),
            blocked: Arc::clone(&blocked),
        };
        tokio::spawn(stream.run());
        state.streams.push(StreamState {
            id,
            commands,
            blocked,
            regions: 0,
            only,
            idle_since: Instant::now(),
        });
        self.stores.store_of.insert(id, store);
        id
    }
}
