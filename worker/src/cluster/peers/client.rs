use std::net::SocketAddr;
use std::time::Duration;

use tidemark_proto::peerspb::peers_client::PeersClient;
use tidemark_proto::peerspb::{FromMember, FromOwner, from_member};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Streaming};

use super::tls::PeerTls;
use crate::error::{FeedError, chain};

/// How long the owner may take to answer the connection.
const CONNECT: Duration = Duration::from_secs(2);
/// A peer that is stopped or cut off keeps its connection: it is asked so often for a sign of life.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// How long the sign may take.
pub(super) const ALIVE_WITHIN: Duration = Duration::from_secs(2);
/// Messages that wait to be sent.
const MESSAGES: usize = 256;
/// A Hello of 100,000 spans takes about 10 MiB.
pub(super) const MESSAGE_BYTES: usize = 64 << 20;

/// Why a member couldn't join.
#[derive(Debug)]
pub(crate) enum JoinError {
    /// The worker at that address doesn't own the feed, or not yet.
    NotOwner,
    /// It doesn't answer.
    Unreachable(FeedError),
}

/// A member's stream to its owner.
pub(crate) struct Joined {
    send: mpsc::Sender<FromMember>,
    pub(crate) from_owner: Streaming<FromOwner>,
}

impl Joined {
    /// Sends a message; fails where the connection has ended or is stuck.
    pub(crate) fn send(&self, message: from_member::Message) -> Result<(), FeedError> {
        let message = FromMember {
            message: Some(message),
        };
        let gone = |_| FeedError::Unavailable("the connection to the owner has ended or is stuck".into());
        self.send.try_send(message).map_err(gone)
    }
}

/// Connects to the owner at `address` and says `hello`.
pub(crate) async fn join(
    address: SocketAddr,
    tls: &PeerTls,
    hello: from_member::Message,
) -> Result<Joined, JoinError> {
    let failed = |error: &dyn std::error::Error| {
        JoinError::Unreachable(FeedError::Unavailable(format!(
            "owner at {address}: {}",
            chain(error)
        )))
    };
    let security = tls.client().map_err(JoinError::Unreachable)?;
    let endpoint = Endpoint::from_shared(format!("https://{address}"))
        .and_then(|endpoint| endpoint.tls_config(security))
        .map_err(|error| failed(&error))?;
    let endpoint = endpoint
        .tcp_nodelay(true)
        .http2_keep_alive_interval(ALIVE_EVERY)
        .keep_alive_timeout(ALIVE_WITHIN)
        .keep_alive_while_idle(true);
    // A stopped process still has a kernel that takes connections, so the handshake counts too.
    let channel = match timeout(CONNECT, endpoint.connect()).await {
        Err(late) => return Err(failed(&late)),
        Ok(connected) => connected.map_err(|error| failed(&error))?,
    };
    let mut client = PeersClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    let (send, messages) = mpsc::channel(MESSAGES);
    let first = FromMember { message: Some(hello) };
    // The channel is empty.
    let _ = send.try_send(first);
    let answer = timeout(CONNECT, client.join(ReceiverStream::new(messages))).await;
    match answer {
        Err(late) => Err(failed(&late)),
        Ok(Err(status)) if status.code() == Code::FailedPrecondition => Err(JoinError::NotOwner),
        Ok(Err(status)) => Err(failed(&status)),
        Ok(Ok(answer)) => Ok(Joined {
            send,
            from_owner: answer.into_inner(),
        }),
    }
}
