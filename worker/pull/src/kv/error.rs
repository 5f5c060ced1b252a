use tidemark_model::Ts;

use crate::pd::PdError;

/// Why a read or a lock resolution failed.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// PD could not be asked.
    #[error("regions or timestamps can't be had from PD")]
    Pd(#[from] PdError),
    /// The deadline passed; the text is the last obstacle.
    #[error("{what} was not done in time: {last}")]
    Deadline {
        /// What was asked for.
        what: &'static str,
        /// What stood in the way last.
        last: String,
    },
    /// A live transaction holds a lock.
    #[error("a key is locked by the live transaction {start_ts}")]
    Locked {
        /// The transaction.
        start_ts: Ts,
    },
    /// A region could not serve the request; another try can succeed.
    #[error("region {region} can't serve {what} now: {message}")]
    Region {
        /// The region.
        region: u64,
        /// The command.
        what: &'static str,
        /// TiKV's words.
        message: String,
    },
    /// The store could not be reached or failed.
    #[error("store {store} failed {what}: {message}")]
    Store {
        /// The store.
        store: u64,
        /// The command.
        what: &'static str,
        /// The failure.
        message: String,
    },
    /// TiKV refuses the command.
    #[error("TiKV refuses {what}: {message}")]
    Refused {
        /// The command.
        what: &'static str,
        /// TiKV's words.
        message: String,
    },
}

impl KvError {
    /// Whether another try can succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Pd(error) => error.is_retryable() || matches!(error, PdError::Store { .. }),
            Self::Locked { .. } | Self::Region { .. } | Self::Store { .. } => true,
            Self::Deadline { .. } | Self::Refused { .. } => false,
        }
    }
}
