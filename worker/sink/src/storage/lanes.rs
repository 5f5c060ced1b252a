use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

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
use super::place::{Place, Places};
use super::pulse::Pulse;
use crate::SinkError;

/// Files that are uploaded at once.
const UPLOADS: usize = 16;

/// A folder that got nothing for so long is forgotten, and looked up again if it is written once more.
const IDLE: Duration = Duration::from_secs(600);

/// All folders that are being written.
#[derive(Debug)]
pub(super) struct Lanes {
    places: Places,
    limits: Limits,
    pulse: Pulse,
    lanes: Mutex<HashMap<Path, Lane>>,
    budget: Budget,
    uploads: Semaphore,
    /// Cancelled when the sink has failed or was dropped: uploads stop, waiters wake.
    stop: CancellationToken,
    failure: Mutex<Option<SinkError>>,
}

/// One folder of data files. Its files are uploaded one after the other: a crash then never leaves a gap in the numbers.
#[derive(Debug)]
struct Lane {
    file: Option<OpenFile>,
    /// Tells the place of the next file, once all before it are durable.
    next: Next,
    cut_at: Option<Instant>,
}

type Next = Shared<oneshot::Receiver<Place>>;

impl Lanes {
    pub(super) fn new(places: Places, limits: Limits, buffer: usize, pulse: Pulse) -> Arc<Self> {
        Arc::new(Self {
            places,
            limits,
            pulse,
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
        let lane = lanes.entry(folder.clone()).or_insert_with(|| Lane {
            file: None,
            next: self.find_place(folder),
            cut_at: None,
        });
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
        if let Err(error) = self.pulse.beat() {
            return self.fail(&error);
        }
        let mut lanes = self.lanes.lock();
        lanes.retain(|folder, lane| {
            if lane.file.as_ref().is_some_and(|file| file.ends(self.limits, now)) {
                self.cut(folder, lane);
            }
            let idle = lane.file.is_none() && lane.cut_at.is_none_or(|at| at + IDLE <= now);
            !(idle && lane.next.peek().is_some())
        });
    }

    /// Cuts all files and waits until they are durable.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<(), SinkError> {
        let waiting: Vec<Next> = {
            let mut lanes = self.lanes.lock();
            let all = lanes.iter_mut().map(|(folder, lane)| {
                self.cut(folder, lane);
                lane.next.clone()
            });
            all.collect()
        };
        for next in waiting {
            next.await.map_err(|_| self.failed())?;
        }
        self.check()
    }

    /// Forgets the places in all folders that have nothing on its way: another writer may go on there.
    pub(super) fn forget(&self) {
        let mut lanes = self.lanes.lock();
        lanes.retain(|_, lane| lane.file.is_some() || lane.next.peek().is_none());
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

    /// Looks up where the folder's next file goes, as soon as its first row is there: a writer that is replaced while it
    /// stands still then finds its place taken, and never adds to what its successor has written.
    fn find_place(self: &Arc<Self>, folder: &Path) -> Next {
        let (lanes, folder) = (Arc::clone(self), folder.clone());
        self.spawn(async move {
            let Ok(_permit) = lanes.uploads.acquire().await else {
                return Ok(None);
            };
            let place = lanes.places.find(&folder).await?;
            lanes.pulse.check()?;
            Ok(Some(place))
        })
    }

    fn cut(self: &Arc<Self>, folder: &Path, lane: &mut Lane) {
        let Some(file) = lane.file.take() else { return };
        lane.cut_at = Some(Instant::now());
        let before = lane.next.clone();
        let (lanes, folder) = (Arc::clone(self), folder.clone());
        lane.next = self.spawn(async move {
            // Without it the file before never became durable, and the sink has failed.
            let Ok(place) = before.await else { return Ok(None) };
            let Ok(_permit) = lanes.uploads.acquire().await else {
                return Ok(None);
            };
            lanes.pulse.check()?;
            let next = lanes.places.fill(&folder, place, &file.payload()).await?;
            file.durable();
            Ok(Some(next))
        });
    }

    /// Runs what gives the next place, until the sink stops; a failure is the sink's.
    fn spawn(
        self: &Arc<Self>,
        work: impl Future<Output = Result<Option<Place>, SinkError>> + Send + 'static,
    ) -> Next {
        let (found, next) = oneshot::channel();
        let (lanes, stop) = (Arc::clone(self), self.stop.clone());
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            match work.await {
                Ok(Some(place)) => {
                    // Nobody may be waiting.
                    let _ = found.send(place);
                }
                Ok(None) => {}
                // Before `found` goes, and those who wait ask why.
                Err(error) => lanes.fail(&error),
            }
        }));
        next.shared()
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
