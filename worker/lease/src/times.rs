//! How long a Lease lasts and how often it is renewed.

use std::time::Duration;

/// Times of a Lease; `duration > renew_deadline > 1.2 * retry`, as client-go demands.
///
/// Made by [`LeaseTimes::new`], which checks the order, or by default: 15 s, 10 s, 2 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseTimes {
    /// How long others must see the Lease unchanged before they take it. Written in whole seconds, rounded up.
    pub duration: Duration,
    /// How long the holder may act after the last confirmed renewal was sent.
    pub renew_deadline: Duration,
    /// How long the holder waits between renewals, and a contender between looks.
    pub retry: Duration,
}

/// Lease times that would let two holders act at once or let one lapse between renewals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseConfigError {
    /// The holder would go on after others may take over.
    #[error(
        "lease duration {duration:?} must be longer than the renew deadline {renew_deadline:?}; raise the duration"
    )]
    DurationTooShort {
        /// The duration asked for.
        duration: Duration,
        /// The renew deadline asked for.
        renew_deadline: Duration,
    },
    /// One late renewal would end the holder's authority.
    #[error(
        "renew deadline {renew_deadline:?} must be longer than 1.2 times the retry period {retry:?}; lower the retry period"
    )]
    DeadlineTooShort {
        /// The renew deadline asked for.
        renew_deadline: Duration,
        /// The retry period asked for.
        retry: Duration,
    },
    /// A retry period of zero would flood the API server.
    #[error("retry period must be longer than 0 s; client-go's is 2 s")]
    NoRetry,
}

impl LeaseTimes {
    /// Checks and takes the three times.
    ///
    /// # Errors
    ///
    /// Where not `duration > renew_deadline > 1.2 * retry > 0`.
    pub fn new(
        duration: Duration,
        renew_deadline: Duration,
        retry: Duration,
    ) -> Result<Self, LeaseConfigError> {
        if retry.is_zero() {
            return Err(LeaseConfigError::NoRetry);
        }
        if renew_deadline <= retry.saturating_mul(6) / 5 {
            return Err(LeaseConfigError::DeadlineTooShort {
                renew_deadline,
                retry,
            });
        }
        if duration <= renew_deadline {
            return Err(LeaseConfigError::DurationTooShort {
                duration,
                renew_deadline,
            });
        }
        Ok(Self {
            duration,
            renew_deadline,
            retry,
        })
    }

    /// How long one request may take: three fit into the deadline.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.renew_deadline / 3
    }

    /// The wait after a request that failed: shorter than between renewals, since the deadline is running.
    pub(crate) fn quick_retry(&self) -> Duration {
        self.retry / 4
    }

    /// The duration as a Lease carries it, in whole seconds, rounded up so that others never wait too short.
    pub(crate) fn duration_seconds(&self) -> i32 {
        let whole = self.duration.as_secs();
        let up = if self.duration.subsec_nanos() > 0 {
            whole.saturating_add(1)
        } else {
            whole
        };
        i32::try_from(up).unwrap_or(i32::MAX).max(1)
    }
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(duration: f64, deadline: f64, retry: f64) -> Result<LeaseTimes, LeaseConfigError> {
        LeaseTimes::new(
            Duration::from_secs_f64(duration),
            Duration::from_secs_f64(deadline),
            Duration::from_secs_f64(retry),
        )
    }

    #[test]
    fn the_order_of_times_is_checked() {
        assert_eq!(seconds(15.0, 10.0, 2.0), Ok(LeaseTimes::default()));
        assert!(seconds(15.0, 10.0, 5.0).is_ok());
        assert!(matches!(
            seconds(10.0, 10.0, 2.0),
            Err(LeaseConfigError::DurationTooShort { .. })
        ));
        assert!(matches!(
            seconds(15.0, 6.0, 5.0),
            Err(LeaseConfigError::DeadlineTooShort { .. })
        ));
        assert_eq!(seconds(15.0, 10.0, 0.0), Err(LeaseConfigError::NoRetry));
    }

    #[test]
    fn a_broken_second_is_written_as_a_whole_one() {
        assert_eq!(seconds(1.2, 1.0, 0.2).unwrap().duration_seconds(), 2);
        assert_eq!(seconds(15.0, 10.0, 2.0).unwrap().duration_seconds(), 15);
    }
}
