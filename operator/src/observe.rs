//! What exists for a feed.

use std::fmt;

use futures::future::{BoxFuture, try_join_all};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, ListParams};
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tidemark_crds::{Changefeed, ChangefeedSpec};

use crate::Error;
use crate::deadline::bounded;
use crate::plan::{Existing, FEED_LABEL, Identity, names, revision};
use crate::secrets::{self, Found};

/// What was seen of a feed's world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// Objects that a plan depends on.
    pub existing: Existing,
    /// The keys of the Secrets that the spec names.
    pub found: Found,
    /// Objects with a name that the feed needs, which aren't its own.
    pub foreign: Vec<Foreign>,
    /// Whether the Secret for TLS among workers exists.
    pub has_peers: bool,
}

/// An object that stands where one of the feed's shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whether it is left over from an earlier feed of this name, so that Kubernetes is about to collect it.
    pub inherited: bool,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Looks at everything that has to do with a feed.
pub(crate) fn observe<'a>(
    client: &'a Client,
    feed: &'a Changefeed,
) -> BoxFuture<'a, Result<Observed, Error>> {
    // A dozen calls at once make a large future.
    Box::pin(look_around(client, feed))
}

async fn look_around(client: &Client, feed: &Changefeed) -> Result<Observed, Error> {
    let identity = Identity::of(feed);
    let look = Look {
        client,
        identity: &identity,
    };
    let name = identity.name.as_str();
    let account = names::account(name);
    let (set, budget, config_maps, leases, pods, found) = tokio::try_join!(
        look.get::<StatefulSet>(names::workers(name)),
        look.get::<PodDisruptionBudget>(names::workers(name)),
        look.list::<ConfigMap>(),
        look.list::<Lease>(),
        look.list::<Pod>(),
        secret_keys(client, &identity.namespace, &feed.spec),
    )?;
    let existing = Existing {
        set,
        config_maps,
        leases,
        pods,
        budget,
    };
    let (service, service_account, role, binding, peers, unlisted) = tokio::try_join!(
        look.meta::<Service>(names::service(name)),
        look.meta::<ServiceAccount>(account.clone()),
        look.meta::<Role>(account.clone()),
        look.meta::<RoleBinding>(account.clone()),
        look.meta::<Secret>(names::peers(name)),
        unlisted(&look, &feed.spec, &existing),
    )?;
    let mut foreign = unlisted;
    foreign.extend(
        existing
            .set
            .as_ref()
            .and_then(|set| look.foreign::<StatefulSet>(&set.metadata)),
    );
    let budget = existing.budget.as_ref();
    foreign.extend(budget.and_then(|it| look.foreign::<PodDisruptionBudget>(&it.metadata)));
    foreign.extend(service.and_then(|meta| look.foreign::<Service>(&meta)));
    foreign.extend(service_account.and_then(|meta| look.foreign::<ServiceAccount>(&meta)));
    foreign.extend(role.and_then(|meta| look.foreign::<Role>(&meta)));
    foreign.extend(binding.and_then(|meta| look.foreign::<RoleBinding>(&meta)));
    foreign.extend(peers.as_ref().and_then(|meta| look.foreign::<Secret>(meta)));
    Ok(Observed {
        existing,
        found,
        foreign,
        has_peers: peers.is_some(),
    })
}

/// Foreign ones among the ConfigMap and Leases that the spec needs: those without our label were not listed.
async fn unlisted(
    look: &Look<'_>,
    spec: &ChangefeedSpec,
    existing: &Existing,
) -> Result<Vec<Foreign>, Error> {
    let name = look.identity.name.as_str();
    let mut foreign = Vec::new();
    let mut leases = vec![names::owner_lease(name)];
    leases.extend((0..spec.workers.replicas).map(|ordinal| names::pod(name, ordinal)));
    let (listed, other): (Vec<_>, Vec<_>) = leases
        .into_iter()
        .partition(|lease| existing.leases.iter().any(|have| &have.name_any() == lease));
    for lease in existing
        .leases
        .iter()
        .filter(|lease| listed.contains(&lease.name_any()))
    {
        foreign.extend(look.foreign::<Lease>(&lease.metadata));
    }
    let metas = try_join_all(other.into_iter().map(|lease| look.meta::<Lease>(lease))).await?;
    foreign.extend(
        metas
            .into_iter()
            .flatten()
            .filter_map(|meta| look.foreign::<Lease>(&meta)),
    );

    let config = names::config(name, &revision(spec).map_err(crate::plan::PlanError::from)?);
    let listed = existing.config_maps.iter().find(|have| have.name_any() == config);
    let meta = match listed {
        Some(have) => Some(have.metadata.clone()),
        None => look.meta::<ConfigMap>(config).await?,
    };
    foreign.extend(meta.and_then(|meta| look.foreign::<ConfigMap>(&meta)));
    Ok(foreign)
}

/// The keys of the Secrets that a spec names.
async fn secret_keys(client: &Client, namespace: &str, spec: &ChangefeedSpec) -> Result<Found, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut found = Found::new();
    for name in secrets::names(spec) {
        let secret = bounded(format!("get Secret {namespace}/{name}"), api.get_opt(&name)).await?;
        if let Some(secret) = secret {
            let keys = secret.data.unwrap_or_default().into_keys();
            found.insert(name, keys.collect());
        }
    }
    Ok(found)
}

struct Look<'a> {
    client: &'a Client,
    identity: &'a Identity,
}

/// A kind of object that lies in a namespace.
trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + fmt::Debug + DeserializeOwned
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + fmt::Debug + DeserializeOwned
{
}

impl Look<'_> {
    fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.identity.namespace)
    }

    fn what<K: Resource<DynamicType = ()>>(&self, verb: &str, name: &str) -> String {
        format!("{verb} {} {}/{name}", K::kind(&()), self.identity.namespace)
    }

    async fn get<K: Object>(&self, name: String) -> Result<Option<K>, Error> {
        bounded(self.what::<K>("get", &name), self.api::<K>().get_opt(&name)).await
    }

    async fn meta<K: Object>(&self, name: String) -> Result<Option<ObjectMeta>, Error> {
        let api = self.api::<K>();
        let call = api.get_metadata_opt(&name);
        let found: Option<PartialObjectMeta<K>> = bounded(self.what::<K>("get", &name), call).await?;
        Ok(found.map(|object| object.metadata))
    }

    async fn list<K: Object>(&self) -> Result<Vec<K>, Error> {
        let ours = ListParams::default().labels(&format!("{FEED_LABEL}={}", self.identity.name));
        let list = bounded(self.what::<K>("list", "*"), self.api::<K>().list(&ours)).await?;
        Ok(list.items)
    }

    fn foreign<K: Resource<DynamicType = ()>>(&self, meta: &ObjectMeta) -> Option<Foreign> {
        (!self.identity.owns(meta)).then(|| Foreign {
            kind: K::kind(&()).into_owned(),
            name: meta.name.clone().unwrap_or_default(),
            inherited: self.identity.inherits(meta),
        })
    }
}
