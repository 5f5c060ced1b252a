use crate::SinkError;

/// Where sinks read passwords and keys: Kubernetes Secrets, or a folder in standalone mode.
pub trait Secrets: Send + Sync {
    /// The value of one key of a Secret; none if the Secret lacks the key.
    ///
    /// # Errors
    /// [`SinkError::Config`] if there is no such Secret or it can't be read.
    fn read(&self, secret: &str, key: &str) -> Result<Option<Vec<u8>>, SinkError>;
}
