use std::sync::Arc;

use tidemark_proto::kvrpcpb::Context;
use tidemark_proto::tikvpb::tikv_client::TikvClient;
use tidemark_proto::{errorpb, kvrpcpb};
use tokio::time::Instant;
use tonic::transport::Channel;

use super::{KvClient, KvError};
use crate::backoff::Backoff;
use crate::pd::{PdError, Region};

/// The generated client over a channel.
pub(super) type Grpc = TikvClient<Channel>;

/// A region with the client to its leader.
pub(super) struct Target {
    pub(super) region: Arc<Region>,
    pub(super) store: u64,
    pub(super) grpc: Grpc,
    pub(super) context: Context,
}

/// Retries until a deadline, with growing pauses.
pub(super) struct Retry {
    what: &'static str,
    end: Instant,
    attempt: u32,
    backoff: Backoff,
}

impl Retry {
    pub(super) fn new(what: &'static str, end: Instant, seed: u64) -> Self {
        let (min, max) = (
            std::time::Duration::from_millis(20),
            std::time::Duration::from_secs(1),
        );
        Self {
            what,
            end,
            attempt: 0,
            backoff: Backoff::new(min, max, seed),
        }
    }

    /// Waits before the next try, or gives the error back if it is final or time is up.
    pub(super) async fn pause(&mut self, error: KvError) -> Result<(), KvError> {
        if !error.is_retryable() {
            return Err(error);
        }
        let pause = self.backoff.pause(self.attempt);
        self.attempt += 1;
        if Instant::now() + pause >= self.end {
            return Err(match error {
                locked @ KvError::Locked { .. } => locked,
                error => KvError::Deadline {
                    what: self.what,
                    last: error.to_string(),
                },
            });
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

impl KvClient {
    /// The region of the key and a client to its leader.
    pub(super) async fn target(&self, key: &[u8]) -> Result<Target, KvError> {
        let cached = self.inner.regions.lock().find(key);
        let region = match cached {
            Some(region) => region,
            None => {
                let region = self.inner.pd.region_of(key).await?;
                let region = region.ok_or_else(|| KvError::Region {
                    region: 0,
                    what: "GetRegion",
                    message: "PD knows no region for the key".to_owned(),
                })?;
                self.inner.regions.lock().insert(region)
            }
        };
        let leader = match &region.leader {
            Some(leader) => *leader,
            None => {
                self.inner.regions.lock().forget(&region);
                return Err(KvError::Region {
                    region: region.id,
                    what: "GetRegion",
                    message: "it has no leader".to_owned(),
                });
            }
        };
        let store = leader.store_id;
        let channel = match self.channel(store).await {
            Ok(channel) => channel,
            Err(error) => {
                self.inner.regions.lock().forget(&region);
                return Err(error);
            }
        };
        let context = Context {
            region_id: region.id,
            region_epoch: Some(region.epoch),
            peer: Some(leader),
            api_version: if self.inner.config.api_v2 {
                kvrpcpb::ApiVersion::V2.into()
            } else {
                kvrpcpb::ApiVersion::V1.into()
            },
            request_source: "external_tidemark".to_owned(),
            ..Default::default()
        };
        let max = self.inner.config.net.max_message;
        let grpc = TikvClient::new(channel)
            .max_decoding_message_size(max)
            .max_encoding_message_size(max);
        Ok(Target {
            region,
            store,
            grpc,
            context,
        })
    }

    async fn channel(&self, store: u64) -> Result<Channel, KvError> {
        let address = self.inner.pd.store(store).await?.address;
        let mut channels = self.inner.channels.lock();
        if let Some((known, channel)) = channels.get(&store)
            && *known == address
        {
            return Ok(channel.clone());
        }
        let endpoint = address.clone();
        let channel = self
            .inner
            .connector
            .channel(&address)
            .map_err(|source| PdError::Endpoint { endpoint, source })?;
        channels.insert(store, (address, channel.clone()));
        Ok(channel)
    }

    /// Sends one request; region errors and failures drop the region from the cache.
    pub(super) async fn send<T>(
        &self,
        what: &'static str,
        target: &Target,
        answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
        region_error: impl FnOnce(&mut T) -> Option<errorpb::Error>,
    ) -> Result<T, KvError> {
        let store = target.store;
        let answer = tokio::time::timeout(self.inner.config.request_timeout, answer).await;
        let fail = |message: String| {
            self.inner.regions.lock().forget(&target.region);
            self.inner.pd.forget_store(store);
            Err(KvError::Store { store, what, message })
        };
        let mut answer = match answer {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) if status.code() == tonic::Code::Unimplemented => {
                return Err(KvError::Refused {
                    what,
                    message: "the store doesn't know the command".to_owned(),
                });
            }
            Ok(Err(status)) => return fail(crate::pd::chain(&status)),
            Err(_) => return fail("no answer in time".to_owned()),
        };
        match region_error(&mut answer) {
            None => Ok(answer),
            Some(error) => Err(self.region_error(what, &target.region, error)),
        }
    }

    /// Mends the cache as the error tells, and words it.
    fn region_error(&self, what: &'static str, region: &Arc<Region>, error: errorpb::Error) -> KvError {
        let mut regions = self.inner.regions.lock();
        let busy = error.server_is_busy.is_some() || error.max_timestamp_not_synced.is_some();
        match error.not_leader.as_ref().and_then(|moved| moved.leader) {
            Some(leader) if leader.store_id != 0 => {
                let mut moved = Region::clone(region);
                moved.leader = Some(leader);
                regions.insert(moved);
            }
            _ if busy => {}
            _ => regions.forget(region),
        }
        KvError::Region {
            region: region.id,
            what,
            message: error.message,
        }
    }
}
