//! What one subscription of a recording makes the stores say: sessions and messages in the recorded order.

use std::collections::HashMap;

use bytes::Bytes;
use tidemark_proto::cdcpb::change_data_request::Request;
use tidemark_proto::cdcpb::{ChangeDataEvent, ChangeDataRequest, Error, Event, ResolvedTs, event};
use tidemark_proto::errorpb;
use tidemark_proto::metapb::RegionEpoch;

use crate::recording::{Recording, Subscription, What};

/// One registration of a region by the recording client and what came of it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) store: u64,
    pub(crate) region: u64,
    pub(crate) epoch: RegionEpoch,
    /// Bounds in memcomparable form.
    pub(crate) start: Bytes,
    pub(crate) end: Bytes,
    /// Whether anything but an error came.
    pub(crate) has_data: bool,
}

/// A message, with the sessions that it is about.
#[derive(Debug)]
pub(crate) enum Step {
    /// An event of one session.
    Event { session: usize, event: Event },
    /// A resolved ts of several sessions; `old_style` has no request id.
    Resolved {
        sessions: Vec<usize>,
        ts: u64,
        old_style: bool,
    },
    /// The stream that carried these sessions broke.
    Broken { sessions: Vec<usize> },
}

/// All sessions and steps of one subscription.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) sessions: Vec<Session>,
    pub(crate) steps: Vec<Step>,
    /// Whether the stores know `EventFeedV2`.
    pub(crate) v2: bool,
    pub(crate) filter_loop: bool,
    /// A ts above all others.
    pub(crate) now: u64,
}

type Open = HashMap<(u16, u64, u64), usize>;

impl Script {
    pub(crate) fn of(recording: &Recording, subscription: &Subscription) -> Self {
        let mut script = Self {
            sessions: Vec::new(),
            steps: Vec::new(),
            v2: true,
            filter_loop: false,
            now: recording
                .truth
                .iter()
                .map(|version| version.commit_ts.0)
                .max()
                .unwrap_or(0),
        };
        let mut stores = HashMap::new();
        // Sessions that are under way: (stream, request id, region).
        let mut open: Open = HashMap::new();
        let ours = |id: u64| id % 10_000 == subscription.request_id;
        for record in &recording.feed {
            match &record.what {
                What::Opened { store, v2 } => {
                    stores.insert(record.stream, (*store, *v2));
                }
                What::Request(request) if ours(request.request_id) => {
                    let (store, v2) = stores.get(&record.stream).copied().unwrap_or((0, true));
                    script.request(request, record.stream, store, v2, &mut open);
                }
                What::Request(_) => {}
                What::Event(message) => script.message(message, record.stream, &ours, &mut open),
                What::Closed { by_store } => script.closed(record.stream, *by_store, &mut open),
            }
        }
        script.now = script.now.max(subscription.resolved.0) + (1 << 18);
        script
    }

    fn request(&mut self, request: &ChangeDataRequest, stream: u16, store: u64, v2: bool, open: &mut Open) {
        let key = (stream, request.request_id, request.region_id);
        if matches!(request.request, Some(Request::Deregister(_))) {
            let ended: Vec<_> = open
                .keys()
                .filter(|(s, id, region)| {
                    *s == stream && *id == key.1 && (request.region_id == 0 || *region == request.region_id)
                })
                .copied()
                .collect();
            for key in ended {
                self.end_quietly(open.remove(&key));
            }
            return;
        }
        self.v2 &= v2;
        self.filter_loop |= request.filter_loop;
        // The recording client registered some regions twice on purpose; the first registration goes on.
        if open.contains_key(&key) {
            return;
        }
        open.insert(key, self.sessions.len());
        self.sessions.push(Session {
            store,
            region: request.region_id,
            epoch: request.region_epoch.unwrap_or_default(),
            start: request.start_key.clone(),
            end: request.end_key.clone(),
            has_data: false,
        });
    }

    fn message(
        &mut self,
        message: &ChangeDataEvent,
        stream: u16,
        ours: &impl Fn(u64) -> bool,
        open: &mut Open,
    ) {
        for event in &message.events {
            if !ours(event.request_id) {
                continue;
            }
            let key = (stream, event.request_id, event.region_id);
            let Some(&session) = open.get(&key) else { continue };
            match &event.event {
                Some(event::Event::Error(error)) if error.duplicate_request.is_some() => continue,
                Some(event::Event::Error(_)) => {
                    open.remove(&key);
                }
                _ => self.sessions[session].has_data = true,
            }
            self.steps.push(Step::Event {
                session,
                event: event.clone(),
            });
        }
        if let Some(ResolvedTs {
            regions,
            ts,
            request_id,
        }) = &message.resolved_ts
        {
            let old_style = *request_id == 0;
            let mut sessions: Vec<_> = open
                .iter()
                .filter(|((s, id, region), _)| {
                    *s == stream && regions.contains(region) && (old_style || id == request_id)
                })
                .map(|(_, session)| *session)
                .collect();
            sessions.sort_unstable();
            if !sessions.is_empty() {
                self.now = self.now.max(*ts);
                self.steps.push(Step::Resolved {
                    sessions,
                    ts: *ts,
                    old_style,
                });
            }
        }
    }

    fn closed(&mut self, stream: u16, by_store: bool, open: &mut Open) {
        let keys: Vec<_> = open.keys().filter(|(s, ..)| *s == stream).copied().collect();
        let mut sessions: Vec<_> = keys.iter().filter_map(|key| open.remove(key)).collect();
        sessions.sort_unstable();
        if sessions.is_empty() {
            return;
        }
        if by_store {
            self.steps.push(Step::Broken { sessions });
        } else {
            for session in sessions {
                self.end_quietly(Some(session));
            }
        }
    }

    /// A session that the recording client itself ended: to our client the store ends it, as it answers
    /// a deregistration.
    fn end_quietly(&mut self, session: Option<usize>) {
        let Some(session) = session else { return };
        let region_id = self.sessions[session].region;
        let gone = Error {
            region_not_found: Some(errorpb::RegionNotFound { region_id }),
            ..Error::default()
        };
        let event = Event {
            region_id,
            event: Some(event::Event::Error(gone)),
            ..Event::default()
        };
        self.steps.push(Step::Event { session, event });
    }

    /// Drops endings behind which nothing more happens, so that the last sessions stay open.
    pub(crate) fn leave_open(&mut self) {
        let last_data = self.steps.iter().rposition(|step| match step {
            Step::Event { event, .. } => !matches!(event.event, Some(event::Event::Error(_))),
            Step::Resolved { .. } => true,
            Step::Broken { .. } => false,
        });
        self.steps.truncate(last_data.map_or(0, |last| last + 1));
    }
}
