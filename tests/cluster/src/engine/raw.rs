//! Raw values: a plain map for each column family, without versions.

use bytes::Bytes;
use tidemark_proto::kvrpcpb::{KvPair, RawCasRequest, RawCasResponse, RawScanRequest};

use super::maintain::remove_range;
use super::model::Mvcc;
use super::snapshot::bounds;

impl Mvcc {
    /// The value of a raw key.
    pub fn raw_get(&self, cf: &str, key: &[u8]) -> Option<&Bytes> {
        self.raw.get(family(cf))?.get(key)
    }

    /// Puts a raw value.
    pub fn raw_put(&mut self, cf: &str, key: Bytes, value: Bytes) {
        self.raw
            .entry(family(cf).to_owned())
            .or_default()
            .insert(key, value);
    }

    /// Deletes a raw key.
    pub fn raw_delete(&mut self, cf: &str, key: &[u8]) {
        if let Some(map) = self.raw.get_mut(family(cf)) {
            map.remove(key);
        }
    }

    /// Deletes the raw keys of `[start, end)`.
    pub fn raw_delete_range(&mut self, cf: &str, start: &[u8], end: &[u8]) {
        if let Some(map) = self.raw.get_mut(family(cf)) {
            remove_range(map, start, end);
        }
    }

    /// Scans raw keys; the caller has cut the range to the region. A reverse scan's start is its upper bound.
    pub fn raw_scan(&self, request: &RawScanRequest, start: &[u8], end: &[u8]) -> Vec<KvPair> {
        let range = self.raw.get(family(&request.cf)).zip(bounds(start, end));
        let Some((map, range)) = range else {
            return Vec::new();
        };
        let pair = |(key, value): (&Bytes, &Bytes)| KvPair {
            key: key.clone(),
            value: if request.key_only {
                Bytes::new()
            } else {
                value.clone()
            },
            ..Default::default()
        };
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let pairs = map.range::<[u8], _>(range);
        if request.reverse {
            pairs.rev().take(limit).map(pair).collect()
        } else {
            pairs.take(limit).map(pair).collect()
        }
    }

    /// Puts (or deletes) where the value is as expected.
    pub fn raw_compare_and_swap(&mut self, request: RawCasRequest) -> RawCasResponse {
        let previous = self.raw_get(&request.cf, &request.key).cloned();
        let expected = (!request.previous_not_exist).then_some(request.previous_value);
        let succeed = previous == expected;
        if succeed && request.delete {
            self.raw_delete(&request.cf, &request.key);
        } else if succeed {
            self.raw_put(&request.cf, request.key, request.value);
        }
        RawCasResponse {
            succeed,
            previous_not_exist: previous.is_none(),
            previous_value: previous.unwrap_or_default(),
            ..Default::default()
        }
    }
}

/// The default family may be named or left out.
fn family(cf: &str) -> &str {
    if cf.is_empty() { "default" } else { cf }
}
