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
    /// The destination has another writer by now. Without Kubernetes that takes a person; there, the worker begins anew.
    #[error("{0}")]
    Fenced(String),
    /// A server can't be reached or failed; trying again may help.
    #[error("{0}")]
    Unavailable(String),
}

impl FeedError {
    /// Whether a worker that begins anew, with what others have left to it, may go on.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Fenced(_))
    }

    /// Whether trying again from the checkpoint may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// An error and what caused it, in one line, each cause told once. Servers' own words may have line breaks.
pub fn chain(error: &dyn Error) -> String {
    let mut line = one_line(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = one_line(&error.to_string());
        if !line.contains(&words) {
            line.push_str(": ");
            line.push_str(&words);
        }
        cause = error.source();
    }
    line
}

fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

impl From<SinkError> for FeedError {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Unavailable(_) => Self::Unavailable(chain(&error)),
            SinkError::Fenced(_) => Self::Fenced(chain(&error)),
            SinkError::Config(_) | SinkError::Row(_) => Self::Stopped(chain(&error)),
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
        if error.is_retryable() {
            Self::Unavailable(chain(&error))
        } else {
            Self::Stopped(chain(&error))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Layer {
        words: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn causes_are_told_once_and_in_one_line() {
        let inner = Layer {
            words: "404:\n  <Error>\r\n</Error>",
            source: None,
        };
        let middle = Layer {
            words: "no bucket",
            source: Some(Box::new(inner)),
        };
        let outer = Layer {
            words: "can't write",
            source: Some(Box::new(middle)),
        };
        assert_eq!(chain(&outer), "can't write: no bucket: 404: <Error> </Error>");
    }
}
