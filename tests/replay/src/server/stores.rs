use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tidemark_proto::cdcpb::change_data_request::Request as Kind;
use tidemark_proto::cdcpb::change_data_server::ChangeData;
use tidemark_proto::cdcpb::{ChangeDataEvent, ChangeDataRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::player::Player;

/// The change data service of one store.
pub(super) struct Store {
    pub(super) store: u64,
    pub(super) player: Arc<Player>,
}

type Events = Pin<Box<dyn Stream<Item = Result<ChangeDataEvent, Status>> + Send>>;

#[tonic::async_trait]
impl ChangeData for Store {
    type EventFeedStream = Events;
    type EventFeedV2Stream = Events;

    async fn event_feed(
        &self,
        request: Request<Streaming<ChangeDataRequest>>,
    ) -> Result<Response<Self::EventFeedStream>, Status> {
        Ok(self.serve(request.into_inner()))
    }

    async fn event_feed_v2(
        &self,
        request: Request<Streaming<ChangeDataRequest>>,
    ) -> Result<Response<Self::EventFeedV2Stream>, Status> {
        if !self.player.v2() {
            return Err(Status::unimplemented("unknown method EventFeedV2"));
        }
        Ok(self.serve(request.into_inner()))
    }
}

impl Store {
    fn serve(&self, mut requests: Streaming<ChangeDataRequest>) -> Response<Events> {
        let (sender, events) = mpsc::channel(64);
        let (store, player) = (self.store, Arc::clone(&self.player));
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if let Some(Kind::Deregister(_)) = request.request {
                    player.deregister(&request, &sender).await;
                } else {
                    player.register(store, None, &request, &sender).await;
                }
            }
            player.stream_ended(&sender);
        });
        Response::new(Box::pin(ReceiverStream::new(events)))
    }
}
