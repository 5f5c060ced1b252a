use std::collections::HashMap;
use std::time::Duration;

use tidemark_proto::{metapb, pdpb};
use tokio::time::Instant;

use super::{PdClient, PdError};

/// How long an address is believed.
const FRESH: Duration = Duration::from_secs(60);

/// A TiKV store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Its id.
    pub id: u64,
    /// `host:port` of its gRPC service.
    pub address: String,
    /// Its version, such as `8.5.0`; may be empty.
    pub version: String,
}

/// Addresses of stores, with the time they were asked for.
#[derive(Debug, Default)]
pub(super) struct StoreCache {
    by_id: HashMap<u64, (Store, Instant)>,
}

impl PdClient {
    /// The stores that serve transactional data: not removed, and not TiFlash.
    pub async fn stores(&self) -> Result<Vec<Store>, PdError> {
        let request = pdpb::GetAllStoresRequest {
            header: self.header(),
            exclude_tombstone_stores: true,
        };
        let answer = self
            .call(
                "GetAllStores",
                |mut grpc| {
                    let request = request.clone();
                    async move { grpc.get_all_stores(request).await }
                },
                |answer| answer.header.as_ref(),
            )
            .await?;
        Ok(answer
            .stores
            .into_iter()
            .filter_map(|store| read(store).ok())
            .collect())
    }

    /// One store, from memory if it was asked for within the last minute.
    pub async fn store(&self, id: u64) -> Result<Store, PdError> {
        if let Some((store, at)) = self.inner.stores.lock().by_id.get(&id)
            && at.elapsed() < FRESH
        {
            return Ok(store.clone());
        }
        let request = pdpb::GetStoreRequest {
            header: self.header(),
            store_id: id,
        };
        let answer = self
            .call(
                "GetStore",
                |mut grpc| {
                    let request = request.clone();
                    async move { grpc.get_store(request).await }
                },
                |answer| answer.header.as_ref(),
            )
            .await?;
        let unknown = PdError::Store {
            id,
            reason: "PD doesn't know it",
        };
        let store = read(answer.store.ok_or(unknown)?)?;
        let cached = (store.clone(), Instant::now());
        self.inner.stores.lock().by_id.insert(id, cached);
        Ok(store)
    }

    /// Forgets a store's address, so that the next question goes to PD.
    pub(crate) fn forget_store(&self, id: u64) {
        self.inner.stores.lock().by_id.remove(&id);
    }
}

fn read(store: metapb::Store) -> Result<Store, PdError> {
    let id = store.id;
    let refuse = |reason| Err(PdError::Store { id, reason });
    if store.state() == metapb::StoreState::Tombstone {
        return refuse("it has been removed");
    }
    let tiflash = |label: &metapb::StoreLabel| label.key == "engine" && label.value.starts_with("tiflash");
    if store.labels.iter().any(tiflash) {
        return refuse("it is a TiFlash store");
    }
    Ok(Store {
        id,
        address: store.address,
        version: store.version,
    })
}
