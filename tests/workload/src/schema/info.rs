//! TiDB's schema JSON: `DBInfo` and `TableInfo` with the field names and order of TiDB 8.5.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use super::column::ColumnKind;
use super::table::{ColumnSpec, Generated, Partitioning, PrimaryKey, TableSpec};
use crate::encode::Datum;

/// `SchemaState`: none.
pub const STATE_NONE: u8 = 0;
/// `SchemaState`: public.
pub const STATE_PUBLIC: u8 = 5;

const NOT_NULL: u32 = 1;
const PRIMARY: u32 = 2;
const UNIQUE: u32 = 4;
const MULTIPLE: u32 = 8;
const NO_DEFAULT: u32 = 4096;
const GENERATED: u32 = 1 << 23;

/// A name with its lower-case form.
#[derive(Clone, Debug, Serialize)]
struct Name {
    #[serde(rename = "O")]
    original: String,
    #[serde(rename = "L")]
    lower: String,
}

impl Name {
    fn of(name: &str) -> Self {
        Self {
            original: name.to_owned(),
            lower: name.to_lowercase(),
        }
    }
}

/// TiDB's `DBInfo`.
#[derive(Clone, Debug, Serialize)]
pub struct DatabaseInfo {
    /// Database id.
    pub id: i64,
    db_name: Name,
    charset: &'static str,
    collate: &'static str,
    #[serde(rename = "Deprecated")]
    deprecated: Empty,
    state: u8,
    policy_ref_info: Option<()>,
}

#[derive(Clone, Debug, Serialize)]
struct Empty {}

impl DatabaseInfo {
    /// A public database of TiDB's default character set.
    pub fn new(id: i64, name: &str) -> Self {
        Self {
            id,
            db_name: Name::of(name),
            charset: "utf8mb4",
            collate: "utf8mb4_bin",
            deprecated: Empty {},
            state: STATE_PUBLIC,
            policy_ref_info: None,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct FieldType {
    tp: u8,
    flag: u32,
    flen: i64,
    decimal: i64,
    charset: &'static str,
    collate: &'static str,
    elems: Option<Vec<String>>,
    elems_is_binary_lit: Option<Vec<bool>>,
    array: bool,
}

#[derive(Clone, Debug, Serialize)]
struct ColumnInfo {
    id: i64,
    name: Name,
    offset: usize,
    origin_default: Value,
    origin_default_bit: Option<String>,
    default: Value,
    default_bit: Option<String>,
    default_is_expr: bool,
    generated_expr_string: String,
    generated_stored: bool,
    dependences: Option<Value>,
    #[serde(rename = "type")]
    field_type: FieldType,
    state: u8,
    comment: &'static str,
    hidden: bool,
    change_state_info: Option<()>,
    version: u8,
}

#[derive(Clone, Debug, Serialize)]
struct IndexColumn {
    name: Name,
    offset: usize,
    length: i64,
}

#[derive(Clone, Debug, Serialize)]
struct IndexInfo {
    id: i64,
    idx_name: Name,
    tbl_name: Name,
    idx_cols: Vec<IndexColumn>,
    state: u8,
    backfill_state: u8,
    comment: &'static str,
    index_type: u8,
    is_unique: bool,
    is_primary: bool,
    is_invisible: bool,
    is_global: bool,
    mv_index: bool,
    vector_index: Option<()>,
}

/// TiDB's `TableInfo`.
#[derive(Clone, Debug, Serialize)]
pub struct TableInfo {
    id: i64,
    name: Name,
    charset: &'static str,
    collate: &'static str,
    cols: Vec<ColumnInfo>,
    index_info: Option<Vec<IndexInfo>>,
    constraint_info: Option<()>,
    fk_info: Option<()>,
    state: u8,
    pk_is_handle: bool,
    is_common_handle: bool,
    common_handle_version: u8,
    comment: &'static str,
    auto_inc_id: i64,
    auto_id_cache: i64,
    auto_rand_id: i64,
    max_col_id: i64,
    max_idx_id: i64,
    max_fk_id: i64,
    max_cst_id: i64,
    update_timestamp: u64,
    #[serde(rename = "ShardRowIDBits")]
    shard_row_id_bits: u8,
    max_shard_row_id_bits: u8,
    auto_random_bits: u8,
    auto_random_range_bits: u8,
    pre_split_regions: u8,
    partition: Option<Value>,
    compression: &'static str,
    view: Option<()>,
    sequence: Option<()>,
    #[serde(rename = "Lock")]
    lock: Option<()>,
    version: u8,
    tiflash_replica: Option<()>,
    is_columnar: bool,
    temp_table_type: u8,
    cache_table_status: u8,
    policy_ref_info: Option<()>,
    stats_options: Option<()>,
    exchange_partition_info: Option<()>,
    ttl_info: Option<()>,
    revision: u64,
}

/// What of a table is still on its way, while a DDL job runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Underway {
    /// The state of the last column, if it is being added.
    pub column: Option<u8>,
    /// The state of the last index, if it is being added.
    pub index: Option<u8>,
    /// The table's own state, if it isn't public.
    pub table: Option<u8>,
}

/// The `TableInfo` of a table, last changed at `updated`.
pub fn table_info(table: &TableSpec, updated: u64, underway: Underway) -> TableInfo {
    let last = table.columns.len().wrapping_sub(1);
    let columns = table.columns.iter().enumerate().map(|(offset, column)| {
        let state = if offset == last { underway.column } else { None };
        column_info(table, offset, column, state.unwrap_or(STATE_PUBLIC))
    });
    let indexes = indexes(table, underway.index);
    TableInfo {
        id: table.id,
        name: Name::of(&table.name),
        charset: "utf8mb4",
        collate: "utf8mb4_bin",
        cols: columns.collect(),
        max_idx_id: indexes.iter().map(|index| index.id).max().unwrap_or(0),
        index_info: (!indexes.is_empty()).then_some(indexes),
        constraint_info: None,
        fk_info: None,
        state: underway.table.unwrap_or(STATE_PUBLIC),
        pk_is_handle: matches!(table.primary_key, PrimaryKey::IntHandle(_)),
        is_common_handle: matches!(table.primary_key, PrimaryKey::Common(_)),
        common_handle_version: u8::from(matches!(table.primary_key, PrimaryKey::Common(_))),
        comment: "",
        auto_inc_id: 0,
        auto_id_cache: 0,
        auto_rand_id: 0,
        max_col_id: table.columns.iter().map(|column| column.id).max().unwrap_or(0),
        max_fk_id: 0,
        max_cst_id: 0,
        update_timestamp: updated,
        shard_row_id_bits: 0,
        max_shard_row_id_bits: 0,
        auto_random_bits: 0,
        auto_random_range_bits: 0,
        pre_split_regions: 0,
        partition: partition_info(table),
        compression: "",
        view: None,
        sequence: None,
        lock: None,
        version: 5,
        tiflash_replica: None,
        is_columnar: false,
        temp_table_type: 0,
        cache_table_status: 0,
        policy_ref_info: None,
        stats_options: None,
        exchange_partition_info: None,
        ttl_info: None,
        revision: 1,
    }
}

fn column_info(table: &TableSpec, offset: usize, column: &ColumnSpec, state: u8) -> ColumnInfo {
    let shape = column.kind.shape();
    let mut flags = shape.flags;
    if column.not_null {
        flags |= NOT_NULL | NO_DEFAULT;
    }
    if table.primary_offsets().contains(&offset) {
        flags |= PRIMARY;
    }
    for index in table
        .indexes
        .iter()
        .filter(|index| index.columns.first() == Some(&offset))
    {
        flags |= if index.unique && index.columns.len() == 1 {
            UNIQUE
        } else {
            MULTIPLE
        };
    }
    let (expression, stored) = match &column.generated {
        None => ("", false),
        Some(Generated::Virtual(expression)) => (expression.as_str(), false),
        Some(Generated::Stored(expression)) => (expression.as_str(), true),
    };
    if column.generated.is_some() {
        flags |= GENERATED;
    }
    let (origin, origin_bit) = column
        .origin
        .as_ref()
        .map_or((Value::Null, None), |origin| default(&column.kind, origin));
    ColumnInfo {
        id: column.id,
        name: Name::of(&column.name),
        offset,
        default: origin.clone(),
        default_bit: origin_bit.clone(),
        origin_default: origin,
        origin_default_bit: origin_bit,
        default_is_expr: false,
        generated_expr_string: expression.to_owned(),
        generated_stored: stored,
        dependences: column.generated.is_some().then(|| json!({})),
        field_type: FieldType {
            tp: shape.tp,
            flag: flags,
            flen: shape.flen,
            decimal: shape.decimal,
            charset: shape.charset,
            collate: shape.collate,
            elems: column.kind.members().map(<[String]>::to_vec),
            elems_is_binary_lit: None,
            array: false,
        },
        state,
        comment: "",
        hidden: false,
        change_state_info: None,
        version: 2,
    }
}

/// A default as TiDB writes it: text for all types, member names for ENUM and SET, and the bytes of a BIT apart.
fn default(kind: &ColumnKind, value: &Datum) -> (Value, Option<String>) {
    match (kind, value) {
        (ColumnKind::Bit(width), Datum::Mask(bits)) => {
            let bytes = bits.to_be_bytes();
            let bytes = &bytes[8 - usize::from(width.div_ceil(8))..];
            let characters: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            (Value::String(characters), Some(STANDARD.encode(bytes)))
        }
        (ColumnKind::Enum(members), Datum::Mask(member)) => {
            let name = (*member as usize)
                .checked_sub(1)
                .and_then(|index| members.get(index));
            (Value::String(name.cloned().unwrap_or_default()), None)
        }
        (ColumnKind::Set(members), Datum::Mask(mask)) => {
            let chosen = members.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
            let names: Vec<&str> = chosen.map(|(_, name)| name.as_str()).collect();
            (Value::String(names.join(",")), None)
        }
        _ => (value.text(kind).map_or(Value::Null, Value::String), None),
    }
}

fn indexes(table: &TableSpec, last_state: Option<u8>) -> Vec<IndexInfo> {
    let index = |id, name: &str, columns: &[usize], unique, primary, state| IndexInfo {
        id,
        idx_name: Name::of(name),
        tbl_name: Name::of(""),
        idx_cols: columns
            .iter()
            .map(|offset| IndexColumn {
                name: Name::of(&table.columns[*offset].name),
                offset: *offset,
                length: -1,
            })
            .collect(),
        state,
        backfill_state: 0,
        comment: "",
        index_type: 1,
        is_unique: unique,
        is_primary: primary,
        is_invisible: false,
        is_global: false,
        mv_index: false,
        vector_index: None,
    };
    let mut all = Vec::new();
    if let PrimaryKey::Common(columns) | PrimaryKey::Nonclustered(columns) = &table.primary_key {
        all.push(index(1, "PRIMARY", columns, true, true, STATE_PUBLIC));
    }
    for (position, spec) in table.indexes.iter().enumerate() {
        let last = position + 1 == table.indexes.len();
        let state = last_state.filter(|_| last).unwrap_or(STATE_PUBLIC);
        all.push(index(
            spec.id,
            &spec.name,
            &spec.columns,
            spec.unique,
            false,
            state,
        ));
    }
    all
}

fn partition_info(table: &TableSpec) -> Option<Value> {
    let (kind, column, definitions): (u8, usize, Vec<_>) = match &table.partitioning {
        Partitioning::None => return None,
        Partitioning::Hash { column, ids } => (
            2,
            *column,
            ids.iter().map(|id| (*id, None::<Vec<String>>)).collect(),
        ),
        Partitioning::Range { column, bounds } => {
            let upper = |upper: &Option<i64>| upper.map_or("MAXVALUE".to_owned(), |upper| upper.to_string());
            (
                1,
                *column,
                bounds
                    .iter()
                    .map(|(id, bound)| (*id, Some(vec![upper(bound)])))
                    .collect(),
            )
        }
    };
    let count = definitions.len();
    let definitions: Vec<Value> = definitions
        .into_iter()
        .enumerate()
        .map(|(index, (id, less_than))| {
            let name = format!("p{index}");
            json!({"id": id, "name": {"O": name, "L": name}, "less_than": less_than, "in_values": null, "policy_ref_info": null})
        })
        .collect();
    Some(json!({
        "type": kind,
        "expr": format!("`{}`", table.columns[column].name),
        "columns": null,
        "enable": true,
        "is_empty_columns": false,
        "definitions": definitions,
        "adding_definitions": null,
        "dropping_definitions": null,
        "num": count,
        "ddl_state": 0,
    }))
}
