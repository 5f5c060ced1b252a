//! The tables that a member knows: it follows the schema by itself.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::RwLock;
use tidemark_model::Ts;
use tidemark_tidb::Table;
use tokio::sync::mpsc;

use crate::error::FeedError;
use crate::feed::follower::SchemaListener;
use crate::stream::wiring::Wiring;

/// All tables, by id, in the version that counts now.
pub(super) struct Known {
    tables: RwLock<HashMap<i64, Arc<Table>>>,
    wiring: Arc<Wiring>,
    /// Told of each new table.
    news: mpsc::Sender<i64>,
}

impl Known {
    pub(super) fn new(
        tables: impl Iterator<Item = Arc<Table>>,
        wiring: Arc<Wiring>,
        news: mpsc::Sender<i64>,
    ) -> Self {
        Self {
            tables: RwLock::new(tables.map(|table| (table.id, table)).collect()),
            wiring,
            news,
        }
    }

    /// A table by its id.
    pub(super) fn get(&self, id: i64) -> Option<Arc<Table>> {
        self.tables.read().get(&id).cloned()
    }
}

impl SchemaListener for Known {
    fn created<'a>(&'a self, table: &'a Arc<Table>, _since: Ts) -> BoxFuture<'a, Result<(), FeedError>> {
        Box::pin(async move {
            self.tables.write().insert(table.id, Arc::clone(table));
            let gone = |_| FeedError::Unavailable("the member's loop has ended".into());
            self.news.send(table.id).await.map_err(gone)
        })
    }

    fn refreshed<'a>(&'a self, table: &'a Arc<Table>, since: Ts) -> BoxFuture<'a, Result<(), FeedError>> {
        Box::pin(async move {
            self.tables.write().insert(table.id, Arc::clone(table));
            self.wiring.refresh(table, since).await
        })
    }
}
