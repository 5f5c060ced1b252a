//! The monotonic clock that authority is judged by.

use std::time::Instant;

/// Now by tokio's clock: the system's monotonic clock, on any thread and without a runtime. Only a test that pauses its
/// runtime's time, as `tests/simulation` does, sees another.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
