//! The ts up to which rows may go to the sink.

use tidemark_model::Ts;
use tokio::sync::watch;

/// The ts up to which rows may be handed to the sink: the schema is known that far.
///
/// The schema follower raises it; shards read it and wake when it rises.
#[derive(Debug)]
pub struct Barrier(watch::Sender<Ts>);

/// A shard's view of the [`Barrier`].
pub type BarrierView = watch::Receiver<Ts>;

impl Barrier {
    /// A barrier that stands at `ts`.
    pub fn new(ts: Ts) -> Self {
        Self(watch::Sender::new(ts))
    }

    /// Where it stands.
    pub fn at(&self) -> Ts {
        *self.0.borrow()
    }

    /// A view for a shard.
    pub fn view(&self) -> BarrierView {
        self.0.subscribe()
    }

    /// Raises it; lower values are ignored.
    pub fn raise(&self, ts: Ts) {
        self.0.send_if_modified(|at| {
            let rises = ts > *at;
            *at = ts.max(*at);
            rises
        });
    }
}
