//! A process that streams a whole feed: takes up tables as they come, and passes DDLs.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidemark_model::{Span, SpanId, Ts};
use tidemark_sink::Sink;
use tidemark_tidb::schema::Ddl;
use tidemark_tidb::{Table, record_span};
use tokio::time::sleep;

use super::follower::SchemaListener;
use super::pending::Pending;
use crate::error::FeedError;
use crate::stream::barrier::Barrier;
use crate::stream::shard::Hold;
use crate::stream::spans::Spans;
use crate::stream::wiring::Wiring;

/// How often a DDL's tables are looked at that have to come up to it.
const LOOK: Duration = Duration::from_millis(20);

/// The spans of a process that streams the whole feed.
pub(super) struct Whole {
    pub(super) wiring: Arc<Wiring>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) spans: Arc<Spans>,
    pub(super) barrier: Arc<Barrier>,
    pub(super) pending: Pending,
    /// By table id: physical table and span.
    pub(super) streamed: Mutex<HashMap<i64, Vec<(i64, SpanId)>>>,
}

impl Whole {
    /// Streams the changes after `since` of a table that the sink knows.
    pub(super) async fn begin(
        &self,
        table: &Arc<Table>,
        ranges: Vec<(i64, Span)>,
        since: Ts,
    ) -> Result<(), FeedError> {
        for (physical, range) in ranges {
            let id = self.wiring.attach_span(table, physical, range, since).await?;
            self.streamed
                .lock()
                .entry(table.id)
                .or_default()
                .push((physical, id));
        }
        Ok(())
    }

    /// Passes DDLs, one after the other, for ever.
    pub(super) async fn pass_all(&self) -> Result<(), FeedError> {
        loop {
            let ddl = self.pending.wait().await;
            while self.durable() < ddl.ts.prev() {
                // A sink that gathers rows must not keep what the DDL waits for.
                self.sink.flush().await?;
                sleep(LOOK).await;
            }
            self.sink.ddl(&ddl).await?;
            self.pass(&ddl).await?;
            self.pending.passed();
            tracing::info!(ts = %ddl.ts, query = ddl.query, "DDL passed");
        }
    }

    /// Everything at or below it is durable.
    fn durable(&self) -> Ts {
        let slowest = self.spans.slowest();
        slowest.map_or_else(|| self.barrier.at(), |slowest| slowest.checkpoint)
    }

    async fn pass(&self, ddl: &Ddl) -> Result<(), FeedError> {
        // Ranges may change hands between tables: all ends come before all beginnings.
        for change in &ddl.changes {
            let Some(old) = change.before() else { continue };
            self.end(old.id, &change.kept()).await?;
        }
        let mut altered = Vec::new();
        for change in &ddl.changes {
            let Some(new) = change.after() else { continue };
            self.wiring.announce(new, ddl.ts).await?;
            altered.push(Arc::clone(new));
            let kept = change.kept();
            let come = new.physical_ids().filter(|id| !kept.contains(id));
            let ranges = come.map(|id| (id, record_span(id))).collect();
            self.begin(new, ranges, ddl.ts).await?;
        }
        self.wiring.pass(ddl.ts, &altered).await
    }

    /// Ends the spans of a table but those of `kept` physical tables.
    async fn end(&self, table: i64, kept: &BTreeSet<i64>) -> Result<(), FeedError> {
        let mut ended = Vec::new();
        {
            let mut streamed = self.streamed.lock();
            if let Some(spans) = streamed.get_mut(&table) {
                spans.retain(|(physical, id)| {
                    let stays = kept.contains(physical);
                    if !stays {
                        ended.push(*id);
                    }
                    stays
                });
            }
        }
        if ended.is_empty() {
            return Ok(());
        }
        self.wiring.detach(&ended).await?;
        for id in ended {
            self.spans.remove(id);
        }
        Ok(())
    }
}

impl SchemaListener for Whole {
    fn changed<'a>(&'a self, ddl: &'a Arc<Ddl>) -> BoxFuture<'a, Result<(), FeedError>> {
        Box::pin(async move {
            self.wiring.hold(&Hold::of(ddl)).await?;
            self.pending.push(Arc::clone(ddl));
            Ok(())
        })
    }
}
