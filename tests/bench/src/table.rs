use std::fmt;

/// The table that is printed: figures as ratios to what was measured beside them.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<[String; 5]>);

const HEAD: [&str; 5] = ["WHAT", "MEASURED", "CEILING OR PEER", "RATIO", "AIM"];

impl Table {
    /// Adds a line, and shows it at once on standard error.
    pub(crate) fn add(&mut self, what: &str, measured: String, peer: String, ratio: Option<f64>, aim: &str) {
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        eprintln!("    {what}: {measured} | {peer} | {ratio}");
        self.0
            .push([what.to_owned(), measured, peer, ratio, aim.to_owned()]);
    }

    /// Adds a heading.
    pub(crate) fn heading(&mut self, what: &str) {
        self.0.push([
            what.to_owned(),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.0.iter().map(|line| line[column].chars().count());
            cells.max().unwrap_or(0).max(HEAD[column].len())
        };
        let widths: [usize; 5] = std::array::from_fn(width);
        let mut line = |cells: [&str; 5]| {
            let padded = cells
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            let text = padded.collect::<Vec<_>>().join("  ");
            writeln!(f, "{}", text.trim_end())
        };
        line(HEAD)?;
        self.0
            .iter()
            .try_for_each(|cells| line(std::array::from_fn(|column| cells[column].as_str())))
    }
}

/// How many times the other figure; `None` where that is too small to have been measured.
pub(crate) fn ratio(measured: f64, other: f64) -> Option<f64> {
    (other > 0.0).then(|| measured / other)
}

/// Microseconds.
pub(crate) fn micros(value: f64) -> String {
    format!("{value:.2} µs")
}

/// Mebibytes.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Rows a second, in thousands.
pub(crate) fn rate(rows_per_second: f64) -> String {
    format!("{:.0}k rows/s", rows_per_second / 1e3)
}
