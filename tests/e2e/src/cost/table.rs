use std::collections::BTreeSet;
use std::fmt::Write;

use super::tally::{Sum, Tally, Who};

/// CPU of a window, as a share of a core, and memory after it.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// As a share of a core.
    pub cpu: f64,
    /// Resident, in bytes.
    pub rss: u64,
}

/// A window's figures.
#[derive(Clone, Debug)]
pub struct Column {
    /// So many feeds.
    pub feeds: usize,
    /// Calls.
    pub tally: Tally,
    /// The operator's process.
    pub operator: Spent,
    /// The API server's.
    pub server: Spent,
}

/// Figures of windows side by side.
pub fn table(columns: &[Column]) -> String {
    let mut table = Table {
        columns,
        text: String::new(),
    };
    table.line("IDLE FEEDS, ONE WORKER EACH", |column| column.feeds.to_string());
    table.head("workers, per feed");
    table.calls(Who::Workers, |column| column.feeds);
    table.head("operator, in all");
    table.calls(Who::Operator, |_| 1);
    let percent = |spent: Spent| format!("{:.1} %", spent.cpu * 100.0);
    table.line("  CPU, of a core", |column| percent(column.operator));
    table.line("  resident memory", |column| {
        format!("{} MiB", column.operator.rss >> 20)
    });
    table.head("API server, in all");
    table.line("  CPU, of a core", |column| percent(column.server));
    table.text
}

struct Table<'a> {
    columns: &'a [Column],
    text: String,
}

impl Table<'_> {
    fn head(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn line(&mut self, name: &str, figure: impl Fn(&Column) -> String) {
        let _ = write!(self.text, "{name:<40}");
        for column in self.columns {
            let _ = write!(self.text, "{:>12}", figure(column));
        }
        self.text.push('\n');
    }

    fn calls(&mut self, who: Who, share: fn(&Column) -> usize) {
        let rate = |column: &Column, count: usize| column.tally.rate(count, share(column));
        self.line("  writes/s", |column| {
            format!("{:.2}", rate(column, column.tally.writes(who).calls))
        });
        self.line("  reads/s", |column| {
            format!("{:.2}", rate(column, column.tally.reads(who).calls))
        });
        let kinds = self.columns.iter().flat_map(|column| column.tally.kinds());
        let kinds: BTreeSet<_> = kinds.filter(|kind| kind.0 == who).collect();
        for kind in kinds {
            self.line(&format!("    {}", kind.1), |column| {
                format!("{:.2}", rate(column, column.tally.kind(kind).calls))
            });
            self.line("      bytes of one", |column| {
                let sum = column.tally.kind(kind);
                (sum.sent / sum.calls.max(1)).to_string()
            });
        }
        let bytes = |column: &Column, of: fn(&Sum) -> usize| {
            let (writes, reads) = (column.tally.writes(who), column.tally.reads(who));
            format!("{:.0}", rate(column, of(&writes) + of(&reads)))
        };
        self.line("  bytes/s sent", |column| bytes(column, |sum| sum.sent));
        self.line("  bytes/s received", |column| bytes(column, |sum| sum.got));
    }
}
