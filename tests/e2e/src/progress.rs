use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tidemark_judge::Observation;
use tidemark_judge::source::{Seen, Sighting};

/// Bits of a ts below its milliseconds.
const LOGICAL_BITS: u32 = 18;

/// How far a consumer is, to be watched while it reads. All times are milliseconds since the Unix epoch, as in a ts.
#[derive(Debug, Default)]
pub struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The highest watermark of each partition; 0 for none yet.
    partitions: HashMap<String, u64>,
    /// Partitions that begin so don't count.
    left_out: Vec<String>,
    /// A watermark of all partitions.
    common: u64,
    /// The lowest of all, and when it rose to what.
    lowest: u64,
    advances: Vec<(u64, u64)>,
    rows: u64,
    first_row: Option<u64>,
}

impl Progress {
    /// Notes what the consumer came upon just now.
    pub fn note(&self, sighting: &Sighting) {
        let mut state = self.0.lock();
        match &sighting.seen {
            Seen::Partition => {
                state.partitions.entry(sighting.partition.clone()).or_default();
            }
            Seen::Observation(Observation::Row(_)) => {
                state.rows += 1;
                let at = sighting.at_ms.unwrap_or_else(now_ms);
                state.first_row = Some(state.first_row.map_or(at, |first| first.min(at)));
            }
            Seen::Observation(Observation::Watermark(ts)) => {
                let highest = state.partitions.entry(sighting.partition.clone()).or_default();
                *highest = (*highest).max(*ts);
                state.advance();
            }
            Seen::WatermarkEverywhere(ts) => {
                state.common = state.common.max(*ts);
                state.advance();
            }
            Seen::Ddl { .. } | Seen::Malformed(_) => {}
        }
    }

    /// Partitions whose names begin so don't count from now on.
    pub fn leave_out(&self, prefix: &str) {
        let mut state = self.0.lock();
        state.left_out.push(prefix.to_owned());
        state.advance();
    }

    /// The lowest watermark of all partitions that have one; 0 for none.
    pub fn watermark(&self) -> u64 {
        self.0.lock().lowest
    }

    /// Rows read, repeats included.
    pub fn rows(&self) -> u64 {
        self.0.lock().rows
    }

    /// When the first row came, as the sink tells.
    pub fn first_row(&self) -> Option<u64> {
        self.0.lock().first_row
    }

    /// When the watermark reached a ts.
    pub fn reached(&self, ts: u64) -> Option<u64> {
        let state = self.0.lock();
        let at = state.advances.partition_point(|(_, watermark)| *watermark < ts);
        state.advances.get(at).map(|(when, _)| *when)
    }

    /// The farthest that the watermark lay behind the clock from one moment to another.
    pub fn worst_lag(&self, from: u64, to: u64) -> Duration {
        let state = self.0.lock();
        let mut before = 0;
        let mut worst = 0;
        for &(when, watermark) in &state.advances {
            if when > from {
                worst = worst.max(when.min(to).saturating_sub(before >> LOGICAL_BITS));
            }
            if when > to {
                return Duration::from_millis(worst);
            }
            before = watermark;
        }
        worst = worst.max(to.saturating_sub(before >> LOGICAL_BITS));
        Duration::from_millis(worst)
    }
}

impl State {
    fn advance(&mut self) {
        let counted = self.partitions.iter().filter(|(name, _)| {
            let out = |prefix: &String| name.starts_with(prefix.as_str());
            !self.left_out.iter().any(out)
        });
        let known = counted.map(|(_, watermark)| (*watermark).max(self.common));
        let lowest = known.filter(|watermark| *watermark > 0).min();
        let lowest = lowest.unwrap_or(self.common);
        if lowest > self.lowest {
            self.lowest = lowest;
            self.advances.push((now_ms(), lowest));
        }
    }
}

/// The clock, in milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watermark(partition: &str, ms: u64) -> Sighting {
        Sighting {
            partition: partition.to_owned(),
            at_ms: None,
            seen: Seen::Observation(Observation::Watermark(ms << LOGICAL_BITS)),
        }
    }

    #[test]
    fn the_slowest_partition_counts_unless_it_is_left_out() {
        let progress = Progress::default();
        progress.note(&watermark("fast/0", 20));
        progress.note(&watermark("slow/0", 10));
        assert!(progress.reached(20 << LOGICAL_BITS).is_some());
        progress.note(&watermark("slow/0", 15));
        progress.leave_out("slow/");
        progress.note(&watermark("fast/0", 30));
        assert_eq!(progress.watermark(), 30 << LOGICAL_BITS);
        assert!(progress.reached(31 << LOGICAL_BITS).is_none());
    }

    #[test]
    fn lag_is_measured_up_to_each_advance_and_at_the_end() {
        let progress = Progress::default();
        let now = now_ms();
        progress.0.lock().advances = vec![
            (now, (now - 100) << LOGICAL_BITS),
            (now + 1000, (now + 900) << LOGICAL_BITS),
            (now + 1100, (now + 1000) << LOGICAL_BITS),
        ];
        let worst = |from: u64, to: u64| progress.worst_lag(now + from, now + to).as_millis();
        assert_eq!(worst(10, 2000), 1100, "before the second advance");
        assert_eq!(worst(1000, 1150), 200, "before the third advance");
        assert_eq!(worst(1110, 1900), 900, "at the end");
        assert_eq!(worst(10, 500), 600, "at the end, inside the gap");
    }
}
