use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Resource;
use serde::{Deserialize, Serialize};
use tidemark_crds::{Changefeed, ChangefeedSpec};

use super::identity::Identity;
use super::names;

/// The key under which a ConfigMap holds the feed.
pub(super) const KEY: &str = "feed.yaml";

/// The document that workers read; the fields are those of a manifest that `tidemark-worker` checks.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Metadata<'a>,
    spec: &'a ChangefeedSpec,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
}

/// As little of the document as is needed to go on with its spec.
#[derive(Deserialize)]
struct Stored {
    spec: ChangefeedSpec,
}

/// The ConfigMap with the feed as workers read it.
pub(super) fn config_map(
    identity: &Identity,
    revision: &str,
    spec: &ChangefeedSpec,
) -> Result<ConfigMap, serde_yaml::Error> {
    let document = Document {
        api_version: &Changefeed::api_version(&()),
        kind: &Changefeed::kind(&()),
        metadata: Metadata {
            name: &identity.name,
            namespace: &identity.namespace,
            uid: &identity.uid,
        },
        spec,
    };
    Ok(ConfigMap {
        metadata: identity.meta(names::config(&identity.name, revision)),
        data: Some(BTreeMap::from([(
            KEY.to_owned(),
            serde_yaml::to_string(&document)?,
        )])),
        ..ConfigMap::default()
    })
}

/// The spec that a ConfigMap holds; `None` if someone has spoilt it.
pub fn stored_spec(config: &ConfigMap) -> Option<ChangefeedSpec> {
    let text = config.data.as_ref()?.get(KEY)?;
    let stored: Stored = serde_yaml::from_str(text).ok()?;
    Some(stored.spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::feed;

    #[test]
    fn a_worker_reads_the_document_and_the_operator_its_spec() {
        let feed = feed("shop");
        let config = config_map(&Identity::of(&feed), "0123456789", &feed.spec).unwrap();
        let text = &config.data.as_ref().unwrap()[KEY];
        let read = Changefeed::from_yaml(text).unwrap();
        assert_eq!(read.spec, feed.spec);
        assert_eq!(read.metadata.uid, feed.metadata.uid);
        assert_eq!(stored_spec(&config), Some(feed.spec));
    }

    #[test]
    fn a_spoilt_document_is_no_spec() {
        let mut config = ConfigMap::default();
        assert_eq!(stored_spec(&config), None);
        config.data = Some(BTreeMap::from([(KEY.to_owned(), "spec: {source: 1}".to_owned())]));
        assert_eq!(stored_spec(&config), None);
    }
}
