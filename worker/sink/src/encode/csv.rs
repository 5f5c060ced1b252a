use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use tidemark_crds::CsvOptions;
use tidemark_model::Ts;
use tidemark_tidb::{Column, Table, TimeZone, Value};

use super::{EncodeError, RowEvent, RowKind, digits};

/// Lines end like this, as RFC 4180 and TiCDC's default have it.
const TERMINATOR: &[u8] = b"\r\n";

/// The CSV options can't work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("sink.storage.csv.{field} is {value:?}: {mend}")]
pub struct CsvError {
    field: &'static str,
    value: String,
    mend: &'static str,
}

/// Writes one table version's rows as CSV in the layout of TiCDC's `csv` protocol.
///
/// Left to right: operation (`I`, `U`, `D`), table, schema, commit ts (if wanted), whether the row is half
/// of an update (with old values only), then the columns. Texts are quoted; numbers and NULL are not.
/// Enums and sets are their names, binary strings base64. Without a quote character texts are escaped
/// with backslashes. A delete whose old row was not told has NULL in all columns but the key's.
#[derive(Debug)]
pub struct Csv {
    table: Arc<Table>,
    options: CsvOptions,
    zone: TimeZone,
    /// `"t","s",`
    names: Vec<u8>,
}

impl Csv {
    /// An encoder of one table version.
    ///
    /// # Errors
    /// As [`Csv::check`].
    pub fn new(table: &Arc<Table>, options: &CsvOptions, zone: &TimeZone) -> Result<Self, CsvError> {
        Self::check(options)?;
        let mut csv = Self {
            table: Arc::clone(table),
            options: options.clone(),
            zone: zone.clone(),
            names: Vec::new(),
        };
        let mut names = Vec::new();
        for name in [&table.name, &table.schema] {
            csv.text(name.as_bytes(), &mut names);
            csv.delimit(&mut names);
        }
        csv.names = names;
        Ok(csv)
    }

    /// Checks options by themselves.
    ///
    /// # Errors
    /// If rows could not be read back: no delimiter, a delimiter with line ends or the quote in it, more than one
    /// quote character.
    pub fn check(options: &CsvOptions) -> Result<(), CsvError> {
        let wrong = |field, value: &str, mend| {
            Err(CsvError {
                field,
                value: value.to_owned(),
                mend,
            })
        };
        let (delimiter, quote) = (&options.delimiter, &options.quote);
        if !(1..=3).contains(&delimiter.chars().count()) || delimiter.contains(['\r', '\n']) {
            return wrong("delimiter", delimiter, "use 1 to 3 characters, no line ends");
        }
        if quote.chars().count() > 1 || quote.contains(['\r', '\n', '\\']) {
            return wrong("quote", quote, "use one character or none");
        }
        if !quote.is_empty() && delimiter.contains(quote.as_str()) {
            return wrong("quote", quote, "use a character that is not in the delimiter");
        }
        if quote.is_empty() && delimiter.contains('\\') {
            return wrong(
                "delimiter",
                delimiter,
                "without a quote texts are escaped by backslashes: use another one",
            );
        }
        Ok(())
    }

    /// Appends the line of column names, if the options ask for it.
    pub fn header(&self, out: &mut Vec<u8>) {
        if !self.options.output_field_header {
            return;
        }
        let meta = [
            Some("ticdc-meta$operation"),
            Some("ticdc-meta$table"),
            Some("ticdc-meta$schema"),
            self.options.include_commit_ts.then_some("ticdc-meta$commit-ts"),
            self.options.output_old_value.then_some("ticdc-meta$is-update"),
        ];
        let columns = self.table.columns.iter().map(|column| column.name.as_str());
        for (nth, name) in meta.into_iter().flatten().chain(columns).enumerate() {
            if nth > 0 {
                self.delimit(out);
            }
            self.text(name.as_bytes(), out);
        }
        out.extend_from_slice(TERMINATOR);
    }

    /// Appends the line, or the two lines, of one row event.
    ///
    /// On an error `out` holds a part of it: the caller cuts it back to the length before.
    pub fn row(&self, event: &RowEvent<'_>, commit_ts: Ts, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match event.kind {
            RowKind::Insert => self.line(b"I", event.new, false, commit_ts, out),
            RowKind::Delete => self.line(b"D", event.old, false, commit_ts, out),
            RowKind::Update if self.options.output_old_value => {
                self.line(b"D", event.old, true, commit_ts, out)?;
                self.line(b"I", event.new, true, commit_ts, out)
            }
            RowKind::Update => self.line(b"U", event.new, true, commit_ts, out),
        }
    }

    fn line(
        &self,
        operation: &[u8],
        row: &[Value<'_>],
        update: bool,
        commit_ts: Ts,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.text(operation, out);
        self.delimit(out);
        out.extend_from_slice(&self.names);
        if self.options.include_commit_ts {
            digits::unsigned(commit_ts.0, out);
            self.delimit(out);
        }
        if self.options.output_old_value {
            out.extend_from_slice(if update { b"true" } else { b"false" });
            self.delimit(out);
        }
        for (nth, (column, &value)) in self.table.columns.iter().zip(row).enumerate() {
            if nth > 0 {
                self.delimit(out);
            }
            self.cell(column, value, out)?;
        }
        out.extend_from_slice(TERMINATOR);
        Ok(())
    }

    fn cell(&self, column: &Column, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match value {
            Value::Null => out.extend_from_slice(self.options.null.as_bytes()),
            Value::Int(number) => digits::signed(number, out),
            Value::UInt(number) | Value::Bit(number) => digits::unsigned(number, out),
            Value::Float(number) => digits::go_float(&format!("{number:e}"), out),
            Value::Double(number) => digits::go_float(&format!("{number:e}"), out),
            Value::Bytes(bytes) if column.ty.is_binary() => self.text(STANDARD.encode(bytes).as_bytes(), out),
            Value::Bytes(bytes) => self.text(bytes, out),
            Value::Enum(_) => self.text(value.enum_name(column).unwrap_or_default().as_bytes(), out),
            Value::Set(_) => {
                let names: Vec<&str> = value.set_names(column).collect();
                self.text(names.join(",").as_bytes(), out);
            }
            Value::Decimal(_) | Value::Time(_) | Value::Duration(_) | Value::Json(_) | Value::Vector(_) => {
                let mut plain = Vec::new();
                value
                    .write_text(column, &self.zone, &mut plain)
                    .map_err(|problem| EncodeError::value(&self.table, column, problem))?;
                self.text(&plain, out);
            }
        }
        Ok(())
    }

    fn delimit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.options.delimiter.as_bytes());
    }

    /// A text: quoted, or escaped where there is no quote.
    fn text(&self, text: &[u8], out: &mut Vec<u8>) {
        let quote = self.options.quote.as_bytes();
        let Some(&mark) = quote.first() else {
            return self.escape(text, out);
        };
        out.extend_from_slice(quote);
        let mut from = 0;
        for (at, &byte) in text.iter().enumerate() {
            if byte == mark && text[at..].starts_with(quote) {
                out.extend_from_slice(&text[from..at]);
                out.extend_from_slice(quote);
                from = at;
            }
        }
        out.extend_from_slice(&text[from..]);
        out.extend_from_slice(quote);
    }

    /// Backslashes before backslashes and each byte of a delimiter; line ends as `\r` and `\n`.
    fn escape(&self, text: &[u8], out: &mut Vec<u8>) {
        let delimiter = self.options.delimiter.as_bytes();
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\n' => out.extend_from_slice(b"\\n"),
                _ if delimiter.first() == Some(&byte) && after.starts_with(&delimiter[1..]) => {
                    delimiter
                        .iter()
                        .for_each(|&byte| out.extend_from_slice(&[b'\\', byte]));
                    rest = &after[delimiter.len() - 1..];
                }
                _ => out.push(byte),
            }
        }
    }
}
