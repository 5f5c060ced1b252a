use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tidemark_crds::{Changefeed, Source};
use tidemark_pull::{PdClient, Security};

use crate::Error;
use crate::deadline::bounded;
use crate::plan::{Identity, names};

/// For connecting, and for each call.
const DEADLINE: Duration = Duration::from_secs(8);

/// Connects to the cluster of a feed: the one that its workers met, if they have met one.
pub(super) async fn connect(client: &Client, feed: &Changefeed) -> Result<PdClient, Error> {
    let identity = Identity::of(feed);
    let source = &feed.spec.source;
    let met = feed.status.as_ref().and_then(|status| status.cluster_id.as_ref());
    let expected = match source.cluster_id.as_ref().or(met) {
        None => None,
        Some(id) => Some(id.parse::<u64>().map_err(|_| {
            Error::Value(format!(
                "clusterId: {id:?} is no cluster id: it is a decimal number"
            ))
        })?),
    };
    let security = security(client, &identity.namespace, source).await?;
    Ok(PdClient::connect(&source.pd, security, expected, DEADLINE).await?)
}

/// Gives up the history that is protected in the feed's name.
pub(crate) async fn release(client: &Client, feed: &Changefeed) -> Result<(), Error> {
    let service = names::safe_point_service(&Identity::of(feed).uid);
    let pd = connect(client, feed).await?;
    pd.delete_service_safe_point(&service).await?;
    Ok(())
}

/// The certificates of a source, from its Secret.
async fn security(client: &Client, namespace: &str, source: &Source) -> Result<Option<Security>, Error> {
    let Some(tls) = &source.tls else { return Ok(None) };
    let Some(name) = &tls.secret_name else {
        return Ok(Some(Security::default()));
    };
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = bounded(format!("get Secret {namespace}/{name}"), api.get(name)).await?;
    let mut data = secret.data.unwrap_or_default();
    let mut take = |key: &str| data.remove(key).map(|bytes| bytes.0);
    Ok(Some(Security {
        ca: take("ca.crt"),
        cert: take("tls.crt"),
        key: take("tls.key"),
    }))
}
