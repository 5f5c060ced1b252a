//! A small transaction client for PD and TiKV.
//!
//! It follows the public protocol and retries until an outcome is known; it shares nothing with the
//! product's puller.

mod command;
mod ending;
mod locks;
mod pd;
mod regions;
mod snapshot;
mod stores;
mod transaction;

use std::time::Duration;

use thiserror::Error;

pub use ending::{Abandon, Ending, Outcome};
pub use pd::Pd;
pub use snapshot::{Snapshot, Version};
pub use stores::Stores;
pub use transaction::{CommitKind, Transaction, TransactionKind};

/// How long the client keeps trying before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Why the client gave up.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No PD member answered in time.
    #[error("PD doesn't answer {call} within {PATIENCE:?}: {last}; check the endpoints {endpoints:?}")]
    Pd {
        /// The call.
        call: &'static str,
        /// Where PD was looked for.
        endpoints: Vec<String>,
        /// The last failure.
        last: String,
    },
    /// A region didn't take a command in time.
    #[error("no region takes {command} for key {key} within {PATIENCE:?}: {last}")]
    Region {
        /// The command.
        command: &'static str,
        /// The key in hex.
        key: String,
        /// The last failure.
        last: String,
    },
    /// TiKV refused a command for a reason that the client has no answer to.
    #[error("TiKV refuses {command}: {problem}")]
    Refused {
        /// The command.
        command: &'static str,
        /// What TiKV said.
        problem: String,
    },
    /// A lock didn't go away in time.
    #[error("the lock of transaction {start_ts} on key {key} is still held after {PATIENCE:?}")]
    Locked {
        /// Start ts of the transaction that holds the lock.
        start_ts: u64,
        /// The key in hex.
        key: String,
    },
}

/// Waits between attempts: 10 ms at first, doubled up to half a second, until [`PATIENCE`] ends.
pub(crate) struct Backoff {
    deadline: tokio::time::Instant,
    pause: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self {
            deadline: tokio::time::Instant::now() + PATIENCE,
            pause: Duration::from_millis(10),
        }
    }

    /// Waits; false once patience has ended.
    pub(crate) async fn wait(&mut self) -> bool {
        if tokio::time::Instant::now() >= self.deadline {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_millis(500));
        true
    }
}

/// Bytes in hex, for messages.
pub(crate) fn hex_text(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
