use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// How long each feed waits after a failure: doubles from 5 s to 5 min until a pass succeeds.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<String, u32>>);

impl Backoff {
    /// Counts a failure; gives the wait before the next try.
    pub fn failed(&self, key: &str) -> Duration {
        let mut failures = self.0.lock();
        let count = failures.entry(key.to_owned()).or_default();
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(*count)).min(LONGEST);
        *count = count.saturating_add(1);
        wait.mul_f64(1.0 + spread(key) / 5.0)
    }

    /// Forgets the failures of a feed.
    pub fn succeeded(&self, key: &str) {
        self.0.lock().remove(key);
    }
}

/// From 0 to 1 and always the same for a key: feeds that failed together don't come back together.
pub(crate) fn spread(key: &str) -> f64 {
    let sum = key.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    f64::from(sum % 1000) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_start_over_after_success() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (0..10).map(|_| backoff.failed("a/b").as_secs_f64()).collect();
        for pair in waits.windows(2) {
            assert!(pair[1] >= pair[0]);
        }
        assert!((5.0..=6.0).contains(&waits[0]));
        assert!((300.0..=360.0).contains(&waits[9]));
        backoff.failed("a/c");
        backoff.succeeded("a/b");
        assert!(backoff.failed("a/b").as_secs_f64() <= 6.0);
        assert!(
            backoff.failed("a/c").as_secs_f64() >= 10.0,
            "feeds are counted apart"
        );
    }
}
