use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use tidemark_workload::client::{CommitKind, Ending, Outcome, Pd, Stores, Transaction, TransactionKind};
use tokio::task::JoinSet;

use crate::orders::Orders;

/// Rows of one transaction: in one command's size, so that a region takes them in one phase.
const ROWS: u64 = 500;
/// Transactions at once.
const WRITERS: usize = 4;

/// Writes rows of the measured table.
#[derive(Clone)]
pub(crate) struct Writer {
    stores: Stores,
    orders: Arc<Orders>,
}

impl Writer {
    pub(crate) async fn connect(pd: &str, table: i64) -> Result<Self> {
        let stores = Stores::new(Pd::connect(&[pd.to_owned()]).await?);
        Ok(Self {
            stores,
            orders: Arc::new(Orders::new(table)),
        })
    }

    /// A ts of PD's, above all that is committed.
    pub(crate) async fn now(&self) -> Result<u64> {
        Ok(self.stores.pd().timestamp().await?)
    }

    /// Writes rows as quickly as the source takes them.
    pub(crate) async fn write(&self, rows: Range<u64>, commit: CommitKind) -> Result<()> {
        let next = Arc::new(AtomicU64::new(rows.start));
        let mut tasks: JoinSet<Result<()>> = JoinSet::new();
        for _ in 0..WRITERS {
            let (writer, next, end) = (self.clone(), Arc::clone(&next), rows.end);
            tasks.spawn(async move {
                loop {
                    let first = next.fetch_add(ROWS, Ordering::Relaxed);
                    if first >= end {
                        return Ok(());
                    }
                    writer.commit(first..end.min(first + ROWS), commit).await?;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Commits rows in one transaction; gives its commit ts.
    pub(crate) async fn commit(&self, rows: Range<u64>, commit: CommitKind) -> Result<u64> {
        let kind = TransactionKind {
            commit,
            ..TransactionKind::default()
        };
        let mut txn = Transaction::begin(&self.stores, kind).await?;
        for row in rows {
            let (key, value) = self.orders.row(row);
            txn.put(key, value);
        }
        match Box::pin(txn.finish(Ending::Commit)).await? {
            Outcome::Committed(ts) => Ok(ts),
            Outcome::RolledBack(reason) => bail!("a write was refused: {reason}"),
        }
    }
}
