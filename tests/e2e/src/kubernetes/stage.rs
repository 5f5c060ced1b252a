use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tidemark_workload::Workload;

use super::figures::Figures;
use super::line::Line;
use super::site::Site;
use crate::now_ms;

/// What the steps play on: two feeds on a Kubernetes, under load.
pub(super) struct Stage {
    pub(super) site: Arc<Site>,
    /// To Kafka.
    pub(super) orders: Line,
    /// To S3.
    pub(super) archive: Line,
    pub(super) workload: Workload,
    /// Where both feeds begin, and from where the bank's sums hold.
    pub(super) start: u64,
    pub(super) filled: u64,
    pub(super) figures: Mutex<Figures>,
    /// The image's tag that is installed.
    pub(super) tag: Mutex<String>,
    /// The transaction of the table that came late, if one was streamed.
    pub(super) late: Mutex<Option<u64>>,
    pub(super) clock: Clock,
}

/// Says what happens, with the seconds since the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn say(self, text: &str) {
        eprintln!("{:>6.1} s  {text}", self.0.elapsed().as_secs_f64());
    }

    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// A moment: on the clock, and as the source's ts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) ms: u64,
    pub(super) ts: u64,
}

impl Moment {
    /// From then until a time in milliseconds since the Unix epoch.
    pub(super) fn until(self, ms: u64) -> Duration {
        Duration::from_millis(ms.saturating_sub(self.ms))
    }

    /// Since then.
    pub(super) fn elapsed(self) -> Duration {
        self.until(now_ms())
    }
}

impl Stage {
    /// Both feeds.
    pub(super) fn lines(&self) -> [&Line; 2] {
        [&self.orders, &self.archive]
    }

    /// Now.
    pub(super) fn now(&self) -> Moment {
        Moment {
            ms: now_ms(),
            ts: self.site.tikv.now().0,
        }
    }

    pub(super) fn say(&self, text: &str) {
        self.clock.say(text);
    }

    /// Says and notes a time.
    pub(super) fn time(&self, step: &'static str, what: &str, time: Duration, aim: Option<u64>) {
        self.say(&format!("  {what}: {:.2} s", time.as_secs_f64()));
        let aim = aim.map(Duration::from_secs);
        self.figures.lock().time(step, what, time, aim);
    }

    /// Says and notes words.
    pub(super) fn text(&self, step: &'static str, what: &str, text: &str) {
        self.say(&format!("  {what}: {text}"));
        self.figures.lock().text(step, what, text);
    }

    /// Notes by how much a feed's lag rose above what it is when nothing happens, from a moment until now.
    pub(super) fn bump(&self, step: &'static str, line: &Line, from: Moment, what: &str, aim: Option<u64>) {
        let progress = line.watch.progress();
        let calm = progress.worst_lag(from.ms.saturating_sub(CALM), from.ms);
        let worst = progress.worst_lag(from.ms, now_ms());
        let what = format!("{}: lag rose by, {what}", line.name());
        self.time(step, &what, worst.saturating_sub(calm), aim);
    }

    /// Declares once more what the feeds are, after a step that failed on its way.
    pub(super) async fn restore(&self) -> Result<()> {
        for line in self.lines() {
            self.site.apply(&line.document).await?;
        }
        Ok(())
    }

    /// Waits until both feeds are at rest and stream, and notes their checkpoints.
    pub(super) async fn settle(&self) -> Result<()> {
        for line in self.lines() {
            line.settle(&self.site).await?;
        }
        for line in self.lines() {
            let name = line.name();
            line.note_checkpoint(&self.site)
                .await
                .with_context(|| format!("the checkpoint of feed {name}"))?;
        }
        Ok(())
    }

    /// Waits as long as what the lag is compared with.
    pub(super) async fn calm(&self) {
        tokio::time::sleep(Duration::from_millis(CALM)).await;
    }
}

/// How long before a disturbance the lag is looked at, milliseconds.
const CALM: u64 = 5000;
