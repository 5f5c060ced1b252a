use std::collections::BTreeSet;

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

fn line(columns: &[Column], name: &str, figure: impl Fn(&Column) -> String) {
    let figures: String = columns
        .iter()
        .map(|column| format!("{:>12}", figure(column)))
        .collect();
    println!("{name:<40}{figures}");
}

/// Prints figures of windows side by side.
pub fn show(columns: &[Column]) {
    line(columns, "IDLE FEEDS, ONE WORKER EACH", |column| {
        column.feeds.to_string()
    });
    println!("workers, per feed");
    calls(columns, Who::Workers, |column| column.feeds);
    println!("operator, in all");
    calls(columns, Who::Operator, |_| 1);
    let percent = |spent: Spent| format!("{:.1} %", spent.cpu * 100.0);
    line(columns, "  CPU, of a core", |column| percent(column.operator));
    line(columns, "  resident memory", |column| {
        format!("{} MiB", column.operator.rss >> 20)
    });
    println!("API server, in all");
    line(columns, "  CPU, of a core", |column| percent(column.server));
}

fn calls(columns: &[Column], who: Who, share: fn(&Column) -> usize) {
    let rate = |column: &Column, count: usize| column.tally.rate(count, share(column));
    line(columns, "  writes/s", |column| {
        format!("{:.2}", rate(column, column.tally.writes(who).calls))
    });
    line(columns, "  reads/s", |column| {
        format!("{:.2}", rate(column, column.tally.reads(who).calls))
    });
    let kinds = columns.iter().flat_map(|column| column.tally.kinds());
    let kinds: BTreeSet<_> = kinds.filter(|kind| kind.0 == who).collect();
    for kind in kinds {
        line(columns, &format!("    {}", kind.1), |column| {
            format!("{:.2}", rate(column, column.tally.kind(kind).calls))
        });
        line(columns, "      bytes of one", |column| {
            let sum = column.tally.kind(kind);
            (sum.sent / sum.calls.max(1)).to_string()
        });
    }
    let bytes = |column: &Column, of: fn(&Sum) -> usize| {
        let (writes, reads) = (column.tally.writes(who), column.tally.reads(who));
        format!("{:.0}", rate(column, of(&writes) + of(&reads)))
    };
    line(columns, "  bytes/s sent", |column| bytes(column, |sum| sum.sent));
    line(columns, "  bytes/s received", |column| {
        bytes(column, |sum| sum.got)
    });
}
