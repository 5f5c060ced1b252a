use std::sync::Arc;

use tidemark_model::Ts;
use tidemark_tidb::schema::ActionType;
use tidemark_tidb::{Column, Table, TimeZone, Value};

use super::types::{exceeds, mysql_type, sql_type, wide_sql_type};
use super::{EncodeError, RowEvent, RowKind, digits, json_text};

/// How canal-json messages are written.
#[derive(Clone, Debug)]
pub struct CanalOptions {
    /// Whether messages carry the `_tidb` object with the commit ts.
    pub tidb_extension: bool,
    /// The zone that TIMESTAMP is printed in.
    pub zone: TimeZone,
}

/// Writes one table version's rows as canal-json, with the fields, order and value forms of TiCDC's
/// `canal-json` protocol: every value a string or null, enums and sets as numbers, binary strings as
/// latin-1 text, `sqlType` of unsigned integers by value.
///
/// All constant text is made once per table version, so a row costs little more than its values.
#[derive(Debug)]
pub struct CanalJson {
    table: Arc<Table>,
    options: CanalOptions,
    /// From the opening brace to `"type":"`.
    head: Vec<u8>,
    /// The bodies of `sqlType` and `mysqlType` with every column and its base code.
    all: Types,
    /// The same with the columns of the handle key alone.
    key: Types,
    columns: Vec<ColumnText>,
}

#[derive(Debug)]
struct Types {
    /// Offsets of the columns that are told, in order.
    columns: Vec<usize>,
    /// From `{` after `"sqlType":` to its `}`, with base codes.
    sql: Vec<u8>,
    /// From `},"mysqlType":{` to its `}` and the colon after `"old"`.
    mysql: Vec<u8>,
    /// Columns whose code depends on the value: offset, limit, code beyond it.
    wide: Vec<(usize, u64, i32)>,
}

#[derive(Debug)]
struct ColumnText {
    /// `"name":`
    name: Vec<u8>,
    binary: bool,
    base: i32,
}

/// A DDL as canal-json tells it.
#[derive(Clone, Copy, Debug)]
pub struct CanalDdl<'a> {
    /// The database.
    pub schema: &'a str,
    /// The table; empty for a DDL of a database.
    pub table: &'a str,
    /// What it does.
    pub kind: CanalDdlKind,
    /// The statement.
    pub query: &'a str,
    /// When it took effect.
    pub commit_ts: Ts,
}

/// canal's names of DDL kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanalDdlKind {
    /// Creates a table.
    Create,
    /// Renames tables.
    Rename,
    /// Adds an index or key.
    CreateIndex,
    /// Drops an index or key.
    DropIndex,
    /// Drops a table.
    Erase,
    /// Truncates a table.
    Truncate,
    /// Changes a table otherwise.
    Alter,
    /// Anything else: databases, views, sequences.
    Query,
}

impl CanalDdlKind {
    /// The kind of TiDB's action, as TiCDC tells it.
    pub fn of(action: ActionType) -> Self {
        match action.0 {
            3 | 60 => Self::Create,
            14 | 47 => Self::Rename,
            7 | 9 | 32 => Self::CreateIndex,
            8 | 10 | 33 => Self::DropIndex,
            4 => Self::Erase,
            11 => Self::Truncate,
            5 | 6 | 12 | 13 | 15 | 17..=20 | 22 | 23 | 37 | 38 | 41 | 46 | 61 | 64 | 71 | 72 => Self::Alter,
            _ => Self::Query,
        }
    }

    /// The text of the `type` field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Rename => "RENAME",
            Self::CreateIndex => "CINDEX",
            Self::DropIndex => "DINDEX",
            Self::Erase => "ERASE",
            Self::Truncate => "TRUNCATE",
            Self::Alter => "ALTER",
            Self::Query => "QUERY",
        }
    }
}

impl CanalJson {
    /// An encoder of one table version.
    pub fn new(table: &Arc<Table>, options: &CanalOptions) -> Self {
        let columns: Vec<ColumnText> = table.columns.iter().map(ColumnText::new).collect();
        let mut in_order = table.handle_key.clone();
        in_order.sort_unstable();
        Self {
            head: head(table),
            all: Types::new(table, &columns, (0..columns.len()).collect()),
            key: Types::new(table, &columns, in_order),
            columns,
            table: Arc::clone(table),
            options: options.clone(),
        }
    }

    /// Appends the message of one row event.
    ///
    /// `now_ms` is the wall clock in milliseconds. On an error `out` holds a part of the message: the
    /// caller cuts it back to the length before.
    pub fn row(
        &self,
        event: &RowEvent<'_>,
        commit_ts: Ts,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let types = if event.key_only { &self.key } else { &self.all };
        let row = event.row();
        out.extend_from_slice(&self.head);
        out.extend_from_slice(match event.kind {
            RowKind::Insert => b"INSERT\",\"es\":",
            RowKind::Update => b"UPDATE\",\"es\":",
            RowKind::Delete => b"DELETE\",\"es\":",
        });
        digits::unsigned(commit_ts.physical_ms(), out);
        out.extend_from_slice(b",\"ts\":");
        digits::unsigned(now_ms, out);
        out.extend_from_slice(b",\"sql\":\"\",\"sqlType\":");
        self.sql_types(types, row, out);
        out.extend_from_slice(&types.mysql);
        if event.kind == RowKind::Update {
            out.push(b'[');
            self.image(types, event.old, out)?;
            out.extend_from_slice(b"],\"data\":[");
        } else {
            out.extend_from_slice(b"null,\"data\":[");
        }
        self.image(types, row, out)?;
        if self.options.tidb_extension {
            out.extend_from_slice(b"],\"_tidb\":{\"commitTs\":");
            digits::unsigned(commit_ts.0, out);
            out.extend_from_slice(b"}}");
        } else {
            out.extend_from_slice(b"]}");
        }
        Ok(())
    }

    /// Appends a watermark message: nothing new at or below `ts` will follow.
    pub fn watermark(ts: Ts, now_ms: u64, out: &mut Vec<u8>) {
        digits::print(
            format_args!(
                "{{\"id\":0,\"database\":\"\",\"table\":\"\",\"pkNames\":null,\"isDdl\":false,\
                 \"type\":\"TIDB_WATERMARK\",\"es\":{},\"ts\":{now_ms},\"sql\":\"\",\"sqlType\":null,\
                 \"mysqlType\":null,\"data\":null,\"old\":null,\"_tidb\":{{\"watermarkTs\":{ts}}}}}",
                ts.physical_ms()
            ),
            out,
        );
    }

    /// Appends a DDL message.
    pub fn ddl(ddl: &CanalDdl<'_>, tidb_extension: bool, now_ms: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":0,\"database\":\"");
        json_text::escape(ddl.schema.as_bytes(), out);
        out.extend_from_slice(b"\",\"table\":\"");
        json_text::escape(ddl.table.as_bytes(), out);
        digits::print(
            format_args!(
                "\",\"pkNames\":null,\"isDdl\":true,\"type\":\"{}\",\"es\":{},\"ts\":{now_ms},\"sql\":\"",
                ddl.kind.as_str(),
                ddl.commit_ts.physical_ms()
            ),
            out,
        );
        json_text::escape(ddl.query.as_bytes(), out);
        out.extend_from_slice(b"\",\"sqlType\":null,\"mysqlType\":null,\"data\":null,\"old\":null");
        if tidb_extension {
            digits::print(format_args!(",\"_tidb\":{{\"commitTs\":{}}}", ddl.commit_ts), out);
        }
        out.push(b'}');
    }

    fn sql_types(&self, types: &Types, row: &[Value<'_>], out: &mut Vec<u8>) {
        let value = |at: usize| row.get(at).copied().unwrap_or(Value::Null);
        if !types.wide.iter().any(|&(at, limit, _)| exceeds(value(at), limit)) {
            out.extend_from_slice(&types.sql);
            return;
        }
        out.push(b'{');
        let mut wide = types.wide.iter().peekable();
        for (nth, &at) in types.columns.iter().enumerate() {
            let Some(column) = self.columns.get(at) else {
                continue;
            };
            if nth > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&column.name);
            let code = match wide.next_if(|&&(wide_at, ..)| wide_at == at) {
                Some(&(_, limit, code)) if exceeds(value(at), limit) => code,
                _ => column.base,
            };
            digits::signed(code.into(), out);
        }
    }

    /// `{"a":"1","b":null}`
    fn image(&self, types: &Types, row: &[Value<'_>], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut before = b'{';
        for &at in &types.columns {
            let (Some(text), Some(column)) = (self.columns.get(at), self.table.columns.get(at)) else {
                continue;
            };
            out.push(before);
            before = b',';
            out.extend_from_slice(&text.name);
            let value = row.get(at).copied().unwrap_or(Value::Null);
            if value == Value::Null {
                out.extend_from_slice(b"null");
                continue;
            }
            out.push(b'"');
            self.value(text, column, value, out)?;
            out.push(b'"');
        }
        if before == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
        Ok(())
    }

    fn value(
        &self,
        text: &ColumnText,
        column: &Column,
        value: Value<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match value {
            Value::Null => {}
            Value::Int(number) => digits::signed(number, out),
            Value::UInt(number) | Value::Enum(number) | Value::Set(number) | Value::Bit(number) => {
                digits::unsigned(number, out);
            }
            Value::Float(number) => digits::print(format_args!("{number}"), out),
            Value::Double(number) => digits::print(format_args!("{number}"), out),
            Value::Bytes(bytes) if text.binary => json_text::escape_latin1(bytes, out),
            Value::Bytes(bytes) => json_text::escape(bytes, out),
            // None of these prints a character that JSON escapes.
            Value::Decimal(_) | Value::Time(_) | Value::Duration(_) | Value::Vector(_) => {
                self.print(column, value, out)?;
            }
            Value::Json(_) => {
                let mut plain = Vec::new();
                self.print(column, value, &mut plain)?;
                json_text::escape(&plain, out);
            }
        }
        Ok(())
    }

    fn print(&self, column: &Column, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        value
            .write_text(column, &self.options.zone, out)
            .map_err(|problem| EncodeError::value(&self.table, column, problem))
    }
}

impl ColumnText {
    fn new(column: &Column) -> Self {
        let mut name = json_text::quoted(&column.name);
        name.push(b':');
        Self {
            name,
            binary: column.ty.is_binary(),
            base: sql_type(&column.ty),
        }
    }
}

impl Types {
    fn new(table: &Table, texts: &[ColumnText], columns: Vec<usize>) -> Self {
        let mut types = Self {
            sql: vec![b'{'],
            mysql: b"},\"mysqlType\":{".to_vec(),
            wide: Vec::new(),
            columns,
        };
        for (nth, &at) in types.columns.iter().enumerate() {
            let (Some(text), Some(column)) = (texts.get(at), table.columns.get(at)) else {
                continue;
            };
            if nth > 0 {
                types.sql.push(b',');
                types.mysql.push(b',');
            }
            types.sql.extend_from_slice(&text.name);
            digits::signed(text.base.into(), &mut types.sql);
            types.mysql.extend_from_slice(&text.name);
            types.mysql.extend(json_text::quoted(&mysql_type(&column.ty)));
            if let Some((limit, code)) = wide_sql_type(&column.ty) {
                types.wide.push((at, limit, code));
            }
        }
        types.mysql.extend_from_slice(b"},\"old\":");
        types
    }
}

fn head(table: &Table) -> Vec<u8> {
    let mut head = b"{\"id\":0,\"database\":".to_vec();
    head.extend(json_text::quoted(&table.schema));
    head.extend_from_slice(b",\"table\":");
    head.extend(json_text::quoted(&table.name));
    head.extend_from_slice(b",\"pkNames\":");
    let mut names = table.primary_key.iter().filter_map(|&at| table.columns.get(at));
    match names.next() {
        None => head.extend_from_slice(b"null"),
        Some(first) => {
            head.push(b'[');
            head.extend(json_text::quoted(&first.name));
            for column in names {
                head.push(b',');
                head.extend(json_text::quoted(&column.name));
            }
            head.push(b']');
        }
    }
    head.extend_from_slice(b",\"isDdl\":false,\"type\":\"");
    head
}
