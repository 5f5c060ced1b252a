//! DDLs that the owner lets pass.

use std::sync::Arc;

use tidemark_model::{SpanId, Ts};
use tidemark_tidb::Table;
use tidemark_tidb::schema::{Ddl, TableChange};
use tokio_util::task::AbortOnDropHandle;

use super::streaming::Streaming;
use crate::cluster::span_key::SpanKey;
use crate::error::FeedError;

/// A DDL that has passed: its tables go on by their new definitions.
#[derive(Debug)]
pub(super) struct Passed {
    ddl: Arc<Ddl>,
    /// Spans of tables and partitions that are gone.
    ended: Vec<SpanId>,
}

/// Waits for a task that goes on beside the others; never, without one.
pub(super) async fn done<T>(
    task: &mut Option<AbortOnDropHandle<Result<T, FeedError>>>,
) -> Result<T, FeedError> {
    let Some(running) = task else {
        return std::future::pending().await;
    };
    let ended = running.await;
    *task = None;
    ended.unwrap_or_else(|error| Err(FeedError::Stopped(format!("a DDL: {error}; please report this"))))
}

impl Streaming {
    /// DDLs up to here may pass.
    pub(super) fn let_pass(&mut self, through: Ts) {
        self.through = self.through.max(through);
    }

    /// Whether a DDL passes or is about to.
    pub(super) fn passes(&self) -> bool {
        self.passing.is_some() || self.pending.first().is_some_and(|ddl| ddl.ts <= self.through)
    }

    /// Has the sink make durable what the first DDL waits for: it may gather rows for long.
    pub(super) fn urge(&mut self) {
        let floor = self.floor().0.unwrap_or(Ts::MAX);
        if let Some(ddl) = self.pending.first()
            && ddl.ts > self.through
            && floor < ddl.ts.prev()
            && self.flushing.is_none()
        {
            let wiring = Arc::clone(&self.engine.wiring);
            let flush = async move { wiring.flush().await };
            self.flushing = Some(AbortOnDropHandle::new(tokio::spawn(flush)));
        }
    }

    /// Begins with the next DDL that may pass. What is being taken up must be there first: it has the old definition.
    pub(super) fn pass(&mut self) {
        if self.passing.is_some() || !self.attaching.is_empty() || !self.detaching.is_empty() {
            return;
        }
        let Some(ddl) = self.pending.first() else { return };
        if ddl.ts > self.through {
            if self.flushed_for < ddl.ts {
                self.flushed_for = ddl.ts;
                self.urge();
            }
            return;
        }
        let mut ended = Vec::new();
        for change in &ddl.changes {
            let Some(old) = change.before() else { continue };
            let kept = change.kept();
            let gone = |key: &SpanKey| key.table_id == old.id && !kept.contains(&key.physical_id);
            ended.extend(self.running.extract_if(.., |key, _| gone(key)).map(|(_, id)| id));
            self.waiting.retain(|key, _| !gone(key));
            let ahead: Vec<_> = self.ahead.extract_if(.., |key, _| gone(key)).collect();
            for (_, ahead) in ahead {
                self.abandon(ahead.id);
            }
        }
        // Tables that are taken up later are made known to the sink then.
        let streamed = |table: &Arc<Table>| {
            let ids = self
                .running
                .keys()
                .chain(self.ahead.keys())
                .map(|key| key.table_id);
            ids.into_iter().any(|id| id == table.id)
        };
        let after = ddl.changes.iter().filter_map(TableChange::after);
        let altered: Vec<_> = after.filter(|table| streamed(table)).cloned().collect();
        let wiring = Arc::clone(&self.engine.wiring);
        self.passing = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            if !ended.is_empty() {
                wiring.detach(&ended).await?;
            }
            for table in &altered {
                wiring.announce(table, ddl.ts).await?;
            }
            wiring.pass(ddl.ts, &altered).await?;
            Ok(Passed { ddl, ended })
        })));
    }

    /// Takes up what waited for a DDL.
    pub(super) fn go_on(&mut self, passed: Passed) {
        for id in passed.ended {
            self.engine.spans.remove(id);
        }
        self.known.change(&passed.ddl);
        self.pending.passed();
        tracing::debug!(ts = %passed.ddl.ts, "DDL passed");
        self.attach();
    }
}
