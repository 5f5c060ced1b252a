use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// A queue of control messages that is bounded by what its messages are about, not by a number.
///
/// A sender here must never wait: the coordinator and the streams talk to each other in both directions, so
/// two full queues would be a deadlock. What can lie in one: a registration and its end per held region, one
/// entry per span, or a caller's own subscriptions. Changes never go through it.
#[expect(
    clippy::disallowed_methods,
    reason = "bounded by regions and spans, see above"
)]
pub(super) fn mailbox<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    mpsc::unbounded_channel()
}
