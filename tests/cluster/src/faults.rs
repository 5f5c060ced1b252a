//! Faults of change streams that a test asks for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// What to do to the change streams of one store; copies share the settings.
#[derive(Clone, Debug)]
pub struct StreamFaults {
    delay: Arc<watch::Sender<Duration>>,
    drops: Arc<watch::Sender<u64>>,
}

impl Default for StreamFaults {
    fn default() -> Self {
        Self {
            delay: Arc::new(watch::Sender::new(Duration::ZERO)),
            drops: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl StreamFaults {
    /// Holds every message of the store's change streams back so long; zero ends it.
    pub fn set_delay(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }

    /// How long each message is held back now.
    pub fn delay(&self) -> Duration {
        *self.delay.borrow()
    }

    /// Breaks all change streams that are open now.
    pub fn drop_streams(&self) {
        self.drops.send_modify(|count| *count += 1);
    }

    /// For a stream that opens now: waits until it is to be broken.
    pub fn dropped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut drops = self.drops.subscribe();
        async move {
            if drops.changed().await.is_err() {
                // Nobody is left to ask for it.
                std::future::pending::<()>().await;
            }
        }
    }
}
