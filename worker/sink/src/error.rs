use thiserror::Error;

/// Why a sink can't go on. The text names the object, what is wrong and how to mend it.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The settings can't work: a wrong address, no right to write, an unknown topic.
    #[error("{0}")]
    Config(String),
    /// One row can't be written: too large, or its value can't be decoded.
    #[error("{0}")]
    Row(String),
    /// The destination failed for longer than the sink retries.
    #[error("{0}")]
    Unavailable(String),
    /// A newer owner has taken the destination.
    #[error("{0}")]
    Fenced(String),
}
