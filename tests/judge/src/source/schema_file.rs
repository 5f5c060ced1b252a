use serde::{Deserialize, Serialize};
use serde_json::ser::PrettyFormatter;

/// A table's columns as the storage layout's `schema_<version>_<hash>.json` tells them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SchemaFile {
    /// Table; empty for a database's DDL.
    pub table: String,
    /// Database.
    pub schema: String,
    /// Version of this format, 1.
    pub version: u64,
    /// When the schema took effect.
    pub table_version: u64,
    /// The DDL; empty for a table that was there at the start.
    pub query: String,
    /// TiDB's number of the DDL's kind.
    #[serde(rename = "Type")]
    pub kind: u8,
    /// In table order.
    #[serde(default, rename = "TableColumns", deserialize_with = "null_as_empty")]
    pub columns: Vec<SchemaColumn>,
    /// How many there are.
    #[serde(rename = "TableColumnsTotal")]
    pub total: u64,
}

/// One column of a [`SchemaFile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaColumn {
    /// TiDB's column id.
    #[serde(rename = "ColumnId", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<serde_json::Value>,
    /// Name.
    #[serde(rename = "ColumnName")]
    pub name: String,
    /// Type in upper case, such as `INT UNSIGNED`.
    #[serde(rename = "ColumnType")]
    pub kind: String,
    /// Default value.
    #[serde(rename = "ColumnDefault", default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// Length or precision.
    #[serde(rename = "ColumnPrecision", default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Digits behind the point.
    #[serde(rename = "ColumnScale", default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<String>,
    /// `"false"` if NOT NULL.
    #[serde(rename = "ColumnNullable", default, skip_serializing_if = "Option::is_none")]
    pub nullable: Option<String>,
    /// `"true"` if part of the primary key.
    #[serde(rename = "ColumnIsPk", default, skip_serializing_if = "Option::is_none")]
    pub is_pk: Option<String>,
    /// Labels of an enum or set.
    #[serde(rename = "ColumnElems", default, skip_serializing_if = "Option::is_none")]
    pub elems: Option<Vec<String>>,
}

/// What the hash in the file's name is made of.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Hashed<'a> {
    table: &'a str,
    schema: &'a str,
    version: u64,
    table_columns: Vec<&'a SchemaColumn>,
    table_columns_total: u64,
}

impl SchemaFile {
    /// Parses a schema file and checks it against its name, `schema_<version>_<hash>.json`.
    ///
    /// # Errors
    /// Says in words what is wrong.
    pub fn parse(name: &str, json: &[u8]) -> Result<Self, String> {
        let file: Self =
            serde_json::from_slice(json).map_err(|error| format!("{name}: no schema file: {error}"))?;
        let (version, hash) = name
            .strip_prefix("schema_")
            .and_then(|rest| rest.strip_suffix(".json")?.split_once('_'))
            .ok_or_else(|| format!("{name}: not named schema_<version>_<hash>.json"))?;
        if version != file.table_version.to_string() {
            return Err(format!("{name}: TableVersion is {}", file.table_version));
        }
        let expected = file.hash();
        if hash != expected {
            return Err(format!("{name}: the content's hash is {expected}"));
        }
        if file.total != file.columns.len() as u64 {
            return Err(format!(
                "{name}: TableColumnsTotal is {}, columns {}",
                file.total,
                file.columns.len()
            ));
        }
        Ok(file)
    }

    /// CRC-32 (IEEE) of the structure as indented JSON, as Go's encoder writes it, in 10 decimal digits.
    pub fn hash(&self) -> String {
        let mut table_columns: Vec<&SchemaColumn> = self.columns.iter().collect();
        table_columns.sort_by(|one, other| one.name.cmp(&other.name));
        let hashed = Hashed {
            table: &self.table,
            schema: &self.schema,
            version: 0,
            table_columns,
            table_columns_total: self.total,
        };
        let mut json = Vec::new();
        let mut serializer =
            serde_json::Serializer::with_formatter(&mut json, PrettyFormatter::with_indent(b"    "));
        if hashed.serialize(&mut serializer).is_err() {
            return String::new();
        }
        // Go escapes these for HTML's sake.
        let json = String::from_utf8_lossy(&json)
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026")
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029");
        format!("{:010}", crc32fast::hash(json.as_bytes()))
    }
}

fn null_as_empty<'de, D>(deserializer: D) -> Result<Vec<SchemaColumn>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: &str = r#"{
    "Table": "t",
    "Schema": "shop",
    "Version": 1,
    "TableVersion": 445644800000000001,
    "Query": "",
    "Type": 0,
    "TableColumns": [
        {"ColumnName": "id", "ColumnType": "INT", "ColumnPrecision": "11", "ColumnNullable": "false", "ColumnIsPk": "true"},
        {"ColumnName": "a<b", "ColumnType": "VARCHAR", "ColumnPrecision": "16"}
    ],
    "TableColumnsTotal": 2
}"#;

    #[test]
    fn the_hash_is_that_of_the_structure_alone() {
        let file: SchemaFile = serde_json::from_str(FILE).unwrap();
        let text = "{\n    \"Table\": \"t\",\n    \"Schema\": \"shop\",\n    \"Version\": 0,\n    \"TableColumns\": [\n        {\n            \"ColumnName\": \"a\\u003cb\",\n            \"ColumnType\": \"VARCHAR\",\n            \"ColumnPrecision\": \"16\"\n        },\n        {\n            \"ColumnName\": \"id\",\n            \"ColumnType\": \"INT\",\n            \"ColumnPrecision\": \"11\",\n            \"ColumnNullable\": \"false\",\n            \"ColumnIsPk\": \"true\"\n        }\n    ],\n    \"TableColumnsTotal\": 2\n}";
        assert_eq!(file.hash(), format!("{:010}", crc32fast::hash(text.as_bytes())));
        let renamed = SchemaFile {
            query: "ALTER".to_owned(),
            table_version: 7,
            ..file.clone()
        };
        assert_eq!(renamed.hash(), file.hash());
    }

    #[test]
    fn a_file_that_is_not_what_its_name_says_is_refused() {
        let hash = serde_json::from_str::<SchemaFile>(FILE).unwrap().hash();
        let name = format!("schema_445644800000000001_{hash}.json");
        assert_eq!(
            SchemaFile::parse(&name, FILE.as_bytes()).unwrap().columns.len(),
            2
        );
        let changed = FILE.replace("\"16\"", "\"17\"");
        assert!(
            SchemaFile::parse(&name, changed.as_bytes())
                .unwrap_err()
                .contains("hash")
        );
        let other = name.replace("4456", "4457");
        assert!(
            SchemaFile::parse(&other, FILE.as_bytes())
                .unwrap_err()
                .contains("TableVersion")
        );
    }
}
