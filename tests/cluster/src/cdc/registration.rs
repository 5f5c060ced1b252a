//! Requests of a stream: register, deregister, and the checks in TiKV's order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidemark_model::Ts;
use tidemark_proto::cdcpb::change_data_request::{KvApi, Request};
use tidemark_proto::cdcpb::{self, ChangeDataRequest, Event, event};
use tidemark_proto::errorpb;
use tonic::Status;

use super::endpoint::{Connection, Endpoint, epoch_not_match};
use super::outbox::Outbox;
use super::range::ObservedRange;
use super::region::{Region, Subscription, SubscriptionKey, region_not_found};
use super::scan::Scan;
use super::version::Dialect;

/// The server version that a client of another API should look for.
const RAW_SINCE: &str = "6.2.0";

/// The server's side of a stream.
#[derive(Debug)]
pub(super) struct Session {
    endpoint: Arc<Endpoint>,
    outbox: Arc<Outbox>,
    stream: u64,
    multiplexing: bool,
    /// Known from the first request on.
    dialect: Option<Dialect>,
}

impl Session {
    pub(super) fn new(endpoint: Arc<Endpoint>, outbox: Arc<Outbox>, multiplexing: bool) -> Self {
        Self {
            stream: endpoint.serial(),
            endpoint,
            outbox,
            multiplexing,
            dialect: None,
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// The stream can't go on.
    pub(super) fn handle(&mut self, request: &ChangeDataRequest) -> Result<(), Status> {
        let dialect = self.dialect(request);
        match &request.request {
            None | Some(Request::Register(_)) => {
                if let Err(error) = self.register(dialect, request) {
                    self.outbox.push_error(Event {
                        region_id: request.region_id,
                        request_id: request.request_id,
                        event: Some(event::Event::Error(error)),
                        ..Default::default()
                    });
                }
                Ok(())
            }
            Some(Request::Deregister(_)) => {
                self.deregister(request.request_id, request.region_id);
                Ok(())
            }
            Some(Request::NotifyTxnStatus(_)) => {
                Err(Status::internal("notify_txn_status is not served; leave it out"))
            }
        }
    }

    /// The first request decides for the whole stream.
    fn dialect(&mut self, request: &ChangeDataRequest) -> Dialect {
        *self.dialect.get_or_insert_with(|| {
            let version = request
                .header
                .as_ref()
                .map_or("", |header| header.ticdc_version.as_str());
            let dialect = Dialect::new(self.multiplexing, version);
            let connection = Connection {
                outbox: Arc::clone(&self.outbox),
                dialect,
                subscribed: Default::default(),
            };
            self.endpoint.state.lock().streams.insert(self.stream, connection);
            dialect
        })
    }

    fn register(&self, dialect: Dialect, request: &ChangeDataRequest) -> Result<(), cdcpb::Error> {
        let endpoint = &self.endpoint;
        let named = request.header.as_ref().map_or(0, |header| header.cluster_id);
        let current = endpoint.store.cluster_id();
        if dialect.checks_cluster && named != current {
            return Err(cdcpb::Error {
                cluster_id_mismatch: Some(cdcpb::ClusterIdMismatch {
                    current,
                    request: named,
                }),
                ..Default::default()
            });
        }
        if request.kv_api != i32::from(KvApi::TiDb) {
            return Err(cdcpb::Error {
                compatibility: Some(cdcpb::Compatibility {
                    required_version: RAW_SINCE.to_owned(),
                }),
                ..Default::default()
            });
        }
        if endpoint.pending_scans.load(Ordering::Relaxed) >= endpoint.config().pending_scans {
            return Err(cdcpb::Error {
                server_is_busy: Some(errorpb::ServerIsBusy {
                    reason: "too many pending incremental scans".to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            });
        }
        let scan = self.subscribe(request)?;
        endpoint.pending_scans.fetch_add(1, Ordering::Relaxed);
        let endpoint = Arc::clone(endpoint);
        // The task ends with its scan, which ends with its subscription.
        tokio::spawn(async move {
            if let Ok(_slot) = endpoint.scan_slots.acquire().await {
                scan.run(&endpoint).await;
            }
            endpoint.pending_scans.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(())
    }

    /// Takes the snapshot and starts the flow of live rows at the same moment.
    fn subscribe(&self, request: &ChangeDataRequest) -> Result<Scan, cdcpb::Error> {
        let endpoint = &self.endpoint;
        let key = SubscriptionKey {
            stream: self.stream,
            request: request.request_id,
        };
        let region_id = request.region_id;
        let visited = endpoint.store.with_region(region_id, |view| {
            let meta = view.meta();
            let mut state = endpoint.state.lock();
            if state
                .regions
                .get(&region_id)
                .is_some_and(|region| region.has(key))
            {
                return Err(cdcpb::Error {
                    duplicate_request: Some(cdcpb::DuplicateRequest { region_id }),
                    ..Default::default()
                });
            }
            let asked = request.region_epoch.as_ref().map_or(0, |epoch| epoch.version);
            if asked != meta.region_epoch.as_ref().map_or(0, |epoch| epoch.version) {
                return Err(epoch_not_match(vec![meta.clone()]));
            }
            let range = ObservedRange::new(&request.start_key, &request.end_key, meta);
            let (start, end) = range.bounds();
            let entries = view.scan(start, end, Ts(request.checkpoint_ts));
            let serial = endpoint.serial();
            let region = state.regions.entry(region_id).or_insert_with(|| {
                Region::new(region_id, view.locks(&[], &[]), endpoint.store.state.config.seed)
            });
            let outbox = Arc::clone(&self.outbox);
            region.subscribe(Subscription::new(serial, key, outbox, range, request.filter_loop));
            if let Some(stream) = state.streams.get_mut(&self.stream) {
                stream.subscribed.insert((key.request, region_id));
            }
            Ok(Scan {
                region: region_id,
                serial,
                entries,
                filter_loop: request.filter_loop,
                outbox: Arc::clone(&self.outbox),
            })
        });
        visited.unwrap_or_else(|error| Err(of_region(&error, region_id)))
    }

    /// Ends the stream with an error.
    pub(super) fn end(&self, status: Status) {
        self.outbox.end(Err(status));
    }

    fn deregister(&self, request: u64, region_id: u64) {
        let mut state = self.endpoint.state.lock();
        let Some(stream) = state.streams.get(&self.stream) else {
            return;
        };
        let mut regions: Vec<u64> = match region_id {
            0 => {
                let subscribed = stream.subscribed.iter().filter(|(of, _)| *of == request);
                subscribed.map(|(_, region)| *region).collect()
            }
            one => vec![one],
        };
        regions.sort_unstable();
        let key = SubscriptionKey {
            stream: self.stream,
            request,
        };
        for region_id in regions {
            if let Some(region) = state.regions.get_mut(&region_id) {
                region.unsubscribe(key, Some(region_not_found(region_id)));
                state.forget(region_id, &[key]);
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.endpoint.disconnect(self.stream);
        self.outbox.end(Ok(()));
    }
}

/// TiKV's region errors as those of the feed; all others become `region_not_found`.
fn of_region(error: &errorpb::Error, region_id: u64) -> cdcpb::Error {
    match &error.not_leader {
        Some(not_leader) => cdcpb::Error {
            not_leader: Some(*not_leader),
            ..Default::default()
        },
        None => region_not_found(region_id),
    }
}
