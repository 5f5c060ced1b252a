//! Gauges of the parts that move changes.

use tidemark_merge::Spill;
use tidemark_model::Budget;
use tidemark_pull::{Puller, SlowReason};

use crate::metrics::{Metrics, Sample, SlowRegion};
use crate::stream::spans::Spans;

/// The parts that are measured.
pub(crate) struct Measured<'a> {
    pub(crate) puller: &'a Puller,
    pub(crate) spill: &'a Spill,
    pub(crate) budget: &'a Budget,
    pub(crate) spans: &'a Spans,
}

impl Measured<'_> {
    /// Brings the gauges up to date.
    pub(crate) fn sample(&self, metrics: &Metrics) -> Sample {
        let pull = self.puller.stats();
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let sample = Sample {
            spans: self.spans.len(),
            regions: count(pull.regions),
            regions_initialised: count(pull.initialised),
            regions_slow: pull.slow_regions.len(),
            streams: count(pull.streams),
            prewrites: count(pull.pending_prewrites),
            pull_memory: count(pull.queued_bytes + pull.pending_prewrite_bytes),
            merge_memory: self.spill.memory_used(),
            merge_disk: self.spill.disk_used(),
            sink_memory: self.budget.used(),
        };
        metrics.sample(&sample);
        metrics.slow_regions(pull.slow_regions.iter().map(|slow| {
            let labels = SlowRegion {
                region: slow.region,
                store: slow.store,
                table: self
                    .spans
                    .name(slow.span)
                    .map_or_else(|| "mysql.tidb_ddl_job".into(), |name| name.to_string()),
                reason: reason(&slow.reason),
            };
            (labels, slow.lasting.as_secs_f64())
        }));
        sample
    }
}

/// A word for a label: few values, so that the number of time series stays small.
pub(crate) fn reason(reason: &SlowReason) -> &'static str {
    match reason {
        SlowReason::Unlocated(_) => "unlocated",
        SlowReason::Waiting => "waiting",
        SlowReason::Scanning => "scanning",
        SlowReason::Locked { .. } => "locked",
        SlowReason::StuckWithoutLock => "stuck",
        SlowReason::Lagging => "lagging",
    }
}
