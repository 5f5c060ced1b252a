//! What is written to standard output.

use std::fmt;
use std::io::{self, Write};

/// Writes a text; a reader that has gone away is no error.
pub(crate) fn print(text: impl fmt::Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A text of several lines as one.
pub(crate) fn line(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ")
}

/// Columns of text, as kubectl lays them out.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()],
        }
    }

    /// Adds a row; an empty field is shown as `-`.
    pub(crate) fn row<const N: usize>(&mut self, fields: [String; N]) {
        let shown = |field: String| {
            if field.is_empty() {
                "-".into()
            } else {
                line(&field)
            }
        };
        self.rows.push(fields.into_iter().map(shown).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let fields = self.rows.iter().filter_map(|row| row.get(column));
            fields.map(|field| field.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..count).map(width).collect();
        for row in &self.rows {
            let mut text = String::new();
            for (field, width) in row.iter().zip(&widths) {
                text.push_str(&format!("{field:<width$}   "));
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let mut table = Table::new(&["NAME", "LAG"]);
        table.row(["a-long-name".into(), "1s".into()]);
        table.row([String::new(), "two\nlines".into()]);
        assert_eq!(
            table.to_string(),
            "NAME          LAG\na-long-name   1s\n-             two; lines\n"
        );
    }
}
