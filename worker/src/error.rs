//! Why a feed can't go on, and whether trying again can help.

use std::error::Error;

use tidemark_merge::MergeError;
use tidemark_pull::{KvError, PdError, PullError};
use tidemark_sink::SinkError;

/// Why a feed's run ended. The text is one line that names what is wrong and the mend.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The feed's settings, its state or a server's answer make running impossible until a person acts.
    #[error("{0}")]
    Stopped(String),
    /// A server can't be reached or failed; trying again may help.
    #[error("{0}")]
    Unavailable(String),
}

impl FeedError {
    /// Whether trying again from the checkpoint may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// An error and what caused it, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&chain(&error));
        cause = error.source();
    }
    line
}

impl From<SinkError> for FeedError {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Unavailable(_) => Self::Unavailable(chain(&error)),
            SinkError::Config(_) | SinkError::Row(_) | SinkError::Fenced(_) => Self::Stopped(chain(&error)),
        }
    }
}

impl From<PdError> for FeedError {
    fn from(error: PdError) -> Self {
        if error.is_retryable() {
            Self::Unavailable(chain(&error))
        } else {
            Self::Stopped(chain(&error))
        }
    }
}

impl From<KvError> for FeedError {
    fn from(error: KvError) -> Self {
        if error.is_retryable() { Self::Unavailable(chain(&error)) } else { Self::Stopped(chain(&error)) }
    }
}

impl From<PullError> for FeedError {
    fn from(error: PullError) -> Self {
        Self::Stopped(chain(&error))
    }
}

impl From<MergeError> for FeedError {
    fn from(error: MergeError) -> Self {
        Self::Unavailable(chain(&error))
    }
}
