use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{SchemaColumn, SchemaFile};
use crate::truth::Columns;
use crate::{RowObservation, RowOp};

/// How the CSV of TiCDC's storage sink was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvFormat {
    /// Between cells.
    pub delimiter: String,
    /// Around texts; `None` if texts are escaped by backslashes instead.
    pub quote: Option<char>,
    /// What NULL is, unquoted.
    pub null: String,
    /// Ends a row.
    pub terminator: String,
    /// How binary values are told.
    pub binary: BinaryText,
    /// Whether an UPDATE is a D and an I row, and each row tells whether it is part of one.
    pub output_old_value: bool,
    /// Whether each file begins with column names.
    pub header: bool,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self {
            delimiter: ",".to_owned(),
            quote: Some('"'),
            null: "\\N".to_owned(),
            terminator: "\r\n".to_owned(),
            binary: BinaryText::Base64,
            output_old_value: false,
            header: false,
        }
    }
}

/// How binary values are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryText {
    /// Base64.
    Base64,
    /// Hex digits.
    Hex,
}

/// One cell: its text, and whether it was quoted. `None` is NULL.
pub type Cell = Option<String>;

/// Reads one file, row by row.
pub struct CsvReader<'a> {
    format: &'a CsvFormat,
    rest: &'a str,
}

impl<'a> CsvReader<'a> {
    /// A reader of the file's text.
    pub fn new(format: &'a CsvFormat, text: &'a str) -> Self {
        Self { format, rest: text }
    }

    /// The next row's cells; `None` at the end.
    ///
    /// # Errors
    /// Says in words what breaks the format.
    pub fn cells(&mut self) -> Result<Option<Vec<Cell>>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut cells = Vec::new();
        loop {
            cells.push(match self.format.quote {
                Some(quote) => self.quoted_or_plain(quote)?,
                None => self.escaped()?,
            });
            if let Some(rest) = self.rest.strip_prefix(self.format.terminator.as_str()) {
                self.rest = rest;
                return Ok(Some(cells));
            }
            match self.rest.strip_prefix(self.format.delimiter.as_str()) {
                Some(rest) => self.rest = rest,
                None if self.rest.is_empty() => return Err("the last row is not terminated".to_owned()),
                None => {
                    return Err(format!(
                        "neither delimiter nor end of row before {:?}",
                        head(self.rest)
                    ));
                }
            }
        }
    }

    /// The next row as a row change, `commit-ts` included; skips the header.
    ///
    /// # Errors
    /// Says in words what breaks the format or differs from the schema.
    pub fn row(&mut self, schema: &SchemaFile) -> Result<Option<RowObservation>, String> {
        let Some(cells) = self.cells()? else {
            return Ok(None);
        };
        let mut cells = cells.into_iter();
        let mut text = |what: &str| {
            cells
                .next()
                .flatten()
                .ok_or_else(|| format!("the {what} is missing"))
        };
        let op = match text("operation")?.as_str() {
            "I" => RowOp::Insert,
            "U" => RowOp::Update,
            "D" => RowOp::Delete,
            other => return Err(format!("unknown operation {other:?}")),
        };
        let (table, database) = (text("table")?, text("schema")?);
        if (&table, &database) != (&schema.table, &schema.schema) {
            return Err(format!(
                "a row of {database}.{table} among those of {}.{}",
                schema.schema, schema.table
            ));
        }
        let commit_ts = text("commit-ts")?;
        let commit_ts = commit_ts
            .parse()
            .map_err(|_| format!("commit-ts is {commit_ts:?}; set include-commit-ts"))?;
        if self.format.output_old_value {
            let update = text("is-update")?;
            if update != "true" && update != "false" {
                return Err(format!("is-update is {update:?}"));
            }
        }
        let cells: Vec<Cell> = cells.collect();
        if cells.len() != schema.columns.len() {
            return Err(format!(
                "{} cells for {} columns at ts {commit_ts}",
                cells.len(),
                schema.columns.len()
            ));
        }
        let mut row = Columns::new();
        for (column, cell) in schema.columns.iter().zip(cells) {
            let value = cell
                .map(|cell| canonical(column, cell, self.format.binary))
                .transpose()?;
            row.insert(column.name.clone(), value);
        }
        Ok(Some(RowObservation {
            schema: database,
            table,
            commit_ts,
            op,
            row,
            old: None,
        }))
    }

    fn quoted_or_plain(&mut self, quote: char) -> Result<Cell, String> {
        let Some(inside) = self.rest.strip_prefix(quote) else {
            let cell = self.plain();
            return Ok((cell != self.format.null).then(|| cell.to_owned()));
        };
        let mut text = String::new();
        let mut rest = inside;
        loop {
            let (part, behind) = rest
                .split_once(quote)
                .ok_or_else(|| format!("no end of the quote {:?}", head(inside)))?;
            text.push_str(part);
            match behind.strip_prefix(quote) {
                Some(more) => {
                    text.push(quote);
                    rest = more;
                }
                None => {
                    self.rest = behind;
                    return Ok(Some(text));
                }
            }
        }
    }

    /// Up to the next delimiter or terminator.
    fn plain(&mut self) -> &'a str {
        let ends = [
            self.rest.find(&self.format.delimiter),
            self.rest.find(&self.format.terminator),
        ];
        let end = ends.into_iter().flatten().min().unwrap_or(self.rest.len());
        let (cell, rest) = self.rest.split_at(end);
        self.rest = rest;
        cell
    }

    fn escaped(&mut self) -> Result<Cell, String> {
        if let Some(rest) = self.rest.strip_prefix(self.format.null.as_str())
            && (rest.starts_with(&self.format.delimiter) || rest.starts_with(&self.format.terminator))
        {
            self.rest = rest;
            return Ok(None);
        }
        let mut text = String::new();
        loop {
            if self.rest.starts_with(&self.format.delimiter) || self.rest.starts_with(&self.format.terminator)
            {
                return Ok(Some(text));
            }
            let mut chars = self.rest.chars();
            match chars.next() {
                None => return Ok(Some(text)),
                Some('\\') => match chars.next() {
                    Some('r') => text.push('\r'),
                    Some('n') => text.push('\n'),
                    Some(other) => text.push(other),
                    None => return Err("a backslash at the end".to_owned()),
                },
                Some(other) => text.push(other),
            }
            self.rest = chars.as_str();
        }
    }
}

/// The cell's value as canal-json would tell it, which is how the truth is written.
fn canonical(column: &SchemaColumn, cell: String, binary: BinaryText) -> Result<String, String> {
    let kind = column.kind.as_str();
    let broken = |what: &str| format!("{} {kind} holds {cell:?}, which is no {what}", column.name);
    if kind.ends_with("BLOB") || kind == "BINARY" || kind == "VARBINARY" {
        let bytes = match binary {
            BinaryText::Base64 => STANDARD.decode(&cell).map_err(|_| broken("base64"))?,
            BinaryText::Hex => from_hex(&cell).ok_or_else(|| broken("hex"))?,
        };
        return Ok(bytes.into_iter().map(char::from).collect());
    }
    if kind.starts_with("FLOAT") {
        return Ok(cell.parse::<f32>().map_err(|_| broken("float"))?.to_string());
    }
    if kind.starts_with("DOUBLE") {
        return Ok(cell.parse::<f64>().map_err(|_| broken("double"))?.to_string());
    }
    let position = |label: &str| column.elems.as_ref()?.iter().position(|elem| elem == label);
    if kind == "ENUM" && column.elems.is_some() {
        if cell.is_empty() {
            return Ok("0".to_owned());
        }
        return Ok((position(&cell).ok_or_else(|| broken("label"))? + 1).to_string());
    }
    if kind == "SET" && column.elems.is_some() {
        let mut mask = 0_u64;
        for label in cell.split(',').filter(|label| !label.is_empty()) {
            mask |= 1 << position(label).ok_or_else(|| broken("set of labels"))?;
        }
        return Ok(mask.to_string());
    }
    Ok(cell)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

fn head(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn all(format: &CsvFormat, text: &str) -> Result<Vec<Vec<Cell>>, String> {
        let mut reader = CsvReader::new(format, text);
        let mut rows = Vec::new();
        while let Some(cells) = reader.cells()? {
            rows.push(cells);
        }
        Ok(rows)
    }

    fn cells(cells: &[Option<&str>]) -> Vec<Cell> {
        cells.iter().map(|cell| cell.map(str::to_owned)).collect()
    }

    #[test]
    fn quotes_hold_delimiters_ends_and_quotes() {
        let rows = all(
            &CsvFormat::default(),
            "\"a,\"\"b\r\n\",1,\\N,\"\\N\",\"\"\r\n2\r\n",
        )
        .unwrap();
        assert_eq!(
            rows,
            vec![
                cells(&[Some("a,\"b\r\n"), Some("1"), None, Some("\\N"), Some("")]),
                cells(&[Some("2")])
            ]
        );
    }

    #[test]
    fn without_quotes_backslashes_escape() {
        let format = CsvFormat {
            quote: None,
            delimiter: "|+|".to_owned(),
            ..CsvFormat::default()
        };
        let rows = all(&format, "a\\|\\+\\|b\\\\\\n|+|\\N|+|\\\\N\r\n").unwrap();
        assert_eq!(rows, vec![cells(&[Some("a|+|b\\\n"), None, Some("\\N")])]);
    }

    #[test]
    fn cut_files_are_refused() {
        for text in ["1,2", "\"1", "\"1\"2\r\n"] {
            all(&CsvFormat::default(), text).unwrap_err();
        }
    }

    #[test]
    fn values_become_canal_texts() {
        let column = |kind: &str| SchemaColumn {
            id: None,
            name: "c".to_owned(),
            kind: kind.to_owned(),
            default: None,
            precision: None,
            scale: None,
            nullable: None,
            is_pk: None,
            elems: Some(vec!["a".to_owned(), "b".to_owned()]),
        };
        for (kind, cell, expected) in [
            ("BLOB", "/wA=", "\u{ff}\0"),
            ("FLOAT", "1e+06", "1000000"),
            ("DOUBLE UNSIGNED", "1.5e-05", "0.000015"),
            ("ENUM", "b", "2"),
            ("SET", "a,b", "3"),
            ("TEXT", "1e+06", "1e+06"),
        ] {
            assert_eq!(
                canonical(&column(kind), cell.to_owned(), BinaryText::Base64).unwrap(),
                expected,
                "{kind}"
            );
        }
        assert_eq!(
            canonical(&column("BINARY"), "ff00".to_owned(), BinaryText::Hex).unwrap(),
            "\u{ff}\0"
        );
        canonical(&column("BLOB"), "?".to_owned(), BinaryText::Base64).unwrap_err();
        canonical(&column("ENUM"), "c".to_owned(), BinaryText::Base64).unwrap_err();
    }
}
