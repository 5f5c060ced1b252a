use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidemark_model::Ts;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::coordinator::Control;
use super::shared::{FeedSpan, Shared};
use super::{PullEvent, SpanId};

/// Delivers the resolved ts of spans whose frontier rose.
///
/// The only task that does so, hence a span's resolved ts never falls. A full channel is tried again after
/// the interval: one slow consumer holds up nobody else.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut due: mpsc::UnboundedReceiver<Arc<FeedSpan>>,
    controls: mpsc::UnboundedSender<Control>,
) {
    let mut spans = Vec::new();
    let mut announced = std::collections::HashSet::new();
    loop {
        let received = tokio::select! {
            received = due.recv_many(&mut spans, 1024) => received,
            () = shared.stop.cancelled() => 0,
        };
        if received == 0 {
            return;
        }
        let mut full = Vec::new();
        for span in spans.drain(..) {
            // Cleared first: a rise after the look below queues the span again.
            span.queued.store(false, Ordering::Release);
            match deliver(&span, &mut announced) {
                Delivery::Done => {}
                Delivery::Full => full.push(span),
                Delivery::Closed => {
                    announced.remove(&span.request);
                    // The coordinator ends only with the puller.
                    let _ = controls.send(Control::Deaf {
                        request: span.request,
                    });
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(shared.config.advance_interval) => {}
            () = shared.stop.cancelled() => return,
        }
        for span in full {
            shared.advance(&span);
        }
    }
}

enum Delivery {
    Done,
    Full,
    Closed,
}

fn deliver(span: &FeedSpan, announced: &mut std::collections::HashSet<u64>) -> Delivery {
    if span.gone.is_cancelled() {
        announced.remove(&span.request);
        return Delivery::Done;
    }
    let id: SpanId = span.id;
    if span.initialised.load(Ordering::Acquire) && !announced.contains(&span.request) {
        match span.events.try_send(PullEvent::Initialized { span: id }) {
            Ok(()) => {
                announced.insert(span.request);
            }
            Err(TrySendError::Full(_)) => return Delivery::Full,
            Err(TrySendError::Closed(_)) => return Delivery::Closed,
        }
    }
    let ts = span.frontier.lock().min();
    if ts == Ts::MAX || ts.0 <= span.delivered.load(Ordering::Relaxed) {
        return Delivery::Done;
    }
    match span.events.try_send(PullEvent::Resolved { span: id, ts }) {
        Ok(()) => {
            span.delivered.store(ts.0, Ordering::Relaxed);
            Delivery::Done
        }
        Err(TrySendError::Full(_)) => Delivery::Full,
        Err(TrySendError::Closed(_)) => Delivery::Closed,
    }
}
