use bytes::Bytes;
use tidemark_proto::kvrpcpb::{GetRequest, MvccGetByKeyRequest, Op, ScanRequest};

use super::locks::refused;
use super::{Backoff, ClientError, Stores};

/// The cluster's contents at one ts.
pub struct Snapshot {
    stores: Stores,
    ts: u64,
}

/// One committed version of a key, as TiKV's store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// When its transaction began.
    pub start_ts: u64,
    /// When it took effect.
    pub commit_ts: u64,
    /// The value; `None` for a delete.
    pub value: Option<Bytes>,
}

impl Stores {
    /// Reads at a ts.
    pub fn snapshot(&self, ts: u64) -> Snapshot {
        Snapshot {
            stores: self.clone(),
            ts,
        }
    }

    /// Every committed version of a key, newest first; rollbacks and lock-only commits are left out.
    ///
    /// # Errors
    /// If the cluster doesn't answer.
    pub async fn versions(&self, key: &[u8]) -> Result<Vec<Version>, ClientError> {
        let request = MvccGetByKeyRequest {
            key: Bytes::copy_from_slice(key),
            ..MvccGetByKeyRequest::default()
        };
        let reply = self.at_key(key, request).await?.reply;
        if !reply.error.is_empty() {
            return Err(ClientError::Refused {
                command: "mvcc_get_by_key",
                problem: reply.error,
            });
        }
        let info = reply.info.unwrap_or_default();
        let mut versions = Vec::new();
        for write in info.writes {
            let stored = || info.values.iter().find(|value| value.start_ts == write.start_ts);
            let value = match Op::try_from(write.r#type) {
                Ok(Op::Put) if write.short_value.is_empty() => {
                    Some(stored().map(|value| value.value.clone()).unwrap_or_default())
                }
                Ok(Op::Put) => Some(write.short_value.clone()),
                Ok(Op::Del) => None,
                _ => continue,
            };
            versions.push(Version {
                start_ts: write.start_ts,
                commit_ts: write.commit_ts,
                value,
            });
        }
        Ok(versions)
    }
}

impl Snapshot {
    /// A key's value.
    ///
    /// # Errors
    /// If the cluster doesn't answer, or a lock stays held.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ClientError> {
        let mut backoff = Backoff::new();
        loop {
            let request = GetRequest {
                key: Bytes::copy_from_slice(key),
                version: self.ts,
                ..GetRequest::default()
            };
            let reply = self.stores.at_key(key, request).await?.reply;
            match reply.error {
                None => return Ok((!reply.not_found).then_some(reply.value)),
                Some(error) => match &error.locked {
                    Some(lock) => self.stores.resolve(std::slice::from_ref(lock), self.ts).await?,
                    None => return Err(refused("kv_get", &error)),
                },
            }
            // A lock without end would have run into its own patience before.
            backoff.wait().await;
        }
    }

    /// All pairs of a key range, in key order.
    ///
    /// # Errors
    /// If the cluster doesn't answer, or a lock stays held.
    pub async fn scan(&self, start: &[u8], end: &[u8]) -> Result<Vec<(Bytes, Bytes)>, ClientError> {
        const LIMIT: u32 = 1024;
        let mut pairs = Vec::new();
        let mut from = Bytes::copy_from_slice(start);
        'part: loop {
            let request = ScanRequest {
                start_key: from.clone(),
                end_key: Bytes::copy_from_slice(end),
                limit: LIMIT,
                version: self.ts,
                ..ScanRequest::default()
            };
            let answer = self.stores.at_key(&from, request).await?;
            let (reply, bound) = (answer.reply, answer.region_end);
            let locked = reply
                .error
                .iter()
                .chain(reply.pairs.iter().filter_map(|pair| pair.error.as_ref()));
            let locks: Vec<_> = locked.filter_map(|error| error.locked.clone()).collect();
            if !locks.is_empty() {
                self.stores.resolve(&locks, self.ts).await?;
                continue 'part;
            }
            if let Some(error) = &reply.error {
                return Err(refused("kv_scan", error));
            }
            let full = reply.pairs.len() >= LIMIT as usize;
            let last = reply.pairs.last().map(|pair| pair.key.clone());
            pairs.extend(reply.pairs.into_iter().map(|pair| (pair.key, pair.value)));
            from = match (full, last, bound) {
                (true, Some(last), _) => Bytes::from([&last[..], &[0]].concat()),
                (_, _, Some(bound)) if end.is_empty() || &bound[..] < end => bound,
                _ => return Ok(pairs),
            };
        }
    }
}
