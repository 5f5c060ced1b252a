//! A PD and TiKV stores whose change streams the test scripts by hand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidemark_proto::cdcpb::change_data_server::{ChangeData, ChangeDataServer};
use tidemark_proto::cdcpb::{
    self, ChangeDataEvent, ChangeDataRequest, Event, ResolvedTs, change_data_request::Request as Asked, event,
};
use tidemark_proto::pdpb::pd_server::{Pd, PdServer};
use tidemark_proto::tikvpb::tikv_server::{Tikv, TikvServer};
use tidemark_proto::{kvrpcpb as kv, metapb, pdpb, tikvpb};
use tidemark_pull::encode_key;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const CLUSTER: u64 = 77;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'a>>;
type Boxed<T> = Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

/// Calls that the fake doesn't serve.
macro_rules! unserved {
    ($($name:ident: $request:ty => $response:ty;)*) => {$(
        fn $name<'a, 'b>(&'a self, _: Request<$request>) -> Answer<'b, $response> where 'a: 'b, Self: 'b {
            Box::pin(async { Err(Status::unimplemented(stringify!($name))) })
        }
    )*};
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) regions: Vec<(metapb::Region, u64)>,
    pub(crate) stores: HashMap<u64, SocketAddr>,
    pub(crate) next_ts: u64,
    pub(crate) safe_point: u64,
    pub(crate) no_batch_scan: bool,
    pub(crate) single_streams: bool,
    pub(crate) lock_scans: Vec<kv::ScanLockRequest>,
}

/// The cluster; clones share it.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) endpoint: String,
    opened: mpsc::Sender<Feed>,
}

/// A change stream, from the store's side.
pub(crate) struct Feed {
    pub(crate) store: u64,
    pub(crate) multiplexed: bool,
    pub(crate) features: Option<String>,
    asked: Streaming<ChangeDataRequest>,
    pub(crate) answers: mpsc::Sender<Result<ChangeDataEvent, Status>>,
}

pub(crate) fn region(id: u64, start: &str, end: &str, version: u64) -> metapb::Region {
    let bound = |key: &str| {
        if key.is_empty() {
            Bytes::new()
        } else {
            encode_key(key.as_bytes())
        }
    };
    metapb::Region {
        id,
        start_key: bound(start),
        end_key: bound(end),
        region_epoch: Some(metapb::RegionEpoch { conf_ver: 1, version }),
        peers: (1..=2)
            .map(|store_id| metapb::Peer {
                id: id * 10 + store_id,
                store_id,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

impl Fake {
    /// Two stores, and a region for all keys led by store 1. The second part gives the streams that are opened.
    pub(crate) async fn start() -> (Self, mpsc::Receiver<Feed>) {
        let (opened, feeds) = mpsc::channel(64);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            state: Arc::default(),
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            opened,
        };
        {
            let mut state = fake.state.lock();
            state.regions.push((region(1, "", "", 1), 1));
            state.next_ts = 1000 << 18;
        }
        let pd = tonic::transport::Server::builder().add_service(PdServer::new(fake.clone()));
        tokio::spawn(pd.serve_with_incoming(TcpListenerStream::new(listener)));
        for id in 1..=2 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            fake.state
                .lock()
                .stores
                .insert(id, listener.local_addr().unwrap());
            let store = Store {
                id,
                fake: fake.clone(),
            };
            let server = tonic::transport::Server::builder()
                .add_service(ChangeDataServer::new(store.clone()).max_encoding_message_size(usize::MAX))
                .add_service(TikvServer::new(store));
            tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        }
        (fake, feeds)
    }

    pub(crate) fn set_regions(&self, regions: Vec<(metapb::Region, u64)>) {
        self.state.lock().regions = regions;
    }

    fn header(&self) -> Option<pdpb::ResponseHeader> {
        Some(pdpb::ResponseHeader {
            cluster_id: CLUSTER,
            error: None,
        })
    }

    fn found(&self, start: &[u8], end: &[u8], limit: usize) -> Vec<pdpb::Region> {
        let state = self.state.lock();
        let overlaps = |region: &metapb::Region| {
            (region.end_key.is_empty() || region.end_key[..] > *start)
                && (end.is_empty() || region.start_key[..] < *end)
        };
        state
            .regions
            .iter()
            .filter(|(region, _)| overlaps(region))
            .take(limit)
            .map(|(region, leader)| pdpb::Region {
                leader: region.peers.iter().find(|peer| peer.store_id == *leader).cloned(),
                region: Some(region.clone()),
                ..Default::default()
            })
            .collect()
    }
}

impl Pd for Fake {
    type TsoStream = Boxed<pdpb::TsoResponse>;

    fn get_members<'a, 'b>(
        &'a self,
        _: Request<pdpb::GetMembersRequest>,
    ) -> Answer<'b, pdpb::GetMembersResponse>
    where
        'a: 'b,
    {
        Box::pin(async {
            let member = pdpb::Member {
                client_urls: vec![self.endpoint.clone()],
                ..Default::default()
            };
            Ok(Response::new(pdpb::GetMembersResponse {
                header: self.header(),
                members: vec![member.clone()],
                leader: Some(member),
                ..Default::default()
            }))
        })
    }

    fn tso<'a, 'b>(&'a self, request: Request<Streaming<pdpb::TsoRequest>>) -> Answer<'b, Self::TsoStream>
    where
        'a: 'b,
    {
        Box::pin(async {
            let fake = self.clone();
            let answers = futures::stream::unfold(request.into_inner(), move |mut asked| {
                let fake = fake.clone();
                async move {
                    let request = asked.message().await.ok()??;
                    let mut state = fake.state.lock();
                    state.next_ts += u64::from(request.count);
                    let ts = state.next_ts;
                    let answer = pdpb::TsoResponse {
                        header: fake.header(),
                        count: request.count,
                        timestamp: Some(pdpb::Timestamp {
                            physical: (ts >> 18) as i64,
                            logical: (ts & 0x3ffff) as i64,
                            suffix_bits: 0,
                        }),
                    };
                    drop(state);
                    Some((Ok(answer), asked))
                }
            });
            Ok(Response::new(Box::pin(answers) as Self::TsoStream))
        })
    }

    fn batch_scan_regions<'a, 'b>(
        &'a self,
        request: Request<pdpb::BatchScanRegionsRequest>,
    ) -> Answer<'b, pdpb::BatchScanRegionsResponse>
    where
        'a: 'b,
    {
        Box::pin(async move {
            if self.state.lock().no_batch_scan {
                return Err(Status::unimplemented("BatchScanRegions"));
            }
            let request = request.into_inner();
            let limit = usize::try_from(request.limit).unwrap();
            let mut regions: Vec<pdpb::Region> = Vec::new();
            for range in request.ranges {
                for region in self.found(&range.start_key, &range.end_key, limit - regions.len()) {
                    if regions.last() != Some(&region) {
                        regions.push(region);
                    }
                }
            }
            Ok(Response::new(pdpb::BatchScanRegionsResponse {
                header: self.header(),
                regions,
            }))
        })
    }

    fn scan_regions<'a, 'b>(
        &'a self,
        request: Request<pdpb::ScanRegionsRequest>,
    ) -> Answer<'b, pdpb::ScanRegionsResponse>
    where
        'a: 'b,
    {
        Box::pin(async move {
            let request = request.into_inner();
            let limit = usize::try_from(request.limit).unwrap();
            let regions = self.found(&request.start_key, &request.end_key, limit);
            Ok(Response::new(pdpb::ScanRegionsResponse {
                header: self.header(),
                regions,
                ..Default::default()
            }))
        })
    }

    fn get_region<'a, 'b>(
        &'a self,
        request: Request<pdpb::GetRegionRequest>,
    ) -> Answer<'b, pdpb::GetRegionResponse>
    where
        'a: 'b,
    {
        Box::pin(async move {
            let key = request.into_inner().region_key;
            let found = self.found(&key, &[&key[..], &[0]].concat(), 1).into_iter().next();
            let (region, leader) = found.map_or((None, None), |found| (found.region, found.leader));
            Ok(Response::new(pdpb::GetRegionResponse {
                header: self.header(),
                region,
                leader,
                ..Default::default()
            }))
        })
    }

    fn get_store<'a, 'b>(
        &'a self,
        request: Request<pdpb::GetStoreRequest>,
    ) -> Answer<'b, pdpb::GetStoreResponse>
    where
        'a: 'b,
    {
        Box::pin(async move {
            let id = request.into_inner().store_id;
            let address = self.state.lock().stores.get(&id).map(ToString::to_string);
            let store = address.map(|address| metapb::Store {
                id,
                address,
                ..Default::default()
            });
            Ok(Response::new(pdpb::GetStoreResponse {
                header: self.header(),
                store,
            }))
        })
    }

    fn get_gc_safe_point<'a, 'b>(
        &'a self,
        _: Request<pdpb::GetGcSafePointRequest>,
    ) -> Answer<'b, pdpb::GetGcSafePointResponse>
    where
        'a: 'b,
    {
        Box::pin(async {
            let safe_point = self.state.lock().safe_point;
            Ok(Response::new(pdpb::GetGcSafePointResponse {
                header: self.header(),
                safe_point,
            }))
        })
    }

    unserved! {
        get_cluster_info: pdpb::GetClusterInfoRequest => pdpb::GetClusterInfoResponse;
        is_bootstrapped: pdpb::IsBootstrappedRequest => pdpb::IsBootstrappedResponse;
        alloc_id: pdpb::AllocIdRequest => pdpb::AllocIdResponse;
        get_all_stores: pdpb::GetAllStoresRequest => pdpb::GetAllStoresResponse;
        get_prev_region: pdpb::GetRegionRequest => pdpb::GetRegionResponse;
        get_region_by_id: pdpb::GetRegionByIdRequest => pdpb::GetRegionResponse;
        get_cluster_config: pdpb::GetClusterConfigRequest => pdpb::GetClusterConfigResponse;
        update_gc_safe_point: pdpb::UpdateGcSafePointRequest => pdpb::UpdateGcSafePointResponse;
        update_service_gc_safe_point: pdpb::UpdateServiceGcSafePointRequest => pdpb::UpdateServiceGcSafePointResponse;
        set_gc_barrier: pdpb::SetGcBarrierRequest => pdpb::SetGcBarrierResponse;
        delete_gc_barrier: pdpb::DeleteGcBarrierRequest => pdpb::DeleteGcBarrierResponse;
        get_gc_state: pdpb::GetGcStateRequest => pdpb::GetGcStateResponse;
        advance_txn_safe_point: pdpb::AdvanceTxnSafePointRequest => pdpb::AdvanceTxnSafePointResponse;
        advance_gc_safe_point: pdpb::AdvanceGcSafePointRequest => pdpb::AdvanceGcSafePointResponse;
        get_min_ts: pdpb::GetMinTsRequest => pdpb::GetMinTsResponse;
    }
}

#[derive(Clone)]
struct Store {
    id: u64,
    fake: Fake,
}

impl Store {
    async fn open(
        &self,
        request: Request<Streaming<ChangeDataRequest>>,
        multiplexed: bool,
    ) -> Result<Response<Boxed<ChangeDataEvent>>, Status> {
        let features = request.metadata().get("features");
        let features = features.map(|features| features.to_str().unwrap().to_owned());
        let (answers, outgoing) = mpsc::channel(1);
        let feed = Feed {
            store: self.id,
            multiplexed,
            features,
            asked: request.into_inner(),
            answers,
        };
        self.fake
            .opened
            .send(feed)
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

impl ChangeData for Store {
    type EventFeedStream = Boxed<ChangeDataEvent>;
    type EventFeedV2Stream = Boxed<ChangeDataEvent>;

    fn event_feed<'a, 'b>(
        &'a self,
        request: Request<Streaming<ChangeDataRequest>>,
    ) -> Answer<'b, Self::EventFeedStream>
    where
        'a: 'b,
    {
        Box::pin(self.open(request, false))
    }

    fn event_feed_v2<'a, 'b>(
        &'a self,
        request: Request<Streaming<ChangeDataRequest>>,
    ) -> Answer<'b, Self::EventFeedV2Stream>
    where
        'a: 'b,
    {
        Box::pin(async move {
            if self.fake.state.lock().single_streams {
                return Err(Status::unimplemented("EventFeedV2"));
            }
            self.open(request, true).await
        })
    }
}

impl Tikv for Store {
    type BatchCommandsStream = Boxed<tikvpb::BatchCommandsResponse>;

    fn kv_scan_lock<'a, 'b>(
        &'a self,
        request: Request<kv::ScanLockRequest>,
    ) -> Answer<'b, kv::ScanLockResponse>
    where
        'a: 'b,
    {
        Box::pin(async move {
            self.fake.state.lock().lock_scans.push(request.into_inner());
            Ok(Response::new(kv::ScanLockResponse::default()))
        })
    }

    unserved! {
        kv_get: kv::GetRequest => kv::GetResponse;
        kv_scan: kv::ScanRequest => kv::ScanResponse;
        kv_batch_get: kv::BatchGetRequest => kv::BatchGetResponse;
        kv_prewrite: kv::PrewriteRequest => kv::PrewriteResponse;
        kv_commit: kv::CommitRequest => kv::CommitResponse;
        kv_batch_rollback: kv::BatchRollbackRequest => kv::BatchRollbackResponse;
        kv_cleanup: kv::CleanupRequest => kv::CleanupResponse;
        kv_pessimistic_lock: kv::PessimisticLockRequest => kv::PessimisticLockResponse;
        kv_pessimistic_rollback: kv::PessimisticRollbackRequest => kv::PessimisticRollbackResponse;
        kv_txn_heart_beat: kv::TxnHeartBeatRequest => kv::TxnHeartBeatResponse;
        kv_check_txn_status: kv::CheckTxnStatusRequest => kv::CheckTxnStatusResponse;
        kv_check_secondary_locks: kv::CheckSecondaryLocksRequest => kv::CheckSecondaryLocksResponse;
        kv_resolve_lock: kv::ResolveLockRequest => kv::ResolveLockResponse;
        kv_gc: kv::GcRequest => kv::GcResponse;
        kv_delete_range: kv::DeleteRangeRequest => kv::DeleteRangeResponse;
        kv_flush: kv::FlushRequest => kv::FlushResponse;
        kv_buffer_batch_get: kv::BufferBatchGetRequest => kv::BufferBatchGetResponse;
        raw_get: kv::RawGetRequest => kv::RawGetResponse;
        raw_put: kv::RawPutRequest => kv::RawPutResponse;
        raw_delete: kv::RawDeleteRequest => kv::RawDeleteResponse;
        raw_batch_get: kv::RawBatchGetRequest => kv::RawBatchGetResponse;
        raw_batch_put: kv::RawBatchPutRequest => kv::RawBatchPutResponse;
        raw_batch_delete: kv::RawBatchDeleteRequest => kv::RawBatchDeleteResponse;
        raw_batch_scan: kv::RawBatchScanRequest => kv::RawBatchScanResponse;
        raw_compare_and_swap: kv::RawCasRequest => kv::RawCasResponse;
        raw_get_key_ttl: kv::RawGetKeyTtlRequest => kv::RawGetKeyTtlResponse;
        unsafe_destroy_range: kv::UnsafeDestroyRangeRequest => kv::UnsafeDestroyRangeResponse;
        raw_scan: kv::RawScanRequest => kv::RawScanResponse;
        raw_delete_range: kv::RawDeleteRangeRequest => kv::RawDeleteRangeResponse;
        split_region: kv::SplitRegionRequest => kv::SplitRegionResponse;
        mvcc_get_by_key: kv::MvccGetByKeyRequest => kv::MvccGetByKeyResponse;
        get_health_feedback: kv::GetHealthFeedbackRequest => kv::GetHealthFeedbackResponse;
        batch_commands: Streaming<tikvpb::BatchCommandsRequest> => Self::BatchCommandsStream;
    }
}

impl Feed {
    /// The next registration or deregistration.
    pub(crate) async fn request(&mut self) -> ChangeDataRequest {
        let asked = tokio::time::timeout(PATIENCE, self.asked.message()).await;
        asked
            .expect("a request in time")
            .unwrap()
            .expect("the stream goes on")
    }

    pub(crate) async fn registration(&mut self) -> ChangeDataRequest {
        let request = self.request().await;
        assert!(matches!(request.request, Some(Asked::Register(_))), "{request:?}");
        request
    }

    pub(crate) async fn deregistration(&mut self) -> ChangeDataRequest {
        let request = self.request().await;
        assert!(
            matches!(request.request, Some(Asked::Deregister(_))),
            "{request:?}"
        );
        request
    }

    /// Fails if anything is asked within the time.
    pub(crate) async fn stays_quiet(&mut self, time: Duration) {
        if let Ok(request) = tokio::time::timeout(time, self.asked.message()).await {
            panic!("nothing should be asked, but it was {request:?}");
        }
    }

    /// Waits until the client has ended the stream.
    pub(crate) async fn ended(&mut self) {
        let wait = async { while let Ok(Some(_)) = self.asked.message().await {} };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("the stream ends in time");
    }

    pub(crate) async fn send(&self, message: ChangeDataEvent) {
        self.answers.send(Ok(message)).await.expect("the client listens");
    }

    async fn event(&self, to: &ChangeDataRequest, event: event::Event) {
        let event = Event {
            region_id: to.region_id,
            request_id: to.request_id,
            event: Some(event),
            ..Default::default()
        };
        self.send(ChangeDataEvent {
            events: vec![event],
            resolved_ts: None,
        })
        .await;
    }

    pub(crate) async fn rows(&self, to: &ChangeDataRequest, entries: Vec<event::Row>) {
        self.event(to, event::Event::Entries(event::Entries { entries }))
            .await;
    }

    pub(crate) async fn initialise(&self, to: &ChangeDataRequest) {
        let row = event::Row {
            r#type: event::LogType::Initialized.into(),
            ..Default::default()
        };
        self.rows(to, vec![row]).await;
    }

    pub(crate) async fn error(&self, to: &ChangeDataRequest, error: cdcpb::Error) {
        self.event(to, event::Event::Error(error)).await;
    }

    pub(crate) async fn not_found(&self, to: &ChangeDataRequest) {
        let region_not_found = Some(tidemark_proto::errorpb::RegionNotFound {
            region_id: to.region_id,
        });
        self.error(
            to,
            cdcpb::Error {
                region_not_found,
                ..Default::default()
            },
        )
        .await;
    }

    pub(crate) async fn resolved(&self, request_id: u64, regions: &[u64], ts: u64) {
        let resolved = ResolvedTs {
            regions: regions.to_vec(),
            ts,
            request_id,
        };
        self.send(ChangeDataEvent {
            events: Vec::new(),
            resolved_ts: Some(resolved),
        })
        .await;
    }

    pub(crate) async fn old_resolved(&self, to: &ChangeDataRequest, ts: u64) {
        self.event(to, event::Event::ResolvedTs(ts)).await;
    }
}
