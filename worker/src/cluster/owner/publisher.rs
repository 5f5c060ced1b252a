//! Publishes the watermark, beside the owner's loop: a sink that takes its time holds up nothing else.

use std::sync::Arc;

use tidemark_model::Ts;
use tidemark_sink::Sink;
use tokio::sync::watch;

use crate::cluster::memory::WatermarkFile;
use crate::cluster::right::Right;
use crate::error::FeedError;

/// Publishes each rise of `wanted`, latest first, as long as the owner may.
///
/// The file comes first: a worker whose container begins anew never tells a lower watermark than consumers have seen.
pub(super) async fn publish(
    sink: Arc<dyn Sink>,
    right: Right,
    file: WatermarkFile,
    mut wanted: watch::Receiver<Ts>,
    published: watch::Sender<Ts>,
) -> Result<(), FeedError> {
    while wanted.changed().await.is_ok() {
        let ts = *wanted.borrow_and_update();
        if !right.holds() {
            continue;
        }
        file.save(ts);
        sink.watermark(ts).await?;
        published.send_replace(ts);
    }
    Ok(())
}
