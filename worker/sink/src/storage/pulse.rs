use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::SinkError;

/// A worker may write for some seconds less than its Lease lasts, five as it is set; after standing still for less than that,
/// nobody else has taken its tables yet.
const STILL: Duration = Duration::from_secs(4);

/// Notices that this process stood still: what it has in hand may be another's by now, and it may not know yet.
///
/// Beaten regularly by the sink, and asked before anything is written.
#[derive(Debug)]
pub(super) struct Pulse {
    last: Mutex<Instant>,
    shared: bool,
}

impl Pulse {
    /// The pulse of a process that shares its feed with others, or doesn't: then it may stand still as long as it likes.
    pub(super) fn new(shared: bool) -> Self {
        Self {
            last: Mutex::new(Instant::now()),
            shared,
        }
    }

    /// A sign of life.
    pub(super) fn beat(&self) -> Result<(), SinkError> {
        self.check()?;
        *self.last.lock() = Instant::now();
        Ok(())
    }

    /// Fails if the last sign of life is too old.
    pub(super) fn check(&self) -> Result<(), SinkError> {
        let still = self.last.lock().elapsed();
        if self.shared && still > STILL {
            return Err(SinkError::Unavailable(format!(
                "storage: this process stood still for {still:.1?}: others may stream its tables by now; it begins anew"
            )));
        }
        Ok(())
    }
}
