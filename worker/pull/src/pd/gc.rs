use std::time::Duration;

use bytes::Bytes;
use tidemark_model::Ts;
use tidemark_proto::pdpb;

use super::{PdClient, PdError};

impl PdClient {
    /// The ts below which history may be gone from TiKV.
    pub async fn gc_safe_point(&self) -> Result<Ts, PdError> {
        let header = self.header();
        let answer = self
            .call(
                "GetGCSafePoint",
                |mut grpc| {
                    let header = header.clone();
                    async move {
                        grpc.get_gc_safe_point(pdpb::GetGcSafePointRequest { header })
                            .await
                    }
                },
                |answer| answer.header.as_ref(),
            )
            .await?;
        Ok(Ts(answer.safe_point))
    }

    /// Keeps history from `ts` on, in the name of `id`, for `ttl` from now; replaces what that id kept before.
    ///
    /// Gives PD's minimum safe point. A value **above `ts`** means that the history is not protected:
    /// it may be gone already. That is no error to PD, so the caller must compare.
    pub async fn set_service_safe_point(&self, id: &str, ttl: Duration, ts: Ts) -> Result<Ts, PdError> {
        let seconds = i64::try_from(ttl.as_secs().max(1)).unwrap_or(i64::MAX);
        self.update_service_safe_point(id, seconds, ts).await
    }

    /// Gives up what `id` kept; gives PD's minimum safe point. An unknown id is no error.
    pub async fn delete_service_safe_point(&self, id: &str) -> Result<Ts, PdError> {
        self.update_service_safe_point(id, 0, Ts::MAX).await
    }

    async fn update_service_safe_point(&self, id: &str, ttl: i64, ts: Ts) -> Result<Ts, PdError> {
        let request = pdpb::UpdateServiceGcSafePointRequest {
            header: self.header(),
            service_id: Bytes::copy_from_slice(id.as_bytes()),
            ttl,
            safe_point: ts.0,
        };
        let answer = self
            .call(
                "UpdateServiceGCSafePoint",
                |mut grpc| {
                    let request = request.clone();
                    async move { grpc.update_service_gc_safe_point(request).await }
                },
                |answer| answer.header.as_ref(),
            )
            .await?;
        Ok(Ts(answer.min_safe_point))
    }
}
