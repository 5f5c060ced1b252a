use std::fmt;

/// Tells whoever made a batch that it is durable.
///
/// Dropped without [`Ack::done`], it tells nothing: the batch then never counts as durable.
pub struct Ack(Box<dyn FnOnce() + Send>);

impl Ack {
    /// An acknowledgement that calls `done`, from any thread; the call must be quick.
    pub fn new(done: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(done))
    }

    /// Reports that the batch is durable.
    pub fn done(self) {
        (self.0)();
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ack")
    }
}
