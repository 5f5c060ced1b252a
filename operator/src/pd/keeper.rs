//! Paused feeds have no worker that keeps their history, so the operator does.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kube::Client;
use parking_lot::Mutex;
use tidemark_crds::Changefeed;
use tidemark_model::Ts;

use super::connection::connect;
use crate::Error;
use crate::plan::{Identity, names};

/// Not less often than this, whatever `limits.gcTtl` says.
const LONGEST: Duration = Duration::from_secs(600);

/// How a paused feed's history is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// It is protected, or there is none to protect.
    Held,
    /// It is gone: the cluster's safe point has passed the checkpoint.
    Lost {
        /// The feed's checkpoint.
        checkpoint: Ts,
        /// The cluster's safe point.
        safe_point: Ts,
    },
    /// PD could not be asked; what was said before holds until its time runs out.
    Unknown(String),
}

/// When each paused feed's protection was renewed last, and with what outcome. Lost with the process, which only makes
/// the next renewal come at once.
#[derive(Debug, Default)]
pub struct SafePoints(Mutex<HashMap<String, (Instant, Protection)>>);

impl SafePoints {
    /// How often a feed's protection is renewed.
    pub fn interval(feed: &Changefeed) -> Duration {
        (feed.spec.limits.gc_ttl.0 / 3).min(LONGEST)
    }

    /// Renews the protection of a paused feed if it is time.
    pub async fn renew(&self, client: &Client, feed: &Changefeed) -> Protection {
        let uid = Identity::of(feed).uid;
        // A little early is in time: the caller comes back after about an interval.
        let due = Self::interval(feed).mul_f64(0.9);
        if let Some((at, outcome)) = self.0.lock().get(&uid)
            && at.elapsed() < due
            && !matches!(outcome, Protection::Unknown(_))
        {
            return outcome.clone();
        }
        let outcome = protect(client, feed)
            .await
            .unwrap_or_else(|error| Protection::Unknown(error.to_string()));
        self.0.lock().insert(uid, (Instant::now(), outcome.clone()));
        outcome
    }

    /// Forgets a feed that runs or is gone.
    pub fn forget(&self, feed: &Changefeed) {
        self.0.lock().remove(&Identity::of(feed).uid);
    }
}

async fn protect(client: &Client, feed: &Changefeed) -> Result<Protection, Error> {
    let Some(text) = feed
        .status
        .as_ref()
        .and_then(|status| status.checkpoint_ts.as_ref())
    else {
        // It has never run.
        return Ok(Protection::Held);
    };
    let checkpoint: u64 = text
        .parse()
        .map_err(|_| Error::Value(format!("status.checkpointTs: {text:?} is no timestamp")))?;
    let checkpoint = Ts(checkpoint);
    let service = names::safe_point_service(&Identity::of(feed).uid);
    let ttl = feed.spec.limits.gc_ttl.0;
    let wanted = Ts(checkpoint.0.saturating_sub(1));
    let pd = connect(client, feed).await?;
    let lowest = pd.set_service_safe_point(&service, ttl, wanted).await?;
    if lowest <= wanted {
        return Ok(Protection::Held);
    }
    // PD keeps nothing below the lowest that is protected already, which may be what the last worker asked for in our
    // own name, beyond the checkpoint that it told. What counts is whether anything was collected.
    let safe_point = pd.gc_safe_point().await?;
    if safe_point > checkpoint {
        return Ok(Protection::Lost {
            checkpoint,
            safe_point,
        });
    }
    pd.set_service_safe_point(&service, ttl, lowest).await?;
    Ok(Protection::Held)
}
