//! Several commands in one message, answered together.

use std::time::Duration;

use tidemark_proto::tikvpb::batch_commands_request::{Request, request::Cmd as Ask};
use tidemark_proto::tikvpb::batch_commands_response::{Response, response::Cmd as Reply};
use tidemark_proto::tikvpb::{BatchCommandsEmptyResponse, BatchCommandsRequest, BatchCommandsResponse};

use crate::state::StoreHandle;

/// Answers every command of the message; the answers keep the ids.
pub(super) async fn answer(store: &StoreHandle, request: BatchCommandsRequest) -> BatchCommandsResponse {
    let mut responses = Vec::with_capacity(request.requests.len());
    for one in request.requests {
        responses.push(Response {
            cmd: one_answer(store, one).await,
        });
    }
    BatchCommandsResponse {
        responses,
        request_ids: request.request_ids,
        ..Default::default()
    }
}

async fn one_answer(store: &StoreHandle, request: Request) -> Option<Reply> {
    Some(match request.cmd? {
        Ask::Get(request) => Reply::Get(store.get(&request)),
        Ask::Scan(request) => Reply::Scan(store.scan(&request)),
        Ask::BatchGet(request) => Reply::BatchGet(store.batch_get(&request)),
        Ask::Prewrite(request) => Reply::Prewrite(store.prewrite(request)),
        Ask::Commit(request) => Reply::Commit(store.commit(&request)),
        Ask::BatchRollback(request) => Reply::BatchRollback(store.batch_rollback(&request)),
        Ask::Cleanup(request) => Reply::Cleanup(store.cleanup(&request)),
        Ask::PessimisticLock(request) => Reply::PessimisticLock(store.pessimistic_lock(&request)),
        Ask::PessimisticRollback(request) => Reply::PessimisticRollback(store.pessimistic_rollback(&request)),
        Ask::TxnHeartBeat(request) => Reply::TxnHeartBeat(store.heart_beat(&request)),
        Ask::CheckTxnStatus(request) => Reply::CheckTxnStatus(store.check_txn_status(&request)),
        Ask::CheckSecondaryLocks(request) => {
            Reply::CheckSecondaryLocks(store.check_secondary_locks(&request))
        }
        Ask::ScanLock(request) => Reply::ScanLock(store.scan_lock(request)),
        Ask::ResolveLock(request) => Reply::ResolveLock(store.resolve_lock(&request)),
        Ask::Gc(request) => Reply::Gc(store.collect_garbage(&request)),
        Ask::DeleteRange(request) => Reply::DeleteRange(store.delete_range(&request)),
        Ask::Flush(request) => Reply::Flush(store.flush(request)),
        Ask::BufferBatchGet(request) => Reply::BufferBatchGet(store.buffer_batch_get(&request)),
        Ask::RawGet(request) => Reply::RawGet(store.raw_get(&request)),
        Ask::RawPut(request) => Reply::RawPut(store.raw_put(request)),
        Ask::RawDelete(request) => Reply::RawDelete(store.raw_delete(&request)),
        Ask::RawBatchGet(request) => Reply::RawBatchGet(store.raw_batch_get(&request)),
        Ask::RawBatchPut(request) => Reply::RawBatchPut(store.raw_batch_put(request)),
        Ask::RawBatchDelete(request) => Reply::RawBatchDelete(store.raw_batch_delete(&request)),
        Ask::RawScan(request) => Reply::RawScan(store.raw_scan(&request)),
        Ask::RawDeleteRange(request) => Reply::RawDeleteRange(store.raw_delete_range(&request)),
        Ask::GetHealthFeedback(request) => Reply::GetHealthFeedback(store.health_feedback(&request)),
        Ask::Empty(request) => {
            tokio::time::sleep(Duration::from_millis(request.delay_time)).await;
            Reply::Empty(BatchCommandsEmptyResponse {
                test_id: request.test_id,
            })
        }
    })
}
