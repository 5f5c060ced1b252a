//! Makes the world what a plan says.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::{Client, ResourceExt};

use crate::deadline::bounded;
use crate::plan::{Existing, MANAGER, Manifest, Plan, Surplus};
use crate::{Context, Error};

/// Carries a plan out; gives the StatefulSet as it is then. What is there already, as it shall be, is not changed.
pub(crate) async fn apply(
    context: &Context,
    namespace: &str,
    plan: &Plan,
    existing: &Existing,
) -> Result<Option<StatefulSet>, Error> {
    let to = To { context, namespace };
    if let Some(workers) = &plan.workers
        && is_news(plan, existing)
    {
        // The ConfigMap is the record of the last good spec, so it must not be written with a spec whose pods are refused.
        to.patch(workers, true).await?;
    }
    for manifest in &plan.apply {
        to.patch(manifest, false).await?;
    }
    for manifest in &plan.create {
        to.create(manifest).await?;
    }
    let mut set = None;
    if let Some(workers) = &plan.workers {
        // A set that can't be read back is one that isn't known to be there.
        set = to.patch(workers, false).await?.try_parse().ok();
    }
    for surplus in &plan.delete {
        to.delete(surplus).await?;
    }
    Ok(set)
}

/// Whether the spec differs from what was last applied.
fn is_news(plan: &Plan, existing: &Existing) -> bool {
    let config = plan
        .apply
        .iter()
        .find(|manifest| manifest.resource.kind == "ConfigMap");
    config.is_some_and(|config| {
        let have = existing
            .config_maps
            .iter()
            .find(|have| have.name_any() == config.name);
        let data = have.and_then(|have| serde_json::to_value(&have.data).ok());
        existing.set.is_none() || data.as_ref() != config.body.get("data")
    })
}

/// Where a plan is carried out.
pub(crate) struct To<'a> {
    pub(crate) context: &'a Context,
    pub(crate) namespace: &'a str,
}

impl To<'_> {
    fn api(&self, resource: &ApiResource) -> Result<Api<DynamicObject>, Error> {
        self.context.may_act()?;
        let client: Client = self.context.client.clone();
        Ok(Api::namespaced_with(client, self.namespace, resource))
    }

    async fn patch(&self, manifest: &Manifest, dry_run: bool) -> Result<DynamicObject, Error> {
        let mut params = PatchParams::apply(MANAGER).force();
        params.dry_run = dry_run;
        let api = self.api(&manifest.resource)?;
        let patch = Patch::Apply(&manifest.body);
        let call = api.patch(&manifest.name, &params, &patch);
        bounded(self.what("apply", manifest), call).await
    }

    /// Makes an object unless there is one already.
    pub(crate) async fn create(&self, manifest: &Manifest) -> Result<(), Error> {
        let api = self.api(&manifest.resource)?;
        let object = manifest.to_dynamic().map_err(|source| Error::Shape {
            what: manifest.to_string(),
            source,
        })?;
        let params = PostParams {
            field_manager: Some(MANAGER.into()),
            ..PostParams::default()
        };
        match bounded(self.what("create", manifest), api.create(&params, &object)).await {
            Err(error) if error.is_code(409) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// Deletes the very object that was seen; one that is gone or was changed since is no error.
    pub(crate) async fn delete(&self, surplus: &Surplus) -> Result<(), Error> {
        let api = self.api(&surplus.resource)?;
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: Some(surplus.uid.clone()),
            resource_version: surplus.version.clone(),
        });
        let what = format!("delete {} in {}", surplus, self.namespace);
        match bounded(what, api.delete(&surplus.name, &params)).await {
            Err(error) if error.is_code(404) || error.is_code(409) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    fn what(&self, verb: &str, manifest: &Manifest) -> String {
        format!("{verb} {manifest} in {}", self.namespace)
    }
}
