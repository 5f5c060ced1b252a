//! What a contender needs to know about its Lease.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::LeaseTimes;

/// The Lease to contend for, and as whom.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseSettings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who contends. Must be unique to this run of this process, such as the pod's UID with a boot nonce: pod
    /// names repeat, and a forced deletion can leave two pods of one name alive.
    pub identity: String,
    /// How long it lasts and how often it is renewed.
    pub times: LeaseTimes,
    /// What to make where the Lease is missing; `None` leaves that to someone else, such as the operator.
    pub create: Option<LeaseCreation>,
    /// Annotations written with each acquisition and renewal, such as the holder's address. Others are kept.
    pub annotations: BTreeMap<String, String>,
    /// What the identities of earlier runs of this same thing begin with, where only one run of it can live at a time:
    /// the UID of a pod with one container. A Lease that such an identity holds is taken at once.
    pub lineage: Option<String>,
}

impl LeaseSettings {
    /// Whether this identity is that of an earlier run, which is over since we run.
    pub fn succeeds(&self, identity: &str) -> bool {
        let earlier = |lineage: &String| {
            identity
                .strip_prefix(lineage.as_str())
                .is_some_and(|rest| rest.starts_with('.'))
        };
        identity != self.identity && self.lineage.as_ref().is_some_and(earlier)
    }
}

/// What a Lease is made with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LeaseCreation {
    /// Labels of the new Lease.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the new Lease.
    pub annotations: BTreeMap<String, String>,
    /// Owners of the new Lease: it goes away with them.
    pub owner_references: Vec<OwnerReference>,
}
