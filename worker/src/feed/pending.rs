use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tidemark_model::Ts;
use tidemark_tidb::schema::Ddl;
use tokio::sync::Notify;

/// DDLs that were met and have not passed, in their order; a cheap clone.
///
/// The tables that a DDL changes stand below it until everything before it is durable and the sink has it; others go on. The feed's
/// checkpoint stays below the first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    ddls: Mutex<VecDeque<Arc<Ddl>>>,
    met: Notify,
}

impl Pending {
    /// Adds one that was met; they are met in their order.
    pub(crate) fn push(&self, ddl: Arc<Ddl>) {
        self.0.ddls.lock().push_back(ddl);
        self.0.met.notify_one();
    }

    /// The first.
    pub(crate) fn first(&self) -> Option<Arc<Ddl>> {
        self.0.ddls.lock().front().map(Arc::clone)
    }

    /// Waits for the first.
    pub(crate) async fn wait(&self) -> Arc<Ddl> {
        loop {
            if let Some(ddl) = self.first() {
                return ddl;
            }
            self.0.met.notified().await;
        }
    }

    /// The first has passed.
    pub(crate) fn passed(&self) {
        self.0.ddls.lock().pop_front();
    }

    /// The last ts below all of them.
    pub(crate) fn floor(&self) -> Ts {
        self.first().map_or(Ts::MAX, |ddl| ddl.ts.prev())
    }
}
