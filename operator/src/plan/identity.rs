//! Labels, annotations and owner of everything that is made for a feed.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use tidemark_crds::Changefeed;

/// Who manages the objects, as field manager and as label.
pub const MANAGER: &str = "tidemark-operator";
/// The label that names the feed.
pub const FEED_LABEL: &str = "tidemark.io/feed";
/// The label that names who manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Held while the history is protected in the feed's name.
pub const FINALIZER: &str = "tidemark.io/history";
/// `true` lets a feed be deleted though PD can't be reached.
pub const FORCE_DELETE: &str = "tidemark.io/force-delete";
/// `disabled` keeps the operator's hands off a feed.
pub const RECONCILE: &str = "tidemark.io/reconcile";

/// A feed as its objects know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Namespace of the feed and of all its objects.
    pub namespace: String,
    /// The feed's name.
    pub name: String,
    /// The feed's uid.
    pub uid: String,
}

impl Identity {
    /// The identity of a feed that the API server has stored.
    pub fn of(feed: &Changefeed) -> Self {
        Self {
            namespace: feed.namespace().unwrap_or_default(),
            name: feed.name_any(),
            uid: feed.uid().unwrap_or_default(),
        }
    }

    /// The labels of every object.
    pub fn labels(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name", "tidemark-worker"),
            ("app.kubernetes.io/instance", &self.name),
            (MANAGED_BY, MANAGER),
            (FEED_LABEL, &self.name),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    /// The labels by which pods are selected; can't change once the StatefulSet exists.
    pub fn pod_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels();
        labels.retain(|key, _| key == FEED_LABEL || key == "app.kubernetes.io/name");
        labels
    }

    /// Selects the feed's pods, as text.
    pub fn selector(&self) -> String {
        let parts: Vec<_> = self
            .pod_labels()
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        parts.join(",")
    }

    /// Marks an object as the feed's, so that it goes away with it.
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: Changefeed::api_version(&()).into_owned(),
            kind: Changefeed::kind(&()).into_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// Metadata of an object with this name.
    pub fn meta(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels()),
            owner_references: Some(vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }

    /// Whether an object is controlled by this very feed.
    pub fn owns(&self, meta: &ObjectMeta) -> bool {
        controller(meta).is_some_and(|owner| owner.uid == self.uid)
    }

    /// Whether an object belonged to an earlier feed of the same name: Kubernetes is about to collect it.
    pub fn inherits(&self, meta: &ObjectMeta) -> bool {
        controller(meta).is_some_and(|owner| {
            owner.kind == Changefeed::kind(&())
                && owner.api_version == Changefeed::api_version(&())
                && owner.name == self.name
                && owner.uid != self.uid
        })
    }
}

fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
}
