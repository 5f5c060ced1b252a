use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::Stream;
use parking_lot::Mutex;
use tidemark_proto::peerspb::peers_server::{Peers, PeersServer};
use tidemark_proto::peerspb::{FromMember, FromOwner, from_member, from_owner};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::client::{ALIVE_EVERY, ALIVE_WITHIN, MESSAGE_BYTES};
use super::tls::PeerTls;
use crate::error::{FeedError, chain};

/// Messages that wait for one member; one that doesn't read them is dropped.
const MESSAGES: usize = 256;
/// Messages of all members that wait for the owner.
const ARRIVALS: usize = 1024;

/// The owner's way to one member.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Names the stream.
    pub(crate) number: u64,
    send: mpsc::Sender<Result<FromOwner, Status>>,
    closed: CancellationToken,
}

impl Link {
    /// Ends the stream, so that the member connects anew.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Sends a message; `false` where the member is gone or doesn't read.
    pub(crate) fn send(&self, message: from_owner::Message) -> bool {
        let message = FromOwner {
            message: Some(message),
        };
        self.send.try_send(Ok(message)).is_ok()
    }
}

/// What comes from members.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A message of a stream, the first with the way back.
    Message(Link, Box<from_member::Message>),
    /// A stream has ended.
    Gone(u64),
}

/// Where members ask for the owner: open only while this worker owns the feed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door(Arc<Mutex<Option<mpsc::Sender<Arrival>>>>);

impl Door {
    /// Opens it; members of an owner before are turned away.
    pub(crate) fn open(&self) -> mpsc::Receiver<Arrival> {
        let (send, arrivals) = mpsc::channel(ARRIVALS);
        *self.0.lock() = Some(send);
        arrivals
    }

    /// Shuts it.
    pub(crate) fn shut(&self) {
        *self.0.lock() = None;
    }

    fn owner(&self) -> Option<mpsc::Sender<Arrival>> {
        self.0.lock().clone()
    }
}

struct Service {
    door: Door,
    numbers: AtomicU64,
}

type Answers = Pin<Box<dyn Stream<Item = Result<FromOwner, Status>> + Send>>;

#[tonic::async_trait]
impl Peers for Service {
    type JoinStream = Answers;

    async fn join(&self, request: Request<Streaming<FromMember>>) -> Result<Response<Answers>, Status> {
        let Some(owner) = self.door.owner() else {
            return Err(Status::failed_precondition("this worker doesn't own the feed"));
        };
        let (send, answers) = mpsc::channel(MESSAGES);
        let link = Link {
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            send,
            closed: CancellationToken::new(),
        };
        tokio::spawn(pass_on(request.into_inner(), link, owner));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

/// Passes a member's messages to the owner until either ends.
async fn pass_on(mut messages: Streaming<FromMember>, link: Link, owner: mpsc::Sender<Arrival>) {
    loop {
        let next = tokio::select! {
            next = messages.message() => next,
            () = owner.closed() => break,
            () = link.send.closed() => break,
            () = link.closed.cancelled() => break,
        };
        let Ok(Some(message)) = next else { break };
        let Some(message) = message.message else { continue };
        if owner
            .send(Arrival::Message(link.clone(), Box::new(message)))
            .await
            .is_err()
        {
            break;
        }
    }
    let _ = owner.send(Arrival::Gone(link.number)).await;
}

/// Serves members on `address`; returns the address that was bound. Ends with the runtime.
pub(crate) async fn serve(address: SocketAddr, tls: &PeerTls, door: Door) -> Result<SocketAddr, FeedError> {
    let failed =
        |error: &dyn std::error::Error| FeedError::Stopped(format!("--listen: {address}: {}", chain(error)));
    let listener = TcpListener::bind(address).await.map_err(|error| failed(&error))?;
    let bound = listener.local_addr().map_err(|error| failed(&error))?;
    let service = PeersServer::new(Service {
        door,
        numbers: AtomicU64::new(1),
    });
    let service = service
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    let router = Server::builder()
        .tls_config(tls.server()?)
        .map_err(|error| failed(&error))?
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(ALIVE_EVERY))
        .http2_keepalive_timeout(Some(ALIVE_WITHIN))
        .add_service(service);
    tokio::spawn(async move {
        if let Err(error) = router.serve_with_incoming(TcpListenerStream::new(listener)).await {
            tracing::error!(error = chain(&error), "The server for other workers ended");
        }
    });
    Ok(bound)
}
