//! Several operators may run for availability: one leads, by a Lease in the operator's own namespace.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::Client;
use tidemark_lease::{Contender, LeaseCreation, LeaseSettings, LeaseTimes};
use tokio_util::sync::CancellationToken;

use crate::controller::{Scope, run};
use crate::feeds::Feeds;
use crate::metrics::Metrics;
use crate::plan::MANAGER;
use crate::{Context, Error};

/// The Lease's name.
pub(crate) const LEASE: &str = "tidemark-operator";
/// Passes that have begun get so long to end before the Lease is given back.
const GRACE: Duration = Duration::from_secs(20);

/// What an operator does while it leads.
#[derive(Clone, Debug)]
pub struct Duty {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The namespaces that are served.
    pub scope: Scope,
    /// The image of workers whose feed names none.
    pub image: String,
}

/// Contends for leadership and runs the controllers while it has it, until `stop`; then gives the Lease back.
pub async fn lead(client: Client, duty: &Duty, feeds: Feeds, metrics: Arc<Metrics>, stop: CancellationToken) {
    let give_back = CancellationToken::new();
    let settings = LeaseSettings {
        namespace: duty.namespace.clone(),
        name: LEASE.into(),
        identity: identity(),
        times: LeaseTimes::default(),
        create: Some(LeaseCreation {
            labels: [("app.kubernetes.io/name".to_owned(), MANAGER.to_owned())].into(),
            ..LeaseCreation::default()
        }),
        annotations: Default::default(),
        lineage: None,
    };
    let contender = Contender::spawn(client.clone(), settings, give_back.clone());
    let mut standing = contender.standing();
    while !stop.is_cancelled() {
        let term = tokio::select! {
            held = standing.wait_for(tidemark_lease::Standing::is_held) => match held {
                Ok(standing) => standing.term,
                Err(_) => break,
            },
            () = stop.cancelled() => break,
        };
        tracing::info!("this operator leads");
        metrics.set_leader(true);
        let context = Arc::new(Context::new(
            client.clone(),
            duty.image.clone(),
            feeds.clone(),
            Arc::clone(&metrics),
            Some(contender.authority()),
        ));
        let end = stop.child_token();
        let controllers = run(&duty.scope, context, end.clone());
        tokio::pin!(controllers);
        let ended = tokio::select! {
            () = &mut controllers => true,
            () = stop.cancelled() => false,
            _ = standing.wait_for(|now| !now.is_held() || now.term != term) => {
                tracing::warn!("{}", Error::NotLeading);
                false
            }
        };
        end.cancel();
        if !ended && tokio::time::timeout(GRACE, &mut controllers).await.is_err() {
            tracing::warn!("passes didn't end in time and are broken off");
        }
        metrics.set_leader(false);
    }
    give_back.cancel();
    contender.finished().await;
}

/// Unique to this run of this process: names of pods repeat.
fn identity() -> String {
    let pod = ["POD_UID", "POD_NAME", "HOSTNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nonce = format!("{:x}-{:x}", std::process::id(), since.as_nanos());
    format!("{}.{nonce}", pod.as_deref().unwrap_or("operator"))
}
