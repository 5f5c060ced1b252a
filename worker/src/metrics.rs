//! All metrics of the worker.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tidemark_model::{KvChange, Ts};

/// Counters and gauges of one worker process.
///
/// Counters are raised once a batch, never once a row.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pulled_rows: Counter,
    pulled_bytes: Counter,
    written_rows: Counter,
    written_bytes: Counter,
    lag: Gauge<f64, AtomicU64>,
    checkpoint: Gauge<u64, AtomicU64>,
    gauges: Gauges,
    slow: Family<SlowRegion, Gauge<f64, AtomicU64>>,
    ready: AtomicUsize,
}

/// A region that holds its table's resolved ts back, as labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SlowRegion {
    /// The region; 0 while unknown.
    pub region: u64,
    /// Its store; 0 while unknown.
    pub store: u64,
    /// `schema.table` of its span.
    pub table: String,
    /// Why, in one word.
    pub reason: &'static str,
}

/// Gauges that are set from a [`Sample`].
#[derive(Debug, Default)]
struct Gauges {
    spans: Gauge,
    regions: Gauge,
    regions_initialised: Gauge,
    regions_slow: Gauge,
    streams: Gauge,
    prewrites: Gauge,
    pull_memory: Gauge,
    merge_memory: Gauge,
    merge_disk: Gauge,
    sink_memory: Gauge,
}

/// The state of the parts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Spans of the feed.
    pub spans: usize,
    /// Regions that are subscribed.
    pub regions: usize,
    /// Regions whose scan has ended.
    pub regions_initialised: usize,
    /// Regions that hold the resolved ts back.
    pub regions_slow: usize,
    /// Streams to stores.
    pub streams: usize,
    /// Prewrites that wait for their commit.
    pub prewrites: usize,
    /// Bytes between puller and sorters.
    pub pull_memory: usize,
    /// Bytes in sorters.
    pub merge_memory: usize,
    /// Bytes of sorted runs on disk.
    pub merge_disk: u64,
    /// Bytes in the sink's hands.
    pub sink_memory: usize,
}

impl Metrics {
    /// Metrics that all stand at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tidemark"),
            pulled_rows: Counter::default(),
            pulled_bytes: Counter::default(),
            written_rows: Counter::default(),
            written_bytes: Counter::default(),
            lag: Gauge::default(),
            checkpoint: Gauge::default(),
            gauges: Gauges::default(),
            slow: Family::default(),
            ready: AtomicUsize::new(0),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "pulled_rows",
            "Committed changes received from TiKV",
            self.pulled_rows.clone(),
        );
        registry.register_with_unit(
            "pulled",
            "Keys and values received from TiKV",
            Unit::Bytes,
            self.pulled_bytes.clone(),
        );
        registry.register(
            "sink_rows",
            "Changes handed to the sink",
            self.written_rows.clone(),
        );
        registry.register_with_unit(
            "sink",
            "Keys and values handed to the sink",
            Unit::Bytes,
            self.written_bytes.clone(),
        );
        registry.register_with_unit(
            "checkpoint_lag",
            "How far the checkpoint lies behind PD's clock",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register(
            "checkpoint_ts",
            "Everything at or below it is durable",
            self.checkpoint.clone(),
        );
        registry.register_with_unit(
            "slow_region",
            "How long a region has held its table back; the slowest ones only",
            Unit::Seconds,
            self.slow.clone(),
        );
        let gauges = &self.gauges;
        for (name, help, gauge) in [
            ("spans", "Spans of the feed", &gauges.spans),
            ("regions", "Regions that are subscribed", &gauges.regions),
            (
                "regions_initialised",
                "Regions whose scan has ended",
                &gauges.regions_initialised,
            ),
            (
                "regions_slow",
                "Regions that hold the resolved ts back",
                &gauges.regions_slow,
            ),
            ("streams", "Streams to stores", &gauges.streams),
            (
                "prewrites",
                "Prewrites that wait for their commit",
                &gauges.prewrites,
            ),
            (
                "pull_memory_bytes",
                "Bytes between puller and sorters",
                &gauges.pull_memory,
            ),
            ("merge_memory_bytes", "Bytes in sorters", &gauges.merge_memory),
            (
                "merge_disk_bytes",
                "Bytes of sorted runs on disk",
                &gauges.merge_disk,
            ),
            (
                "sink_memory_bytes",
                "Bytes in the sink's hands",
                &gauges.sink_memory,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
    }

    /// Counts changes that came from the puller.
    pub fn pulled(&self, changes: &[KvChange]) {
        count(changes, &self.pulled_rows, &self.pulled_bytes);
    }

    /// Counts changes that the sink was given.
    pub fn handed_over(&self, changes: &[KvChange]) {
        count(changes, &self.written_rows, &self.written_bytes);
    }

    /// Notes the feed's checkpoint and how far it lies behind.
    pub fn checkpoint(&self, checkpoint: Ts, now: Ts) {
        self.checkpoint.set(checkpoint.0);
        self.lag.set(checkpoint.lag_behind(now).as_secs_f64());
    }

    /// Seconds that the checkpoint lies behind.
    pub fn lag(&self) -> f64 {
        self.lag.get()
    }

    /// Rows and bytes handed to the sink until now.
    pub fn handed(&self) -> (u64, u64) {
        (self.written_rows.get(), self.written_bytes.get())
    }

    /// Notes the state of the parts.
    pub fn sample(&self, sample: &Sample) {
        let set = |gauge: &Gauge, value: usize| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let gauges = &self.gauges;
        set(&gauges.spans, sample.spans);
        set(&gauges.regions, sample.regions);
        set(&gauges.regions_initialised, sample.regions_initialised);
        set(&gauges.regions_slow, sample.regions_slow);
        set(&gauges.streams, sample.streams);
        set(&gauges.prewrites, sample.prewrites);
        set(&gauges.pull_memory, sample.pull_memory);
        set(&gauges.merge_memory, sample.merge_memory);
        set(
            &gauges.merge_disk,
            usize::try_from(sample.merge_disk).unwrap_or(usize::MAX),
        );
        set(&gauges.sink_memory, sample.sink_memory);
    }

    /// Names the regions that are slow now and for how many seconds; those that were named before are forgotten.
    pub fn slow_regions(&self, regions: impl Iterator<Item = (SlowRegion, f64)>) {
        self.slow.clear();
        for (labels, seconds) in regions {
            self.slow.get_or_create(&labels).set(seconds);
        }
    }

    /// Notes whether the feed streams.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(usize::from(ready), Ordering::Relaxed);
    }

    /// Whether the feed streams.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) == 1
    }

    /// The metrics in OpenMetrics' text form.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn count(changes: &[KvChange], rows: &Counter, bytes: &Counter) {
    rows.inc_by(changes.len() as u64);
    bytes.inc_by(
        changes
            .iter()
            .map(|change| (change.key.len() + change.value.len()) as u64)
            .sum(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_what_was_counted() {
        let metrics = Metrics::new();
        metrics.checkpoint(Ts::new(1000, 0), Ts::new(3500, 0));
        metrics.sample(&Sample {
            regions: 64,
            ..Sample::default()
        });
        let text = metrics.text();
        assert!(text.contains("tidemark_checkpoint_lag_seconds 2.5"), "{text}");
        assert!(text.contains("tidemark_regions 64"), "{text}");
        let slow = SlowRegion {
            region: 7,
            store: 1,
            table: "shop.orders".into(),
            reason: "locked",
        };
        metrics.slow_regions([(slow, 12.5)].into_iter());
        let named =
            r#"tidemark_slow_region_seconds{region="7",store="1",table="shop.orders",reason="locked"} 12.5"#;
        assert!(metrics.text().contains(named), "{}", metrics.text());
        metrics.slow_regions(std::iter::empty());
        assert!(!metrics.text().contains("shop.orders"));
    }
}
