//! The tables that a member knows, and the DDLs that they wait for: it follows the schema by itself.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::RwLock;
use tidemark_model::Ts;
use tidemark_tidb::Table;
use tidemark_tidb::schema::{Ddl, TableChange};
use tokio::sync::mpsc;

use crate::error::FeedError;
use crate::feed::follower::SchemaListener;
use crate::feed::pending::Pending;
use crate::stream::shard::Hold;
use crate::stream::wiring::Wiring;

/// A table in the version that counts now.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) table: Arc<Table>,
    /// The DDL that made it; zero if it was there at the beginning.
    pub(super) since: Ts,
}

/// All tables, by id.
pub(super) struct Known {
    tables: RwLock<HashMap<i64, Version>>,
    wiring: Arc<Wiring>,
    pending: Pending,
    /// Told of each DDL that was met.
    news: mpsc::Sender<()>,
}

impl Known {
    pub(super) fn new(
        tables: impl Iterator<Item = Arc<Table>>,
        wiring: Arc<Wiring>,
        pending: Pending,
        news: mpsc::Sender<()>,
    ) -> Self {
        Self {
            tables: RwLock::new(
                tables
                    .map(|table| {
                        (
                            table.id,
                            Version {
                                table,
                                since: Ts::ZERO,
                            },
                        )
                    })
                    .collect(),
            ),
            wiring,
            pending,
            news,
        }
    }

    /// A table by its id.
    pub(super) fn get(&self, id: i64) -> Option<Version> {
        self.tables.read().get(&id).cloned()
    }

    /// Takes in what a DDL has made of the tables.
    pub(super) fn change(&self, ddl: &Ddl) {
        let mut tables = self.tables.write();
        for old in ddl.changes.iter().filter_map(TableChange::before) {
            tables.remove(&old.id);
        }
        for new in ddl.changes.iter().filter_map(TableChange::after) {
            let table = Arc::clone(new);
            tables.insert(new.id, Version { table, since: ddl.ts });
        }
    }
}

impl SchemaListener for Known {
    fn changed<'a>(&'a self, ddl: &'a Arc<Ddl>) -> BoxFuture<'a, Result<(), FeedError>> {
        Box::pin(async move {
            self.wiring.hold(&Hold::of(ddl)).await?;
            self.pending.push(Arc::clone(ddl));
            let gone = |_| FeedError::Unavailable("the member's loop has ended".into());
            self.news.send(()).await.map_err(gone)
        })
    }
}
