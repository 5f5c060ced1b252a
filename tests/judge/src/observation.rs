use crate::truth::Columns;

/// One thing that a consumer read, in the order of one partition, file sequence or table folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A row change.
    Row(RowObservation),
    /// A watermark: nothing new at or below it follows in this partition.
    Watermark(u64),
}

/// A row change that a consumer read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowObservation {
    /// Database.
    pub schema: String,
    /// Table.
    pub table: String,
    /// When it took effect.
    pub commit_ts: u64,
    /// What the message calls it.
    pub op: RowOp,
    /// The row after an insert or update, the row before a delete.
    pub row: Columns,
    /// The row before an update, where the format tells.
    pub old: Option<Columns>,
}

/// What a message calls a row change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowOp {
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
}
