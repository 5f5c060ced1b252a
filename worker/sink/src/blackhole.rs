//! A sink that decodes every row and drops it: for measuring the source, and for trying a feed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use tidemark_model::{KvChange, Ts};
use tidemark_tidb::schema::Ddl;
use tidemark_tidb::{RowKey, Table};
use tokio_util::task::AbortOnDropHandle;

use crate::chunks::chunks;
use crate::encode::RowChange;
use crate::{Batch, Sink, SinkError};

/// Bytes that are decoded by one task.
const CHUNK: usize = 256 << 10;

/// The sink that drops what it decodes.
#[derive(Debug)]
pub struct Blackhole {
    rows: AtomicU64,
    decoders: usize,
}

impl Blackhole {
    /// A sink that has seen no row.
    pub fn new() -> Self {
        Self {
            rows: AtomicU64::new(0),
            decoders: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Row events decoded so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    async fn take(&self, batch: Batch) -> Result<(), SinkError> {
        let mut ranges = chunks(&batch.changes, CHUNK);
        let mut rows = 0;
        if ranges.len() <= 1 {
            rows = decode(&batch.table, &batch.changes)?;
        } else {
            let changes = Arc::new(batch.changes);
            let mut ahead = VecDeque::new();
            loop {
                while ahead.len() < self.decoders {
                    let Some(range) = ranges.pop_front() else { break };
                    let (table, changes) = (Arc::clone(&batch.table), Arc::clone(&changes));
                    ahead.push_back(AbortOnDropHandle::new(tokio::spawn(async move {
                        decode(&table, changes.get(range).unwrap_or_default())
                    })));
                }
                let Some(next) = ahead.pop_front() else { break };
                rows += next
                    .await
                    .map_err(|error| SinkError::Unavailable(format!("blackhole decoder: {error}")))??;
            }
        }
        self.rows.fetch_add(rows, Ordering::Relaxed);
        batch.ack.done();
        Ok(())
    }
}

impl Default for Blackhole {
    fn default() -> Self {
        Self::new()
    }
}

fn decode(table: &Table, changes: &[KvChange]) -> Result<u64, SinkError> {
    let mut rows = 0;
    for change in changes {
        let key = RowKey::new(&change.key);
        rows += RowChange::decode(table, &key, change)?.events().count() as u64;
    }
    Ok(rows)
}

impl Sink for Blackhole {
    fn announce<'a>(&'a self, _table: &'a Arc<Table>, _since: Ts) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }

    fn ddl<'a>(&'a self, _ddl: &'a Ddl) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }

    fn write(&self, batch: Batch) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(self.take(batch))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }

    fn watermark(&self, _ts: Ts) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }
}
