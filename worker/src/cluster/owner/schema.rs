//! The owner follows the schema: it adds a new table's spans before its barrier passes the DDL.

use std::sync::Arc;

use futures::future::BoxFuture;
use tidemark_model::Ts;
use tidemark_sink::Sink;
use tidemark_tidb::Table;
use tokio::sync::{mpsc, oneshot};

use crate::cluster::span_key::SpanKey;
use crate::error::FeedError;
use crate::feed::catalog::Catalog;
use crate::feed::follower::SchemaListener;
use crate::feed::initial::Ranged;

/// A span with the name that people know it by.
pub(super) type Named = (SpanKey, Arc<str>);

/// Spans that came into being at a ts; answered once they are in the table.
pub(super) struct NewSpans {
    pub(super) spans: Vec<Named>,
    pub(super) since: Ts,
    pub(super) done: oneshot::Sender<()>,
}

/// Makes new tables known to the sink and to the owner's loop.
pub(super) struct OwnerListener {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) to_owner: mpsc::Sender<NewSpans>,
}

impl SchemaListener for OwnerListener {
    fn created<'a>(&'a self, table: &'a Arc<Table>, since: Ts) -> BoxFuture<'a, Result<(), FeedError>> {
        Box::pin(async move {
            self.sink.announce(table, since).await?;
            let spans = named(&(Arc::clone(table), Catalog::spans(table)));
            let (done, added) = oneshot::channel();
            let gone = || FeedError::Unavailable("the owner's loop has ended".into());
            let new = NewSpans { spans, since, done };
            self.to_owner.send(new).await.map_err(|_| gone())?;
            added.await.map_err(|_| gone())
        })
    }

    fn refreshed<'a>(&'a self, table: &'a Arc<Table>, since: Ts) -> BoxFuture<'a, Result<(), FeedError>> {
        Box::pin(async move { Ok(self.sink.announce(table, since).await?) })
    }
}

/// A table's spans with their names: `schema.table`, with `#` and a partition's id or a number where there are several.
pub(super) fn named((table, ranges): &Ranged) -> Vec<Named> {
    let whole = format!("{}.{}", table.schema, table.name);
    let several = ranges.len() > 1 || !table.partitions.is_empty();
    let span = |(index, (physical_id, range)): (usize, &(i64, tidemark_model::Span))| {
        let name: Arc<str> = match (several, *physical_id) {
            (false, _) => whole.as_str().into(),
            (true, 0) => format!("{whole}#{index}").into(),
            (true, id) => format!("{whole}#{id}").into(),
        };
        let key = SpanKey {
            table_id: table.id,
            physical_id: *physical_id,
            range: range.clone(),
        };
        (key, name)
    };
    ranges.iter().enumerate().map(span).collect()
}
