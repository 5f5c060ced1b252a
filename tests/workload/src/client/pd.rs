use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidemark_proto::metapb;
use tidemark_proto::pdpb::pd_client::PdClient;
use tidemark_proto::pdpb::{
    GetMembersRequest, GetRegionRequest, GetRegionResponse, GetStoreRequest, RequestHeader, ResponseHeader,
    TsoRequest, TsoResponse,
};
use tokio::sync::{mpsc, oneshot};
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use super::{Backoff, ClientError};

/// How long one call may take.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Timestamps asked for at once, at most.
const TSO_BATCH: usize = 512;

/// The placement driver: timestamps, regions and store addresses. Clones share one connection.
#[derive(Clone)]
pub struct Pd {
    shared: Arc<Shared>,
    timestamps: mpsc::Sender<oneshot::Sender<u64>>,
}

struct Shared {
    endpoints: Vec<String>,
    leader: Mutex<Leader>,
}

#[derive(Clone)]
struct Leader {
    cluster_id: u64,
    client: PdClient<Channel>,
}

impl Leader {
    fn header(&self) -> Option<RequestHeader> {
        Some(RequestHeader {
            cluster_id: self.cluster_id,
            ..RequestHeader::default()
        })
    }
}

impl Pd {
    /// Connects to the leader that one of the endpoints (`http://host:port` or `host:port`) names.
    ///
    /// # Errors
    /// If none answers in time.
    pub async fn connect(endpoints: &[String]) -> Result<Self, ClientError> {
        let endpoints: Vec<String> = endpoints.iter().map(|endpoint| with_scheme(endpoint)).collect();
        let mut backoff = Backoff::new();
        let leader = loop {
            match find_leader(&endpoints).await {
                Ok(leader) => break leader,
                Err(last) if !backoff.wait().await => {
                    return Err(ClientError::Pd {
                        call: "GetMembers",
                        endpoints,
                        last,
                    });
                }
                Err(_) => {}
            }
        };
        let shared = Arc::new(Shared {
            endpoints,
            leader: Mutex::new(leader),
        });
        let (timestamps, waiting) = mpsc::channel(4096);
        // The task ends when the last clone of `timestamps` is gone.
        tokio::spawn(serve_timestamps(Arc::clone(&shared), waiting));
        Ok(Self { shared, timestamps })
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> u64 {
        self.shared.leader.lock().cluster_id
    }

    /// A fresh timestamp.
    ///
    /// # Errors
    /// If PD doesn't answer in time.
    pub async fn timestamp(&self) -> Result<u64, ClientError> {
        let (answer, receive) = oneshot::channel();
        let gone = |last: &str| ClientError::Pd {
            call: "Tso",
            endpoints: self.shared.endpoints.clone(),
            last: last.to_owned(),
        };
        self.timestamps
            .send(answer)
            .await
            .map_err(|_| gone("the timestamp task has ended"))?;
        receive.await.map_err(|_| gone("no timestamp came"))
    }

    /// The region that holds the memcomparable-encoded key, with its leader.
    pub(super) async fn region(&self, encoded_key: &[u8]) -> Result<GetRegionResponse, ClientError> {
        let key = bytes::Bytes::copy_from_slice(encoded_key);
        self.call("GetRegion", |mut leader| {
            let request = GetRegionRequest {
                header: leader.header(),
                region_key: key.clone(),
                need_buckets: false,
            };
            async move {
                let reply = leader.client.get_region(request).await?.into_inner();
                accept(reply.header.as_ref())?;
                let known =
                    reply.region.is_some() && reply.leader.as_ref().is_some_and(|leader| leader.id != 0);
                if known {
                    Ok(reply)
                } else {
                    Err(Status::not_found("region or leader unknown"))
                }
            }
        })
        .await
    }

    /// A store.
    pub(super) async fn store(&self, store_id: u64) -> Result<metapb::Store, ClientError> {
        self.call("GetStore", |mut leader| {
            let request = GetStoreRequest {
                header: leader.header(),
                store_id,
            };
            async move {
                let reply = leader.client.get_store(request).await?.into_inner();
                accept(reply.header.as_ref())?;
                reply.store.ok_or_else(|| Status::not_found("store unknown"))
            }
        })
        .await
    }

    async fn call<T, F>(&self, name: &'static str, make: impl Fn(Leader) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut backoff = Backoff::new();
        loop {
            let leader = self.shared.leader.lock().clone();
            let last = match tokio::time::timeout(CALL_LIMIT, make(leader)).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(status)) => status.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if !backoff.wait().await {
                return Err(ClientError::Pd {
                    call: name,
                    endpoints: self.shared.endpoints.clone(),
                    last,
                });
            }
            self.shared.refresh().await;
        }
    }
}

impl Shared {
    async fn refresh(&self) {
        if let Ok(leader) = find_leader(&self.endpoints).await {
            *self.leader.lock() = leader;
        }
    }
}

fn with_scheme(endpoint: &str) -> String {
    if endpoint.contains("://") {
        endpoint.to_owned()
    } else {
        format!("http://{endpoint}")
    }
}

fn accept(header: Option<&ResponseHeader>) -> Result<(), Status> {
    match header.and_then(|header| header.error.as_ref()) {
        Some(error) if error.r#type != 0 => Err(Status::unavailable(error.message.clone())),
        _ => Ok(()),
    }
}

async fn find_leader(endpoints: &[String]) -> Result<Leader, String> {
    let mut last = String::from("no endpoint is given");
    for endpoint in endpoints {
        match tokio::time::timeout(CALL_LIMIT, ask_leader(endpoint)).await {
            Ok(Ok(leader)) => return Ok(leader),
            Ok(Err(problem)) => last = format!("{endpoint}: {problem}"),
            Err(_) => last = format!("{endpoint}: no answer"),
        }
    }
    Err(last)
}

async fn ask_leader(endpoint: &str) -> Result<Leader, String> {
    let mut client = dial(endpoint)?;
    let reply = client.get_members(GetMembersRequest::default()).await;
    let reply = reply.map_err(|status| status.to_string())?.into_inner();
    let cluster_id = reply.header.as_ref().map_or(0, |header| header.cluster_id);
    let leader = reply.leader.ok_or("no leader")?;
    let url = leader.client_urls.first().ok_or("the leader has no client url")?;
    Ok(Leader {
        cluster_id,
        client: dial(&with_scheme(url))?,
    })
}

fn dial(url: &str) -> Result<PdClient<Channel>, String> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|problem| problem.to_string())?;
    let channel = endpoint.connect_timeout(Duration::from_secs(2)).connect_lazy();
    Ok(PdClient::new(channel).max_decoding_message_size(64 << 20))
}

/// Answers all that wait with timestamps of one request; repeats it on a new stream until PD answers.
async fn serve_timestamps(shared: Arc<Shared>, mut waiting: mpsc::Receiver<oneshot::Sender<u64>>) {
    let mut stream: Option<TsoStream> = None;
    let mut batch = Vec::with_capacity(TSO_BATCH);
    while waiting.recv_many(&mut batch, TSO_BATCH).await > 0 {
        let mut backoff = Backoff::new();
        loop {
            let asked = tokio::time::timeout(CALL_LIMIT, ask(&shared, &mut stream, batch.len() as u32)).await;
            if let Ok(Ok(last)) = asked {
                let first = last + 1 - batch.len() as u64;
                for (index, answer) in batch.drain(..).enumerate() {
                    // A caller that has gone away needs no timestamp.
                    let _ = answer.send(first + index as u64);
                }
                break;
            }
            stream = None;
            if !backoff.wait().await {
                batch.clear();
                break;
            }
            shared.refresh().await;
        }
    }
}

struct TsoStream {
    cluster_id: u64,
    requests: mpsc::Sender<TsoRequest>,
    replies: Streaming<TsoResponse>,
}

async fn ask(shared: &Shared, stream: &mut Option<TsoStream>, count: u32) -> Result<u64, Status> {
    if stream.is_none() {
        let mut leader = shared.leader.lock().clone();
        let (requests, outgoing) = mpsc::channel(1);
        let request = TsoRequest {
            header: leader.header(),
            count,
            dc_location: "global".into(),
        };
        // The server may answer the call only with the first message.
        let _ = requests.try_send(request);
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
        let replies = leader.client.tso(outgoing).await?.into_inner();
        let opened = stream.insert(TsoStream {
            cluster_id: leader.cluster_id,
            requests,
            replies,
        });
        return receive(opened, count).await;
    }
    let Some(open) = stream.as_mut() else {
        return Err(Status::unavailable("no stream"));
    };
    let request = TsoRequest {
        header: Some(RequestHeader {
            cluster_id: open.cluster_id,
            ..RequestHeader::default()
        }),
        count,
        dc_location: "global".into(),
    };
    let sent = open.requests.send(request).await;
    sent.map_err(|_| Status::unavailable("the stream has ended"))?;
    receive(open, count).await
}

async fn receive(stream: &mut TsoStream, count: u32) -> Result<u64, Status> {
    let reply = stream.replies.message().await?;
    let reply = reply.ok_or_else(|| Status::unavailable("the stream has ended"))?;
    accept(reply.header.as_ref())?;
    match reply.timestamp {
        Some(ts) if reply.count == count => {
            Ok((ts.physical.cast_unsigned() << 18) + ts.logical.cast_unsigned())
        }
        _ => Err(Status::unavailable("an answer to another request")),
    }
}
