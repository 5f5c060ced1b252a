//! PD's gRPC service, as one member of the cluster answers it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::{Stream, StreamExt};
use tidemark_model::Ts;
use tidemark_proto::metapb;
use tidemark_proto::pdpb::{self as pb, pd_server::Pd};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::gc::Barrier;
use super::regions::Overlapped;
use crate::state::State;

/// Answers of a timestamp stream that may wait for a slow client.
const QUEUE: usize = 64;
/// The keyspace that stands for the whole cluster.
const NULL_KEYSPACE: u32 = 0xffff_ffff;

/// One PD member.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) state: Arc<State>,
    /// Its place among the members.
    pub(crate) index: usize,
}

impl Member {
    fn header(&self) -> pb::ResponseHeader {
        pb::ResponseHeader {
            cluster_id: self.state.cluster_id,
            error: None,
        }
    }

    fn failed(&self, kind: pb::ErrorType, message: impl Into<String>) -> pb::ResponseHeader {
        let error = pb::Error {
            r#type: kind.into(),
            message: message.into(),
        };
        pb::ResponseHeader {
            error: Some(error),
            ..self.header()
        }
    }

    fn is_leader(&self) -> bool {
        let leader = self.state.pd_leader.load(Ordering::SeqCst);
        usize::try_from(leader) == Ok(self.index)
    }

    /// What every call but the first ones checks; waits while PD is paused.
    async fn check(&self, header: Option<&pb::RequestHeader>) -> Result<(), Status> {
        self.state.tso.running().await;
        self.check_now(header)
    }

    fn check_now(&self, header: Option<&pb::RequestHeader>) -> Result<(), Status> {
        if !self.is_leader() {
            return Err(Status::unavailable("not leader"));
        }
        let (need, got) = (
            self.state.cluster_id,
            header.map_or(0, |header| header.cluster_id),
        );
        if need != got {
            return Err(Status::failed_precondition(format!(
                "mismatch cluster id, need {need} but got {got}"
            )));
        }
        Ok(())
    }

    fn member(&self, index: usize) -> pb::Member {
        pb::Member {
            name: format!("pd-{index}"),
            member_id: u64::try_from(index).unwrap_or(0) + 1,
            peer_urls: self.state.pd_urls.get(index).cloned().into_iter().collect(),
            client_urls: self.state.pd_urls.get(index).cloned().into_iter().collect(),
            binary_version: format!("v{}", self.state.config.version),
            ..Default::default()
        }
    }

    fn now_ms(&self) -> u64 {
        self.state.config.clock.now_ms()
    }

    fn told(&self, found: Option<pb::Region>) -> Response<pb::GetRegionResponse> {
        let found = found.unwrap_or_default();
        Response::new(pb::GetRegionResponse {
            header: Some(self.header()),
            region: found.region,
            leader: found.leader,
            ..Default::default()
        })
    }
}

fn timestamp(ts: Ts) -> pb::Timestamp {
    pb::Timestamp {
        physical: i64::try_from(ts.physical_ms()).unwrap_or(i64::MAX),
        logical: i64::try_from(ts.logical()).unwrap_or(i64::MAX),
        suffix_bits: 0,
    }
}

fn info(barrier: &Barrier, now_ms: u64) -> pb::GcBarrierInfo {
    pb::GcBarrierInfo {
        barrier_id: barrier.id.clone(),
        barrier_ts: barrier.ts.0,
        ttl_seconds: barrier.ttl_seconds(now_ms),
    }
}

#[tonic::async_trait]
impl Pd for Member {
    async fn get_members(
        &self,
        _: Request<pb::GetMembersRequest>,
    ) -> Result<Response<pb::GetMembersResponse>, Status> {
        self.state.tso.running().await;
        let leader = usize::try_from(self.state.pd_leader.load(Ordering::SeqCst)).unwrap_or(0);
        Ok(Response::new(pb::GetMembersResponse {
            header: Some(self.header()),
            members: (0..self.state.pd_urls.len())
                .map(|index| self.member(index))
                .collect(),
            leader: Some(self.member(leader)),
            etcd_leader: Some(self.member(leader)),
            ..Default::default()
        }))
    }

    async fn get_cluster_info(
        &self,
        _: Request<pb::GetClusterInfoRequest>,
    ) -> Result<Response<pb::GetClusterInfoResponse>, Status> {
        self.state.tso.running().await;
        Ok(Response::new(pb::GetClusterInfoResponse {
            header: Some(self.header()),
            service_modes: vec![pb::ServiceMode::PdSvcMode.into()],
            tso_urls: Vec::new(),
        }))
    }

    async fn is_bootstrapped(
        &self,
        request: Request<pb::IsBootstrappedRequest>,
    ) -> Result<Response<pb::IsBootstrappedResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        Ok(Response::new(pb::IsBootstrappedResponse {
            header: Some(self.header()),
            bootstrapped: true,
        }))
    }

    async fn alloc_id(
        &self,
        request: Request<pb::AllocIdRequest>,
    ) -> Result<Response<pb::AllocIdResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        let count = request.get_ref().count.max(1);
        // The answer names the last id of the batch.
        let first = self.state.next_id.fetch_add(u64::from(count), Ordering::SeqCst);
        Ok(Response::new(pb::AllocIdResponse {
            header: Some(self.header()),
            id: first + u64::from(count) - 1,
            count,
        }))
    }

    async fn get_store(
        &self,
        request: Request<pb::GetStoreRequest>,
    ) -> Result<Response<pb::GetStoreResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        let id = request.get_ref().store_id;
        let store = self.state.store_meta(id);
        let header = match store {
            Some(_) => self.header(),
            None => self.failed(
                pb::ErrorType::Unknown,
                format!("invalid store ID {id}, not found"),
            ),
        };
        Ok(Response::new(pb::GetStoreResponse {
            header: Some(header),
            store,
        }))
    }

    async fn get_all_stores(
        &self,
        request: Request<pb::GetAllStoresRequest>,
    ) -> Result<Response<pb::GetAllStoresResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        let ids = self.state.stores.keys();
        Ok(Response::new(pb::GetAllStoresResponse {
            header: Some(self.header()),
            stores: ids.filter_map(|id| self.state.store_meta(*id)).collect(),
        }))
    }

    async fn get_region(
        &self,
        request: Request<pb::GetRegionRequest>,
    ) -> Result<Response<pb::GetRegionResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        Ok(self.told(self.state.region_at(&request.get_ref().region_key)))
    }

    async fn get_prev_region(
        &self,
        request: Request<pb::GetRegionRequest>,
    ) -> Result<Response<pb::GetRegionResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        Ok(self.told(self.state.region_before(&request.get_ref().region_key)))
    }

    async fn get_region_by_id(
        &self,
        request: Request<pb::GetRegionByIdRequest>,
    ) -> Result<Response<pb::GetRegionResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        Ok(self.told(self.state.region_by_id(request.get_ref().region_id)))
    }

    async fn scan_regions(
        &self,
        request: Request<pb::ScanRegionsRequest>,
    ) -> Result<Response<pb::ScanRegionsResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        let request = request.get_ref();
        let regions = self
            .state
            .scan_regions(&request.start_key, &request.end_key, request.limit);
        Ok(Response::new(pb::ScanRegionsResponse {
            header: Some(self.header()),
            region_metas: regions
                .iter()
                .filter_map(|region| region.region.clone())
                .collect(),
            leaders: regions.iter().filter_map(|region| region.leader).collect(),
            regions,
        }))
    }

    async fn batch_scan_regions(
        &self,
        request: Request<pb::BatchScanRegionsRequest>,
    ) -> Result<Response<pb::BatchScanRegionsResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        let request = request.get_ref();
        let (header, regions) = match self.state.batch_scan_regions(&request.ranges, request.limit) {
            Ok(regions) => (self.header(), regions),
            Err(Overlapped) => (
                self.failed(pb::ErrorType::Unknown, "invalid key range, ranges overlapped"),
                Vec::new(),
            ),
        };
        Ok(Response::new(pb::BatchScanRegionsResponse {
            header: Some(header),
            regions,
        }))
    }

    async fn get_cluster_config(
        &self,
        request: Request<pb::GetClusterConfigRequest>,
    ) -> Result<Response<pb::GetClusterConfigResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        Ok(Response::new(pb::GetClusterConfigResponse {
            header: Some(self.header()),
            cluster: Some(metapb::Cluster {
                id: self.state.cluster_id,
                max_peer_count: 3,
            }),
        }))
    }

    async fn get_gc_safe_point(
        &self,
        request: Request<pb::GetGcSafePointRequest>,
    ) -> Result<Response<pb::GetGcSafePointResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        Ok(Response::new(pb::GetGcSafePointResponse {
            header: Some(self.header()),
            safe_point: self.state.gc.lock().gc_safe_point.0,
        }))
    }

    async fn update_gc_safe_point(
        &self,
        request: Request<pb::UpdateGcSafePointRequest>,
    ) -> Result<Response<pb::UpdateGcSafePointResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        let mut gc = self.state.gc.lock();
        // The classic call raises what it may and answers where the safe point stands.
        let target = Ts(request.get_ref().safe_point);
        if target > gc.txn_safe_point {
            let now_ms = self.now_ms();
            let _ = gc.advance_txn(target, now_ms);
        }
        let target = target.min(gc.txn_safe_point);
        let _ = gc.advance_gc(target);
        Ok(Response::new(pb::UpdateGcSafePointResponse {
            header: Some(self.header()),
            new_safe_point: gc.gc_safe_point.0,
        }))
    }

    async fn update_service_gc_safe_point(
        &self,
        request: Request<pb::UpdateServiceGcSafePointRequest>,
    ) -> Result<Response<pb::UpdateServiceGcSafePointResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        let request = request.get_ref();
        let id = String::from_utf8_lossy(&request.service_id);
        let now_ms = self.now_ms();
        let result = self
            .state
            .gc
            .lock()
            .update_service(&id, Ts(request.safe_point), request.ttl, now_ms);
        Ok(Response::new(match result {
            Ok((blocker, ttl, least)) => pb::UpdateServiceGcSafePointResponse {
                header: Some(self.header()),
                service_id: blocker.into(),
                ttl,
                min_safe_point: least.0,
            },
            Err(text) => pb::UpdateServiceGcSafePointResponse {
                header: Some(self.failed(pb::ErrorType::Unknown, text)),
                ..Default::default()
            },
        }))
    }

    async fn set_gc_barrier(
        &self,
        request: Request<pb::SetGcBarrierRequest>,
    ) -> Result<Response<pb::SetGcBarrierResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        let request = request.get_ref();
        let now_ms = self.now_ms();
        let ts = Ts(request.barrier_ts);
        let result = self
            .state
            .gc
            .lock()
            .set_barrier(&request.barrier_id, ts, request.ttl_seconds, now_ms);
        Ok(Response::new(match result {
            Ok(barrier) => pb::SetGcBarrierResponse {
                header: Some(self.header()),
                new_barrier_info: Some(info(&barrier, now_ms)),
            },
            Err(text) => pb::SetGcBarrierResponse {
                header: Some(self.failed(pb::ErrorType::Unknown, text)),
                ..Default::default()
            },
        }))
    }

    async fn delete_gc_barrier(
        &self,
        request: Request<pb::DeleteGcBarrierRequest>,
    ) -> Result<Response<pb::DeleteGcBarrierResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        let deleted = self.state.gc.lock().delete_barrier(&request.get_ref().barrier_id);
        Ok(Response::new(pb::DeleteGcBarrierResponse {
            header: Some(self.header()),
            deleted_barrier_info: deleted.map(|barrier| info(&barrier, self.now_ms())),
        }))
    }

    async fn get_gc_state(
        &self,
        request: Request<pb::GetGcStateRequest>,
    ) -> Result<Response<pb::GetGcStateResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        let request = request.get_ref();
        let now_ms = self.now_ms();
        let mut gc = self.state.gc.lock();
        let barriers: Vec<_> = gc.barriers(now_ms).map(|barrier| info(barrier, now_ms)).collect();
        let gc_barriers = if request.exclude_gc_barriers {
            Vec::new()
        } else {
            barriers
        };
        Ok(Response::new(pb::GetGcStateResponse {
            header: Some(self.header()),
            gc_state: Some(pb::GcState {
                keyspace_scope: Some(pb::KeyspaceScope {
                    keyspace: Some(pb::keyspace_scope::Keyspace::KeyspaceId(NULL_KEYSPACE)),
                }),
                is_keyspace_level_gc: false,
                txn_safe_point: gc.txn_safe_point.0,
                gc_safe_point: gc.gc_safe_point.0,
                gc_barriers,
            }),
            global_gc_barriers: request.include_global_gc_barriers.then(Default::default),
        }))
    }

    async fn advance_txn_safe_point(
        &self,
        request: Request<pb::AdvanceTxnSafePointRequest>,
    ) -> Result<Response<pb::AdvanceTxnSafePointResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        let now_ms = self.now_ms();
        let result = self
            .state
            .gc
            .lock()
            .advance_txn(Ts(request.get_ref().target), now_ms);
        Ok(Response::new(match result {
            Ok((old, new, blocker)) => pb::AdvanceTxnSafePointResponse {
                header: Some(self.header()),
                old_txn_safe_point: old.0,
                new_txn_safe_point: new.0,
                blocker_description: blocker,
            },
            Err(text) => pb::AdvanceTxnSafePointResponse {
                header: Some(self.failed(pb::ErrorType::Unknown, text)),
                ..Default::default()
            },
        }))
    }

    async fn advance_gc_safe_point(
        &self,
        request: Request<pb::AdvanceGcSafePointRequest>,
    ) -> Result<Response<pb::AdvanceGcSafePointResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        let result = self.state.gc.lock().advance_gc(Ts(request.get_ref().target));
        Ok(Response::new(match result {
            Ok((old, new)) => pb::AdvanceGcSafePointResponse {
                header: Some(self.header()),
                old_gc_safe_point: old.0,
                new_gc_safe_point: new.0,
            },
            Err(text) => pb::AdvanceGcSafePointResponse {
                header: Some(self.failed(pb::ErrorType::Unknown, text)),
                ..Default::default()
            },
        }))
    }

    async fn get_min_ts(
        &self,
        request: Request<pb::GetMinTsRequest>,
    ) -> Result<Response<pb::GetMinTsResponse>, Status> {
        self.check(request.get_ref().header.as_ref()).await?;
        Ok(Response::new(pb::GetMinTsResponse {
            header: Some(self.header()),
            timestamp: Some(timestamp(self.state.tso.take(1))),
        }))
    }

    type TsoStream = Pin<Box<dyn Stream<Item = Result<pb::TsoResponse, Status>> + Send + 'static>>;

    async fn tso(
        &self,
        request: Request<Streaming<pb::TsoRequest>>,
    ) -> Result<Response<Self::TsoStream>, Status> {
        let mut requests = request.into_inner();
        let (sender, receiver) = mpsc::channel(QUEUE);
        let member = self.clone();
        // The task ends with the client's stream, or when nobody takes the answers any more.
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                let checked = member.check(request.header.as_ref()).await;
                let answer = checked.and_then(|()| match request.count {
                    0 => Err(Status::unknown("tso count should be positive")),
                    count => Ok(pb::TsoResponse {
                        header: Some(member.header()),
                        count,
                        timestamp: Some(timestamp(member.state.tso.take(count))),
                    }),
                });
                let failed = answer.is_err();
                if sender.send(answer).await.is_err() || failed {
                    break;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
