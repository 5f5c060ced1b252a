use bytes::Bytes;
use tidemark_model::{Span, Ts};
use tidemark_proto::kvrpcpb;
use tokio::time::Instant;

use super::call::Retry;
use super::status::Resolved;
use super::{KvClient, KvError};

/// Pairs asked for in one request.
const PAGE: usize = 512;

impl KvClient {
    /// The value of a key at a ts; `None` if it did not exist then.
    ///
    /// Waits for locks of live transactions where they could commit below the ts.
    pub async fn get(&self, key: &[u8], at: Ts) -> Result<Option<Bytes>, KvError> {
        const WHAT: &str = "KvGet";
        let mut retry = self.retry(WHAT, at);
        let mut seen = Resolved::default();
        loop {
            let tried = async {
                let target = self.target(key).await?;
                let context = seen.context(target.context.clone());
                let request = kvrpcpb::GetRequest {
                    context: Some(context),
                    key: Bytes::copy_from_slice(key),
                    version: at.0,
                    ..Default::default()
                };
                let mut grpc = target.grpc.clone();
                let answer = grpc.kv_get(request);
                let mut answer = self
                    .send(WHAT, &target, answer, |answer| answer.region_error.take())
                    .await?;
                match answer.error.take() {
                    None => Ok((!answer.not_found).then_some(answer.value)),
                    Some(error) => Err(self.unlock(WHAT, error, at, &mut seen).await),
                }
            };
            match Box::pin(tried).await {
                Ok(value) => return Ok(value),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    /// The pairs of a span at a ts in key order, at most `limit`; ask again from behind the last key for more.
    ///
    /// Waits for locks of live transactions where they could commit below the ts.
    pub async fn scan(&self, span: &Span, at: Ts, limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        let mut retry = self.retry("KvScan", at);
        let mut seen = Resolved::default();
        let mut pairs = Vec::new();
        let mut next = span.start.clone();
        while pairs.len() < limit && !Span::new(next.clone(), span.end.clone()).is_empty() {
            let page = PAGE.min(limit - pairs.len());
            let rest = Span::new(next.clone(), span.end.clone());
            match Box::pin(self.scan_page(&rest, at, page, &mut seen)).await {
                Err(error) => retry.pause(error).await?,
                Ok((found, reached)) => {
                    retry = self.retry("KvScan", at);
                    pairs.extend(found);
                    match reached {
                        Some(reached) => next = reached,
                        None => break,
                    }
                }
            }
        }
        Ok(pairs)
    }

    /// One page within one region, and where the next one begins (`None`: at the end of all keys).
    async fn scan_page(
        &self,
        span: &Span,
        at: Ts,
        page: usize,
        seen: &mut Resolved,
    ) -> Result<(Vec<(Bytes, Bytes)>, Option<Bytes>), KvError> {
        const WHAT: &str = "KvScan";
        let target = self.target(&span.start).await?;
        let part = span
            .intersect(&target.region.span)
            .unwrap_or_else(|| span.clone());
        let request = kvrpcpb::ScanRequest {
            context: Some(seen.context(target.context.clone())),
            start_key: part.start.clone(),
            end_key: part.end.clone(),
            limit: u32::try_from(page).unwrap_or(u32::MAX),
            version: at.0,
            ..Default::default()
        };
        let mut grpc = target.grpc.clone();
        let answer = grpc.kv_scan(request);
        let mut answer = self
            .send(WHAT, &target, answer, |answer| answer.region_error.take())
            .await?;
        let error = answer.error.take();
        if let Some(error) = error.or_else(|| answer.pairs.iter_mut().find_map(|pair| pair.error.take())) {
            return Err(self.unlock(WHAT, error, at, seen).await);
        }
        let next = match answer.pairs.last() {
            Some(last) if answer.pairs.len() >= page => Some(after(&last.key)),
            _ if part.end.is_empty() => None,
            _ => Some(part.end),
        };
        let found = answer
            .pairs
            .into_iter()
            .map(|pair| (pair.key, pair.value))
            .collect();
        Ok((found, next))
    }

    fn retry(&self, what: &'static str, at: Ts) -> Retry {
        Retry::new(what, Instant::now() + self.inner.config.deadline, at.0)
    }
}

/// The smallest key above the given one.
fn after(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}
