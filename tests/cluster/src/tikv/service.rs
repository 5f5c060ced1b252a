//! The Tikv gRPC service of one store: each call to its command.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tidemark_proto::kvrpcpb as pb;
use tidemark_proto::tikvpb::{BatchCommandsRequest, BatchCommandsResponse, tikv_server::Tikv};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::state::StoreHandle;
use crate::tikv::batch;

/// Batches of answers that may wait for a slow client.
const QUEUE: usize = 64;

impl StoreHandle {
    pub(crate) fn health_feedback(&self, _: &pb::GetHealthFeedbackRequest) -> pb::GetHealthFeedbackResponse {
        pb::GetHealthFeedbackResponse {
            health_feedback: Some(pb::HealthFeedback {
                store_id: self.store_id,
                feedback_seq_no: 1,
                slow_score: 1,
            }),
            ..Default::default()
        }
    }
}

/// Calls that answer at once.
macro_rules! unary {
    ($($rpc:ident($request:ident) -> $response:ident = |$store:ident, $value:ident| $run:expr;)*) => {
        #[tonic::async_trait]
        impl Tikv for StoreHandle {
            $(
                async fn $rpc(
                    &self,
                    request: Request<pb::$request>,
                ) -> Result<Response<pb::$response>, Status> {
                    let ($store, $value) = (self, request.into_inner());
                    Ok(Response::new($run))
                }
            )*

            type BatchCommandsStream =
                Pin<Box<dyn Stream<Item = Result<BatchCommandsResponse, Status>> + Send + 'static>>;

            async fn batch_commands(
                &self,
                request: Request<Streaming<BatchCommandsRequest>>,
            ) -> Result<Response<Self::BatchCommandsStream>, Status> {
                let mut requests = request.into_inner();
                let (sender, receiver) = mpsc::channel(QUEUE);
                let store = self.clone();
                // The task ends with the client's stream, or when nobody takes the answers any more.
                tokio::spawn(async move {
                    while let Some(Ok(request)) = requests.next().await {
                        let response = batch::answer(&store, request).await;
                        if sender.send(Ok(response)).await.is_err() {
                            break;
                        }
                    }
                });
                Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
            }
        }
    };
}

unary! {
    kv_get(GetRequest) -> GetResponse = |store, request| store.get(&request);
    kv_scan(ScanRequest) -> ScanResponse = |store, request| store.scan(&request);
    kv_batch_get(BatchGetRequest) -> BatchGetResponse = |store, request| store.batch_get(&request);
    kv_prewrite(PrewriteRequest) -> PrewriteResponse = |store, request| store.prewrite(request);
    kv_commit(CommitRequest) -> CommitResponse = |store, request| store.commit(&request);
    kv_batch_rollback(BatchRollbackRequest) -> BatchRollbackResponse = |store, request| store.batch_rollback(&request);
    kv_cleanup(CleanupRequest) -> CleanupResponse = |store, request| store.cleanup(&request);
    kv_pessimistic_lock(PessimisticLockRequest) -> PessimisticLockResponse = |store, request| store.pessimistic_lock(&request);
    kv_pessimistic_rollback(PessimisticRollbackRequest) -> PessimisticRollbackResponse = |store, request| store.pessimistic_rollback(&request);
    kv_txn_heart_beat(TxnHeartBeatRequest) -> TxnHeartBeatResponse = |store, request| store.heart_beat(&request);
    kv_check_txn_status(CheckTxnStatusRequest) -> CheckTxnStatusResponse = |store, request| store.check_txn_status(&request);
    kv_check_secondary_locks(CheckSecondaryLocksRequest) -> CheckSecondaryLocksResponse = |store, request| store.check_secondary_locks(&request);
    kv_scan_lock(ScanLockRequest) -> ScanLockResponse = |store, request| store.scan_lock(request);
    kv_resolve_lock(ResolveLockRequest) -> ResolveLockResponse = |store, request| store.resolve_lock(&request);
    kv_gc(GcRequest) -> GcResponse = |store, request| store.collect_garbage(&request);
    kv_delete_range(DeleteRangeRequest) -> DeleteRangeResponse = |store, request| store.delete_range(&request);
    kv_flush(FlushRequest) -> FlushResponse = |store, request| store.flush(request);
    kv_buffer_batch_get(BufferBatchGetRequest) -> BufferBatchGetResponse = |store, request| store.buffer_batch_get(&request);
    raw_get(RawGetRequest) -> RawGetResponse = |store, request| store.raw_get(&request);
    raw_put(RawPutRequest) -> RawPutResponse = |store, request| store.raw_put(request);
    raw_delete(RawDeleteRequest) -> RawDeleteResponse = |store, request| store.raw_delete(&request);
    raw_batch_get(RawBatchGetRequest) -> RawBatchGetResponse = |store, request| store.raw_batch_get(&request);
    raw_batch_put(RawBatchPutRequest) -> RawBatchPutResponse = |store, request| store.raw_batch_put(request);
    raw_batch_delete(RawBatchDeleteRequest) -> RawBatchDeleteResponse = |store, request| store.raw_batch_delete(&request);
    raw_scan(RawScanRequest) -> RawScanResponse = |store, request| store.raw_scan(&request);
    raw_delete_range(RawDeleteRangeRequest) -> RawDeleteRangeResponse = |store, request| store.raw_delete_range(&request);
    raw_batch_scan(RawBatchScanRequest) -> RawBatchScanResponse = |store, request| store.raw_batch_scan(&request);
    raw_compare_and_swap(RawCasRequest) -> RawCasResponse = |store, request| store.raw_compare_and_swap(request);
    raw_get_key_ttl(RawGetKeyTtlRequest) -> RawGetKeyTtlResponse = |store, request| store.raw_get_key_ttl(&request);
    unsafe_destroy_range(UnsafeDestroyRangeRequest) -> UnsafeDestroyRangeResponse = |store, request| store.unsafe_destroy_range(&request);
    split_region(SplitRegionRequest) -> SplitRegionResponse = |store, request| store.split_region(&request);
    mvcc_get_by_key(MvccGetByKeyRequest) -> MvccGetByKeyResponse = |store, request| store.mvcc_get_by_key(&request);
    get_health_feedback(GetHealthFeedbackRequest) -> GetHealthFeedbackResponse = |store, request| store.health_feedback(&request);
}
