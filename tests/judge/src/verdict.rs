use std::collections::BTreeMap;
use std::fmt;

/// The promises that a stream is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// 1: every change up to the final watermark is there, in one partition.
    Completeness,
    /// 2: every row read is a change of the truth, old image included.
    NoInvention,
    /// 3: a key's changes are first seen in commit order; repeats are identical.
    KeyOrder,
    /// 4: watermarks never fall, and nothing new comes at or below one.
    Watermark,
    /// 5: repeats are replays without gaps, above the checkpoint.
    ReplayShape,
    /// 6: everything at or below a checkpoint was there by then.
    CheckpointSafety,
    /// 8: at every watermark transactions are whole and sums hold.
    Transactions,
}

impl Invariant {
    /// Its number in the project's list of invariants.
    pub fn number(self) -> u8 {
        match self {
            Self::Completeness => 1,
            Self::NoInvention => 2,
            Self::KeyOrder => 3,
            Self::Watermark => 4,
            Self::ReplayShape => 5,
            Self::CheckpointSafety => 6,
            Self::Transactions => 8,
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Completeness => "completeness",
            Self::NoInvention => "no invention",
            Self::KeyOrder => "key order",
            Self::Watermark => "watermark",
            Self::ReplayShape => "replay shape",
            Self::CheckpointSafety => "checkpoint safety",
            Self::Transactions => "transactions",
        };
        write!(f, "{} ({name})", self.number())
    }
}

/// One breach of a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub invariant: Invariant,
    /// Where it shows and how.
    pub what: String,
}

/// What was counted on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Changes in the truth after the start ts.
    pub truth_rows: u64,
    /// Row changes read, repeats included.
    pub rows: u64,
    /// Row changes read again.
    pub repeats: u64,
    /// Replays begun.
    pub replays: u64,
    /// Watermarks read.
    pub watermarks: u64,
    /// Watermarks at which transactions were held whole and sums added up.
    pub cuts: u64,
    /// Partitions or sequences.
    pub partitions: u64,
    /// The lowest of the partitions' last watermarks.
    pub final_watermark: Option<u64>,
    /// From commit to sight, first sights only, in milliseconds; none where the source has no times.
    pub latency: Option<Latency>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Half are below.
    pub p50: u64,
    /// 99 of 100 are below.
    pub p99: u64,
    /// The highest.
    pub max: u64,
}

impl Latency {
    /// Of some times in milliseconds, in any order.
    pub(crate) fn of(mut times: Vec<u64>) -> Option<Self> {
        times.sort_unstable();
        let at = |percent: usize| {
            times
                .get((times.len() * percent / 100).min(times.len().saturating_sub(1)))
                .copied()
        };
        Some(Self {
            p50: at(50)?,
            p99: at(99)?,
            max: at(100)?,
        })
    }
}

/// What the judge found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The first violations of each invariant, in the order they were found.
    pub violations: Vec<Violation>,
    /// All violations by invariant.
    pub counts: BTreeMap<Invariant, u64>,
    /// What was counted.
    pub figures: Figures,
}

impl Verdict {
    /// Violations of one invariant that are told in words; the rest is counted.
    pub const TOLD: u64 = 20;

    /// Whether every promise was kept.
    pub fn holds(&self) -> bool {
        self.counts.is_empty()
    }

    /// The invariants that were broken, by number.
    pub fn broken(&self) -> Vec<Invariant> {
        self.counts.keys().copied().collect()
    }

    pub(crate) fn add(&mut self, invariant: Invariant, what: impl FnOnce() -> String) {
        let count = self.counts.entry(invariant).or_default();
        *count += 1;
        if *count <= Self::TOLD {
            self.violations.push(Violation {
                invariant,
                what: what(),
            });
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        writeln!(
            f,
            "{}",
            if self.holds() {
                "all invariants hold"
            } else {
                "INVARIANTS BROKEN"
            }
        )?;
        writeln!(f, "  truth rows        {}", figures.truth_rows)?;
        writeln!(f, "  rows read         {}", figures.rows)?;
        writeln!(
            f,
            "  repeats           {} in {} replays",
            figures.repeats, figures.replays
        )?;
        writeln!(f, "  partitions        {}", figures.partitions)?;
        writeln!(
            f,
            "  watermarks        {} ({} cuts judged)",
            figures.watermarks, figures.cuts
        )?;
        match figures.final_watermark {
            Some(ts) => writeln!(f, "  final watermark   {ts}")?,
            None => writeln!(f, "  final watermark   none")?,
        }
        if let Some(Latency { p50, p99, max }) = figures.latency {
            writeln!(f, "  latency           p50 {p50} ms, p99 {p99} ms, max {max} ms")?;
        }
        for (invariant, count) in &self.counts {
            writeln!(f, "invariant {invariant}: {count} violations")?;
            for violation in self
                .violations
                .iter()
                .filter(|violation| violation.invariant == *invariant)
            {
                writeln!(f, "  {}", violation.what)?;
            }
            if *count > Self::TOLD {
                writeln!(f, "  ... and {} more", count - Self::TOLD)?;
            }
        }
        Ok(())
    }
}
