use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::identity::Identity;
use super::{container, names};

/// The headless Service: gives pods host names, also while they aren't ready, since workers find each other before that.
pub(super) fn service(identity: &Identity) -> Service {
    Service {
        metadata: identity.meta(names::service(&identity.name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            publish_not_ready_addresses: Some(true),
            selector: Some(identity.pod_labels()),
            ports: Some(vec![ServicePort {
                name: Some(container::PEERS_PORT.0.into()),
                port: container::PEERS_PORT.1,
                target_port: Some(IntOrString::String(container::PEERS_PORT.0.into())),
                protocol: Some("TCP".into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
