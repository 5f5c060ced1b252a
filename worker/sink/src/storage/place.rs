use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;
use object_store::path::Path;

use super::layout::FileNames;
use super::store::{Created, Seen, Store, Swapped};
use crate::SinkError;

/// Where a folder's next file goes.
#[derive(Clone, Debug)]
pub(super) struct Place {
    number: u64,
    /// The folder's index when its last line was read or written.
    index: Seen,
}

/// Finds and fills places.
#[derive(Debug)]
pub(super) struct Places {
    store: Arc<Store>,
    names: FileNames,
}

impl Places {
    pub(super) fn new(store: Arc<Store>, names: FileNames) -> Self {
        Self { store, names }
    }

    /// The first free place: after the index, and after files that a crash left without one.
    pub(super) async fn find(&self, folder: &Path) -> Result<Place, SinkError> {
        let path = index_of(folder);
        let index = self.store.look(&path).await?;
        let mut number = last(&path, &index)? + 1;
        while self
            .store
            .exists(&folder.clone().join(self.names.name(number)))
            .await?
        {
            number += 1;
        }
        Ok(Place { number, index })
    }

    /// Writes data, then index; then the file counts. Gives the place after it.
    ///
    /// # Errors
    /// [`SinkError::Fenced`] if another writer has come there first.
    pub(super) async fn fill(
        &self,
        folder: &Path,
        place: Place,
        data: &PutPayload,
    ) -> Result<Place, SinkError> {
        let Place { number, mut index } = place;
        let name = self.names.name(number);
        let path = folder.clone().join(name.as_str());
        if self.store.create(&path, data).await? == Created::Taken {
            return Err(taken(&path));
        }
        let line = Bytes::from(name + "\n");
        let path = index_of(folder);
        loop {
            match self.store.swap(&path, &index, &line).await? {
                Swapped::Done(index) => {
                    let number = number + 1;
                    return Ok(Place { number, index });
                }
                // Set back, it would hide files that count already.
                Swapped::Changed(now) if last(&path, &now)? >= number => return Err(taken(&path)),
                Swapped::Changed(now) => index = now,
            }
        }
    }
}

fn index_of(folder: &Path) -> Path {
    folder.clone().join("meta").join("CDC.index")
}

/// The number in an index; zero if there is none.
fn last(path: &Path, index: &Seen) -> Result<u64, SinkError> {
    let Some(line) = &index.bytes else { return Ok(0) };
    let line = String::from_utf8_lossy(line);
    FileNames::number(&line).ok_or_else(|| {
        SinkError::Config(format!(
            "storage: {path} holds {line:?} and no file name; was something else written to this prefix?"
        ))
    })
}

fn taken(path: &Path) -> SinkError {
    SinkError::Fenced(format!(
        "storage: {path} was written by somebody else: another worker has taken this table over, or another feed writes \
         here; give each feed a prefix of its own"
    ))
}
