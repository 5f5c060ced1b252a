//! Raw commands.

use tidemark_proto::kvrpcpb::{self as pb, KvPair};

use crate::state::StoreHandle;

impl StoreHandle {
    pub(crate) fn raw_get(&self, request: &pb::RawGetRequest) -> pb::RawGetResponse {
        self.on_region(request.context.as_ref(), |_, region| {
            region.check_raw_key(&request.key)?;
            let value = region.data.raw_get(&request.cf, &request.key);
            Ok(pb::RawGetResponse {
                not_found: value.is_none(),
                value: value.cloned().unwrap_or_default(),
                ..Default::default()
            })
        })
    }

    pub(crate) fn raw_get_key_ttl(&self, request: &pb::RawGetKeyTtlRequest) -> pb::RawGetKeyTtlResponse {
        self.on_region(request.context.as_ref(), |_, region| {
            region.check_raw_key(&request.key)?;
            Ok(pb::RawGetKeyTtlResponse {
                not_found: region.data.raw_get(&request.cf, &request.key).is_none(),
                ..Default::default()
            })
        })
    }

    pub(crate) fn raw_batch_get(&self, request: &pb::RawBatchGetRequest) -> pb::RawBatchGetResponse {
        self.on_region(request.context.as_ref(), |_, region| {
            region.check_raw_keys(request.keys.iter())?;
            let pairs = request.keys.iter().filter_map(|key| {
                let value = region.data.raw_get(&request.cf, key)?.clone();
                Some(KvPair {
                    key: key.clone(),
                    value,
                    ..Default::default()
                })
            });
            Ok(pb::RawBatchGetResponse {
                pairs: pairs.collect(),
                ..Default::default()
            })
        })
    }

    pub(crate) fn raw_put(&self, request: pb::RawPutRequest) -> pb::RawPutResponse {
        let context = request.context;
        self.on_region(context.as_ref(), |_, region| {
            region.check_raw_key(&request.key)?;
            let error = ttl_refusal(request.ttl);
            if error.is_empty() {
                region.data.raw_put(&request.cf, request.key, request.value);
            }
            Ok(pb::RawPutResponse {
                error,
                ..Default::default()
            })
        })
    }

    pub(crate) fn raw_batch_put(&self, request: pb::RawBatchPutRequest) -> pb::RawBatchPutResponse {
        let context = request.context;
        self.on_region(context.as_ref(), |_, region| {
            region.check_raw_keys(request.pairs.iter().map(|pair| &pair.key))?;
            let error = ttl_refusal(request.ttls.iter().copied().max().unwrap_or(request.ttl));
            if error.is_empty() {
                for pair in request.pairs {
                    region.data.raw_put(&request.cf, pair.key, pair.value);
                }
            }
            Ok(pb::RawBatchPutResponse {
                error,
                ..Default::default()
            })
        })
    }

    pub(crate) fn raw_delete(&self, request: &pb::RawDeleteRequest) -> pb::RawDeleteResponse {
        self.on_region(request.context.as_ref(), |_, region| {
            region.check_raw_key(&request.key)?;
            region.data.raw_delete(&request.cf, &request.key);
            Ok(pb::RawDeleteResponse::default())
        })
    }

    pub(crate) fn raw_batch_delete(&self, request: &pb::RawBatchDeleteRequest) -> pb::RawBatchDeleteResponse {
        self.on_region(request.context.as_ref(), |_, region| {
            region.check_raw_keys(request.keys.iter())?;
            for key in &request.keys {
                region.data.raw_delete(&request.cf, key);
            }
            Ok(pb::RawBatchDeleteResponse::default())
        })
    }

    pub(crate) fn raw_scan(&self, request: &pb::RawScanRequest) -> pb::RawScanResponse {
        self.on_region(request.context.as_ref(), |_, region| {
            let (start, end) = if request.reverse {
                (&request.end_key, &request.start_key)
            } else {
                region.check_raw_key(&request.start_key)?;
                (&request.start_key, &request.end_key)
            };
            let (start, end) = region.cut_raw(start, end);
            Ok(pb::RawScanResponse {
                kvs: region.data.raw_scan(request, &start, &end),
                ..Default::default()
            })
        })
    }

    pub(crate) fn raw_batch_scan(&self, request: &pb::RawBatchScanRequest) -> pb::RawBatchScanResponse {
        self.on_region(request.context.as_ref(), |_, region| {
            let mut kvs = Vec::new();
            for range in &request.ranges {
                let one = pb::RawScanRequest {
                    limit: request.each_limit,
                    key_only: request.key_only,
                    cf: request.cf.clone(),
                    reverse: request.reverse,
                    ..Default::default()
                };
                let (start, end) = if request.reverse {
                    (&range.end_key, &range.start_key)
                } else {
                    (&range.start_key, &range.end_key)
                };
                let (start, end) = region.cut_raw(start, end);
                kvs.extend(region.data.raw_scan(&one, &start, &end));
            }
            Ok(pb::RawBatchScanResponse {
                kvs,
                ..Default::default()
            })
        })
    }

    pub(crate) fn raw_delete_range(&self, request: &pb::RawDeleteRangeRequest) -> pb::RawDeleteRangeResponse {
        self.on_region(request.context.as_ref(), |_, region| {
            let (start, end) = region.cut_raw(&request.start_key, &request.end_key);
            region.data.raw_delete_range(&request.cf, &start, &end);
            Ok(pb::RawDeleteRangeResponse::default())
        })
    }

    pub(crate) fn raw_compare_and_swap(&self, request: pb::RawCasRequest) -> pb::RawCasResponse {
        let context = request.context.clone();
        self.on_region(context.as_ref(), |_, region| {
            region.check_raw_key(&request.key)?;
            let error = ttl_refusal(request.ttl);
            if !error.is_empty() {
                return Ok(pb::RawCasResponse {
                    error,
                    ..Default::default()
                });
            }
            Ok(region.data.raw_compare_and_swap(request))
        })
    }
}

/// An API V1 store keeps no TTLs.
fn ttl_refusal(ttl: u64) -> String {
    if ttl == 0 {
        return String::new();
    }
    "TtlNotEnabled".to_owned()
}
