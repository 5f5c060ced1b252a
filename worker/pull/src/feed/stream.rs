use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use foldhash::fast::RandomState;
use tidemark_model::{KvChange, Span, Ts};
use tidemark_proto::cdcpb::change_data_client::ChangeDataClient;
use tidemark_proto::cdcpb::change_data_request::{Deregister, Register, Request};
use tidemark_proto::cdcpb::{self, ChangeDataEvent, ChangeDataRequest, ResolvedTs, event};
use tidemark_proto::{kvrpcpb, metapb};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

use super::PullEvent;
use super::mailbox::mailbox;
use super::shared::{FeedSpan, Shared};
use crate::matcher::Matcher;
use crate::stats::add;

/// TiKV decides by this version which forms it sends: at least 5.3.0 for batched resolved ts and the check of the cluster id.
const PROTOCOL_VERSION: &str = "8.5.0";
/// Longest wait for the answer to a deregistration; then the stream itself is ended.
const CLOSE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// What the coordinator asks of a stream.
#[derive(Debug)]
pub(super) enum Command {
    /// Register a region.
    Register(Box<Registration>),
    /// End one region's subscription; answered by [`Report::Ended`].
    Deregister { request: u64, region: u64 },
    /// End a span; not answered.
    Forget { request: u64 },
}

/// A region to be registered for a span.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) span: Arc<FeedSpan>,
    pub(super) region: u64,
    pub(super) epoch: metapb::RegionEpoch,
    pub(super) range: Span,
    pub(super) slot: u32,
    pub(super) checkpoint: Ts,
    pub(super) ticket: Ticket,
}

/// Names one registration: the piece it reads, and a number never used twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ticket {
    pub(super) request: u64,
    pub(super) start: Bytes,
    pub(super) number: u64,
}

/// What a stream tells the coordinator.
#[derive(Debug)]
pub(super) enum Report {
    /// The initial scan is done.
    Initialised { ticket: Ticket },
    /// The subscription ended; its frontier slot will not be touched any more.
    Ended { ticket: Ticket, end: End },
    /// The consumer has gone.
    Deaf { request: u64 },
    /// The stream ended, with everything on it.
    Closed { stream: u64, cause: Cause },
}

/// Why one subscription ended.
#[derive(Debug)]
pub(super) enum End {
    /// TiKV said so.
    Error(Box<cdcpb::Error>),
    /// A commit came without its prewrite.
    Missing,
    /// The coordinator asked for it.
    Asked,
    /// The stream still has an older subscription of the region.
    Occupied,
}

/// Why a stream ended.
#[derive(Debug)]
pub(super) enum Cause {
    /// The coordinator let it go.
    Released,
    /// The store doesn't know the call.
    Unimplemented,
    /// The store could not be reached, or failed.
    Failed(String),
}

/// How a stream is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// EventFeedV2: any number of spans on a stream.
    Multiplexed,
    /// EventFeed: one span per stream.
    Single,
}

/// One stream to a store: owns the state of the regions on it.
pub(super) struct Stream {
    pub(super) id: u64,
    pub(super) store: u64,
    pub(super) protocol: Protocol,
    pub(super) shared: Arc<Shared>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    /// Set while it waits for the consumer: what it knows is old then.
    pub(super) blocked: Arc<AtomicBool>,
}

struct SpanFeed {
    span: Arc<FeedSpan>,
    regions: HashMap<u64, RegionFeed, RandomState>,
    /// Frontier slots of the initialised regions: all that a resolved ts needs.
    live: HashMap<u64, u32, RandomState>,
}

struct RegionFeed {
    ticket: Ticket,
    slot: u32,
    /// `None` while the answer to a deregistration is awaited.
    matcher: Option<Box<Matcher>>,
    why: Option<End>,
}

struct Running {
    store: u64,
    protocol: Protocol,
    shared: Arc<Shared>,
    reports: mpsc::UnboundedSender<Report>,
    blocked: Arc<AtomicBool>,
    requests: mpsc::UnboundedSender<ChangeDataRequest>,
    spans: HashMap<u64, SpanFeed, RandomState>,
    /// Deregistrations not answered yet.
    closing: VecDeque<(Instant, u64, u64, u64)>,
    /// Changes gathered of one message, and whose they are.
    batch: Vec<KvChange>,
    batch_span: Option<Arc<FeedSpan>>,
    slots: Vec<u32>,
}

/// Reports the end of the stream, also if its task panics.
struct Farewell {
    stream: u64,
    cause: Option<Cause>,
    shared: Arc<Shared>,
    reports: mpsc::UnboundedSender<Report>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.shared.counters.streams.fetch_sub(1, Ordering::Relaxed);
        let cause = self
            .cause
            .take()
            .unwrap_or_else(|| Cause::Failed("its task panicked".to_owned()));
        let stream = self.stream;
        // Nobody listens once the puller has ended.
        let _ = self.reports.send(Report::Closed { stream, cause });
    }
}

impl Stream {
    /// Serves until the coordinator lets go, the puller stops or the stream fails.
    pub(super) async fn run(self) {
        add(&self.shared.counters.streams, 1);
        let mut farewell = Farewell {
            stream: self.id,
            cause: None,
            shared: Arc::clone(&self.shared),
            reports: self.reports.clone(),
        };
        let stop = self.shared.stop.clone();
        let cause = tokio::select! {
            cause = Box::pin(self.serve()) => cause,
            () = stop.cancelled() => Cause::Released,
        };
        farewell.cause = Some(cause);
    }

    async fn serve(self) -> Cause {
        let Self {
            store,
            protocol,
            shared,
            mut commands,
            reports,
            blocked,
            ..
        } = self;
        let (requests, outgoing) = mailbox();
        let mut running = Running {
            store,
            protocol,
            reports,
            blocked,
            requests,
            spans: HashMap::default(),
            closing: VecDeque::new(),
            batch: Vec::new(),
            batch_span: None,
            slots: Vec::new(),
            shared: Arc::clone(&shared),
        };
        let opening = open(&shared, store, protocol, outgoing);
        tokio::pin!(opening);
        // The server may hold its headers back until the first event, so regions are registered meanwhile.
        let mut inbound = loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => running.command(command),
                    None => return Cause::Released,
                },
                opened = &mut opening => match opened {
                    Ok(inbound) => break inbound,
                    Err(cause) => return cause,
                },
            }
        };
        let mut heard = Instant::now();
        let mut watch = tokio::time::interval(shared.config.stream_silence.min(CLOSE_TIMEOUT) / 4);
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => running.command(command),
                    None => return Cause::Released,
                },
                message = inbound.message() => match message {
                    Ok(Some(message)) => {
                        running.message(message).await;
                        heard = Instant::now();
                    }
                    Ok(None) => return Cause::Failed("the store ended the stream".to_owned()),
                    Err(status) => return cause_of(&status),
                },
                _ = watch.tick() => {
                    let live = running.spans.values().any(|feed| !feed.live.is_empty());
                    if live && heard.elapsed() > shared.config.stream_silence {
                        return Cause::Failed(format!("nothing came for {:?}", heard.elapsed()));
                    }
                    if running.close_is_overdue() {
                        return Cause::Failed("a deregistration was not answered".to_owned());
                    }
                }
            }
        }
    }
}

async fn open(
    shared: &Shared,
    store: u64,
    protocol: Protocol,
    outgoing: mpsc::UnboundedReceiver<ChangeDataRequest>,
) -> Result<Streaming<ChangeDataEvent>, Cause> {
    let failed = |error: &dyn std::fmt::Display| Cause::Failed(error.to_string());
    let address = shared
        .pd
        .store(store)
        .await
        .map_err(|error| failed(&error))?
        .address;
    let channel = shared
        .connector
        .channel(&address)
        .map_err(|error| failed(&error))?;
    let mut grpc = ChangeDataClient::new(channel).max_decoding_message_size(shared.config.net.max_message);
    let mut request = tonic::Request::new(UnboundedReceiverStream::new(outgoing));
    let opened = match protocol {
        Protocol::Multiplexed => {
            let features = tonic::metadata::MetadataValue::from_static("stream-multiplexing");
            request.metadata_mut().insert("features", features);
            grpc.event_feed_v2(request).await
        }
        Protocol::Single => grpc.event_feed(request).await,
    };
    opened
        .map(tonic::Response::into_inner)
        .map_err(|status| cause_of(&status))
}

fn cause_of(status: &Status) -> Cause {
    match status.code() {
        Code::Unimplemented => Cause::Unimplemented,
        code => Cause::Failed(format!("{code}: {}", crate::pd::chain(status))),
    }
}

impl Running {
    fn command(&mut self, command: Command) {
        match command {
            Command::Register(registration) => self.register(*registration),
            Command::Deregister { request, region } => self.end_asked(request, region, End::Asked),
            Command::Forget { request } => {
                if let Some(feed) = self.spans.remove(&request) {
                    for region in feed.regions.values() {
                        self.uncount(region);
                    }
                    self.deregister(request, 0);
                }
            }
        }
    }

    fn register(&mut self, new: Registration) {
        let request = new.span.request;
        let feed = self.spans.entry(request).or_insert_with(|| SpanFeed {
            span: Arc::clone(&new.span),
            regions: HashMap::default(),
            live: HashMap::default(),
        });
        if feed.regions.contains_key(&new.region) {
            let end = End::Occupied;
            self.report(Report::Ended {
                ticket: new.ticket,
                end,
            });
            return;
        }
        let message = ChangeDataRequest {
            header: header(&self.shared),
            region_id: new.region,
            region_epoch: Some(new.epoch),
            checkpoint_ts: new.checkpoint.0,
            start_key: crate::keys::encode_key(&new.range.start),
            end_key: crate::keys::encode_end(&new.range.end),
            request_id: request,
            extra_op: kvrpcpb::ExtraOp::ReadOldValue.into(),
            kv_api: cdcpb::change_data_request::KvApi::TiDb.into(),
            filter_loop: self.shared.config.filter_loop,
            scan_priority: cdcpb::ScanPriority::High.into(),
            request: Some(Request::Register(Register {})),
        };
        let region = RegionFeed {
            slot: new.slot,
            matcher: Some(Box::new(Matcher::new(new.range, new.checkpoint))),
            why: None,
            ticket: new.ticket,
        };
        feed.regions.insert(new.region, region);
        // If the stream has failed meanwhile, its end is noticed where it is read.
        let _ = self.requests.send(message);
    }

    fn deregister(&self, request: u64, region: u64) {
        let _ = self.requests.send(ChangeDataRequest {
            header: header(&self.shared),
            request_id: request,
            region_id: region,
            request: Some(Request::Deregister(Deregister {})),
            ..Default::default()
        });
    }

    /// Ends a subscription from our side: it is gone once TiKV has answered.
    fn end_asked(&mut self, request: u64, region: u64, why: End) {
        let Some(feed) = self.spans.get_mut(&request) else {
            return;
        };
        feed.live.remove(&region);
        let Some(entry) = feed.regions.get_mut(&region) else {
            return;
        };
        let Some(matcher) = entry.matcher.take() else {
            return;
        };
        entry.why = Some(why);
        let number = entry.ticket.number;
        uncount_matcher(&self.shared, &matcher);
        self.closing.push_back((Instant::now(), request, region, number));
        self.deregister(request, region);
    }

    fn close_is_overdue(&mut self) -> bool {
        while let Some((since, request, region, number)) = self.closing.front() {
            let waits = self
                .spans
                .get(request)
                .and_then(|feed| feed.regions.get(region))
                .is_some_and(|entry| entry.matcher.is_none() && entry.ticket.number == *number);
            if waits {
                return since.elapsed() > CLOSE_TIMEOUT;
            }
            self.closing.pop_front();
        }
        false
    }

    async fn message(&mut self, message: ChangeDataEvent) {
        for event in message.events {
            let request = self.request_of(event.request_id);
            match event.event {
                Some(event::Event::Entries(entries)) => {
                    self.rows(request, event.region_id, entries.entries).await;
                }
                Some(event::Event::Error(error)) => self.error(request, event.region_id, error),
                Some(event::Event::ResolvedTs(ts)) => {
                    self.flush().await;
                    self.resolved(request, &[event.region_id], Ts(ts));
                }
                Some(event::Event::Admin(_) | event::Event::LongTxn(_)) | None => {}
            }
        }
        self.flush().await;
        if let Some(ResolvedTs {
            regions,
            ts,
            request_id,
        }) = message.resolved_ts
        {
            let request = self.request_of(request_id);
            self.resolved(request, &regions, Ts(ts));
        }
    }

    /// Without multiplexing TiKV leaves the request id of resolved ts at 0, and there is one span only.
    fn request_of(&self, request: u64) -> u64 {
        match self.protocol {
            Protocol::Multiplexed => request,
            Protocol::Single => self.spans.keys().next().copied().unwrap_or(request),
        }
    }

    async fn rows(&mut self, request: u64, region: u64, rows: Vec<event::Row>) {
        let Some(feed) = self.spans.get(&request) else {
            return;
        };
        if self
            .batch_span
            .as_ref()
            .is_some_and(|span| span.request != request)
        {
            let span = Arc::clone(&feed.span);
            self.flush().await;
            self.batch_span = Some(span);
        } else if self.batch_span.is_none() {
            self.batch_span = Some(Arc::clone(&feed.span));
        }
        add(&self.shared.counters.rows, rows.len() as u64);
        let feed = self.spans.get_mut(&request);
        let Some(entry) = feed.and_then(|feed| feed.regions.get_mut(&region)) else {
            return;
        };
        let Some(matcher) = &mut entry.matcher else {
            return;
        };
        let before = (
            matcher.pending(),
            matcher.pending_bytes(),
            matcher.is_initialised(),
        );
        let matched = matcher.apply(rows, &mut self.batch);
        let after = (
            matcher.pending(),
            matcher.pending_bytes(),
            matcher.is_initialised(),
        );
        if before != after {
            let counters = &self.shared.counters;
            // Wrapping addition of a negative difference subtracts.
            add(&counters.pending_prewrites, after.0.wrapping_sub(before.0) as u64);
            add(
                &counters.pending_prewrite_bytes,
                after.1.wrapping_sub(before.1) as u64,
            );
        }
        if let Err(missing) = matched {
            tracing::warn!(store = self.store, region, %missing, "region is read again");
            add(&self.shared.counters.missing_prewrites, 1);
            self.end_asked(request, region, End::Missing);
        } else if after.2 && !before.2 {
            let (slot, ticket) = (entry.slot, entry.ticket.clone());
            // The scan's rows go before the news that it is done.
            self.flush().await;
            if let Some(feed) = self.spans.get_mut(&request) {
                feed.live.insert(region, slot);
            }
            self.report(Report::Initialised { ticket });
        }
    }

    fn error(&mut self, request: u64, region: u64, error: cdcpb::Error) {
        let Some(feed) = self.spans.get_mut(&request) else {
            return;
        };
        feed.live.remove(&region);
        let Some(entry) = feed.regions.remove(&region) else {
            return;
        };
        self.uncount(&entry);
        let end = entry.why.unwrap_or_else(|| End::Error(Box::new(error)));
        let ticket = entry.ticket;
        self.report(Report::Ended { ticket, end });
    }

    /// Raises the regions of one message under one lock.
    fn resolved(&mut self, request: u64, regions: &[u64], ts: Ts) {
        let Some(feed) = self.spans.get(&request) else {
            return;
        };
        self.slots.clear();
        self.slots
            .extend(regions.iter().filter_map(|region| feed.live.get(region)));
        let rose = {
            let mut frontier = feed.span.frontier.lock();
            let before = frontier.min();
            for slot in &self.slots {
                frontier.raise(*slot, ts);
            }
            frontier.min() > before
        };
        if rose {
            self.shared.advance(&feed.span);
        }
    }

    /// Delivers what was gathered; waits while the consumer is behind.
    async fn flush(&mut self) {
        let Some(span) = self.batch_span.take() else {
            return;
        };
        if self.batch.is_empty() {
            return;
        }
        let changes = std::mem::take(&mut self.batch);
        let count = changes.len() as u64;
        let weight = changes.iter().map(KvChange::weight).sum();
        let counters = &self.shared.counters;
        let deliver = async {
            let grant = match self.shared.budget.try_take(weight) {
                Some(grant) => grant,
                None => {
                    self.blocked.store(true, Ordering::Relaxed);
                    self.shared.budget.take(weight).await
                }
            };
            let event = PullEvent::Changes {
                span: span.id,
                changes,
                grant,
            };
            match span.events.try_send(event) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.blocked.store(true, Ordering::Relaxed);
                    span.events.send(event).await.is_ok()
                }
            }
        };
        let heard = tokio::select! {
            biased;
            heard = deliver => heard,
            () = span.gone.cancelled() => true,
        };
        self.blocked.store(false, Ordering::Relaxed);
        if heard {
            add(&counters.changes, count);
            add(&counters.bytes, weight as u64);
        } else {
            self.report(Report::Deaf {
                request: span.request,
            });
        }
    }

    fn uncount(&self, region: &RegionFeed) {
        if let Some(matcher) = &region.matcher {
            uncount_matcher(&self.shared, matcher);
        }
    }

    fn report(&self, report: Report) {
        // Nobody listens once the puller has ended.
        let _ = self.reports.send(report);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for feed in self.spans.values() {
            for region in feed.regions.values() {
                self.uncount(region);
            }
        }
    }
}

fn uncount_matcher(shared: &Shared, matcher: &Matcher) {
    let counters = &shared.counters;
    counters
        .pending_prewrites
        .fetch_sub(matcher.pending() as u64, Ordering::Relaxed);
    counters
        .pending_prewrite_bytes
        .fetch_sub(matcher.pending_bytes() as u64, Ordering::Relaxed);
}

fn header(shared: &Shared) -> Option<cdcpb::Header> {
    Some(cdcpb::Header {
        cluster_id: shared.pd.cluster_id(),
        ticdc_version: PROTOCOL_VERSION.to_owned(),
    })
}
