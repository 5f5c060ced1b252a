//! A Lease that someone deleted: the operator makes it anew, but doesn't watch Leases, whose renewals would be a stream of
//! their own. A word in the feed's status has it look.

use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tidemark_crds::Changefeed;
use tidemark_lease::{Holding, LossReason, Standing};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How often it is said while the Lease is missing.
const AGAIN: Duration = Duration::from_secs(10);
/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Says so whenever the Lease was deleted while this worker held it. Ends with the contender.
pub(super) async fn tell(
    feeds: Api<Changefeed>,
    feed: String,
    lease: String,
    mut standing: watch::Receiver<Standing>,
) {
    let deleted = |standing: &Standing| standing.holding == Holding::Lost(LossReason::Deleted);
    while standing.wait_for(deleted).await.is_ok() {
        tracing::warn!(lease, "The Lease was deleted; the operator makes it anew");
        let message = format!("Lease {lease} was deleted; it is made anew");
        let patch = Patch::Merge(json!({"status": {"stream": {"message": message}}}));
        let params = PatchParams::default();
        let written = timeout(ANSWER, feeds.patch_status(&feed, &params, &patch)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "Could not say that a Lease is missing");
        }
        sleep(AGAIN).await;
    }
}
