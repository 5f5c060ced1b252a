use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A row's columns: name to canonical text, `None` for NULL.
pub type Columns = BTreeMap<String, Option<String>>;

/// One committed version of one row, as the writer knows it. Truth files hold one as JSON a line.
///
/// Texts are those of canal-json: decimal digits, enum and set as numbers, binary as latin-1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthRow {
    /// Database.
    pub schema: String,
    /// Table.
    pub table: String,
    /// The values of the key columns in key order, joined by a unit separator (U+001F).
    pub key: String,
    /// When the transaction began.
    pub start_ts: u64,
    /// When it took effect.
    pub commit_ts: u64,
    /// What happened to the row.
    pub op: TruthOp,
    /// The row after an insert or update, the row before a delete.
    pub row: Columns,
    /// The row before an update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Columns>,
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TruthOp {
    /// It came into being.
    Insert,
    /// It changed.
    Update,
    /// It ended.
    Delete,
}
