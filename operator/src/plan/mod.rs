//! From a feed's effective spec to the objects that shall exist: pure, and printable.

mod config;
mod container;
mod identity;
mod lease;
mod manifest;
mod merge;
pub mod names;
mod overrides;
mod pdb;
mod peers;
mod pod;
mod rbac;
mod revision;
mod service;
mod statefulset;
mod surplus;
mod volumes;

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use thiserror::Error;
use tidemark_crds::{ChangefeedSpec, State};

pub use config::stored_spec;
pub(crate) use container::NAME as WORKER;
pub use identity::{FEED_LABEL, FINALIZER, FORCE_DELETE, Identity, MANAGED_BY, MANAGER, RECONCILE};
pub use lease::is_free;
pub use manifest::Manifest;
pub use peers::{DNS_NAME, peers_secret};
pub use revision::revision;
pub use surplus::Surplus;
pub(crate) use surplus::mounted;

/// What exists for a feed, as far as a plan depends on it.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    /// The StatefulSet.
    pub set: Option<StatefulSet>,
    /// ConfigMaps with the feed's label.
    pub config_maps: Vec<ConfigMap>,
    /// Leases with the feed's label.
    pub leases: Vec<Lease>,
    /// Pods with the feed's label.
    pub pods: Vec<Pod>,
    /// The PodDisruptionBudget.
    pub budget: Option<PodDisruptionBudget>,
}

/// What shall be done for a feed, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Objects that are applied as they stand here.
    pub apply: Vec<Manifest>,
    /// Objects that are made once and then belong to others.
    pub create: Vec<Manifest>,
    /// The workers, applied last: everything they need is there then.
    pub workers: Option<Manifest>,
    /// Objects that are deleted.
    pub delete: Vec<Surplus>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for manifest in &self.apply {
            writeln!(f, "apply {manifest}")?;
        }
        for manifest in &self.create {
            writeln!(f, "create {manifest}")?;
        }
        if let Some(manifest) = &self.workers {
            writeln!(f, "apply {manifest}")?;
        }
        for surplus in &self.delete {
            writeln!(f, "delete {surplus}")?;
        }
        Ok(())
    }
}

/// Why there is no plan for a spec.
#[derive(Debug, Error)]
pub enum PlanError {
    /// `workers.resources` is no resource requirement.
    #[error("spec.workers.resources: {0}: write it as in a pod's container")]
    Resources(#[source] serde_json::Error),
    /// `workers.podTemplate` laid over ours is no pod template.
    #[error("spec.workers.podTemplate: {0}: write it as the template of a StatefulSet")]
    PodTemplate(String),
    /// An object can't be written as JSON.
    #[error("an object can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The feed can't be written as YAML.
    #[error("the feed can't be written as YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
}

/// Replicas that the StatefulSet shall have.
pub fn replicas(spec: &ChangefeedSpec) -> u32 {
    match spec.state {
        State::Running => spec.workers.replicas,
        State::Paused | State::Stopped => 0,
    }
}

/// The plan for a spec that was found valid.
pub fn plan(
    identity: &Identity,
    spec: &ChangefeedSpec,
    default_image: &str,
    existing: &Existing,
    now: Timestamp,
) -> Result<Plan, PlanError> {
    let name = identity.name.as_str();
    let revision = revision(spec)?;
    let image = spec.workers.image.as_deref().unwrap_or(default_image);
    let replicas = replicas(spec);
    let set = existing.set.as_ref();
    let pods = pods_to_serve(identity, spec, existing);

    let mut plan = Plan {
        apply: vec![
            Manifest::of(&rbac::service_account(identity))?,
            Manifest::of(&rbac::role(identity, pods))?,
            Manifest::of(&rbac::role_binding(identity))?,
            Manifest::of(&service::service(identity))?,
            Manifest::of(&config::config_map(identity, &revision, spec)?)?,
        ],
        workers: Some(statefulset::stateful_set(
            identity, spec, &revision, image, replicas,
        )?),
        ..Plan::default()
    };
    if replicas > 1 {
        plan.apply.push(Manifest::of(&pdb::budget(identity))?);
    } else if let Some(budget) = &existing.budget
        && identity.owns(&budget.metadata)
    {
        plan.delete.push(Surplus::of(budget));
    }
    let wanted = (0..spec.workers.replicas).map(|ordinal| names::pod(name, ordinal));
    for lease in std::iter::once(names::owner_lease(name)).chain(wanted) {
        if !existing.leases.iter().any(|have| have.name_any() == lease) {
            plan.create.push(Manifest::of(&lease::lease(identity, lease))?);
        }
    }
    let current = names::config(name, &revision);
    plan.delete.extend(surplus::leases(
        identity,
        &existing.leases,
        spec.workers.replicas,
        now,
    ));
    plan.delete.extend(surplus::config_maps(
        identity,
        &current,
        &existing.config_maps,
        set,
        &existing.pods,
    ));
    Ok(plan)
}

/// How many pods must be able to hold their Leases: those that shall be, and those that are on their way out.
fn pods_to_serve(identity: &Identity, spec: &ChangefeedSpec, existing: &Existing) -> u32 {
    let names = existing
        .leases
        .iter()
        .map(ResourceExt::name_any)
        .chain(existing.pods.iter().map(ResourceExt::name_any));
    let last = names
        .filter_map(|name| names::ordinal(&identity.name, &name))
        .max();
    spec.workers
        .replicas
        .max(last.map_or(0, |last| last.saturating_add(1)))
}

#[cfg(test)]
mod tests;
