use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tidemark_proto::pdpb;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::{Grpc, MAX_MESSAGE, PdError, RETRY_PAUSE, error};
use crate::channel::Connector;

/// Longest wait for one member to say who leads.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(2);

/// The members of PD, and which of them leads.
#[derive(Clone, Debug)]
pub(super) struct Members {
    shared: Arc<Shared>,
    cluster_id: u64,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// As configured; always tried along with what the members tell of themselves.
    endpoints: Vec<String>,
    connector: Connector,
    expect_cluster: Option<u64>,
    state: Mutex<State>,
    /// One discovery at a time; the others wait for its result.
    discovery: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    leader: Option<Leader>,
    known: Vec<String>,
    channels: BTreeMap<String, Channel>,
}

/// The member that answers calls.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    pub(super) url: String,
    channel: Channel,
}

impl Leader {
    pub(super) fn grpc(&self) -> Grpc {
        grpc(self.channel.clone())
    }
}

fn grpc(channel: Channel) -> Grpc {
    Grpc::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

impl Members {
    pub(super) fn new(shared: Arc<Shared>, cluster_id: u64) -> Self {
        Self { shared, cluster_id }
    }

    /// Asks the endpoints until one names a leader; gives the members and the cluster id.
    pub(super) async fn discover(
        endpoints: &[String],
        connector: Connector,
        expect_cluster: Option<u64>,
        deadline: Duration,
    ) -> Result<(Arc<Shared>, u64), PdError> {
        let shared = Arc::new(Shared {
            endpoints: endpoints.to_vec(),
            connector,
            expect_cluster,
            state: Mutex::default(),
            discovery: tokio::sync::Mutex::new(()),
        });
        let end = Instant::now() + deadline;
        loop {
            let tried = tokio::time::timeout_at(end, shared.find_leader(expect_cluster)).await;
            match tried.unwrap_or(Err(PdError::Deadline { what: "GetMembers" })) {
                Ok(cluster_id) => return Ok((shared, cluster_id)),
                Err(error) if !error.is_retryable() || Instant::now() + RETRY_PAUSE >= end => {
                    return Err(error);
                }
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    pub(super) fn header(&self) -> Option<pdpb::RequestHeader> {
        Some(pdpb::RequestHeader {
            cluster_id: self.cluster_id,
            caller_id: "tidemark".to_owned(),
            caller_component: "tidemark".to_owned(),
            ..Default::default()
        })
    }

    /// The leader, looked for if it is not known.
    pub(super) async fn leader(&self) -> Result<Leader, PdError> {
        if let Some(leader) = self.shared.state.lock().leader.clone() {
            return Ok(leader);
        }
        let _one = self.shared.discovery.lock().await;
        if let Some(leader) = self.shared.state.lock().leader.clone() {
            return Ok(leader);
        }
        let expect = self.shared.expect_cluster.unwrap_or(self.cluster_id);
        self.shared.find_leader(Some(expect)).await?;
        let leader = self.shared.state.lock().leader.clone();
        leader.ok_or_else(|| PdError::NoLeader {
            message: "it went as soon as it was found".to_owned(),
        })
    }

    /// Looks for the leader anew before the next call, unless that has been done already.
    pub(super) fn suspect(&self, leader: &Leader) {
        let mut state = self.shared.state.lock();
        if state.leader.as_ref().is_some_and(|known| known.url == leader.url) {
            state.leader = None;
        }
    }
}

impl Shared {
    /// Asks all members at once who leads; the first answer that names a leader wins.
    async fn find_leader(&self, expect: Option<u64>) -> Result<u64, PdError> {
        let mut urls = self.endpoints.clone();
        for url in self.state.lock().known.iter() {
            if !urls.contains(url) {
                urls.push(url.clone());
            }
        }
        let mut answers: FuturesUnordered<_> = urls.iter().map(|url| self.ask(url)).collect();
        let mut last = PdError::NoEndpoint;
        while let Some(answer) = answers.next().await {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let cluster_id = answer.header.as_ref().map_or(0, |header| header.cluster_id);
            if let Some(expected) = expect.filter(|expected| *expected != cluster_id) {
                return Err(PdError::WrongCluster {
                    expected: expected.to_string(),
                    actual: cluster_id.to_string(),
                });
            }
            let leader = answer
                .leader
                .as_ref()
                .and_then(|leader| leader.client_urls.first());
            match leader {
                Some(url) => {
                    let channel = self.channel(url)?;
                    let mut state = self.state.lock();
                    state.known = answer
                        .members
                        .iter()
                        .flat_map(|member| member.client_urls.iter().cloned())
                        .collect();
                    state.leader = Some(Leader {
                        url: url.clone(),
                        channel,
                    });
                    return Ok(cluster_id);
                }
                None => {
                    last = PdError::NoLeader {
                        message: "its members are electing one".to_owned(),
                    };
                }
            }
        }
        Err(match last {
            PdError::Transport { message, .. } => PdError::Unreachable {
                endpoints: self.endpoints.join(", "),
                last: message,
            },
            error => error,
        })
    }

    async fn ask(&self, url: &str) -> Result<pdpb::GetMembersResponse, PdError> {
        const WHAT: &str = "GetMembers";
        let channel = self.channel(url)?;
        let request = pdpb::GetMembersRequest::default();
        match tokio::time::timeout(MEMBER_TIMEOUT, grpc(channel).get_members(request)).await {
            Ok(Ok(response)) => {
                let response = response.into_inner();
                error::of_header(WHAT, response.header.as_ref()).map_or(Ok(response), Err)
            }
            Ok(Err(status)) => Err(error::of_status(WHAT, url, &status)),
            Err(_) => Err(PdError::Transport {
                what: WHAT,
                endpoint: url.to_owned(),
                message: format!("no answer within {MEMBER_TIMEOUT:?}"),
            }),
        }
    }

    fn channel(&self, url: &str) -> Result<Channel, PdError> {
        let mut state = self.state.lock();
        if let Some(channel) = state.channels.get(url) {
            return Ok(channel.clone());
        }
        let channel = self.connector.channel(url).map_err(|source| PdError::Endpoint {
            endpoint: url.to_owned(),
            source,
        })?;
        state.channels.insert(url.to_owned(), channel.clone());
        Ok(channel)
    }
}
