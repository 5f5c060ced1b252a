use std::sync::Arc;

use tidemark_model::{Grant, KvChange, SpanId};
use tidemark_tidb::Table;

use crate::Ack;

/// Changes of one span in the order of the stream: commit ts, start ts, key.
#[derive(Debug)]
pub struct Batch {
    /// The span that the changes belong to.
    pub span: SpanId,
    /// The table, in the version that is valid at the commit ts of all these changes.
    pub table: Arc<Table>,
    /// The physical table that the keys belong to: the table's id or that of one partition.
    pub physical_id: i64,
    /// The changes.
    pub changes: Vec<KvChange>,
    /// Memory that the changes hold; given back when the sink drops it.
    pub grant: Option<Grant>,
    /// To be called when all changes are durable.
    pub ack: Ack,
}
