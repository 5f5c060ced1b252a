//! `export`: a manifest that begins where the feed stands.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};
use tidemark_crds::{Changefeed, State};

use crate::cluster::{Cluster, full_name};
use crate::output::print;
use crate::times::of_ts;

pub(crate) async fn run(cluster: &Cluster, name: &str, rename: Option<&str>) -> Result<()> {
    let feed = cluster.feed(name).await?;
    print(manifest(&feed, rename)?)
}

fn manifest(feed: &Changefeed, rename: Option<&str>) -> Result<String> {
    let meta = &feed.metadata;
    let mut spec = serde_json::to_value(&feed.spec)?;
    let checkpoint = feed
        .status
        .as_ref()
        .and_then(|status| status.checkpoint_ts.as_ref());
    if let Some(ts) = checkpoint {
        spec["start"] = json!({"ts": ts});
    }
    // The new feed shall go on, though the old one was paused for it.
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("state");
    }
    let mut metadata = json!({"name": rename.or(meta.name.as_deref()), "namespace": meta.namespace});
    let kept = |map: &Option<BTreeMap<String, String>>| -> BTreeMap<String, String> {
        let map = map.iter().flatten();
        map.filter(|(key, _)| is_kept(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    for (field, map) in [
        ("labels", kept(&meta.labels)),
        ("annotations", kept(&meta.annotations)),
    ] {
        if !map.is_empty() {
            metadata[field] = json!(map);
        }
    }
    let document: Value = json!({
        "apiVersion": "tidemark.io/v1alpha1",
        "kind": "Changefeed",
        "metadata": metadata,
        "spec": spec,
    });
    Ok(format!(
        "{}{}",
        header(feed, checkpoint.map(String::as_str)),
        serde_yaml::to_string(&document)?
    ))
}

/// What people mean; not what tools and the operator keep there.
fn is_kept(key: &str) -> bool {
    let owner = key.split_once('/').map_or("", |(owner, _)| owner);
    let tools = [
        "kubernetes.io",
        "tidemark.io",
        "helm.sh",
        "argoproj.io",
        "fluxcd.io",
    ];
    !tools.iter().any(|tool| {
        owner
            .strip_suffix(tool)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

fn header(feed: &Changefeed, checkpoint: Option<&str>) -> String {
    let name = full_name(feed);
    let Some(ts) = checkpoint else {
        return format!("# Feed {name}, which has not run yet.\n");
    };
    let time = of_ts(ts).map(|time| format!(", {time:.0}")).unwrap_or_default();
    let state = match feed.spec.state {
        State::Running => "It still runs: pause it first, or both send what comes after that.",
        State::Paused => {
            "It is paused, and keeps the history for this one until it is resumed, stopped or deleted."
        }
        State::Stopped => "It is stopped: its history goes when spec.limits.gcTtl has passed.",
    };
    format!("# Feed {name} from its checkpoint on{time}.\n# {state}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{feed, new_feed};

    #[test]
    fn an_export_is_a_manifest_that_begins_at_the_checkpoint() {
        let mut old = feed();
        old.spec.state = State::Paused;
        let annotations = [
            ("tidemark.io/drain", "orders-1"),
            ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
            ("argocd.argoproj.io/tracking-id", "x"),
            ("example.com/team", "shop"),
            ("team", "shop"),
        ];
        let owned = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
        old.metadata.annotations = Some(owned.into());
        let text = manifest(&old, Some("orders-new")).unwrap();
        assert!(
            text.starts_with(
                "# Feed shop/orders from its checkpoint on, 2026-01-31T11:59:50Z.\n# It is paused,"
            ),
            "{text}"
        );
        let new = Changefeed::from_yaml(&text).unwrap();
        let checkpoint = old.status.as_ref().unwrap().checkpoint_ts.clone();
        assert_eq!(new.spec.start.ts, checkpoint);
        assert_eq!(new.spec.state, State::Running);
        assert_eq!(new.metadata.name.as_deref(), Some("orders-new"));
        let kept: Vec<_> = new.metadata.annotations.as_ref().unwrap().keys().collect();
        assert_eq!(kept, ["example.com/team", "team"]);
        let meta = &new.metadata;
        assert!(meta.uid.is_none() && meta.resource_version.is_none() && new.status.is_none());
        assert_eq!(new.spec.sink, old.spec.sink);
    }

    #[test]
    fn a_feed_that_never_ran_begins_where_its_spec_says() {
        let text = manifest(&new_feed(), None).unwrap();
        assert!(text.contains("has not run yet"), "{text}");
        assert_eq!(Changefeed::from_yaml(&text).unwrap().spec, new_feed().spec);
    }
}
