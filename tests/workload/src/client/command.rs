use std::future::Future;

use tidemark_proto::errorpb;
use tidemark_proto::kvrpcpb::{self as kv, Context};
use tidemark_proto::tikvpb::tikv_client::TikvClient;
use tonic::Status;
use tonic::transport::Channel;

/// A command to the leader of a region.
pub(crate) trait Command: Clone + Send + Sync + 'static {
    /// What the leader answers.
    type Reply: Send + 'static;
    /// The method's name, for messages.
    const NAME: &'static str;

    /// Says which region it is for.
    fn set_context(&mut self, context: Context);
    /// Takes the answer's region error, if it has one.
    fn region_error(reply: &mut Self::Reply) -> Option<errorpb::Error>;
    /// Calls the store.
    fn send(self, client: TikvClient<Channel>) -> impl Future<Output = Result<Self::Reply, Status>> + Send;
}

macro_rules! commands {
    ($($request:ident, $reply:ident, $method:ident;)*) => {$(
        impl Command for kv::$request {
            type Reply = kv::$reply;
            const NAME: &'static str = stringify!($method);

            fn set_context(&mut self, context: Context) {
                self.context = Some(context);
            }

            fn region_error(reply: &mut Self::Reply) -> Option<errorpb::Error> {
                reply.region_error.take()
            }

            async fn send(self, mut client: TikvClient<Channel>) -> Result<Self::Reply, Status> {
                client.$method(self).await.map(tonic::Response::into_inner)
            }
        }
    )*};
}

commands! {
    GetRequest, GetResponse, kv_get;
    ScanRequest, ScanResponse, kv_scan;
    PrewriteRequest, PrewriteResponse, kv_prewrite;
    CommitRequest, CommitResponse, kv_commit;
    CleanupRequest, CleanupResponse, kv_cleanup;
    BatchRollbackRequest, BatchRollbackResponse, kv_batch_rollback;
    PessimisticLockRequest, PessimisticLockResponse, kv_pessimistic_lock;
    PessimisticRollbackRequest, PessimisticRollbackResponse, kv_pessimistic_rollback;
    CheckTxnStatusRequest, CheckTxnStatusResponse, kv_check_txn_status;
    CheckSecondaryLocksRequest, CheckSecondaryLocksResponse, kv_check_secondary_locks;
    ResolveLockRequest, ResolveLockResponse, kv_resolve_lock;
    ScanLockRequest, ScanLockResponse, kv_scan_lock;
    MvccGetByKeyRequest, MvccGetByKeyResponse, mvcc_get_by_key;
}
