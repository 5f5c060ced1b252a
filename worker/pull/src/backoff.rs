use std::time::Duration;

/// Pauses that double from a first to a longest one, each drawn from its upper half.
///
/// The jitter comes from a seeded generator, so a run can be repeated.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    state: u64,
}

impl Backoff {
    /// Pauses between `min` and `max`, with jitter of the given seed.
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self {
            min,
            max: max.max(min),
            state: seed,
        }
    }

    /// The pause before the given try; 0 is the first.
    pub fn pause(&mut self, attempt: u32) -> Duration {
        let full = self
            .min
            .saturating_mul(1_u32.checked_shl(attempt.min(20)).unwrap_or(u32::MAX))
            .min(self.max);
        let half = full / 2;
        half + half.mul_f64(self.unit())
    }

    /// A number in [0, 1): splitmix64, the top 53 bits.
    fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pause_lies_in_the_upper_half_of_its_step(seed: u64, attempt in 0_u32..80) {
            let (min, max) = (Duration::from_millis(50), Duration::from_secs(2));
            let pause = Backoff::new(min, max, seed).pause(attempt);
            let full = min.saturating_mul(1 << attempt.min(20)).min(max);
            prop_assert!(pause >= full / 2 && pause <= full);
        }

        #[test]
        fn the_same_seed_gives_the_same_pauses(seed: u64) {
            let new = || Backoff::new(Duration::from_millis(50), Duration::from_secs(2), seed);
            let (mut a, mut b) = (new(), new());
            for attempt in 0..20 {
                prop_assert_eq!(a.pause(attempt), b.pause(attempt));
            }
        }
    }
}
