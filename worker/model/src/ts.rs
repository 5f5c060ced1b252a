use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Bits of a timestamp that count events within one millisecond.
const LOGICAL_BITS: u32 = 18;

/// A TSO timestamp of the TiKV cluster: physical milliseconds since the Unix epoch, shifted left
/// by 18 bits, plus a logical counter.
///
/// Printed and parsed as decimal text, since it exceeds what JSON numbers hold exactly (2^53).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ts(pub u64);

impl Ts {
    /// Before everything.
    pub const ZERO: Self = Self(0);
    /// After everything; TiKV reads it as "the newest".
    pub const MAX: Self = Self(u64::MAX);

    /// Composes a timestamp of its parts.
    pub const fn new(physical_ms: u64, logical: u64) -> Self {
        Self((physical_ms << LOGICAL_BITS) | logical)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn physical_ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    /// The counter within the millisecond.
    pub const fn logical(self) -> u64 {
        self.0 & ((1 << LOGICAL_BITS) - 1)
    }

    /// The next timestamp.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The timestamp before this one.
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// How far this timestamp's clock lies behind that of `now`; zero if it doesn't.
    pub const fn lag_behind(self, now: Self) -> Duration {
        Duration::from_millis(now.physical_ms().saturating_sub(self.physical_ms()))
    }
}

impl fmt::Display for Ts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Ts {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl From<u64> for Ts {
    fn from(raw: u64) -> Self {
        Self(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_compose() {
        let ts = Ts::new(1_700_000_000_123, 7);
        assert_eq!((ts.physical_ms(), ts.logical()), (1_700_000_000_123, 7));
        assert_eq!(ts.to_string().parse(), Ok(ts));
    }

    #[test]
    fn lag_is_never_negative() {
        assert_eq!(Ts::new(5, 0).lag_behind(Ts::new(3, 0)), Duration::ZERO);
        assert_eq!(Ts::new(3, 0).lag_behind(Ts::new(5, 0)), Duration::from_millis(2));
    }
}
