//! GC safe points and what holds them back.

use std::collections::BTreeMap;

use tidemark_model::Ts;

/// Safe points and barriers of the cluster. One keyspace: the null one, for everything.
#[derive(Debug, Default)]
pub(crate) struct GcState {
    pub(crate) txn_safe_point: Ts,
    pub(crate) gc_safe_point: Ts,
    pub(crate) barriers: BTreeMap<String, Barrier>,
}

/// Keeps history from its ts on until it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Barrier {
    pub(crate) ts: Ts,
    /// When it ends, in milliseconds since the Unix epoch; `None` is never.
    pub(crate) expires_ms: Option<u64>,
}
