//! The owner follows the schema: it hears of each DDL before its barrier passes it.

use std::sync::Arc;

use futures::future::BoxFuture;
use tidemark_sink::{Sink, SinkError};
use tidemark_tidb::schema::{Ddl, TableChange};
use tokio::sync::{mpsc, oneshot};

use crate::cluster::span_key::SpanKey;
use crate::error::FeedError;
use crate::feed::follower::SchemaListener;
use crate::feed::initial::Ranged;

/// A span with the name that people know it by.
pub(super) type Named = (SpanKey, Arc<str>);

/// A DDL that was met; answered once the owner's checkpoint stands below it.
pub(super) struct Met {
    pub(super) ddl: Arc<Ddl>,
    pub(super) noted: oneshot::Sender<()>,
}

/// Tells the owner's loop of DDLs.
pub(super) struct OwnerListener {
    pub(super) to_owner: mpsc::Sender<Met>,
}

impl SchemaListener for OwnerListener {
    fn changed<'a>(&'a self, ddl: &'a Arc<Ddl>) -> BoxFuture<'a, Result<(), FeedError>> {
        Box::pin(async move {
            let (noted, done) = oneshot::channel();
            let gone = || FeedError::Unavailable("the owner's loop has ended".into());
            let ddl = Arc::clone(ddl);
            self.to_owner.send(Met { ddl, noted }).await.map_err(|_| gone())?;
            done.await.map_err(|_| gone())
        })
    }
}

/// Gives a DDL to the sink, and makes the tables that it leaves behind known.
pub(super) async fn carry_out(sink: Arc<dyn Sink>, ddl: Arc<Ddl>) -> Result<(), SinkError> {
    sink.ddl(&ddl).await?;
    for new in ddl.changes.iter().filter_map(TableChange::after) {
        sink.announce(new, ddl.ts).await?;
    }
    Ok(())
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
