//! Runs a command on a region: header checks, the command, its changes, the observer.

use bytes::Bytes;
use tidemark_proto::{errorpb, kvrpcpb};

use super::answer::Answer;
use crate::engine::apply::Batch;
use crate::region::RegionState;
use crate::state::{State, StoreHandle};

impl StoreHandle {
    /// Runs a command on the region that the context names.
    pub(crate) fn on_region<R: Answer>(
        &self,
        context: Option<&kvrpcpb::Context>,
        command: impl FnOnce(&State, &mut RegionState) -> Result<R, errorpb::Error>,
    ) -> R {
        let none = kvrpcpb::Context::default();
        let context = context.unwrap_or(&none);
        let result = self.state.region(context.region_id).and_then(|region| {
            let mut state = region.state.lock();
            state.check(self.store_id, context)?;
            if context.api_version != i32::from(kvrpcpb::ApiVersion::V1) {
                return Ok(R::refused(format!(
                    "ApiVersionNotMatched {{ storage: V1, request: {} }}",
                    context.api_version
                )));
            }
            command(&self.state, &mut state)
        });
        result.unwrap_or_else(R::of_region)
    }
}

impl State {
    /// Applies a command's changes to the region and tells its leader's observer.
    pub(crate) fn apply(&self, region: &mut RegionState, batch: Batch) {
        if batch.changes.is_empty() {
            return;
        }
        let observer = self.observer_of(region.leader.as_ref());
        let observer = observer.filter(|observer| observer.wants(region.meta.id));
        let effects = batch.apply(&mut region.data, observer.is_some());
        if let Some(observer) = observer.filter(|_| !effects.is_empty()) {
            observer.applied(&region.meta, effects);
        }
    }
}

impl RegionState {
    pub(crate) fn check_keys<'a>(
        &self,
        mut keys: impl Iterator<Item = &'a Bytes>,
    ) -> Result<(), errorpb::Error> {
        keys.try_for_each(|key| self.check_key(key))
    }

    pub(crate) fn check_raw_keys<'a>(
        &self,
        mut keys: impl Iterator<Item = &'a Bytes>,
    ) -> Result<(), errorpb::Error> {
        keys.try_for_each(|key| self.check_raw_key(key))
    }

    /// Cuts a range of user keys to the region.
    pub(crate) fn cut(&self, start: &Bytes, end: &Bytes) -> (Bytes, Bytes) {
        cut(start, end, self.user_start(), &self.user_end())
    }

    /// Cuts a range of raw keys to the region.
    pub(crate) fn cut_raw(&self, start: &Bytes, end: &Bytes) -> (Bytes, Bytes) {
        cut(start, end, &self.meta.start_key, &self.meta.end_key)
    }
}

fn cut(start: &Bytes, end: &Bytes, first: &Bytes, last: &Bytes) -> (Bytes, Bytes) {
    let end = match (end.is_empty(), last.is_empty()) {
        (true, _) => last,
        (_, true) => end,
        _ => end.min(last),
    };
    (start.max(first).clone(), end.clone())
}
