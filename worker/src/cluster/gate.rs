//! Whether this worker may still write: asked once a batch.

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidemark_lease::Authority;
use tidemark_model::Ts;
use tidemark_sink::{Batch, Sink, SinkError};
use tidemark_tidb::Table;
use tidemark_tidb::schema::Ddl;

/// Open while the worker's own Lease holds or its owner's grant does, without a gap between; once shut it stays shut.
///
/// A worker whose gate is shut has lost its spans: others may have them. It begins anew, without any.
#[derive(Debug)]
pub(crate) struct Gate {
    lease: Authority,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The term of the Lease that counts: one acquired after a gap doesn't.
    term: u64,
    granted_until: Option<Instant>,
    shut: bool,
}

impl Gate {
    /// A gate that is open if the Lease holds now.
    pub(crate) fn new(lease: Authority) -> Arc<Self> {
        let term = lease.term();
        Arc::new(Self {
            lease,
            state: Mutex::new(State {
                term,
                granted_until: None,
                shut: false,
            }),
        })
    }

    /// Takes a grant of the owner's in, if the gate is still open.
    pub(crate) fn grant(&self, until: Instant) {
        if !self.is_open() {
            return;
        }
        let mut state = self.state.lock();
        state.granted_until = state.granted_until.max(Some(until));
        // The owner has not given our spans to others: what is held now follows without a gap.
        state.term = self.lease.term();
    }

    /// Whether the worker may write now.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open_at(Instant::now())
    }

    /// Until when the worker may write, as far as is known by now; `None` once it may not.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until_at(Instant::now())
    }

    fn is_open_at(&self, now: Instant) -> bool {
        self.until_at(now).is_some()
    }

    fn until_at(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        let held = self.lease.until().filter(|_| self.lease.term() == state.term);
        let until = held.max(state.granted_until).filter(|until| now < *until);
        state.shut |= until.is_none();
        until.filter(|_| !state.shut)
    }
}

/// A sink behind a gate.
pub(crate) struct Gated {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) gate: Arc<Gate>,
}

impl Gated {
    fn check(&self) -> Result<(), SinkError> {
        if self.gate.is_open() {
            return Ok(());
        }
        Err(SinkError::Fenced(
            "this worker's Lease has run out: others may stream its spans by now".into(),
        ))
    }
}

impl Sink for Gated {
    fn announce<'a>(&'a self, table: &'a Arc<Table>, since: Ts) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.check()?;
            self.sink.announce(table, since).await
        })
    }

    fn ddl<'a>(&'a self, ddl: &'a Ddl) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.check()?;
            self.sink.ddl(ddl).await
        })
    }

    fn write(&self, batch: Batch) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.check()?;
            self.sink.write(batch).await
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        self.sink.flush()
    }

    fn hand_over(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        self.sink.hand_over()
    }

    fn take_over(&self, epoch: u64) -> BoxFuture<'_, Result<(), SinkError>> {
        self.sink.take_over(epoch)
    }

    fn fence(&self) -> BoxFuture<'_, Result<Option<u64>, SinkError>> {
        self.sink.fence()
    }

    fn watermark(&self, ts: Ts) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.check()?;
            self.sink.watermark(ts).await
        })
    }
}
