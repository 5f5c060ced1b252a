use std::collections::BTreeSet;
use std::sync::Arc;

use tidemark_model::Ts;

use super::ActionType;
use crate::Table;

/// A finished DDL and what it did to the tables that are streamed.
#[derive(Clone, Debug, PartialEq)]
pub struct Ddl {
    /// When it took effect, its job's commit ts: rows committed before have the earlier definitions, later ones the new.
    pub ts: Ts,
    /// What kind of DDL it is.
    pub action: ActionType,
    /// The database.
    pub schema: String,
    /// The table; empty for a DDL of a database.
    pub table: String,
    /// The statement.
    pub query: String,
    /// The tables that it changed, each once; never empty.
    pub changes: Vec<TableChange>,
}

/// What a DDL did to one table.
#[derive(Clone, Debug, PartialEq)]
pub enum TableChange {
    /// It is there from now on, without rows.
    Added(Arc<Table>),
    /// It is gone, or out of the feed's filter.
    Dropped(Arc<Table>),
    /// It has another definition, name, partitions or id. Rows under ids that only the old one has are gone; under ids that only
    /// the new one has there are none yet, or rows that were under another id before.
    Altered {
        /// Before.
        old: Arc<Table>,
        /// After.
        new: Arc<Table>,
    },
}

impl TableChange {
    /// The table before.
    pub fn before(&self) -> Option<&Arc<Table>> {
        match self {
            Self::Added(_) => None,
            Self::Dropped(old) | Self::Altered { old, .. } => Some(old),
        }
    }

    /// The table after.
    pub fn after(&self) -> Option<&Arc<Table>> {
        match self {
            Self::Dropped(_) => None,
            Self::Added(new) | Self::Altered { new, .. } => Some(new),
        }
    }

    /// The ids that rows are stored under and that stay the table's own.
    pub fn kept(&self) -> BTreeSet<i64> {
        let (Some(old), Some(new)) = (self.before(), self.after()) else {
            return BTreeSet::new();
        };
        if old.id != new.id {
            return BTreeSet::new();
        }
        let ids: BTreeSet<i64> = old.physical_ids().collect();
        new.physical_ids().filter(|id| ids.contains(id)).collect()
    }
}
