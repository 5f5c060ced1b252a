//! Files in a bucket or folder, in the layout that TiCDC's storage consumers read:
//!
//! ```text
//! <prefix>/metadata                                                    {"checkpoint-ts":<ts>}
//! <prefix>/<db>/<table>/meta/schema_<version>_<hash>.json
//! <prefix>/<db>/<table>/<version>[/<partition id>][/<date>]/CDC<number>.<json|csv>
//! <prefix>/<db>/<table>/<version>[/<partition id>][/<date>]/meta/CDC.index
//! ```
//!
//! A data file is complete when it appears, and counts when the index beside it names it or a later one. Files of one
//! folder are written one after the other, and are never written over: after a crash the numbers go on where they
//! ended. Characters of database and table names that have a meaning in paths are percent-encoded.
//!
//! `metadata` is written at most every two seconds: every change at or below its ts is in a file that an index names. It
//! never goes back. Where several workers share a feed it also holds the owner's epoch, and is written only where it is still
//! as this owner left it.
//!
//! A folder has one writer at a time. One that was replaced and doesn't know it, because it stood still, finds the place of its
//! next file taken and fails: it finds that place when its folder's first row comes, while it still may write, and not when the
//! file is due. Nor does it set an index back. If its file comes before the successor's first, the successor goes on after
//! it and repeats its rows, as after a crash.
//!
//! What is buffered is bounded by four files, but no less than 64 MiB and no more than 512 MiB; then the larger files are
//! written before their time, and [`Sink::write`] waits. A transaction's rows of one table share a file, unless they are
//! more than a file can hold or came so far apart that the file's age ended it.

mod checkpoint;
mod encoder;
mod file;
mod lanes;
mod layout;
mod place;
mod pulse;
mod schema_file;
mod store;

pub use store::StoragePatience;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::future::BoxFuture;
use object_store::path::Path;
use parking_lot::{Mutex, RwLock};
use tidemark_crds::{StorageFormat, StorageSink as Settings};
use tidemark_model::Ts;
use tidemark_tidb::schema::{ActionType, Ddl};
use tidemark_tidb::{Table, TimeZone};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::chunks::chunks;
use crate::encode::Csv;
use crate::{Batch, OpenContext, Sink, SinkError};
use checkpoint::Checkpoint;
use encoder::{Piece, Version};
use file::{Delivery, Limits};
use lanes::Lanes;
use layout::{Dates, FileNames};
use place::Places;
use pulse::Pulse;
use schema_file::MadeBy;
use store::Store;

/// Bytes of changes that one task encodes.
const CHUNK: usize = 256 << 10;

/// Files below and above this make no sense.
const FILE_SIZES: std::ops::RangeInclusive<usize> = 1 << 10..=512 << 20;

/// The storage sink.
pub struct StorageSink {
    settings: Settings,
    zone: TimeZone,
    epoch: u64,
    store: Arc<Store>,
    lanes: Arc<Lanes>,
    /// Newest last.
    versions: RwLock<Vec<Arc<Version>>>,
    checkpoint: Checkpoint,
    chunk: usize,
    encoders: usize,
    dates: Mutex<Vec<Dates>>,
    _ticker: AbortOnDropHandle<()>,
}

impl StorageSink {
    /// Opens the bucket or folder and checks that it can be written to.
    ///
    /// # Errors
    /// [`SinkError::Config`] with the url, what is wrong and how to mend it, [`SinkError::Unavailable`] if nobody answers.
    pub async fn open(settings: &Settings, context: &OpenContext) -> Result<Self, SinkError> {
        Self::open_with(settings, context, StoragePatience::default()).await
    }

    /// As [`StorageSink::open`], with other deadlines.
    ///
    /// # Errors
    /// As there.
    pub async fn open_with(
        settings: &Settings,
        context: &OpenContext,
        patience: StoragePatience,
    ) -> Result<Self, SinkError> {
        if settings.format == StorageFormat::Csv {
            Csv::check(&settings.csv).map_err(|error| SinkError::Config(error.to_string()))?;
        }
        let store = Arc::new(Store::open(settings, context, patience).await?);
        let file_size = settings
            .file_size
            .bytes()
            .clamp(*FILE_SIZES.start(), *FILE_SIZES.end());
        let buffer = (4 * file_size).clamp(64 << 20, 512 << 20);
        let names = FileNames::new(settings.file_index_digits, settings.format);
        let interval = settings.flush_interval.0;
        let limits = Limits {
            bytes: file_size,
            age: interval,
        };
        let pulse = Pulse::new(context.epoch > 0);
        let lanes = Lanes::new(Places::new(Arc::clone(&store), names), limits, buffer, pulse);
        let checkpoint = Checkpoint::open(Arc::clone(&store), context).await?;
        Ok(Self {
            settings: settings.clone(),
            zone: context.zone.clone(),
            epoch: context.epoch,
            _ticker: tick(&lanes, interval),
            store,
            lanes,
            versions: RwLock::default(),
            checkpoint,
            chunk: (file_size / 4).clamp(4 << 10, CHUNK),
            encoders: std::thread::available_parallelism().map_or(1, usize::from),
            dates: Mutex::default(),
        })
    }

    /// Row encoders for the version, and its schema file.
    async fn register(&self, table: &Arc<Table>, since: Ts) -> Result<(), SinkError> {
        let hash = schema_file::structure_hash(table);
        let meta = self.store.path([table.schema.as_str(), &table.name, "meta"]);
        let names = self.store.names(&meta).await?;
        let found = names
            .iter()
            .filter_map(|name| schema_file::parse_name(name))
            .filter(|&(version, _)| version <= since)
            .max();
        // The newest version that is no later counts on, if nothing changed since: no new folders with each restart. TiCDC
        // takes any version of the same structure, which sends rows after A, B, A to the first A.
        let version = match found {
            Some((version, there)) if there == hash => version,
            _ => {
                let path = meta.join(schema_file::file_name(since, hash));
                let text = schema_file::text(table, since, MadeBy::default());
                self.store.replace(&path, Bytes::from(text)).await?;
                since
            }
        };
        let version = Version::new(table, version, &self.settings, &self.zone)?;
        let mut versions = self.versions.write();
        versions.retain(|old| old.version != version.version || old.table != version.table);
        versions.push(Arc::new(version));
        Ok(())
    }

    /// Writes what a DDL has made of each table, under the name that it has afterwards.
    async fn tell(&self, ddl: &Ddl) -> Result<(), SinkError> {
        self.lanes.check()?;
        let made_by = MadeBy {
            query: &ddl.query,
            action: ddl.action.0,
        };
        if ddl.table.is_empty() {
            let (text, hash) = schema_file::database(&ddl.schema, ddl.ts, made_by);
            let meta = self.store.path([ddl.schema.as_str(), "meta"]);
            let path = meta.join(schema_file::file_name(ddl.ts, hash));
            return self.store.replace(&path, Bytes::from(text)).await;
        }
        for (index, change) in ddl.changes.iter().enumerate() {
            let Some(table) = change.after().or(change.before()) else {
                continue;
            };
            // One statement about two tables is to be done once.
            let exchanged = ddl.action == ActionType::EXCHANGE_PARTITION && index > 0;
            let made_by = if exchanged { MadeBy::default() } else { made_by };
            let text = schema_file::text(table, ddl.ts, made_by);
            let hash = schema_file::structure_hash(table);
            let meta = self.store.path([table.schema.as_str(), &table.name, "meta"]);
            let path = meta.join(schema_file::file_name(ddl.ts, hash));
            self.store.replace(&path, Bytes::from(text)).await?;
        }
        Ok(())
    }

    fn version(&self, table: &Arc<Table>) -> Result<Arc<Version>, SinkError> {
        let versions = self.versions.read();
        let newest = || versions.iter().rev();
        let same = newest().find(|version| Arc::ptr_eq(&version.table, table));
        let found = same.or_else(|| newest().find(|version| version.table == *table));
        found.map(Arc::clone).ok_or_else(|| {
            SinkError::Config(format!(
                "storage: rows of {}.{} came before its definition was announced",
                table.schema, table.name
            ))
        })
    }

    async fn take(&self, batch: Batch) -> Result<(), SinkError> {
        self.lanes.check()?;
        let version = self.version(&batch.table)?;
        let base = self.folder(&version, batch.physical_id);
        let delivery = Delivery::new(batch.ack);
        let mut ranges = chunks(&batch.changes, self.chunk);
        let changes = Arc::new(batch.changes);
        let now_ms = now_ms();
        let mut ahead = VecDeque::new();
        loop {
            while ahead.len() <= self.encoders
                && let Some(range) = ranges.front()
            {
                let bytes = version.estimate(changes.get(range.clone()).unwrap_or_default());
                // Waiting with encoded pieces in hand could wait for ever: for memory that others in the same place hold.
                let grant = match self.lanes.try_take(bytes) {
                    Some(grant) => grant,
                    None if ahead.is_empty() => self.lanes.take(bytes).await?,
                    None => break,
                };
                let Some(range) = ranges.pop_front() else { break };
                let (of, changes, mut dates) =
                    (Arc::clone(&version), Arc::clone(&changes), self.take_dates());
                let encode = move || {
                    let changes = changes.get(range).unwrap_or_default();
                    (of.encode(changes, &mut dates, now_ms), dates)
                };
                if ahead.is_empty() && ranges.is_empty() {
                    let (pieces, dates) = encode();
                    self.append(&base, &version, pieces, grant, &delivery)?;
                    self.dates.lock().push(dates);
                    break;
                }
                let task = AbortOnDropHandle::new(tokio::spawn(async move { encode() }));
                ahead.push_back((task, grant));
            }
            let Some((next, grant)) = ahead.pop_front() else {
                break;
            };
            let (pieces, dates) = next
                .await
                .map_err(|error| SinkError::Unavailable(format!("storage encoder: {error}")))?;
            self.dates.lock().push(dates);
            self.append(&base, &version, pieces, grant, &delivery)?;
        }
        delivery.end();
        Ok(())
    }

    /// Appends a chunk's pieces. A row that can't be written ends the sink: what follows must not overtake it.
    fn append(
        &self,
        base: &Path,
        version: &Version,
        pieces: Result<Vec<Piece>, SinkError>,
        grant: tidemark_model::Grant,
        delivery: &Arc<Delivery>,
    ) -> Result<(), SinkError> {
        let pieces = pieces.inspect_err(|error| self.lanes.fail(error))?;
        let mut grant = Some(grant);
        for piece in pieces {
            let folder = match piece.date.as_str() {
                "" => base.clone(),
                date => base.clone().join(date),
            };
            self.lanes.append(&folder, version, piece, grant.take(), delivery);
        }
        Ok(())
    }

    /// `<db>/<table>/<version>[/<partition id>]`
    fn folder(&self, version: &Version, physical_id: i64) -> Path {
        let table = &version.table;
        let path = self
            .store
            .path([table.schema.as_str(), &table.name, &version.version.to_string()]);
        if table.partitions.is_empty() {
            return path;
        }
        path.join(physical_id.to_string())
    }

    fn take_dates(&self) -> Dates {
        let kept = self.dates.lock().pop();
        kept.unwrap_or_else(|| Dates::new(self.settings.date_separator, &self.zone))
    }
}

impl Sink for StorageSink {
    fn announce<'a>(&'a self, table: &'a Arc<Table>, since: Ts) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.lanes.check()?;
            self.register(table, since).await
        })
    }

    fn ddl<'a>(&'a self, ddl: &'a Ddl) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.tell(ddl))
    }

    fn write(&self, batch: Batch) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(self.take(batch))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.lanes.flush().await?;
            self.checkpoint.publish(None, true).await
        })
    }

    fn hand_over(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.lanes.flush().await?;
            self.lanes.forget();
            Ok(())
        })
    }

    fn take_over(&self, epoch: u64) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(self.checkpoint.take_over(epoch))
    }

    fn fence(&self) -> BoxFuture<'_, Result<Option<u64>, SinkError>> {
        Box::pin(self.checkpoint.epoch())
    }

    fn watermark(&self, ts: Ts) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.lanes.check()?;
            self.checkpoint.publish(Some(ts), false).await
        })
    }
}

impl Drop for StorageSink {
    fn drop(&mut self) {
        self.lanes.stop();
    }
}

impl fmt::Debug for StorageSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageSink")
            .field("url", &self.settings.url)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// Cuts old files, until the handle is dropped.
fn tick(lanes: &Arc<Lanes>, flush_interval: Duration) -> AbortOnDropHandle<()> {
    let period = (flush_interval / 10).clamp(Duration::from_millis(10), Duration::from_millis(100));
    let lanes = Arc::clone(lanes);
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            lanes.tick(ticks.tick().await);
        }
    }))
}

/// The wall clock in milliseconds since the Unix epoch; read once a batch, for the messages' `ts`.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
