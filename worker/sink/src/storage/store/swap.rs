use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};

use super::Store;
use crate::SinkError;

/// An object as it was last seen.
#[derive(Clone, Debug, Default)]
pub(in crate::storage) struct Seen {
    /// None if it wasn't there.
    pub(in crate::storage) bytes: Option<Bytes>,
    version: Option<UpdateVersion>,
}

/// What became of the attempt to replace an object.
#[derive(Debug)]
pub(in crate::storage) enum Swapped {
    /// It holds our bytes.
    Done(Seen),
    /// It was no more as we had seen it, and was left alone; so it is now.
    Changed(Seen),
}

impl Store {
    /// An object's bytes and version, if it is there.
    pub(in crate::storage) async fn look(&self, path: &Path) -> Result<Seen, SinkError> {
        self.retry(path, "read", || self.see(path)).await
    }

    /// Writes an object if it is still as it was `seen`.
    ///
    /// Where the server can't do that by itself the object is read, compared and then written: another's write between
    /// the two goes unnoticed. A try whose answer was lost may have written it: then it holds our bytes and counts as written.
    pub(in crate::storage) async fn swap(
        &self,
        path: &Path,
        seen: &Seen,
        bytes: &Bytes,
    ) -> Result<Swapped, SinkError> {
        self.retry(path, "write", || async move {
            let mode = match self.condition(seen) {
                Some(mode) => mode,
                None => {
                    let now = self.see(path).await?;
                    if now.bytes != seen.bytes {
                        return Ok(Swapped::of(now, bytes));
                    }
                    PutMode::Overwrite
                }
            };
            let payload = PutPayload::from_bytes(bytes.clone());
            let options = PutOptions::from(mode);
            match self.objects.put_opts(path, payload, options).await {
                Ok(put) => Ok(Swapped::Done(Seen {
                    bytes: Some(bytes.clone()),
                    version: Some(put.into()),
                })),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                    Ok(Swapped::of(self.see(path).await?, bytes))
                }
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// How the server is told to write only over what was seen, if it understands that.
    fn condition(&self, seen: &Seen) -> Option<PutMode> {
        match (&seen.bytes, &seen.version) {
            (None, _) if self.creates => Some(PutMode::Create),
            (Some(_), Some(version)) if self.swaps && version.e_tag.is_some() => {
                Some(PutMode::Update(version.clone()))
            }
            _ => None,
        }
    }

    async fn see(&self, path: &Path) -> Result<Seen, Error> {
        let there = match self.objects.get(path).await {
            Ok(there) => there,
            Err(Error::NotFound { .. }) => return Ok(Seen::default()),
            Err(error) => return Err(error),
        };
        let version = UpdateVersion {
            e_tag: there.meta.e_tag.clone(),
            version: there.meta.version.clone(),
        };
        Ok(Seen {
            bytes: Some(there.bytes().await?),
            version: Some(version),
        })
    }
}

impl Swapped {
    fn of(now: Seen, ours: &Bytes) -> Self {
        if now.bytes.as_ref() == Some(ours) {
            Self::Done(now)
        } else {
            Self::Changed(now)
        }
    }
}
