use std::time::Duration;

use tidemark_crds::Source;
use tidemark_model::Ts;
use tidemark_pull::{PdClient, PullConfig};

use super::start::Clock;
use crate::error::FeedError;
use crate::secrets::{SecretDir, source_security};

/// How long PD may take to answer the first call.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Connects to PD and checks that it is the cluster that the feed names.
pub(crate) async fn connect(source: &Source, secrets: &SecretDir) -> Result<PdClient, FeedError> {
    let expected = match &source.cluster_id {
        None => None,
        Some(id) => Some(
            id.parse::<u64>()
                .map_err(|_| FeedError::Stopped(format!("spec.source.clusterId: {id:?} is no cluster id")))?,
        ),
    };
    let security = source_security(secrets, source.tls.as_ref())?;
    Ok(PdClient::connect(&source.pd, security, expected, CONNECT_DEADLINE).await?)
}

/// What PD says about which timestamps can be read.
pub(crate) async fn clock(pd: &PdClient) -> Result<Clock, FeedError> {
    let (now, gc_safe_point) = (pd.tso().await?, pd.gc_safe_point().await?);
    Ok(Clock { now, gc_safe_point })
}

/// Protects history from `ts` on under the feed's own name; fails where it is gone already.
pub(crate) async fn protect(pd: &PdClient, service: &str, ttl: Duration, ts: Ts) -> Result<(), FeedError> {
    let lowest = pd.set_service_safe_point(service, ttl, ts).await?;
    if lowest > ts {
        return Err(FeedError::Stopped(format!(
            "history at {ts} is no longer protected from GC, the cluster's safe point is {lowest}: \
             begin after it, with an empty state folder and fresh copies of the tables"
        )));
    }
    Ok(())
}

/// The puller's settings within the feed's limits.
pub(crate) fn pull_config(limits: &tidemark_crds::Limits) -> PullConfig {
    PullConfig {
        budget_bytes: limits.memory.bytes() / 4,
        scans_per_store: usize::try_from(limits.scans_per_store).unwrap_or(usize::MAX),
        ..PullConfig::default()
    }
}
