//! Spread of waits, from a seed.

use std::time::Duration;

/// Spreads waits by up to a tenth either way, so that contenders that started together drift apart. The same seed
/// gives the same waits.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Between 0.9 and 1.1 times `base`.
    pub(crate) fn spread(&mut self, base: Duration) -> Duration {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let percent = u32::try_from(z % 201).unwrap_or(100);
        base.saturating_mul(900 + percent) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_spreads_the_same_way_within_a_tenth() {
        let base = Duration::from_secs(2);
        let (mut a, mut b) = (Jitter::new(7), Jitter::new(7));
        let spread: Vec<_> = (0..100).map(|_| a.spread(base)).collect();
        assert!(
            spread
                .iter()
                .all(|wait| *wait >= base * 9 / 10 && *wait <= base * 11 / 10)
        );
        assert!(spread.iter().any(|wait| *wait != spread[0]));
        assert!(spread.iter().all(|wait| *wait == b.spread(base)));
    }
}
