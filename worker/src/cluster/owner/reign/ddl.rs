//! How a DDL passes: once all before it is durable the sink is given it, then its tables go on.

use std::sync::Arc;

use tidemark_model::Ts;
use tidemark_sink::SinkError;
use tidemark_tidb::record_span;
use tidemark_tidb::schema::{Ddl, TableChange};
use tokio_util::task::AbortOnDropHandle;

use super::Reign;
use crate::cluster::owner::schema::{Met, carry_out, named};
use crate::error::FeedError;

/// What became of the DDL that the sink is given; never, without one.
pub(super) async fn carried_out(
    task: &mut Option<AbortOnDropHandle<Result<(), SinkError>>>,
) -> Result<(), FeedError> {
    let Some(running) = task else {
        return std::future::pending().await;
    };
    let ended = running.await;
    *task = None;
    let ended = ended.map_err(|error| FeedError::Stopped(format!("a DDL: {error}; please report this")))?;
    Ok(ended?)
}

impl Reign<'_> {
    /// Notes a DDL: from here on the checkpoint stays below it.
    pub(super) fn meet(&mut self, met: Met) {
        self.pending.push_back(met.ddl);
        // The follower has ended if it doesn't wait.
        let _ = met.noted.send(());
    }

    /// A member tells that DDLs up to there have passed under an owner before us: all before them was durable.
    pub(super) fn learn_through(&mut self, through: Ts) {
        if through > self.through {
            self.through = through;
            self.opened.table.raise(through.prev());
        }
    }

    /// Everything at or below it is durable of all spans.
    pub(super) fn durable(&self) -> Ts {
        let barrier = self.opened.barrier.at();
        let spans = self.opened.table.checkpoint();
        spans.map_or(barrier, |spans| spans.min(barrier))
    }

    /// Begins with the first DDL if all before it is durable. Before everyone has spoken it is unknown what has passed.
    pub(super) fn pass_ddl(&mut self) {
        while self.gathered
            && self.carrying_out.is_none()
            && let Some(ddl) = self.pending.front().map(Arc::clone)
        {
            if ddl.ts <= self.through {
                self.passed(&ddl);
                continue;
            }
            let spans = self.opened.table.checkpoint();
            let durable = spans.unwrap_or(Ts::MAX) >= ddl.ts.prev();
            if durable && self.opened.right.holds() {
                let task = tokio::spawn(carry_out(Arc::clone(&self.opened.sink), ddl));
                self.carrying_out = Some(AbortOnDropHandle::new(task));
            }
            return;
        }
    }

    /// The sink has the first DDL.
    pub(super) fn carried_out(&mut self, ended: Result<(), FeedError>) -> Result<(), FeedError> {
        ended?;
        if let Some(ddl) = self.pending.front().map(Arc::clone) {
            self.through = self.through.max(ddl.ts);
            self.passed(&ddl);
            self.beat(std::time::Instant::now());
        }
        Ok(())
    }

    fn passed(&mut self, ddl: &Ddl) {
        tracing::info!(ts = %ddl.ts, query = ddl.query, "DDL passed");
        let table = &mut self.opened.table;
        for change in &ddl.changes {
            if let Some(old) = change.before() {
                table.remove(old.id, &change.kept());
            }
        }
        // Members may have passed later DDLs: all before those is durable, and they know the tables only as they are since.
        let position = ddl.ts.max(self.through.prev());
        for new in ddl.changes.iter().filter_map(TableChange::after) {
            let ranges = new.physical_ids().map(|id| (id, record_span(id))).collect();
            for (key, name) in named(&(Arc::clone(new), ranges)) {
                table.rename(&key, &name);
                if !table.has_parts_of(&key) {
                    table.add(key, name, position);
                }
            }
        }
        self.pending.pop_front();
        self.dirty = true;
    }
}
