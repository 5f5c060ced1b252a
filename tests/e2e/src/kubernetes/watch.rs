use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::{Destination, Progress};

/// How long the consumer reads before it looks for orders.
const SLICE: Duration = Duration::from_millis(400);

/// A consumer that reads on and on.
pub(super) struct Watch {
    progress: Arc<Progress>,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<Result<Destination>>,
    failure: Arc<Mutex<Option<String>>>,
}

enum Order {
    /// Reads all that is there, then notes a checkpoint that the feed claimed before.
    Checkpoint(u64, oneshot::Sender<()>),
    End,
}

impl Watch {
    /// Begins to read.
    pub(super) fn start(destination: Destination) -> Self {
        let progress = destination.progress();
        let (orders, queue) = mpsc::channel(4);
        let runtime = tokio::runtime::Handle::current();
        // Readers stay on one thread.
        let failure = Arc::new(Mutex::new(None));
        let told = Arc::clone(&failure);
        let task = tokio::task::spawn_blocking(move || {
            let read = runtime.block_on(read(destination, queue));
            if let Err(error) = &read {
                *told.lock() = Some(format!("{error:#}"));
            }
            read
        });
        Self {
            progress,
            orders,
            task,
            failure,
        }
    }

    /// How far the consumer is.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Notes a checkpoint that the feed claims by now.
    pub(super) async fn checkpoint(&self, ts: u64) -> Result<()> {
        self.ask(|done| Order::Checkpoint(ts, done)).await
    }

    /// Waits until the watermark reaches a ts; gives when that was.
    pub(super) async fn reached(&self, ts: u64, patience: Duration) -> Result<u64> {
        let end = Instant::now() + patience;
        loop {
            if let Some(at) = self.progress.reached(ts) {
                return Ok(at);
            }
            if self.task.is_finished() {
                return Err(self.failed());
            }
            if Instant::now() > end {
                let behind = ts.saturating_sub(self.progress.watermark()) >> 18;
                bail!("the watermark is {behind} ms short of {ts} after {patience:?}");
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the first row; gives when it came.
    pub(super) async fn first_row(&self, patience: Duration) -> Result<u64> {
        let end = Instant::now() + patience;
        loop {
            if let Some(at) = self.progress.first_row() {
                return Ok(at);
            }
            if self.task.is_finished() {
                return Err(self.failed());
            }
            if Instant::now() > end {
                bail!("no row has come after {patience:?}");
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends; gives all that was read.
    pub(super) async fn end(self) -> Result<Destination> {
        // A consumer that has failed tells why below.
        let _ = self.order(Order::End).await;
        self.task.await?
    }

    async fn ask(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) -> Result<()> {
        let (done, noted) = oneshot::channel();
        self.order(order(done)).await?;
        noted.await.map_err(|_| self.failed())
    }

    async fn order(&self, order: Order) -> Result<()> {
        let sent = self.orders.send(order).await;
        sent.map_err(|_| self.failed())
    }

    fn failed(&self) -> anyhow::Error {
        let why = self.failure.lock().clone();
        anyhow!("the consumer has failed: {}", why.unwrap_or_default())
    }
}

async fn read(mut destination: Destination, mut orders: mpsc::Receiver<Order>) -> Result<Destination> {
    loop {
        destination.read_for(SLICE).await?;
        match orders.try_recv() {
            Ok(Order::Checkpoint(ts, done)) => {
                destination.read_on().await?;
                destination.checkpoint(ts);
                // Who asked may have given up.
                let _ = done.send(());
            }
            Ok(Order::End) | Err(mpsc::error::TryRecvError::Disconnected) => return Ok(destination),
            Err(mpsc::error::TryRecvError::Empty) => {}
        }
    }
}
