use std::fmt;

use serde::Deserialize;

/// What kind of DDL a job is: TiDB's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct ActionType(pub u16);

/// What a kind of DDL means for tables that are being followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A database appears.
    CreateSchema,
    /// Tables appear.
    CreateTables,
    /// Rows keep their places and forms; the definition may differ in other things, and the job may lack it.
    Harmless,
    /// A table's definition or partitions change under the same id.
    Alters,
    /// A table goes.
    Drops,
    /// A table goes on under another id.
    Replaces,
    /// Tables get other names, in other databases perhaps.
    Renames,
    /// A table and a partition of another change places.
    Exchanges,
    /// A database goes with its tables.
    DropSchema,
    /// A database comes back with its tables and their rows; the job doesn't list them.
    RecoverSchema,
    /// Tables that were not streamed may come into the filter with their rows, or it is not known what happens.
    Arriving,
    /// The whole cluster's rows change.
    WholeCluster,
    /// About no table with rows.
    Nothing,
}

impl ActionType {
    /// A table and a partition of another change places.
    pub const EXCHANGE_PARTITION: Self = Self(42);
}

macro_rules! actions {
    ($($number:literal $name:literal $meaning:ident,)*) => {
        impl ActionType {
            /// TiDB's name of the action in lower case, or `unknown`.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($number => $name,)*
                    _ => "unknown",
                }
            }

            pub(crate) fn meaning(self) -> Meaning {
                match self.0 {
                    $($number => Meaning::$meaning,)*
                    _ => Meaning::Arriving,
                }
            }
        }
    };
}

actions! {
    0 "none" Nothing,
    1 "create schema" CreateSchema,
    2 "drop schema" DropSchema,
    3 "create table" CreateTables,
    4 "drop table" Drops,
    5 "add column" Alters,
    6 "drop column" Alters,
    7 "add index" Harmless,
    8 "drop index" Harmless,
    9 "add foreign key" Harmless,
    10 "drop foreign key" Harmless,
    11 "truncate table" Replaces,
    12 "modify column" Alters,
    13 "rebase auto id" Harmless,
    14 "rename table" Renames,
    15 "set default value" Harmless,
    16 "shard row id" Harmless,
    17 "modify table comment" Harmless,
    18 "rename index" Harmless,
    19 "add partition" Alters,
    20 "drop partition" Alters,
    21 "create view" Nothing,
    22 "modify table charset and collate" Harmless,
    23 "truncate partition" Alters,
    24 "drop view" Nothing,
    25 "recover table" Arriving,
    26 "modify schema charset and collate" Nothing,
    27 "lock table" Harmless,
    28 "unlock table" Harmless,
    29 "repair table" Arriving,
    30 "set tiflash replica" Harmless,
    31 "update tiflash replica status" Harmless,
    32 "add primary key" Harmless,
    33 "drop primary key" Harmless,
    34 "create sequence" Nothing,
    35 "alter sequence" Nothing,
    36 "drop sequence" Nothing,
    37 "add columns" Alters,
    38 "drop columns" Alters,
    39 "modify auto id cache" Harmless,
    40 "rebase auto random base" Harmless,
    41 "alter index visibility" Harmless,
    42 "exchange partition" Exchanges,
    43 "add check constraint" Harmless,
    44 "drop check constraint" Harmless,
    45 "alter check constraint" Harmless,
    46 "alter table alter partition" Harmless,
    47 "rename tables" Renames,
    48 "drop indexes" Harmless,
    49 "alter table attributes" Harmless,
    50 "alter partition attributes" Harmless,
    51 "create placement policy" Nothing,
    52 "alter placement policy" Nothing,
    53 "drop placement policy" Nothing,
    54 "alter partition placement" Harmless,
    55 "modify schema default placement" Nothing,
    56 "alter table placement" Harmless,
    57 "alter cache table" Harmless,
    58 "alter stats options" Harmless,
    59 "alter no-cache table" Harmless,
    60 "create tables" CreateTables,
    61 "multi-schema change" Alters,
    62 "flashback cluster" WholeCluster,
    63 "recover schema" RecoverSchema,
    64 "reorganize partition" Alters,
    65 "alter TTL info" Harmless,
    67 "remove TTL" Harmless,
    68 "create resource group" Nothing,
    69 "alter resource group" Nothing,
    70 "drop resource group" Nothing,
    71 "alter table partitioning" Replaces,
    72 "remove partitioning" Replaces,
    73 "add columnar index" Harmless,
    74 "modify engine attribute" Harmless,
    75 "alter table mode" Harmless,
    76 "refresh meta" Arriving,
    77 "modify schema read only" Nothing,
    78 "alter table affinity" Harmless,
    79 "alter table soft delete" Alters,
    80 "modify schema soft delete" Nothing,
    230 "add full-text index" Harmless,
    231 "create hybrid index" Harmless,
}

impl fmt::Display for ActionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (type {})", self.name(), self.0)
    }
}
