//! The fields of a Lease: read, claimed, renewed, given back.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use crate::{LeaseSettings, LeaseTimes};

/// Who holds the Lease; `None` where nobody does.
pub(crate) fn holder(lease: &Lease) -> Option<&str> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

/// How long the holder asked others to wait; client-go's usual duration where it doesn't say.
pub(crate) fn duration(lease: &Lease) -> Duration {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map_or(LeaseTimes::default().duration, Duration::from_secs)
}

/// When the holder acquired it, by its own clock.
pub(crate) fn acquired(lease: &Lease) -> Option<Timestamp> {
    let spec = lease.spec.as_ref()?;
    spec.acquire_time.as_ref().map(|time| time.0)
}

/// How many times the holder has changed.
pub(crate) fn transitions(lease: &Lease) -> i32 {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_transitions)
        .unwrap_or(0)
}

/// Whether both are the same version of the same object.
pub(crate) fn unchanged(a: &Lease, b: &Lease) -> bool {
    same_object(a, b) && a.metadata.resource_version == b.metadata.resource_version
}

/// Whether both are the same object: a re-created Lease has another UID.
pub(crate) fn same_object(a: &Lease, b: &Lease) -> bool {
    a.metadata.uid == b.metadata.uid
}

/// The Lease as it is to be after we acquire or renew it. Keeps the resourceVersion: the write must rest on it.
pub(crate) fn claimed(seen: &Lease, settings: &LeaseSettings, wall: Timestamp) -> Lease {
    let ours = holder(seen) == Some(settings.identity.as_str());
    let mut lease = seen.clone();
    let mut spec = lease.spec.take().unwrap_or_default();
    if !ours {
        spec.holder_identity = Some(settings.identity.clone());
        spec.acquire_time = Some(MicroTime(wall));
        spec.lease_transitions = Some(transitions(seen).saturating_add(1));
    }
    spec.renew_time = Some(MicroTime(wall));
    spec.lease_duration_seconds = Some(settings.times.duration_seconds());
    lease.spec = Some(spec);
    annotate(&mut lease, settings);
    lease
}

/// The Lease as it is to be after we give it back: anyone may take it at once.
pub(crate) fn released(seen: &Lease, wall: Timestamp) -> Lease {
    let mut lease = seen.clone();
    let mut spec = lease.spec.take().unwrap_or_default();
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    spec.renew_time = Some(MicroTime(wall));
    lease.spec = Some(spec);
    lease
}

/// A new Lease, held by us; `None` where it isn't ours to make.
pub(crate) fn created(settings: &LeaseSettings, wall: Timestamp) -> Option<Lease> {
    let creation = settings.create.as_ref()?;
    let mut lease = Lease {
        metadata: ObjectMeta {
            namespace: Some(settings.namespace.clone()),
            name: Some(settings.name.clone()),
            labels: Some(creation.labels.clone()).filter(|labels| !labels.is_empty()),
            annotations: Some(creation.annotations.clone()).filter(|annotations| !annotations.is_empty()),
            owner_references: Some(creation.owner_references.clone()).filter(|owners| !owners.is_empty()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(settings.identity.clone()),
            lease_duration_seconds: Some(settings.times.duration_seconds()),
            acquire_time: Some(MicroTime(wall)),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        }),
    };
    annotate(&mut lease, settings);
    Some(lease)
}

fn annotate(lease: &mut Lease, settings: &LeaseSettings) {
    if !settings.annotations.is_empty() {
        let own = settings
            .annotations
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()));
        lease.metadata.annotations.get_or_insert_default().extend(own);
    }
}
