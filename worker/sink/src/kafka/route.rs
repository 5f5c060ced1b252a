use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidemark_tidb::{Table, TimeZone};

use super::partition::Partitioner;
use super::topics::Topic;
use crate::encode::CanalJson;

/// Versions of one table that are kept: spans of one table may be on either side of a DDL.
const VERSIONS: usize = 4;

/// Where one table version's rows go, and how.
pub(super) struct Route {
    pub(super) table: Arc<Table>,
    pub(super) topic: Arc<Topic>,
    pub(super) partitioner: Partitioner,
    pub(super) encoder: CanalJson,
    pub(super) zone: TimeZone,
}

/// The routes of the tables that are known.
#[derive(Default)]
pub(super) struct Routes {
    by_table: Mutex<HashMap<i64, Vec<Arc<Route>>, RandomState>>,
}

impl Routes {
    pub(super) fn get(&self, table: &Arc<Table>) -> Option<Arc<Route>> {
        let known = self.by_table.lock();
        let versions = known.get(&table.id)?;
        versions
            .iter()
            .rev()
            .find(|route| Arc::ptr_eq(&route.table, table))
            .or_else(|| versions.iter().rev().find(|route| route.table == *table))
            .map(Arc::clone)
    }

    pub(super) fn put(&self, route: Arc<Route>) {
        let mut known = self.by_table.lock();
        let versions = known.entry(route.table.id).or_default();
        if versions.len() == VERSIONS {
            versions.remove(0);
        }
        versions.push(route);
    }
}
