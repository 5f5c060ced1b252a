//! What was made for a feed and isn't needed any more.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodSpec};
use kube::core::{ApiResource, ObjectMeta};
use kube::{Resource, ResourceExt};

use super::identity::Identity;
use super::{lease, names};

/// An object to delete. Only the very object that was seen is meant, not one made since.
#[derive(Clone, Debug, PartialEq)]
pub struct Surplus {
    /// What it is.
    pub resource: ApiResource,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its version, where a change since would mean that it is needed again.
    pub version: Option<String>,
}

impl Surplus {
    pub(crate) fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            resource: ApiResource::erase::<K>(&()),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            version: object.resource_version(),
        }
    }
}

impl fmt::Display for Surplus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource.kind, self.name)
    }
}

/// Leases of pods that don't exist any more, once nobody holds them.
pub(super) fn leases(identity: &Identity, leases: &[Lease], pods: u32, now: Timestamp) -> Vec<Surplus> {
    let beyond = |lease: &&Lease| {
        names::ordinal(&identity.name, &lease.name_any()).is_some_and(|ordinal| ordinal >= pods)
    };
    leases
        .iter()
        .filter(|lease| ours(identity, &lease.metadata))
        .filter(beyond)
        .filter(|lease| lease::is_free(lease, now))
        .map(Surplus::of)
        .collect()
}

/// ConfigMaps of revisions that neither a pod nor the StatefulSet uses.
pub(super) fn config_maps(
    identity: &Identity,
    current: &str,
    config_maps: &[ConfigMap],
    set: Option<&StatefulSet>,
    pods: &[Pod],
) -> Vec<Surplus> {
    let template = set
        .and_then(|set| set.spec.as_ref())
        .and_then(|spec| spec.template.spec.as_ref());
    let specs = template
        .into_iter()
        .chain(pods.iter().filter_map(|pod| pod.spec.as_ref()));
    let used: BTreeSet<_> = specs.flat_map(mounted).collect();
    config_maps
        .iter()
        .filter(|config| ours(identity, &config.metadata))
        .filter(|config| {
            let name = config.name_any();
            name != current && !used.contains(name.as_str())
        })
        .map(Surplus::of)
        .collect()
}

/// The ConfigMaps that a pod mounts.
pub(crate) fn mounted(spec: &PodSpec) -> impl Iterator<Item = &str> {
    spec.volumes
        .iter()
        .flatten()
        .filter_map(|volume| Some(volume.config_map.as_ref()?.name.as_str()))
}

fn ours(identity: &Identity, meta: &ObjectMeta) -> bool {
    identity.owns(meta) && meta.deletion_timestamp.is_none()
}
