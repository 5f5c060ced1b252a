use std::collections::BTreeMap;

/// What a stream promises, beside the truth it is judged by.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Changes at or below this ts are not part of the stream.
    pub start_ts: u64,
    /// The final watermark has to reach this ts, so that a stream that stopped early doesn't pass.
    pub must_reach: Option<u64>,
    /// Key columns by (schema, table), in key order. Tables not named here get the columns whose values make up the
    /// truth's keys; where several columns fit, the first by name, so name them if deletes show key columns only.
    pub keys: BTreeMap<(String, String), Vec<String>>,
    /// What UPDATEs tell of the row before.
    pub old_image: OldImage,
    /// What DELETEs tell of the row.
    pub delete_image: DeleteImage,
    /// Where the rows of a key may be.
    pub placement: Placement,
    /// Within what a replay is without gaps.
    pub replay_unit: ReplayUnit,
    /// What a replay must not reach back to.
    pub replay_floor: ReplayFloor,
    /// Whether the format has watermarks.
    pub watermarks: Watermarks,
    /// Tables whose sum holds at every watermark.
    pub banks: Vec<Bank>,
}

/// What UPDATEs tell of the row before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldImage {
    /// All columns.
    #[default]
    Full,
    /// The columns that changed.
    Changed,
    /// Nothing.
    Absent,
}

/// What DELETEs tell of the row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeleteImage {
    /// All columns.
    #[default]
    Full,
    /// At least the key columns.
    Key,
}

/// Where the rows of a key may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// All in one partition: partitioned by key or table.
    #[default]
    OnePartition,
    /// In sequences that are read one after the other, as the table versions of a storage folder: a key's order holds
    /// over all of them.
    Successive,
    /// In any partition, as when partitioned by ts: a key's order holds within each.
    Anywhere,
}

/// Within what a replay is without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplayUnit {
    /// A whole partition: one writer for all of it.
    Partition,
    /// A table in a partition: one span a table.
    #[default]
    Table,
    /// A key: tables are split in spans.
    Key,
}

/// What a replay must not reach back to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplayFloor {
    /// The last checkpoint that the caller told of.
    #[default]
    Checkpoint,
    /// The partition's watermark as well.
    Watermark,
}

/// Whether the format has watermarks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watermarks {
    /// It has: the stream is complete up to the last one.
    #[default]
    InStream,
    /// It has none: the whole truth has to be there.
    Absent,
}

/// A table where money is only moved, so that a column's sum stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bank {
    /// Database.
    pub schema: String,
    /// Table.
    pub table: String,
    /// The column of whole numbers.
    pub column: String,
    /// What it always sums up to.
    pub sum: i128,
    /// From this ts on the table is filled.
    pub from_ts: u64,
}
