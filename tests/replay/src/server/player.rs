use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tidemark_proto::cdcpb::{
    ChangeDataEvent, ChangeDataRequest, ClusterIdMismatch, Error, Event, ResolvedTs, event,
};
use tidemark_proto::metapb::{Peer, Region};
use tidemark_proto::{cdcpb, errorpb, metapb};
use tokio::sync::{Notify, mpsc};
use tonic::Status;

use crate::script::{Script, Step};

pub(crate) type Sender = mpsc::Sender<Result<ChangeDataEvent, Status>>;

/// Plays a script's steps in order; a step waits until the client has registered the sessions it is about.
pub(crate) struct Player {
    script: Script,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    sessions: Vec<Stage>,
    /// Sessions that share one registration of the client: it registered a whole region where the recording client
    /// had registered pieces of it.
    next_client: u64,
    clients: BTreeMap<u64, Client>,
    position: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Playing { client: u64 },
    Over,
}

/// One registration by our client.
struct Client {
    stream: Sender,
    request_id: u64,
    region: u64,
    sessions: Vec<usize>,
    initialised: usize,
    /// The newest resolved ts of each session.
    resolved: BTreeMap<usize, u64>,
}

impl Player {
    pub(crate) fn new(script: Script) -> Arc<Self> {
        let sessions = vec![Stage::Waiting; script.sessions.len()];
        let state = Mutex::new(State {
            sessions,
            ..State::default()
        });
        Arc::new(Self {
            script,
            state,
            changed: Notify::new(),
        })
    }

    /// A ts above all recorded ones.
    pub(crate) fn now(&self) -> u64 {
        self.script.now
    }

    /// Whether the stores know `EventFeedV2`.
    pub(crate) fn v2(&self) -> bool {
        self.script.v2
    }

    /// How many steps of how many were played.
    pub(crate) fn progress(&self) -> (usize, usize) {
        (self.state.lock().position, self.script.steps.len())
    }

    /// Which sessions the next step waits for, for error messages.
    pub(crate) fn waiting_for(&self) -> String {
        let state = self.state.lock();
        let Some(step) = self.script.steps.get(state.position) else {
            return "nothing".into();
        };
        let waiting = sessions_of(step)
            .into_iter()
            .filter(|session| state.sessions[*session] == Stage::Waiting);
        let names: Vec<_> = waiting
            .map(|session| {
                let session = &self.script.sessions[session];
                format!(
                    "region {} version {} on store {}",
                    session.region, session.epoch.version, session.store
                )
            })
            .collect();
        names.join(", ")
    }

    /// The regions as PD tells them now: of each range, the registration that comes next in the recording.
    pub(crate) fn regions(&self) -> Vec<(Region, Peer)> {
        let state = self.state.lock();
        let mut found: Vec<(Region, Peer)> = Vec::new();
        for (index, session) in self.script.sessions.iter().enumerate() {
            if state.sessions[index] == Stage::Over {
                continue;
            }
            if let Some((known, _)) = found.iter_mut().find(|(known, _)| {
                known.id == session.region
                    && known
                        .region_epoch
                        .is_some_and(|epoch| epoch.version == session.epoch.version)
            }) {
                known.start_key = known.start_key.clone().min(session.start.clone());
                known.end_key = known.end_key.clone().max(session.end.clone());
                continue;
            }
            let overlaps = |other: &Region| session.start < other.end_key && other.start_key < session.end;
            if found.iter().any(|(other, _)| overlaps(other)) {
                continue;
            }
            let peer = Peer {
                id: session.region * 1000 + session.store,
                store_id: session.store,
                ..Peer::default()
            };
            let region = metapb::Region {
                id: session.region,
                start_key: session.start.clone(),
                end_key: session.end.clone(),
                region_epoch: Some(session.epoch),
                peers: vec![peer],
                ..metapb::Region::default()
            };
            found.push((region, peer));
        }
        found.sort_by(|(left, _), (right, _)| left.start_key.cmp(&right.start_key));
        found
    }

    /// A registration by our client: joins it to the sessions that it stands for, or refuses it as a store would.
    pub(crate) async fn register(
        &self,
        store: u64,
        cluster_id: Option<u64>,
        request: &ChangeDataRequest,
        stream: &Sender,
    ) {
        let refusal = match cluster_id {
            Some(current) => Some(Error {
                cluster_id_mismatch: Some(ClusterIdMismatch { current, request: 0 }),
                ..Error::default()
            }),
            None => self.join(store, request, stream),
        };
        if let Some(error) = refusal {
            let event = Event {
                region_id: request.region_id,
                request_id: request.request_id,
                event: Some(event::Event::Error(error)),
                ..Event::default()
            };
            let _ = stream
                .send(Ok(ChangeDataEvent {
                    events: vec![event],
                    ..ChangeDataEvent::default()
                }))
                .await;
        }
        self.changed.notify_waiters();
    }

    fn join(&self, store: u64, request: &ChangeDataRequest, stream: &Sender) -> Option<Error> {
        let version = request.region_epoch.unwrap_or_default().version;
        let mut state = self.state.lock();
        let mut joined = Vec::new();
        let mut skipped = Vec::new();
        let mut leader = None;
        for (index, session) in self.script.sessions.iter().enumerate() {
            let overlaps = session.start < request.end_key && request.start_key < session.end;
            if state.sessions[index] == Stage::Over || !overlaps || state.sessions[index] != Stage::Waiting {
                continue;
            }
            if session.region != request.region_id || session.epoch.version != version {
                // A later layout of the range; what is registered next has to come before it.
                if joined.is_empty() && session.has_data {
                    break;
                }
                continue;
            }
            if joined.iter().any(|&other: &usize| {
                let other = &self.script.sessions[other];
                session.start < other.end && other.start < session.end
            }) {
                continue;
            }
            if session.store == store {
                joined.push(index);
            } else if session.has_data {
                leader = leader.or(Some(session.store));
                if joined.is_empty() {
                    break;
                }
            } else {
                skipped.push(index);
            }
        }
        if joined.is_empty() {
            return Some(match leader {
                Some(store_id) => Error {
                    not_leader: Some(errorpb::NotLeader {
                        region_id: request.region_id,
                        leader: Some(Peer {
                            id: request.region_id * 1000 + store_id,
                            store_id,
                            ..Peer::default()
                        }),
                    }),
                    ..Error::default()
                },
                None => Error {
                    epoch_not_match: Some(errorpb::EpochNotMatch::default()),
                    ..Error::default()
                },
            });
        }
        for index in skipped {
            if joined.iter().any(|joined| *joined > index) {
                state.sessions[index] = Stage::Over;
            }
        }
        let client = state.next_client;
        state.next_client += 1;
        for index in &joined {
            state.sessions[*index] = Stage::Playing { client };
        }
        let registration = Client {
            stream: stream.clone(),
            request_id: request.request_id,
            region: request.region_id,
            sessions: joined,
            initialised: 0,
            resolved: BTreeMap::new(),
        };
        state.clients.insert(client, registration);
        None
    }

    /// Ends registrations of our client, as a store answers a deregistration.
    pub(crate) async fn deregister(&self, request: &ChangeDataRequest, stream: &Sender) {
        let ended: Vec<u64> = {
            let mut state = self.state.lock();
            let keys: Vec<u64> = state
                .clients
                .iter()
                .filter(|(_, client)| {
                    client.request_id == request.request_id
                        && client.stream.same_channel(stream)
                        && (request.region_id == 0 || client.region == request.region_id)
                })
                .map(|(key, _)| *key)
                .collect();
            keys.iter()
                .filter_map(|key| state.end(*key))
                .map(|client| client.region)
                .collect()
        };
        for region_id in ended {
            let gone = Error {
                region_not_found: Some(errorpb::RegionNotFound { region_id }),
                ..Error::default()
            };
            let event = Event {
                region_id,
                request_id: request.request_id,
                event: Some(event::Event::Error(gone)),
                ..Event::default()
            };
            let _ = stream
                .send(Ok(ChangeDataEvent {
                    events: vec![event],
                    ..ChangeDataEvent::default()
                }))
                .await;
        }
        self.changed.notify_waiters();
    }

    /// Ends the registrations of a stream that our client has closed.
    pub(crate) fn stream_ended(&self, stream: &Sender) {
        let mut state = self.state.lock();
        let keys: Vec<u64> = state
            .clients
            .iter()
            .filter(|(_, client)| client.stream.same_channel(stream))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            state.end(key);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Plays all steps.
    pub(crate) async fn play(&self) {
        for (position, step) in self.script.steps.iter().enumerate() {
            loop {
                let changed = self.changed.notified();
                let ready = {
                    let mut state = self.state.lock();
                    state.position = position;
                    sessions_of(step)
                        .iter()
                        .all(|session| state.sessions[*session] != Stage::Waiting)
                };
                if ready {
                    break;
                }
                changed.await;
            }
            for (stream, message) in self.messages(step) {
                // The client may have dropped the stream in the meantime.
                let _ = stream.send(message).await;
            }
            self.changed.notify_waiters();
        }
        self.state.lock().position = self.script.steps.len();
    }

    /// What a step makes our client receive.
    fn messages(&self, step: &Step) -> Vec<(Sender, Result<ChangeDataEvent, Status>)> {
        let mut state = self.state.lock();
        match step {
            Step::Event { session, event } => state.event(*session, event).into_iter().collect(),
            Step::Resolved {
                sessions,
                ts,
                old_style,
            } => state.resolved(sessions, *ts, *old_style),
            Step::Broken { sessions } => {
                let mut broken: Vec<(Sender, _)> = Vec::new();
                for session in sessions {
                    let Stage::Playing { client } = state.sessions[*session] else {
                        continue;
                    };
                    if let Some(client) = state.end(client)
                        && !broken
                            .iter()
                            .any(|(stream, _)| stream.same_channel(&client.stream))
                    {
                        broken.push((client.stream, Err(Status::unavailable("the store has gone"))));
                    }
                }
                broken
            }
        }
    }
}

fn sessions_of(step: &Step) -> Vec<usize> {
    match step {
        Step::Event { session, .. } => vec![*session],
        Step::Resolved { sessions, .. } | Step::Broken { sessions } => sessions.clone(),
    }
}

impl State {
    /// Ends a registration with all the sessions it stands for.
    fn end(&mut self, client: u64) -> Option<Client> {
        let ended = self.clients.remove(&client)?;
        for session in &ended.sessions {
            self.sessions[*session] = Stage::Over;
        }
        Some(ended)
    }

    fn event(&mut self, session: usize, event: &Event) -> Option<(Sender, Result<ChangeDataEvent, Status>)> {
        let Stage::Playing { client: key } = self.sessions[session] else {
            return None;
        };
        let client = self.clients.get_mut(&key)?;
        let mut event = event.clone();
        if event.request_id != 0 || matches!(event.event, Some(event::Event::Error(_))) {
            event.request_id = client.request_id;
        }
        let stream = client.stream.clone();
        match &mut event.event {
            Some(event::Event::Error(_)) => {
                // The store ends all that is registered on the region.
                let pieces = client.sessions.len();
                if pieces > 1 {
                    client.sessions.retain(|other| *other != session);
                    self.sessions[session] = Stage::Over;
                    return None;
                }
                self.end(key);
            }
            Some(event::Event::Entries(entries)) => {
                let is_initialised =
                    |row: &cdcpb::event::Row| row.r#type() == cdcpb::event::LogType::Initialized;
                if entries.entries.iter().any(is_initialised) {
                    client.initialised += 1;
                    if client.initialised < client.sessions.len() {
                        entries.entries.retain(|row| !is_initialised(row));
                    }
                }
            }
            Some(event::Event::ResolvedTs(_)) if client.initialised < client.sessions.len() => return None,
            _ => {}
        }
        Some((
            stream,
            Ok(ChangeDataEvent {
                events: vec![event],
                ..ChangeDataEvent::default()
            }),
        ))
    }

    /// One message a stream and request id, its ts the lowest of all pieces.
    fn resolved(
        &mut self,
        sessions: &[usize],
        ts: u64,
        old_style: bool,
    ) -> Vec<(Sender, Result<ChangeDataEvent, Status>)> {
        let mut messages: Vec<(Sender, ResolvedTs)> = Vec::new();
        for session in sessions {
            let Stage::Playing { client } = self.sessions[*session] else {
                continue;
            };
            let Some(client) = self.clients.get_mut(&client) else {
                continue;
            };
            client.resolved.insert(*session, ts);
            if client.resolved.len() < client.sessions.len() || client.initialised < client.sessions.len() {
                continue;
            }
            let lowest = client.resolved.values().min().copied().unwrap_or(ts);
            let request_id = if old_style { 0 } else { client.request_id };
            let known = messages.iter_mut().find(|(stream, message)| {
                stream.same_channel(&client.stream)
                    && message.request_id == request_id
                    && message.ts == lowest
            });
            match known {
                Some((_, message)) if message.regions.contains(&client.region) => {}
                Some((_, message)) => message.regions.push(client.region),
                None => messages.push((
                    client.stream.clone(),
                    ResolvedTs {
                        regions: vec![client.region],
                        ts: lowest,
                        request_id,
                    },
                )),
            }
        }
        messages
            .into_iter()
            .map(|(stream, resolved)| {
                (
                    stream,
                    Ok(ChangeDataEvent {
                        resolved_ts: Some(resolved),
                        ..ChangeDataEvent::default()
                    }),
                )
            })
            .collect()
    }
}

/// Whether a range given in memcomparable bounds (empty: none) meets a region.
pub(crate) fn meets(region: &Region, start: &Bytes, end: &Bytes) -> bool {
    (end.is_empty() || region.start_key < *end) && (region.end_key.is_empty() || *start < region.end_key)
}
