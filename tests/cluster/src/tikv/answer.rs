//! Where each response carries a region's error and the refusal of an API version.

use tidemark_proto::{errorpb, kvrpcpb};

use crate::engine::error::abort;

/// A response that can carry errors.
pub(crate) trait Answer: Default {
    /// A response with a region's error.
    fn of_region(error: errorpb::Error) -> Self;
    /// A response that refuses the client's API version.
    fn refused(text: String) -> Self;
}

macro_rules! answers {
    ($refuse:expr; $($name:ident),* $(,)?) => {$(
        impl Answer for kvrpcpb::$name {
            fn of_region(error: errorpb::Error) -> Self {
                Self { region_error: Some(error), ..Default::default() }
            }

            fn refused(text: String) -> Self {
                let mut response = Self::default();
                let refuse: fn(&mut Self, String) = $refuse;
                refuse(&mut response, text);
                response
            }
        }
    )*};
}

answers!(|response, text| response.error = Some(abort(text));
    GetResponse, ScanResponse, BatchGetResponse, CommitResponse, BatchRollbackResponse, CleanupResponse,
    TxnHeartBeatResponse, CheckTxnStatusResponse, CheckSecondaryLocksResponse, ScanLockResponse,
    ResolveLockResponse, BufferBatchGetResponse, GcResponse,
);
answers!(|response, text| response.errors = vec![abort(text)];
    PrewriteResponse, PessimisticLockResponse, PessimisticRollbackResponse, FlushResponse, SplitRegionResponse,
);
answers!(|response, text| response.error = text;
    DeleteRangeResponse, UnsafeDestroyRangeResponse, MvccGetByKeyResponse, RawGetResponse, RawPutResponse,
    RawDeleteResponse, RawBatchPutResponse, RawBatchDeleteResponse, RawDeleteRangeResponse, RawCasResponse,
    RawGetKeyTtlResponse,
);
answers!(|response, text| {
    response.pairs = vec![kvrpcpb::KvPair { error: Some(abort(text)), ..Default::default() }];
}; RawBatchGetResponse);
answers!(|response, text| {
    response.kvs = vec![kvrpcpb::KvPair { error: Some(abort(text)), ..Default::default() }];
}; RawScanResponse, RawBatchScanResponse);
