use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::Shared;
use object_store::path::Path;
use parking_lot::Mutex;
use tidemark_model::{Budget, Grant};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::encoder::{Piece, Version};
use super::file::{Delivery, Limits, OpenFile};
use super::layout::FileNames;
use super::store::{Created, Store};
use crate::SinkError;

/// Files that are uploaded at once.
const UPLOADS: usize = 16;

/// A folder that got nothing for so long is forgotten, and looked up again if it is written once more.
const IDLE: Duration = Duration::from_secs(600);

/// All folders that are being written.
#[derive(Debug)]
pub(super) struct Lanes {
    store: Arc<Store>,
    names: FileNames,
    limits: Limits,
    lanes: Mutex<HashMap<Path, Lane>>,
    budget: Budget,
    uploads: Semaphore,
    /// Cancelled when the sink has failed or was dropped: uploads stop, waiters wake.
    stop: CancellationToken,
    failure: Mutex<Option<SinkError>>,
}

/// One folder of data files. Its files are uploaded one after the other: a crash then never leaves a gap in the numbers.
#[derive(Debug, Default)]
struct Lane {
    file: Option<OpenFile>,
    /// Tells the number after that of the last file that was cut, once that is durable.
    last: Option<Number>,
    cut_at: Option<Instant>,
}

type Number = Shared<oneshot::Receiver<u64>>;

impl Lanes {
    pub(super) fn new(store: Arc<Store>, names: FileNames, limits: Limits, buffer: usize) -> Arc<Self> {
        Arc::new(Self {
            store,
            names,
            limits,
            lanes: Mutex::default(),
            budget: Budget::new(buffer),
            uploads: Semaphore::new(UPLOADS),
            stop: CancellationToken::new(),
            failure: Mutex::default(),
        })
    }

    /// Memory for `bytes` that are going to be buffered, if it is free now.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Grant> {
        self.budget.try_take(bytes)
    }

    /// Waits for memory; the larger files are cut for it.
    pub(super) async fn take(self: &Arc<Self>, bytes: usize) -> Result<Grant, SinkError> {
        if let Some(grant) = self.budget.try_take(bytes) {
            return Ok(grant);
        }
        self.cut_larger();
        tokio::select! {
            grant = self.budget.take(bytes) => Ok(grant),
            () = self.stop.cancelled() => Err(self.failed()),
        }
    }

    /// Appends to the folder's file, or to the next one where this one ends.
    pub(super) fn append(
        self: &Arc<Self>,
        folder: &Path,
        version: &Version,
        mut piece: Piece,
        grant: Option<Grant>,
        delivery: &Arc<Delivery>,
    ) {
        let now = Instant::now();
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry(folder.clone()).or_default();
        if let Some(file) = &mut lane.file {
            if file.goes_on_in(&piece)
                && file.is_due(self.limits, now)
                && let Some(end) = piece.take_first()
            {
                file.push(end, None, delivery, now);
            }
            if file.ends_before(&piece, self.limits, now) {
                self.cut(folder, lane);
            }
        }
        lane.file
            .get_or_insert_with(|| OpenFile::new(version.header(), now))
            .push(piece, grant, delivery, now);
    }

    /// Cuts the files that are old or full, and forgets idle folders.
    pub(super) fn tick(self: &Arc<Self>, now: Instant) {
        let mut lanes = self.lanes.lock();
        lanes.retain(|folder, lane| {
            if lane.file.as_ref().is_some_and(|file| file.ends(self.limits, now)) {
                self.cut(folder, lane);
            }
            let idle = lane.file.is_none() && lane.cut_at.is_none_or(|at| at + IDLE <= now);
            !(idle && lane.last.as_ref().is_none_or(|last| last.peek().is_some()))
        });
    }

    /// Cuts all files and waits until they are durable.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<(), SinkError> {
        let waiting: Vec<Number> = {
            let mut lanes = self.lanes.lock();
            let all = lanes.iter_mut().map(|(folder, lane)| {
                self.cut(folder, lane);
                lane.last.clone()
            });
            all.flatten().collect()
        };
        for number in waiting {
            number.await.map_err(|_| self.failed())?;
        }
        self.check()
    }

    /// Forgets the numbers of all folders that have nothing on its way: another writer may go on there.
    pub(super) fn forget(&self) {
        self.lanes.lock().retain(|_, lane| {
            lane.file.is_some() || lane.last.as_ref().is_some_and(|last| last.peek().is_none())
        });
    }

    /// Fails if the sink has failed.
    pub(super) fn check(&self) -> Result<(), SinkError> {
        if self.stop.is_cancelled() {
            return Err(self.failed());
        }
        Ok(())
    }

    /// Ends the sink: nothing more is uploaded or acknowledged.
    pub(super) fn fail(&self, error: &SinkError) {
        self.failure.lock().get_or_insert_with(|| copy(error));
        self.stop.cancel();
    }

    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    fn failed(&self) -> SinkError {
        match &*self.failure.lock() {
            Some(error) => copy(error),
            None => SinkError::Unavailable("storage: the sink was closed".into()),
        }
    }

    /// Cuts the files that are at least of mean size, so that memory comes free without making many small files.
    fn cut_larger(self: &Arc<Self>) {
        let mut lanes = self.lanes.lock();
        let sizes = lanes
            .values()
            .filter_map(|lane| lane.file.as_ref())
            .map(OpenFile::bytes);
        let (count, sum) = sizes.fold((0, 0), |(count, sum), size| (count + 1, sum + size));
        let mean = sum / usize::max(count, 1);
        for (folder, lane) in lanes.iter_mut() {
            if lane.file.as_ref().is_some_and(|file| file.bytes() >= mean) {
                self.cut(folder, lane);
            }
        }
    }

    fn cut(self: &Arc<Self>, folder: &Path, lane: &mut Lane) {
        let Some(file) = lane.file.take() else { return };
        let (number, durable) = oneshot::channel();
        let before = lane.last.replace(durable.shared());
        lane.cut_at = Some(Instant::now());
        let (lanes, folder) = (Arc::clone(self), folder.clone());
        let stop = self.stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            match lanes.upload(&folder, file, before).await {
                Ok(Some(next)) => {
                    // Nobody may be waiting.
                    let _ = number.send(next);
                }
                Ok(None) => {}
                Err(error) => lanes.fail(&error),
            }
        }));
    }

    /// Writes data, then index; then the file counts. None if the file before it never became durable.
    async fn upload(
        &self,
        folder: &Path,
        file: OpenFile,
        before: Option<Number>,
    ) -> Result<Option<u64>, SinkError> {
        let known = match before {
            Some(before) => match before.await {
                Ok(number) => Some(number),
                Err(_) => return Ok(None),
            },
            None => None,
        };
        let Ok(_permit) = self.uploads.acquire().await else {
            return Ok(None);
        };
        let index = folder.clone().join("meta").join("CDC.index");
        let number = match known {
            Some(number) => number,
            None => self.resume(folder, &index).await?,
        };
        let name = self.names.name(number);
        let path = folder.clone().join(name.as_str());
        if self.store.create(&path, &file.payload()).await? == Created::Taken {
            return Err(SinkError::Fenced(format!(
                "storage: {path} was written by somebody else at the same time; give each feed a prefix of its own"
            )));
        }
        self.store.replace(&index, Bytes::from(name + "\n")).await?;
        file.durable();
        Ok(Some(number + 1))
    }

    /// The first free number: after the index, and after files that a crash left without one.
    async fn resume(&self, folder: &Path, index: &Path) -> Result<u64, SinkError> {
        let mut number = match self.store.read(index).await? {
            None => 1,
            Some(line) => {
                let line = String::from_utf8_lossy(&line);
                let last = FileNames::number(&line).ok_or_else(|| {
                    SinkError::Config(format!(
                        "storage: {index} holds {line:?} and no file name; was something else written to this prefix?"
                    ))
                })?;
                last + 1
            }
        };
        while self
            .store
            .exists(&folder.clone().join(self.names.name(number)))
            .await?
        {
            number += 1;
        }
        Ok(number)
    }
}

fn copy(error: &SinkError) -> SinkError {
    match error {
        SinkError::Config(text) => SinkError::Config(text.clone()),
        SinkError::Row(text) => SinkError::Row(text.clone()),
        SinkError::Unavailable(text) => SinkError::Unavailable(text.clone()),
        SinkError::Fenced(text) => SinkError::Fenced(text.clone()),
    }
}
