use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use tidemark_model::Ts;
use tidemark_tidb::{Column, Table, tp};

use crate::encode::types::base_name;

const UNSPECIFIED: i64 = -1;

/// `schema_<version>_<hash>.json`: a table version for consumers, as TiCDC's storage sink writes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SchemaFile<'a> {
    table: &'a str,
    schema: &'a str,
    version: u64,
    table_version: u64,
    query: &'a str,
    r#type: u16,
    table_columns: &'a [SchemaColumn<'a>],
    table_columns_total: usize,
}

/// What the hash is made of: the structure without version and DDL, columns by name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Structure<'a> {
    table: &'a str,
    schema: &'a str,
    version: u64,
    table_columns: &'a [SchemaColumn<'a>],
    table_columns_total: usize,
}

#[derive(Clone, Debug, Serialize)]
struct SchemaColumn<'a> {
    #[serde(rename = "ColumnName")]
    name: &'a str,
    #[serde(rename = "ColumnType")]
    ty: String,
    #[serde(rename = "ColumnDefault", skip_serializing_if = "Option::is_none")]
    default: Option<&'a str>,
    #[serde(rename = "ColumnPrecision", skip_serializing_if = "Option::is_none")]
    precision: Option<String>,
    #[serde(rename = "ColumnScale", skip_serializing_if = "Option::is_none")]
    scale: Option<String>,
    #[serde(rename = "ColumnNullable", skip_serializing_if = "Option::is_none")]
    nullable: Option<&'static str>,
    #[serde(rename = "ColumnIsPk", skip_serializing_if = "Option::is_none")]
    primary: Option<&'static str>,
    #[serde(rename = "ColumnElems", skip_serializing_if = "<[String]>::is_empty")]
    elems: &'a [String],
}

/// The hash of a table's structure: equal for versions that differ in nothing that a row shows.
pub(super) fn structure_hash(table: &Table) -> u32 {
    let mut columns = columns(table);
    columns.sort_by(|one, other| one.name.cmp(other.name));
    let structure = Structure {
        table: &table.name,
        schema: &table.schema,
        version: 0,
        table_columns: &columns,
        table_columns_total: columns.len(),
    };
    crc32fast::hash(go_json(&structure).as_bytes())
}

/// The DDL that made a version: its statement and TiDB's number of its kind. Without one the version is told as one that was
/// found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MadeBy<'a> {
    pub(super) query: &'a str,
    pub(super) action: u16,
}

/// The file's text.
pub(super) fn text(table: &Table, version: Ts, made_by: MadeBy<'_>) -> String {
    let columns = columns(table);
    go_json(&SchemaFile {
        table: &table.name,
        schema: &table.schema,
        version: 1,
        table_version: version.0,
        query: made_by.query,
        r#type: made_by.action,
        table_columns: &columns,
        table_columns_total: columns.len(),
    })
}

/// The text and hash of a database's version: a table without name and columns.
pub(super) fn database(schema: &str, version: Ts, made_by: MadeBy<'_>) -> (String, u32) {
    let structure = Structure {
        table: "",
        schema,
        version: 0,
        table_columns: &[],
        table_columns_total: 0,
    };
    let text = go_json(&SchemaFile {
        table: "",
        schema,
        version: 1,
        table_version: version.0,
        query: made_by.query,
        r#type: made_by.action,
        table_columns: &[],
        table_columns_total: 0,
    });
    (text, crc32fast::hash(go_json(&structure).as_bytes()))
}

pub(super) fn file_name(version: Ts, hash: u32) -> String {
    format!("schema_{version}_{hash:010}.json")
}

/// Version and hash of a file name.
pub(super) fn parse_name(name: &str) -> Option<(Ts, u32)> {
    let (version, hash) = name
        .strip_prefix("schema_")?
        .strip_suffix(".json")?
        .split_once('_')?;
    Some((version.parse().ok()?, hash.parse().ok()?))
}

/// JSON as Go's encoder writes it: four spaces of indent, and `<`, `>`, `&` escaped for HTML's sake.
fn go_json(value: &impl Serialize) -> String {
    let mut json = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut json, PrettyFormatter::with_indent(b"    "));
    // Strings and numbers into memory: nothing here can fail.
    if value.serialize(&mut serializer).is_err() {
        return String::new();
    }
    String::from_utf8_lossy(&json)
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn columns(table: &Table) -> Vec<SchemaColumn<'_>> {
    table.columns.iter().map(schema_column).collect()
}

fn schema_column(column: &Column) -> SchemaColumn<'_> {
    let ty = &column.ty;
    let (default_length, default_scale) = defaults(ty.tp);
    let or = |given, default| if given == UNSPECIFIED { default } else { given };
    let (length, scale) = (or(ty.flen, default_length), or(ty.decimal, default_scale));
    let own_scale = ![default_scale, 0, UNSPECIFIED].contains(&ty.decimal);
    let (precision, scale) = match ty.tp {
        tp::TIMESTAMP | tp::DATETIME | tp::DURATION => (None, own_scale.then_some(scale)),
        tp::DOUBLE | tp::FLOAT => (Some(length), own_scale.then_some(scale)),
        tp::DECIMAL => (Some(length), Some(scale)),
        tp::TINY | tp::SHORT | tp::INT24 | tp::LONG | tp::LONGLONG | tp::BIT | tp::YEAR => {
            (Some(length), None)
        }
        _ if ty.is_string() => (Some(length), None),
        _ => (None, None),
    };
    let unsigned = if ty.is_unsigned() { " UNSIGNED" } else { "" };
    SchemaColumn {
        name: &column.name,
        ty: base_name(ty).to_ascii_uppercase() + unsigned,
        default: column.default.as_deref(),
        precision: precision.map(|number| number.to_string()),
        scale: scale.map(|number| number.to_string()),
        nullable: column.not_null.then_some("false"),
        primary: column.primary.then_some("true"),
        elems: &ty.elems,
    }
}

/// MySQL's length and scale where a definition names none.
fn defaults(type_byte: u8) -> (i64, i64) {
    match type_byte {
        tp::BIT => (1, 0),
        tp::TINY => (4, 0),
        tp::SHORT => (6, 0),
        tp::INT24 => (9, 0),
        tp::LONG => (11, 0),
        tp::LONGLONG => (20, 0),
        tp::DOUBLE => (22, UNSPECIFIED),
        tp::FLOAT => (12, UNSPECIFIED),
        tp::DECIMAL | tp::DURATION | tp::DATE => (10, 0),
        tp::TIMESTAMP | tp::DATETIME => (19, 0),
        tp::YEAR => (4, 0),
        tp::STRING => (1, 0),
        tp::VARCHAR | tp::VAR_STRING => (5, 0),
        tp::TINY_BLOB => (255, 0),
        tp::BLOB => (65_535, 0),
        tp::MEDIUM_BLOB => (16_777_215, 0),
        tp::LONG_BLOB => (4_294_967_295, 0),
        _ => (UNSPECIFIED, UNSPECIFIED),
    }
}
