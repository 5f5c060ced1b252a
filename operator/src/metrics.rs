//! Metrics of the operator.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tidemark_process::admin::Report;

use crate::feeds::Feeds;

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

/// Counters and gauges of the operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Outcome, Counter>,
    duration: Histogram,
    in_flight: Gauge,
    leader: Gauge,
    ready: AtomicBool,
}

impl Metrics {
    /// Metrics that stand at zero, and the number of `feeds`.
    pub fn new(feeds: Feeds) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tidemark_operator"),
            reconciles: Family::default(),
            duration: Histogram::new(exponential_buckets(0.01, 2.0, 13)),
            in_flight: Gauge::default(),
            leader: Gauge::default(),
            ready: AtomicBool::new(false),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "reconciles",
            "Passes over a feed, by outcome",
            metrics.reconciles.clone(),
        );
        registry.register_with_unit(
            "reconcile",
            "How long a pass over a feed takes",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register(
            "reconciles_in_flight",
            "Passes that run now",
            metrics.in_flight.clone(),
        );
        registry.register("leader", "1 while this operator leads", metrics.leader.clone());
        registry.register_collector(Box::new(feeds));
        metrics
    }

    /// Counts the begin of a pass.
    pub fn begin(&self) {
        self.in_flight.inc();
    }

    /// Counts the end of a pass.
    pub fn end(&self, ok: bool, took: Duration) {
        self.in_flight.dec();
        let result = if ok { "ok" } else { "error" };
        self.reconciles.get_or_create(&Outcome { result }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Tells whether this operator leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Tells whether this operator does its part: leads, or stands by while another does.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }
}

impl Report for Metrics {
    fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("the API server was not reached yet".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_counted_by_outcome() {
        let metrics = Metrics::new(Feeds::default());
        metrics.begin();
        metrics.end(true, Duration::from_millis(20));
        metrics.begin();
        metrics.set_leader(true);
        let text = metrics.metrics();
        for line in [
            "tidemark_operator_reconciles_total{result=\"ok\"} 1",
            "tidemark_operator_reconcile_seconds_count 1",
            "tidemark_operator_reconciles_in_flight 1",
            "tidemark_operator_leader 1",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }
}
