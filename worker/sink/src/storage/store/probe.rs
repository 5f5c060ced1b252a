use std::time::{SystemTime, UNIX_EPOCH};

use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult, UpdateVersion};
use tokio::time::timeout;

use super::{Store, reasons};
use crate::SinkError;

const TEXT: &[u8] = b"tidemark writes here\n";

impl Store {
    /// Checks that objects can be written, and finds out under which conditions.
    pub(super) async fn probe(&mut self, epoch: u64) -> Result<(), SinkError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!(".tidemark-probe-{}-{}", std::process::id(), now.as_nanos());
        let path = self.path([name.as_str()]);
        match timeout(self.patience.connect, self.try_out(&path)).await {
            Ok(Ok((creates, swaps))) => {
                if !creates {
                    tracing::warn!(
                        url = self.url,
                        "storage: the server ignores If-None-Match, so two writers would not notice each other"
                    );
                }
                if !swaps && epoch > 0 {
                    tracing::info!(
                        url = self.url,
                        "storage: no conditional writes here: whether a newer owner is there is read before each write"
                    );
                }
                (self.creates, self.swaps) = (creates, swaps);
                Ok(())
            }
            Ok(Err(error)) => Err(self.refused(&error)),
            Err(_) => Err(SinkError::Unavailable(format!(
                "storage {}: no answer within {:?}; check sink.storage.endpoint and the network",
                self.url, self.patience.connect
            ))),
        }
    }

    /// Writes an object in all ways and deletes it. Tells whether it is created only where there is none, and replaced only
    /// where it is as expected.
    async fn try_out(&self, path: &Path) -> Result<(bool, bool), Error> {
        let creates = match self.put(path, PutMode::Create).await {
            Ok(_) => is_refusal(&self.put(path, PutMode::Create).await),
            Err(error) if is_unknown(&error) => false,
            Err(error) => return Err(error),
        };
        let there = UpdateVersion::from(self.put(path, PutMode::Overwrite).await?);
        let other = UpdateVersion {
            e_tag: Some(r#""00000000000000000000000000000000""#.into()),
            version: None,
        };
        let swaps = match self.put(path, PutMode::Update(other)).await {
            Err(error) if is_unknown(&error) => false,
            refused if is_refusal(&refused) => {
                there.e_tag.is_some() && self.put(path, PutMode::Update(there)).await.is_ok()
            }
            other => other.map(|_| false)?,
        };
        self.objects.delete(path).await?;
        Ok((creates, swaps))
    }

    async fn put(&self, path: &Path, mode: PutMode) -> Result<PutResult, Error> {
        let payload = PutPayload::from_static(TEXT);
        self.objects.put_opts(path, payload, PutOptions::from(mode)).await
    }

    fn refused(&self, error: &Error) -> SinkError {
        let mend = match error {
            Error::NotFound { .. } => "create the bucket or correct sink.storage.url",
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                "check the keys in sink.storage.secretName and their right to write and delete there"
            }
            _ if self.url.starts_with("file:") => "make it a folder that the worker may write to",
            _ => {
                return SinkError::Unavailable(format!(
                    "storage {}: the probe failed: {}; check sink.storage.endpoint, region and the network",
                    self.url,
                    reasons(error)
                ));
            }
        };
        SinkError::Config(format!(
            "storage {}: a probe object can't be written: {}; {mend}",
            self.url,
            reasons(error)
        ))
    }
}

fn is_refusal(answer: &Result<PutResult, Error>) -> bool {
    matches!(
        answer,
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. })
    )
}

/// Whether this client or the server doesn't know the condition.
fn is_unknown(error: &Error) -> bool {
    match error {
        Error::NotImplemented { .. } | Error::NotSupported { .. } => true,
        // S3's code for headers that a server doesn't know; it comes with status 501.
        Error::Generic { .. } => reasons(error).contains("501 Not Implemented"),
        _ => false,
    }
}
