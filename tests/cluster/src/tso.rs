//! PD's timestamp oracle.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tidemark_model::Ts;
use tokio::sync::watch;

use crate::config::Clock;

/// Hands out timestamps that grow; can be paused.
#[derive(Debug)]
pub(crate) struct Tso {
    clock: Clock,
    last: Mutex<Ts>,
    paused: watch::Sender<bool>,
}

/// Logical values within one millisecond.
const LOGICAL: u64 = 1 << 18;

impl Tso {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            last: Mutex::new(Ts::ZERO),
            paused: watch::Sender::new(false),
        }
    }

    /// Takes `count` timestamps and gives the last of them, whether paused or not.
    pub(crate) fn take(&self, count: u32) -> Ts {
        let count = u64::from(count.max(1));
        let mut last = self.last.lock();
        let now = Ts::new(self.clock.now_ms(), 0);
        // A batch never crosses a millisecond: clients count back from its last member.
        let mut next = now.0.max(last.0 + 1);
        if next % LOGICAL + count > LOGICAL {
            next = (next / LOGICAL + 1) * LOGICAL;
        }
        *last = Ts(next + count - 1);
        *last
    }

    /// A new timestamp, or the last one again while paused: what a store sees of PD.
    pub(crate) fn seen_by_store(&self) -> Ts {
        if *self.paused.borrow() {
            return *self.last.lock();
        }
        self.take(1)
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Waits while PD is paused.
    pub(crate) async fn running(&self) {
        let mut paused = self.paused.subscribe();
        // The sender lives as long as `self`.
        let _ = paused.wait_for(|paused| !paused).await;
    }
}

/// The newest timestamp that anything was read at: what async commit must stay above.
#[derive(Debug, Default)]
pub struct MaxTs(AtomicU64);

impl MaxTs {
    /// Raises the timestamp; "the newest" (`u64::MAX`) says nothing and is ignored.
    pub fn raise(&self, ts: Ts) {
        if ts != Ts::MAX {
            self.0.fetch_max(ts.0, Ordering::SeqCst);
        }
    }

    /// The timestamp.
    pub fn get(&self) -> Ts {
        Ts(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::SteppedClock;

    #[test]
    fn batches_grow_and_never_cross_a_millisecond() {
        let clock = SteppedClock::new(1000);
        let tso = Tso::new(Clock::Stepped(clock.clone()));
        assert_eq!(tso.take(10), Ts::new(1000, 9));
        assert_eq!(tso.take(1), Ts::new(1000, 10));
        assert_eq!(tso.take(1 << 18), Ts::new(1001, (1 << 18) - 1));
        assert_eq!(tso.take(1), Ts::new(1002, 0));
        clock.advance(Duration::from_secs(1));
        assert_eq!(tso.take(1), Ts::new(2000, 0));
    }

    #[test]
    fn a_paused_pd_freezes_what_stores_see() {
        let tso = Tso::new(Clock::Stepped(SteppedClock::new(5)));
        let before = tso.seen_by_store();
        tso.pause(true);
        assert_eq!(tso.seen_by_store(), before);
        assert_eq!(tso.seen_by_store(), before);
        tso.pause(false);
        assert!(tso.seen_by_store() > before);
    }

    #[test]
    fn max_ts_only_rises() {
        let max = MaxTs::default();
        max.raise(Ts(5));
        max.raise(Ts(3));
        max.raise(Ts::MAX);
        assert_eq!(max.get(), Ts(5));
    }
}
