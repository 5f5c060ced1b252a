use std::sync::atomic::Ordering;

use bytes::Bytes;
use tidemark_model::Span;
use tidemark_proto::{metapb, pdpb};

use super::{PdClient, PdError};
use crate::keys::{decode_bound, encode_end, encode_key};

/// A region, with its bounds as user keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its id.
    pub id: u64,
    /// Its range in user keys; an empty end means "to the last key".
    pub span: Span,
    /// Grows with each split and merge, and with each change of peers.
    pub epoch: metapb::RegionEpoch,
    /// The leader, if known.
    pub leader: Option<metapb::Peer>,
    /// All replicas.
    pub peers: Vec<metapb::Peer>,
}

impl Region {
    /// Reads PD's or TiKV's form; a leader without an id is none.
    pub(crate) fn from_meta(meta: metapb::Region, leader: Option<metapb::Peer>) -> Self {
        Self {
            id: meta.id,
            span: Span::new(decode_bound(&meta.start_key), decode_bound(&meta.end_key)),
            epoch: meta.region_epoch.unwrap_or_default(),
            leader: leader.filter(|peer| peer.store_id != 0),
            peers: meta.peers,
        }
    }
}

impl PdClient {
    /// The regions that overlap the given spans (of user keys, ascending and disjoint), ascending.
    ///
    /// At most `limit` (0: all) are given; a hole in the answer means that PD doesn't know that range now.
    pub async fn regions(&self, spans: &[Span], limit: usize) -> Result<Vec<Region>, PdError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        if !self.inner.no_batch_scan.load(Ordering::Relaxed) {
            match self.batch_scan(spans, limit).await {
                Err(PdError::Unimplemented { .. }) => {
                    self.inner.no_batch_scan.store(true, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        let mut regions: Vec<Region> = Vec::new();
        for span in spans {
            let left = limit - i32::try_from(regions.len()).unwrap_or(i32::MAX);
            if limit > 0 && left <= 0 {
                break;
            }
            let known = regions.last().map(|region| region.id);
            let more = self.scan_regions(span, if limit > 0 { left } else { 0 }).await?;
            regions.extend(more.into_iter().filter(|region| Some(region.id) != known));
        }
        Ok(regions)
    }

    /// The region that holds the key.
    pub async fn region_of(&self, key: &[u8]) -> Result<Option<Region>, PdError> {
        let request = pdpb::GetRegionRequest {
            header: self.header(),
            region_key: encode_key(key),
            need_buckets: false,
        };
        let answer = self
            .call(
                "GetRegion",
                |mut grpc| {
                    let request = request.clone();
                    async move { grpc.get_region(request).await }
                },
                |answer| answer.header.as_ref(),
            )
            .await?;
        Ok(answer.region.map(|meta| Region::from_meta(meta, answer.leader)))
    }

    async fn batch_scan(&self, spans: &[Span], limit: i32) -> Result<Vec<Region>, PdError> {
        let request = pdpb::BatchScanRegionsRequest {
            header: self.header(),
            ranges: spans
                .iter()
                .map(|span| pdpb::KeyRange {
                    start_key: start_of(span),
                    end_key: encode_end(&span.end),
                })
                .collect(),
            limit,
            ..Default::default()
        };
        let answer = self
            .call(
                "BatchScanRegions",
                |mut grpc| {
                    let request = request.clone();
                    async move { grpc.batch_scan_regions(request).await }
                },
                |answer| answer.header.as_ref(),
            )
            .await?;
        Ok(read(answer.regions))
    }

    async fn scan_regions(&self, span: &Span, limit: i32) -> Result<Vec<Region>, PdError> {
        let request = pdpb::ScanRegionsRequest {
            header: self.header(),
            start_key: start_of(span),
            limit,
            end_key: encode_end(&span.end),
        };
        let answer = self
            .call(
                "ScanRegions",
                |mut grpc| {
                    let request = request.clone();
                    async move { grpc.scan_regions(request).await }
                },
                |answer| answer.header.as_ref(),
            )
            .await?;
        if answer.regions.is_empty() {
            let leaders = answer
                .leaders
                .into_iter()
                .map(Some)
                .chain(std::iter::repeat(None));
            let pairs = answer.region_metas.into_iter().zip(leaders);
            return Ok(pairs
                .map(|(meta, leader)| Region::from_meta(meta, leader))
                .collect());
        }
        Ok(read(answer.regions))
    }
}

/// Minus infinity stays empty; anything else is encoded.
fn start_of(span: &Span) -> Bytes {
    encode_end(&span.start)
}

fn read(regions: Vec<pdpb::Region>) -> Vec<Region> {
    let mut read: Vec<Region> = regions
        .into_iter()
        .filter_map(|region| Some(Region::from_meta(region.region?, region.leader)))
        .collect();
    read.sort_by(|a, b| a.span.start.cmp(&b.span.start));
    read
}
