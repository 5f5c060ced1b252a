//! TiDB's metadata as JSON, as far as this project reads it.
//!
//! Made by Go: unknown fields are skipped, missing ones have their zero value, a list may be `null`,
//! byte strings are base64 text, and names are matched exactly (`version` is not `Version`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

/// State of an object that all readers see.
pub(crate) const PUBLIC: u8 = 5;

/// A name as written (`O`) and in lower case (`L`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CiName {
    /// The name as written.
    #[serde(rename = "O")]
    pub original: String,
    /// In lower case, for comparison.
    #[serde(rename = "L")]
    pub lower: String,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DbInfo {
    /// The id.
    pub id: i64,
    /// The name.
    #[serde(rename = "db_name")]
    pub name: CiName,
    /// The state; 5 is public.
    pub state: u8,
}

/// A table, view or sequence.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TableInfo {
    /// The id.
    pub id: i64,
    /// The name.
    pub name: CiName,
    /// All columns, those under way and hidden ones too.
    #[serde(deserialize_with = "or_default")]
    pub cols: Vec<ColumnInfo>,
    /// Indexes; an integer handle has none.
    #[serde(deserialize_with = "or_default")]
    pub index_info: Vec<IndexInfo>,
    /// The state; not to be relied on in DDL jobs.
    pub state: u8,
    /// Whether the primary key is the integer handle.
    pub pk_is_handle: bool,
    /// Whether the primary key is a handle of several or other columns.
    pub is_common_handle: bool,
    /// When the definition last changed.
    pub update_timestamp: u64,
    /// Partitions; not partitioned unless `enable` is set.
    pub partition: Option<PartitionInfo>,
    /// Set for views.
    #[serde(deserialize_with = "is_set")]
    pub view: bool,
    /// Set for sequences.
    #[serde(deserialize_with = "is_set")]
    pub sequence: bool,
    /// 0 ordinary, 1 global temporary, 2 local temporary.
    pub temp_table_type: u8,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ColumnInfo {
    /// The id.
    pub id: i64,
    /// The name.
    pub name: CiName,
    /// The place among `cols`.
    pub offset: i64,
    /// The default when the column was added, for rows that lack it.
    #[serde(deserialize_with = "text_or_number")]
    pub origin_default: Option<String>,
    /// The same of BIT columns, big-endian.
    #[serde(deserialize_with = "base64_bytes")]
    pub origin_default_bit: Option<Vec<u8>>,
    /// The default of new rows.
    #[serde(rename = "default", deserialize_with = "text_or_number")]
    pub default_value: Option<String>,
    /// The same of BIT columns, big-endian.
    #[serde(deserialize_with = "base64_bytes")]
    pub default_bit: Option<Vec<u8>>,
    /// The expression of a generated column.
    #[serde(deserialize_with = "or_default")]
    pub generated_expr_string: String,
    /// Whether a generated column is stored.
    pub generated_stored: bool,
    /// The type.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub ty: FieldType,
    /// The state; 5 is public.
    pub state: u8,
    /// Whether the column belongs to an expression index.
    pub hidden: bool,
}

/// A column's type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FieldType {
    /// MySQL's type byte.
    pub tp: u8,
    /// MySQL's flags.
    pub flag: u32,
    /// Length or precision; exceeds 32 bits.
    pub flen: i64,
    /// Scale or fraction digits.
    pub decimal: i64,
    /// The character set.
    pub charset: String,
    /// The collation.
    pub collate: String,
    /// Members of ENUM and SET.
    #[serde(deserialize_with = "or_default")]
    pub elems: Vec<String>,
    /// Whether it is the JSON array of a multi-valued index.
    pub array: bool,
}

/// An index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct IndexInfo {
    /// The id.
    pub id: i64,
    /// The name.
    pub idx_name: CiName,
    /// The columns in order.
    #[serde(deserialize_with = "or_default")]
    pub idx_cols: Vec<IndexColumn>,
    /// The state; 5 is public.
    pub state: u8,
    /// Whether values are unique.
    pub is_unique: bool,
    /// Whether it is the primary key.
    pub is_primary: bool,
}

/// A column of an index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct IndexColumn {
    /// The column's name.
    pub name: CiName,
    /// The column's place among `cols`.
    pub offset: i64,
    /// Indexed length; -1 for all of it.
    pub length: i64,
}

impl Default for IndexColumn {
    fn default() -> Self {
        Self {
            name: CiName::default(),
            offset: 0,
            length: -1,
        }
    }
}

/// How a table is partitioned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PartitionInfo {
    /// Whether rows use the partitions' ids.
    pub enable: bool,
    /// The partitions.
    #[serde(deserialize_with = "or_default")]
    pub definitions: Vec<PartitionDefinition>,
    /// Partitions that a DDL is adding.
    #[serde(deserialize_with = "or_default")]
    pub adding_definitions: Vec<PartitionDefinition>,
    /// Partitions that a DDL is dropping.
    #[serde(deserialize_with = "or_default")]
    pub dropping_definitions: Vec<PartitionDefinition>,
    /// Ids that a TRUNCATE hands out; `NewPartitionIDs` before TiDB 8.4.
    #[serde(alias = "NewPartitionIDs", deserialize_with = "or_default")]
    pub new_partition_ids: Vec<i64>,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PartitionDefinition {
    /// The physical table id.
    pub id: i64,
    /// The name.
    pub name: CiName,
}

/// Takes `null` for the type's default, as Go does.
pub(crate) fn or_default<'de, D, T>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + DeserializeOwned,
{
    Option::deserialize(input).map(Option::unwrap_or_default)
}

/// Whether there is anything but `null`.
fn is_set<'de, D: Deserializer<'de>>(input: D) -> Result<bool, D::Error> {
    Option::<serde::de::IgnoredAny>::deserialize(input).map(|found| found.is_some())
}

/// A default's text; Go's type allows numbers too.
fn text_or_number<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(input)? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Bool(truth) => Some(u8::from(truth).to_string()),
        other => Some(other.to_string()),
    })
}

fn base64_bytes<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text: Option<String> = Deserialize::deserialize(input)?;
    text.map(|text| {
        STANDARD
            .decode(&text)
            .map_err(|problem| D::Error::custom(format!("base64 {text:?}: {problem}")))
    })
    .transpose()
}
