//! The live line on a terminal: what the feed does now, once a second.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::{Metrics, Sample};

/// Shows the line while a feed runs; does nothing where standard error is no terminal.
#[derive(Debug)]
pub struct LiveLine {
    shown: bool,
    rows: u64,
    bytes: u64,
}

impl LiveLine {
    /// How often the line changes.
    pub const INTERVAL: Duration = Duration::from_secs(1);

    /// A line that begins to count now; `None` where nobody would see it.
    pub fn on_terminal(metrics: &Arc<Metrics>) -> Option<Self> {
        let (rows, bytes) = metrics.handed();
        std::io::stderr().is_terminal().then_some(Self {
            shown: false,
            rows,
            bytes,
        })
    }

    /// Draws the line anew. Call it once an interval.
    pub fn draw(&mut self, metrics: &Metrics, sample: &Sample) {
        let (rows, bytes) = metrics.handed();
        let line = text(rows - self.rows, bytes - self.bytes, metrics.lag(), sample);
        (self.rows, self.bytes, self.shown) = (rows, bytes, true);
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        if self.shown {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn text(rows: u64, bytes: u64, lag: f64, sample: &Sample) -> String {
    let scan = if sample.regions_initialised < sample.regions {
        let percent = 100 * sample.regions_initialised / sample.regions.max(1);
        format!(
            " | scan {percent}% ({}/{})",
            sample.regions_initialised, sample.regions
        )
    } else {
        String::new()
    };
    let memory = sample.pull_memory + sample.merge_memory + sample.sink_memory;
    let disk = if sample.merge_disk > 0 {
        format!(" + {} disk", size(sample.merge_disk))
    } else {
        String::new()
    };
    format!(
        "{rows} rows/s | {}/s | lag {lag:.1} s | {} regions | {} spans | {}{disk}{scan}",
        size(bytes),
        sample.regions,
        sample.spans,
        size(memory as u64),
    )
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_rates_lag_and_scan() {
        let sample = Sample {
            regions: 64,
            regions_initialised: 16,
            spans: 3,
            merge_memory: 5 << 20,
            ..Sample::default()
        };
        assert_eq!(
            text(1200, 300_000, 0.75, &sample),
            "1200 rows/s | 292 KiB/s | lag 0.8 s | 64 regions | 3 spans | 5 MiB | scan 25% (16/64)"
        );
    }
}
