use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;
use tidemark_crds::ChangefeedSpec;

use super::identity::Identity;
use super::{Manifest, PlanError, names, overrides, pod};

/// Revisions that Kubernetes keeps.
const HISTORY: i32 = 3;

/// The workers.
pub(super) fn stateful_set(
    identity: &Identity,
    spec: &ChangefeedSpec,
    revision: &str,
    image: &str,
    replicas: u32,
) -> Result<Manifest, PlanError> {
    let template = pod::template(identity, spec, revision, image).map_err(PlanError::Resources)?;
    let overlaid =
        overrides::overlay(&template, spec.workers.pod_template.as_ref()).map_err(PlanError::PodTemplate)?;
    let set = StatefulSet {
        metadata: identity.meta(names::workers(&identity.name)),
        spec: Some(StatefulSetSpec {
            // All pods at once: they don't wait for each other.
            pod_management_policy: Some("Parallel".into()),
            replicas: Some(i32::try_from(replicas).unwrap_or(i32::MAX)),
            revision_history_limit: Some(HISTORY),
            selector: LabelSelector {
                match_labels: Some(identity.pod_labels()),
                ..LabelSelector::default()
            },
            service_name: Some(names::service(&identity.name)),
            template,
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                ..StatefulSetUpdateStrategy::default()
            }),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    };
    let mut manifest = Manifest::of(&set)?;
    if let Some(spec) = manifest.body.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("template".into(), overlaid);
    }
    Ok(manifest)
}
