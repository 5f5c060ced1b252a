//! The container `worker`: command, environment, ports and probes.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, Probe,
    ResourceRequirements, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tidemark_crds::{ChangefeedSpec, Quantity as Bytes};

use super::identity::Identity;
use super::volumes;

/// The container's name.
pub(crate) const NAME: &str = "worker";
/// The port of metrics and probes.
pub(super) const METRICS_PORT: (&str, i32) = ("metrics", 8080);
/// The port on which workers call each other.
pub(super) const PEERS_PORT: (&str, i32) = ("peers", 8081);
/// Memory beside `limits.memory`: schema, buffers of connections, the program itself.
const MEMORY_BESIDE: Bytes = Bytes::mib(512);

/// The container without anything of the user's.
pub(super) fn worker(
    identity: &Identity,
    spec: &ChangefeedSpec,
    revision: &str,
    image: &str,
) -> Result<Container, serde_json::Error> {
    Ok(Container {
        name: NAME.into(),
        image: Some(image.into()),
        command: Some(vec!["/usr/bin/tidemark-worker".into()]),
        args: Some(args()),
        env: Some(environment(identity, revision)),
        ports: Some([METRICS_PORT, PEERS_PORT].map(port).into()),
        startup_probe: Some(probe("/healthz", 1, 120)),
        liveness_probe: Some(probe("/healthz", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        resources: Some(resources(spec)?),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".into()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(volumes::mounts(spec)),
        // The last line of the log reaches the pod's status, where `trouble` reads it.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    })
}

fn args() -> Vec<String> {
    let mut args = vec!["serve".to_owned()];
    for (flag, value) in [
        ("changefeed", format!("{}/{}", volumes::FEED, super::config::KEY)),
        ("state", volumes::STATE.into()),
        ("secrets", volumes::SECRETS.into()),
        ("peers", volumes::PEERS.into()),
        ("admin", format!("0.0.0.0:{}", METRICS_PORT.1)),
        ("listen", format!("0.0.0.0:{}", PEERS_PORT.1)),
    ] {
        args.push(format!("--{flag}={value}"));
    }
    args
}

fn environment(identity: &Identity, revision: &str) -> Vec<EnvVar> {
    let field = |name: &str, path: &str| EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".into()),
                field_path: path.into(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let text = |name: &str, value: &str| EnvVar {
        name: name.into(),
        value: Some(value.into()),
        ..EnvVar::default()
    };
    vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_UID", "metadata.uid"),
        field("POD_IP", "status.podIP"),
        text("TIDEMARK_FEED_UID", &identity.uid),
        text("TIDEMARK_REVISION", revision),
        text("TIDEMARK_LOG_FORMAT", "json"),
    ]
}

fn port((name, number): (&str, i32)) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: number,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String(METRICS_PORT.0.into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

/// The user's, else what the limits ask for. Memory is requested as it is limited, so that no node overcommits it.
fn resources(spec: &ChangefeedSpec) -> Result<ResourceRequirements, serde_json::Error> {
    if let Some(resources) = &spec.workers.resources {
        return serde_json::from_value(resources.clone().into());
    }
    let memory = Quantity(Bytes(spec.limits.memory.0.saturating_add(MEMORY_BESIDE.0)).into());
    Ok(ResourceRequirements {
        requests: Some(
            [
                ("cpu".to_owned(), Quantity("250m".into())),
                ("memory".to_owned(), memory.clone()),
            ]
            .into(),
        ),
        limits: Some([("memory".to_owned(), memory)].into()),
        ..ResourceRequirements::default()
    })
}
