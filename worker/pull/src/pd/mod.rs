//! Client of the placement driver.

mod error;
mod gc;
mod members;
mod region;
mod store;
mod tso;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidemark_proto::pdpb;
use tokio::time::Instant;
use tonic::transport::Channel;

pub use error::PdError;
pub(crate) use error::chain;
pub use region::Region;
pub use store::Store;

use crate::channel::Connector;
use crate::config::{NetConfig, Security};

/// The generated client over a channel.
type Grpc = pdpb::pd_client::PdClient<Channel>;

/// Longest wait for one try of a call; the deadline of the whole call allows for several.
const TRY_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Region lists can be long.
const MAX_MESSAGE: usize = 256 << 20;

/// A connection to PD: follows its leader, checks the cluster id, bounds every call in time.
///
/// Clones share everything.
#[derive(Clone, Debug)]
pub struct PdClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster_id: u64,
    deadline: Duration,
    connector: Connector,
    members: members::Members,
    tso: tso::TsoClient,
    stores: Mutex<store::StoreCache>,
    /// Set once the server has said that it doesn't know `BatchScanRegions`.
    no_batch_scan: std::sync::atomic::AtomicBool,
}

impl PdClient {
    /// Connects to the cluster that the endpoints (`host:port` or URLs) belong to.
    ///
    /// Fails if none answers within `deadline`, or if the cluster's id is not the expected one.
    /// The deadline holds for every later call as well.
    pub async fn connect(
        endpoints: &[String],
        security: Option<Security>,
        expect_cluster: Option<u64>,
        deadline: Duration,
    ) -> Result<Self, PdError> {
        if endpoints.is_empty() {
            return Err(PdError::NoEndpoint);
        }
        let connector = Connector::new(security, NetConfig::default());
        let (members, cluster_id) =
            members::Members::discover(endpoints, connector.clone(), expect_cluster, deadline).await?;
        let members = members::Members::new(members, cluster_id);
        let tso = tso::TsoClient::start(members.clone());
        Ok(Self {
            inner: Arc::new(Inner {
                cluster_id,
                deadline,
                connector,
                members,
                tso,
                stores: Mutex::default(),
                no_batch_scan: std::sync::atomic::AtomicBool::new(false),
            }),
        })
    }

    /// The id of the cluster.
    pub fn cluster_id(&self) -> u64 {
        self.inner.cluster_id
    }

    /// Makes connections with the TLS material that PD is reached with.
    pub(crate) fn connector(&self, net: NetConfig) -> Connector {
        self.inner.connector.with_net(net)
    }

    fn header(&self) -> Option<pdpb::RequestHeader> {
        self.inner.members.header()
    }

    /// Calls the leader until it answers, the answer is a final error, or the deadline passes.
    async fn call<T, F>(
        &self,
        what: &'static str,
        request: impl Fn(Grpc) -> F,
        header: impl Fn(&T) -> Option<&pdpb::ResponseHeader>,
    ) -> Result<T, PdError>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let end = Instant::now() + self.inner.deadline;
        loop {
            let error = match self.inner.members.leader().await {
                Err(error) => error,
                Ok(leader) => match tokio::time::timeout(TRY_TIMEOUT, request(leader.grpc())).await {
                    Ok(Ok(response)) => {
                        let response = response.into_inner();
                        match error::of_header(what, header(&response)) {
                            None => return Ok(response),
                            Some(error) => error,
                        }
                    }
                    Ok(Err(status)) => {
                        let error = error::of_status(what, &leader.url, &status);
                        if error.is_retryable() {
                            self.inner.members.suspect(&leader);
                        }
                        error
                    }
                    Err(_) => {
                        self.inner.members.suspect(&leader);
                        PdError::Deadline { what }
                    }
                },
            };
            if !error.is_retryable() || Instant::now() + RETRY_PAUSE >= end {
                return Err(error);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}
