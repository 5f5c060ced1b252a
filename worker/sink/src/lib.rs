//! Where changes go: the sink trait, encoders, Kafka, storage and blackhole.
//!
//! The worker hands a sink batches of one table's changes in commit order, and the sink decodes,
//! encodes and writes them, on as many cores as help, and acknowledges each batch when it is durable.

mod ack;
mod batch;
pub mod blackhole;
mod chunks;
pub mod encode;
mod error;
#[cfg(feature = "kafka")]
pub mod kafka;
mod open;
mod secrets;
pub mod storage;

pub use ack::Ack;
pub use batch::Batch;
pub use error::SinkError;
pub use open::{OpenContext, open};
pub use secrets::Secrets;

use std::sync::Arc;

use futures::future::BoxFuture;
use tidemark_model::Ts;
use tidemark_tidb::Table;
use tidemark_tidb::schema::Ddl;

/// A destination of changes.
///
/// Calls for one span come one after the other and keep their order in the sink; calls for
/// different spans may overlap. Passing trouble (a broker that restarts, a throttled bucket) is
/// retried inside; an error that a call returns ends the feed's run.
pub trait Sink: Send + Sync {
    /// Makes a table version known before its first row: creates topics, writes schema files.
    /// `since` is the ts from which the version counts: the feed's start or a DDL's commit ts.
    fn announce<'a>(&'a self, table: &'a Arc<Table>, since: Ts) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Takes a DDL: all changes before it are durable, and of the tables that it changed none after it was handed over. On
    /// return it is durable too. It may come again after a death: doing it twice has to do what once does.
    fn ddl<'a>(&'a self, ddl: &'a Ddl) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Takes a batch. Returns when there is room for the next, not when this one is durable;
    /// durability is told through [`Batch::ack`].
    fn write(&self, batch: Batch) -> BoxFuture<'_, Result<(), SinkError>>;

    /// Makes everything taken so far durable; all its acknowledgements have been given on return.
    fn flush(&self) -> BoxFuture<'_, Result<(), SinkError>>;

    /// Makes everything taken so far durable, as [`Sink::flush`] does, and forgets what it knows of places that another
    /// writer may go on with. Called when a span leaves this process.
    fn hand_over(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        self.flush()
    }

    /// The highest epoch of an owner that the destination has seen; none if it keeps no epochs or has seen none. A new
    /// owner chooses one above it.
    fn fence(&self) -> BoxFuture<'_, Result<Option<u64>, SinkError>> {
        Box::pin(async { Ok(None) })
    }

    /// This process publishes the watermarks from now on, as the owner of this epoch: learns what another has published
    /// meanwhile, and shuts owners of older epochs out where the destination can.
    ///
    /// # Errors
    /// [`SinkError::Fenced`] if the destination has seen a higher epoch, or this one from another owner.
    fn take_over(&self, _epoch: u64) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async { Ok(()) })
    }

    /// Publishes a watermark: every change at or below `ts` has been acknowledged and none will
    /// follow. Called with rising values; the sink may skip some to publish less often.
    fn watermark(&self, ts: Ts) -> BoxFuture<'_, Result<(), SinkError>>;
}
