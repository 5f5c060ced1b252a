use k8s_openapi::api::core::v1::{
    PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use tidemark_crds::ChangefeedSpec;

use super::identity::Identity;
use super::{container, names, volumes};

/// The user of the image.
const USER: i64 = 65532;
/// To hand spans over, flush, and give the Leases back.
const GRACE_SECONDS: i64 = 60;

/// The pod template without anything of the user's.
///
/// It depends on the spec and the image alone: if a new version of the operator made another one from the same spec,
/// its installation would restart every worker of every feed.
pub(super) fn template(
    identity: &Identity,
    spec: &ChangefeedSpec,
    revision: &str,
    image: &str,
) -> Result<PodTemplateSpec, serde_json::Error> {
    Ok(PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(identity.labels()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(names::account(&identity.name)),
            automount_service_account_token: Some(true),
            enable_service_links: Some(false),
            // The kernel shields process 1 from the timer that ends a worker which stands still beyond its Lease.
            share_process_namespace: Some(true),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                fs_group: Some(USER),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".into(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            }),
            topology_spread_constraints: Some(vec![
                spread(identity, "kubernetes.io/hostname"),
                spread(identity, "topology.kubernetes.io/zone"),
            ]),
            containers: vec![container::worker(identity, spec, revision, image)?],
            volumes: Some(volumes::volumes(&identity.name, spec, revision)),
            ..PodSpec::default()
        }),
    })
}

fn spread(identity: &Identity, key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(LabelSelector {
            match_labels: Some(identity.pod_labels()),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    }
}
