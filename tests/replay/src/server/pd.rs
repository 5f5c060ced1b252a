use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tidemark_proto::metapb;
use tidemark_proto::pdpb::pd_server::Pd as PdService;
use tidemark_proto::pdpb::*;
use tonic::{Request, Response, Status, Streaming};

use super::player::{Player, meets};

/// A PD that knows the regions of the script.
pub(super) struct Pd {
    pub(super) cluster_id: u64,
    pub(super) url: String,
    pub(super) addresses: BTreeMap<u64, SocketAddr>,
    pub(super) player: Arc<Player>,
}

impl Pd {
    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            cluster_id: self.cluster_id,
            error: None,
        })
    }

    fn store(&self, id: u64) -> Option<metapb::Store> {
        let address = self.addresses.get(&id)?;
        Some(metapb::Store {
            id,
            address: address.to_string(),
            version: "8.5.0".into(),
            ..metapb::Store::default()
        })
    }

    fn regions(&self, start: &bytes::Bytes, end: &bytes::Bytes) -> Vec<Region> {
        let found = self.player.regions();
        let inside = found.into_iter().filter(|(region, _)| meets(region, start, end));
        inside
            .map(|(region, leader)| Region {
                region: Some(region),
                leader: Some(leader),
                ..Region::default()
            })
            .collect()
    }
}

/// Methods that no client of a replay needs, in the form that `async_trait` gives them.
macro_rules! unknown {
    ($($name:ident: $request:ident -> $response:ident),* $(,)?) => {
        $(fn $name<'life0, 'async_trait>(
            &'life0 self,
            _: Request<$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<$response>, Status>> + Send + 'async_trait>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async { Err(Status::unimplemented(stringify!($name))) })
        })*
    };
}

#[tonic::async_trait]
impl PdService for Pd {
    type TsoStream = Pin<Box<dyn Stream<Item = Result<TsoResponse, Status>> + Send>>;

    async fn get_members(
        &self,
        _: Request<GetMembersRequest>,
    ) -> Result<Response<GetMembersResponse>, Status> {
        let member = Member {
            name: "pd".into(),
            member_id: 1,
            client_urls: vec![self.url.clone()],
            ..Member::default()
        };
        Ok(Response::new(GetMembersResponse {
            header: self.header(),
            members: vec![member.clone()],
            leader: Some(member),
            ..GetMembersResponse::default()
        }))
    }

    async fn tso(
        &self,
        request: Request<Streaming<TsoRequest>>,
    ) -> Result<Response<Self::TsoStream>, Status> {
        let (header, now) = (self.header(), self.player.now());
        let answers = request.into_inner().map(move |request| {
            let count = request?.count;
            let timestamp = Timestamp {
                physical: (now >> 18).cast_signed(),
                logical: (now & 0x3_ffff).cast_signed() + i64::from(count),
                ..Timestamp::default()
            };
            Ok(TsoResponse {
                header: header.clone(),
                count,
                timestamp: Some(timestamp),
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_store(
        &self,
        request: Request<GetStoreRequest>,
    ) -> Result<Response<GetStoreResponse>, Status> {
        let store = self.store(request.into_inner().store_id);
        Ok(Response::new(GetStoreResponse {
            header: self.header(),
            store,
        }))
    }

    async fn get_all_stores(
        &self,
        _: Request<GetAllStoresRequest>,
    ) -> Result<Response<GetAllStoresResponse>, Status> {
        let stores = self.addresses.keys().filter_map(|id| self.store(*id)).collect();
        Ok(Response::new(GetAllStoresResponse {
            header: self.header(),
            stores,
        }))
    }

    async fn get_region(
        &self,
        request: Request<GetRegionRequest>,
    ) -> Result<Response<GetRegionResponse>, Status> {
        let key = request.into_inner().region_key;
        let mut end = key.to_vec();
        end.push(0);
        let found = self.regions(&key, &end.into()).into_iter().next();
        let (region, leader) = found.map_or((None, None), |found| (found.region, found.leader));
        Ok(Response::new(GetRegionResponse {
            header: self.header(),
            region,
            leader,
            ..GetRegionResponse::default()
        }))
    }

    async fn get_region_by_id(
        &self,
        request: Request<GetRegionByIdRequest>,
    ) -> Result<Response<GetRegionResponse>, Status> {
        let id = request.into_inner().region_id;
        let found = self
            .player
            .regions()
            .into_iter()
            .find(|(region, _)| region.id == id);
        let (region, leader) = found.unzip();
        Ok(Response::new(GetRegionResponse {
            header: self.header(),
            region,
            leader,
            ..GetRegionResponse::default()
        }))
    }

    async fn scan_regions(
        &self,
        request: Request<ScanRegionsRequest>,
    ) -> Result<Response<ScanRegionsResponse>, Status> {
        let request = request.into_inner();
        let regions = self.regions(&request.start_key, &request.end_key);
        Ok(Response::new(ScanRegionsResponse {
            header: self.header(),
            regions,
            ..ScanRegionsResponse::default()
        }))
    }

    async fn batch_scan_regions(
        &self,
        request: Request<BatchScanRegionsRequest>,
    ) -> Result<Response<BatchScanRegionsResponse>, Status> {
        let ranges = request.into_inner().ranges;
        let mut regions: Vec<Region> = Vec::new();
        for range in &ranges {
            for region in self.regions(&range.start_key, &range.end_key) {
                if regions.last() != Some(&region) {
                    regions.push(region);
                }
            }
        }
        Ok(Response::new(BatchScanRegionsResponse {
            header: self.header(),
            regions,
        }))
    }

    async fn get_gc_safe_point(
        &self,
        _: Request<GetGcSafePointRequest>,
    ) -> Result<Response<GetGcSafePointResponse>, Status> {
        Ok(Response::new(GetGcSafePointResponse {
            header: self.header(),
            safe_point: 0,
        }))
    }

    unknown! {
        get_cluster_info: GetClusterInfoRequest -> GetClusterInfoResponse,
        is_bootstrapped: IsBootstrappedRequest -> IsBootstrappedResponse,
        alloc_id: AllocIdRequest -> AllocIdResponse,
        get_prev_region: GetRegionRequest -> GetRegionResponse,
        get_cluster_config: GetClusterConfigRequest -> GetClusterConfigResponse,
        update_gc_safe_point: UpdateGcSafePointRequest -> UpdateGcSafePointResponse,
        update_service_gc_safe_point: UpdateServiceGcSafePointRequest -> UpdateServiceGcSafePointResponse,
        set_gc_barrier: SetGcBarrierRequest -> SetGcBarrierResponse,
        delete_gc_barrier: DeleteGcBarrierRequest -> DeleteGcBarrierResponse,
        get_gc_state: GetGcStateRequest -> GetGcStateResponse,
        advance_txn_safe_point: AdvanceTxnSafePointRequest -> AdvanceTxnSafePointResponse,
        advance_gc_safe_point: AdvanceGcSafePointRequest -> AdvanceGcSafePointResponse,
        get_min_ts: GetMinTsRequest -> GetMinTsResponse,
    }
}
