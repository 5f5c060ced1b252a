//! Transactional commands.

use bytes::Bytes;
use tidemark_model::Ts;
use tidemark_proto::kvrpcpb::{self as pb, KvPair};

use crate::engine::model::LockKind;
use crate::engine::read::Reader;
use crate::engine::{finish, pessimistic, prewrite};
use crate::state::StoreHandle;

impl StoreHandle {
    pub(crate) fn get(&self, request: &pb::GetRequest) -> pb::GetResponse {
        self.on_region(request.context.as_ref(), |shared, region| {
            region.check_key(&request.key)?;
            let ts = Ts(request.version);
            let reader = Reader::new(&region.data, &shared.max_ts, ts, request.context.as_ref());
            Ok(match reader.get(&request.key) {
                Ok(Some((value, commit_ts))) => pb::GetResponse {
                    value,
                    commit_ts: if request.need_commit_ts { commit_ts.0 } else { 0 },
                    ..Default::default()
                },
                Ok(None) => pb::GetResponse {
                    not_found: true,
                    ..Default::default()
                },
                Err(error) => pb::GetResponse {
                    error: Some(error),
                    ..Default::default()
                },
            })
        })
    }

    pub(crate) fn batch_get(&self, request: &pb::BatchGetRequest) -> pb::BatchGetResponse {
        self.on_region(request.context.as_ref(), |shared, region| {
            region.check_keys(request.keys.iter())?;
            let ts = Ts(request.version);
            let reader = Reader::new(&region.data, &shared.max_ts, ts, request.context.as_ref());
            let pairs = request.keys.iter().filter_map(|key| match reader.get(key) {
                Ok(found) => found.map(|(value, commit_ts)| KvPair {
                    key: key.clone(),
                    value,
                    commit_ts: if request.need_commit_ts { commit_ts.0 } else { 0 },
                    ..Default::default()
                }),
                Err(error) => Some(KvPair {
                    key: key.clone(),
                    error: Some(error),
                    ..Default::default()
                }),
            });
            Ok(pb::BatchGetResponse {
                pairs: pairs.collect(),
                ..Default::default()
            })
        })
    }

    pub(crate) fn scan(&self, request: &pb::ScanRequest) -> pb::ScanResponse {
        self.on_region(request.context.as_ref(), |shared, region| {
            // The bounds of a reverse scan come the other way round.
            let (start, end) = if request.reverse {
                (&request.end_key, &request.start_key)
            } else {
                region.check_key(&request.start_key)?;
                (&request.start_key, &request.end_key)
            };
            let (start, end) = region.cut(start, end);
            let ts = Ts(request.version);
            let reader = Reader::new(&region.data, &shared.max_ts, ts, request.context.as_ref());
            let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
            Ok(pb::ScanResponse {
                pairs: reader.scan(&start, &end, limit, request.reverse, request.key_only),
                ..Default::default()
            })
        })
    }

    pub(crate) fn prewrite(&self, request: pb::PrewriteRequest) -> pb::PrewriteResponse {
        let context = request.context.clone();
        self.on_region(context.as_ref(), |shared, region| {
            region.check_keys(request.mutations.iter().map(|mutation| &mutation.key))?;
            let (batch, response) = prewrite::prewrite(&region.data, &shared.max_ts, request);
            shared.apply(region, batch);
            Ok(response)
        })
    }

    pub(crate) fn flush(&self, request: pb::FlushRequest) -> pb::FlushResponse {
        let context = request.context.clone();
        self.on_region(context.as_ref(), |shared, region| {
            region.check_keys(request.mutations.iter().map(|mutation| &mutation.key))?;
            let (batch, errors) = prewrite::flush(&region.data, &shared.max_ts, request);
            shared.apply(region, batch);
            Ok(pb::FlushResponse {
                errors,
                ..Default::default()
            })
        })
    }

    /// Reads what the transaction itself has flushed.
    pub(crate) fn buffer_batch_get(&self, request: &pb::BufferBatchGetRequest) -> pb::BufferBatchGetResponse {
        self.on_region(request.context.as_ref(), |_, region| {
            region.check_keys(request.keys.iter())?;
            let pairs = request.keys.iter().filter_map(|key| {
                let lock = finish::own_lock(&region.data, key, Ts(request.version))?;
                matches!(lock.kind, LockKind::Put | LockKind::Delete).then(|| KvPair {
                    key: key.clone(),
                    value: lock.value.clone(),
                    ..Default::default()
                })
            });
            Ok(pb::BufferBatchGetResponse {
                pairs: pairs.collect(),
                ..Default::default()
            })
        })
    }

    pub(crate) fn commit(&self, request: &pb::CommitRequest) -> pb::CommitResponse {
        self.on_region(request.context.as_ref(), |shared, region| {
            region.check_keys(request.keys.iter())?;
            let (start_ts, commit_ts) = (Ts(request.start_version), Ts(request.commit_version));
            let result = finish::commit(&region.data, &request.keys, start_ts, commit_ts);
            let error = result.map(|batch| shared.apply(region, batch)).err();
            Ok(pb::CommitResponse {
                commit_version: if error.is_none() { commit_ts.0 } else { 0 },
                error,
                ..Default::default()
            })
        })
    }

    pub(crate) fn batch_rollback(&self, request: &pb::BatchRollbackRequest) -> pb::BatchRollbackResponse {
        self.on_region(request.context.as_ref(), |shared, region| {
            region.check_keys(request.keys.iter())?;
            let result = finish::batch_rollback(&region.data, &request.keys, Ts(request.start_version));
            Ok(pb::BatchRollbackResponse {
                error: result.map(|batch| shared.apply(region, batch)).err(),
                ..Default::default()
            })
        })
    }

    pub(crate) fn cleanup(&self, request: &pb::CleanupRequest) -> pb::CleanupResponse {
        self.on_region(request.context.as_ref(), |shared, region| {
            region.check_key(&request.key)?;
            let (batch, response) = finish::cleanup(&region.data, request);
            shared.apply(region, batch);
            Ok(response)
        })
    }

    pub(crate) fn pessimistic_lock(
        &self,
        request: &pb::PessimisticLockRequest,
    ) -> pb::PessimisticLockResponse {
        self.on_region(request.context.as_ref(), |shared, region| {
            region.check_keys(request.mutations.iter().map(|mutation| &mutation.key))?;
            if request.return_values || request.check_existence {
                shared.max_ts.raise(Ts(request.for_update_ts));
            }
            let (batch, response) = pessimistic::pessimistic_lock(&region.data, request);
            shared.apply(region, batch);
            Ok(response)
        })
    }

    pub(crate) fn pessimistic_rollback(
        &self,
        request: &pb::PessimisticRollbackRequest,
    ) -> pb::PessimisticRollbackResponse {
        self.on_region(request.context.as_ref(), |shared, region| {
            region.check_keys(request.keys.iter())?;
            let batch = pessimistic::pessimistic_rollback(&region.data, request);
            shared.apply(region, batch);
            Ok(pb::PessimisticRollbackResponse::default())
        })
    }

    pub(crate) fn heart_beat(&self, request: &pb::TxnHeartBeatRequest) -> pb::TxnHeartBeatResponse {
        self.on_region(request.context.as_ref(), |shared, region| {
            region.check_key(&request.primary_lock)?;
            let (batch, response) = finish::heart_beat(&region.data, request);
            shared.apply(region, batch);
            Ok(response)
        })
    }

    pub(crate) fn check_txn_status(&self, request: &pb::CheckTxnStatusRequest) -> pb::CheckTxnStatusResponse {
        self.on_region(request.context.as_ref(), |shared, region| {
            region.check_key(&request.primary_key)?;
            let (batch, response) = finish::check_txn_status(&region.data, &shared.max_ts, request);
            shared.apply(region, batch);
            Ok(response)
        })
    }

    pub(crate) fn check_secondary_locks(
        &self,
        request: &pb::CheckSecondaryLocksRequest,
    ) -> pb::CheckSecondaryLocksResponse {
        self.on_region(request.context.as_ref(), |shared, region| {
            region.check_keys(request.keys.iter())?;
            let (batch, response) = finish::check_secondary_locks(&region.data, request);
            shared.apply(region, batch);
            Ok(response)
        })
    }

    pub(crate) fn scan_lock(&self, mut request: pb::ScanLockRequest) -> pb::ScanLockResponse {
        let context = request.context.clone();
        self.on_region(context.as_ref(), |shared, region| {
            (request.start_key, request.end_key) = region.cut(&request.start_key, &request.end_key);
            Ok(pb::ScanLockResponse {
                locks: finish::scan_lock(&region.data, &shared.max_ts, &request),
                ..Default::default()
            })
        })
    }

    pub(crate) fn resolve_lock(&self, request: &pb::ResolveLockRequest) -> pb::ResolveLockResponse {
        self.on_region(request.context.as_ref(), |shared, region| {
            region.check_keys(request.keys.iter())?;
            let result = finish::resolve_lock(&region.data, request);
            Ok(pb::ResolveLockResponse {
                error: result.map(|batch| shared.apply(region, batch)).err(),
                ..Default::default()
            })
        })
    }

    pub(crate) fn collect_garbage(&self, request: &pb::GcRequest) -> pb::GcResponse {
        self.on_region(request.context.as_ref(), |_, region| {
            region.data.collect_garbage(Ts(request.safe_point));
            Ok(pb::GcResponse::default())
        })
    }

    pub(crate) fn delete_range(&self, request: &pb::DeleteRangeRequest) -> pb::DeleteRangeResponse {
        self.on_region(request.context.as_ref(), |_, region| {
            let (start, end) = region.cut(&request.start_key, &request.end_key);
            if !request.notify_only {
                region.data.delete_range(&start, &end);
            }
            Ok(pb::DeleteRangeResponse::default())
        })
    }

    /// Removes a range on the whole store, across regions and without their header checks.
    pub(crate) fn unsafe_destroy_range(
        &self,
        request: &pb::UnsafeDestroyRangeRequest,
    ) -> pb::UnsafeDestroyRangeResponse {
        let regions: Vec<_> = self.state.topology.read().all().cloned().collect();
        for region in regions {
            let mut region = region.state.lock();
            let (start, end) = region.cut(&request.start_key, &request.end_key);
            region.data.delete_range(&start, &end);
        }
        pb::UnsafeDestroyRangeResponse::default()
    }

    pub(crate) fn mvcc_get_by_key(&self, request: &pb::MvccGetByKeyRequest) -> pb::MvccGetByKeyResponse {
        self.on_region(request.context.as_ref(), |_, region| {
            region.check_key(&request.key)?;
            Ok(pb::MvccGetByKeyResponse {
                info: region.data.info(&request.key),
                ..Default::default()
            })
        })
    }

    pub(crate) fn split_region(&self, request: &pb::SplitRegionRequest) -> pb::SplitRegionResponse {
        let mut keys: Vec<Bytes> = request.split_keys.clone();
        if keys.is_empty() {
            keys.push(request.split_key.clone());
        }
        let encode = |key: &Bytes| {
            if request.is_raw_kv {
                key.clone()
            } else {
                crate::keys::encode(key)
            }
        };
        let bounds = keys.iter().map(encode).collect();
        let checked: pb::SplitRegionResponse = self.on_region(request.context.as_ref(), |_, _| {
            Ok(pb::SplitRegionResponse::default())
        });
        if checked.region_error.is_some() || !checked.errors.is_empty() {
            return checked;
        }
        let context = request.context.as_ref();
        let id = context.map_or(0, |context| context.region_id);
        let version = context
            .and_then(|context| context.region_epoch.as_ref())
            .map(|epoch| epoch.version);
        match self.state.split_region(id, version, bounds) {
            Ok(regions) => pb::SplitRegionResponse {
                left: regions.first().cloned(),
                right: regions.last().cloned(),
                regions,
                ..Default::default()
            },
            Err(error) => pb::SplitRegionResponse {
                region_error: Some(error),
                ..Default::default()
            },
        }
    }
}
