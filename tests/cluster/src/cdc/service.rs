//! The gRPC side: streams of a client.

use std::pin::Pin;
use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt};
use tidemark_proto::cdcpb::change_data_server::{ChangeData, ChangeDataServer};
use tidemark_proto::cdcpb::{ChangeDataEvent, ChangeDataRequest};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

use super::endpoint::Endpoint;
use super::outbox::Outbox;
use super::registration::Session;
use super::version;
use crate::state::StoreHandle;

/// The metadata key in which clients of `EventFeedV2` name the features they want.
const FEATURES: &str = "features";

type Events = Pin<Box<dyn Stream<Item = Result<ChangeDataEvent, Status>> + Send + 'static>>;

/// The ChangeData service of one store.
#[derive(Clone, Debug)]
pub struct CdcService {
    endpoint: Arc<Endpoint>,
}

impl CdcService {
    /// Starts the change feed of a store; it becomes the observer of its regions and lives until it is replaced.
    /// Must be called inside a tokio runtime.
    pub fn start(store: StoreHandle) -> Self {
        let config = &store.state.config;
        let (cdc, interval) = (config.cdc.clone(), config.resolved_ts_interval);
        Self {
            endpoint: Endpoint::start(store, cdc, interval),
        }
    }

    /// The service for a gRPC server. Messages of any size are sent, as TiKV does.
    pub fn into_server(self) -> ChangeDataServer<Self> {
        ChangeDataServer::new(self).max_encoding_message_size(usize::MAX)
    }

    fn open(&self, requests: Streaming<ChangeDataRequest>, multiplexing: bool) -> Events {
        let faults = self.endpoint.store.stream_faults();
        let outbox = Arc::new(Outbox::new(self.endpoint.config(), faults.clone()));
        let session = Session::new(Arc::clone(&self.endpoint), Arc::clone(&outbox), multiplexing);
        let gone = CancellationToken::new();
        let guard = gone.clone().drop_guard();
        let dropped = faults.dropped();
        let breaking = Arc::clone(&outbox);
        let broken = async move {
            dropped.await;
            breaking.end(Err(Status::unavailable("error reading from server: EOF")));
        };
        // The task ends with the client's requests, with its answers, or when a test breaks the stream.
        tokio::spawn(async move {
            tokio::select! {
                () = serve(requests, session) => {}
                () = gone.cancelled() => {}
                () = broken => {}
            }
        });
        answers(outbox, guard)
    }
}

/// Takes requests until the client ends the stream or breaks its rules.
async fn serve(mut requests: Streaming<ChangeDataRequest>, mut session: Session) {
    while let Some(Ok(request)) = requests.next().await {
        if let Err(status) = session.handle(&request) {
            session.end(status);
            return;
        }
    }
}

/// The outgoing messages; the guard tells when nobody takes them any more.
fn answers(outbox: Arc<Outbox>, guard: DropGuard) -> Events {
    let messages = stream::unfold((outbox, guard), |(outbox, guard)| async move {
        let message = outbox.next().await?;
        Some((message, (outbox, guard)))
    });
    Box::pin(messages)
}

#[tonic::async_trait]
impl ChangeData for CdcService {
    type EventFeedStream = Events;

    async fn event_feed(
        &self,
        request: Request<Streaming<ChangeDataRequest>>,
    ) -> Result<Response<Events>, Status> {
        Ok(Response::new(self.open(request.into_inner(), false)))
    }

    type EventFeedV2Stream = Events;

    async fn event_feed_v2(
        &self,
        request: Request<Streaming<ChangeDataRequest>>,
    ) -> Result<Response<Events>, Status> {
        if !self.endpoint.config().v2 {
            return Err(Status::unimplemented(""));
        }
        let features = request
            .metadata()
            .get(FEATURES)
            .and_then(|value| value.to_str().ok());
        let multiplexing =
            version::multiplexing(features.unwrap_or_default()).map_err(Status::unimplemented)?;
        Ok(Response::new(self.open(request.into_inner(), multiplexing)))
    }
}
