//! Meta keys: TiDB's named strings, hashes and lists, `[x keyspace(3)] m name kind ...`.

use tidemark_model::Span;

use crate::ValueError;
use crate::codec::Cursor;
use crate::codec::comparable::{self, Grouped};
use crate::key::{prefix_span, without_keyspace};

/// The hash of all databases; its fields are `DB:<id>`.
pub const DATABASES: &str = "DBs";

const STRING: u64 = b's' as u64;
const HASH: u64 = b'h' as u64;
const HASH_META: u64 = b'H' as u64;
const LIST: u64 = b'l' as u64;
const LIST_META: u64 = b'L' as u64;

/// A meta key taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaKey {
    /// A string.
    String {
        /// Its name.
        name: Vec<u8>,
    },
    /// One field of a hash.
    HashField {
        /// The hash's name.
        name: Vec<u8>,
        /// The field's name.
        field: Vec<u8>,
    },
    /// The field count of a hash, in old versions.
    HashMeta {
        /// The hash's name.
        name: Vec<u8>,
    },
    /// One item of a list.
    ListItem {
        /// The list's name.
        name: Vec<u8>,
        /// The item's index.
        index: i64,
    },
    /// The bounds of a list.
    ListMeta {
        /// The list's name.
        name: Vec<u8>,
    },
}

/// A key that holds a part of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaKey {
    /// A database's `DBInfo`.
    Database {
        /// The database's id.
        id: i64,
    },
    /// A `TableInfo` of a table, view or sequence.
    Table {
        /// The database's id.
        database: i64,
        /// The table's id.
        id: i64,
    },
}

impl MetaKey {
    /// Takes a key apart; a keyspace prefix is skipped.
    ///
    /// # Errors
    /// If it is no meta key or cut short.
    pub fn parse(key: &[u8]) -> Result<Self, ValueError> {
        let mut cursor = Cursor::new(without_keyspace(key), "meta key");
        if cursor.u8()? != b'm' {
            return Err(cursor.fail("not a meta key"));
        }
        let name = text(&mut cursor)?;
        let kind = cursor.u64_be()?;
        let parsed = match kind {
            STRING => Self::String { name },
            HASH => {
                let field = text(&mut cursor)?;
                Self::HashField { name, field }
            }
            HASH_META => Self::HashMeta { name },
            LIST => {
                let index = comparable::to_i64(cursor.u64_be()?);
                Self::ListItem { name, index }
            }
            LIST_META => Self::ListMeta { name },
            _ => return Err(cursor.fail("an unknown kind")),
        };
        if !cursor.is_empty() {
            return Err(cursor.fail("bytes left over"));
        }
        Ok(parsed)
    }

    /// The key, built again without a keyspace prefix.
    pub fn build(&self) -> Vec<u8> {
        match self {
            Self::String { name } => start(name, STRING),
            Self::HashField { name, field } => {
                let mut key = start(name, HASH);
                comparable::write_bytes(field, &mut key);
                key
            }
            Self::HashMeta { name } => start(name, HASH_META),
            Self::ListItem { name, index } => {
                let mut key = start(name, LIST);
                comparable::write_i64(*index, &mut key);
                key
            }
            Self::ListMeta { name } => start(name, LIST_META),
        }
    }

    /// What part of the schema the key holds, if any.
    pub fn schema_key(&self) -> Option<SchemaKey> {
        let Self::HashField { name, field } = self else {
            return None;
        };
        if name == DATABASES.as_bytes() {
            return Some(SchemaKey::Database {
                id: id_after(field, "DB:")?,
            });
        }
        Some(SchemaKey::Table {
            database: id_after(name, "DB:")?,
            id: id_after(field, "Table:")?,
        })
    }
}

impl SchemaKey {
    /// The key, without a keyspace prefix.
    pub fn build(&self) -> Vec<u8> {
        let (name, field) = match self {
            Self::Database { id } => (DATABASES.to_owned(), format!("DB:{id}")),
            Self::Table { database, id } => (format!("DB:{database}"), format!("Table:{id}")),
        };
        hash_field(&name, &field)
    }
}

/// The key of a hash's field.
pub fn hash_field(name: &str, field: &str) -> Vec<u8> {
    let mut key = start(name.as_bytes(), HASH);
    comparable::write_bytes(field.as_bytes(), &mut key);
    key
}

/// The key of a string.
pub fn string(name: &str) -> Vec<u8> {
    start(name.as_bytes(), STRING)
}

/// All fields of a hash.
pub fn hash_span(name: &str) -> Span {
    prefix_span(start(name.as_bytes(), HASH))
}

/// All databases.
pub fn databases_span() -> Span {
    hash_span(DATABASES)
}

/// All tables of a database, and its counters, which [`MetaKey::schema_key`] knows nothing of.
pub fn database_span(id: i64) -> Span {
    hash_span(&format!("DB:{id}"))
}

fn start(name: &[u8], kind: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + (name.len() / 8 + 1) * 9 + 8);
    key.push(b'm');
    comparable::write_bytes(name, &mut key);
    comparable::write_u64(kind, &mut key);
    key
}

fn text(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, ValueError> {
    let grouped = Grouped::read(cursor.rest())?;
    cursor.take(grouped.encoded_len())?;
    let mut text = Vec::new();
    grouped.unpack(&mut text);
    Ok(text)
}

fn id_after(text: &[u8], prefix: &str) -> Option<i64> {
    let digits = text.strip_prefix(prefix.as_bytes())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn schema_keys_are_built_and_read() {
        let database = SchemaKey::Database { id: 2 };
        let table = SchemaKey::Table { database: 2, id: 104 };
        assert_eq!(
            hex::encode(database.build()),
            "6d4442730000000000fa000000000000006844423a3200000000fb"
        );
        assert_eq!(
            hex::encode(table.build()),
            "6d44423a3200000000fb00000000000000685461626c653a3130ff3400000000000000f8"
        );
        for key in [database, table] {
            assert_eq!(MetaKey::parse(&key.build()).unwrap().schema_key(), Some(key));
        }
    }

    #[test]
    fn spans_hold_exactly_their_fields() {
        assert!(databases_span().contains(&SchemaKey::Database { id: 7 }.build()));
        assert!(database_span(2).contains(&SchemaKey::Table { database: 2, id: 9 }.build()));
        assert!(!database_span(2).contains(&SchemaKey::Table { database: 21, id: 9 }.build()));
        assert!(!database_span(2).contains(&SchemaKey::Database { id: 2 }.build()));
    }

    #[test]
    fn all_kinds_are_read_and_built_again() {
        let version = "6d536368656d615665ff7273696f6e4b6579ff0000000000000000f70000000000000073";
        assert_eq!(hex::encode(string("SchemaVersionKey")), version);
        let name = b"DDLJobList".to_vec();
        for key in [
            MetaKey::String { name: name.clone() },
            MetaKey::HashMeta { name: name.clone() },
            MetaKey::ListMeta { name: name.clone() },
            MetaKey::ListItem {
                name: name.clone(),
                index: -3,
            },
            MetaKey::HashField {
                name,
                field: b"TID:4".to_vec(),
            },
        ] {
            assert_eq!(MetaKey::parse(&key.build()), Ok(key.clone()));
            assert_eq!(key.schema_key(), None);
        }
    }
}
