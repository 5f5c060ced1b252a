//! Which spec is in force: the feed's own if it can work, else the last good one.

mod stall;
mod storage;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt;
use tidemark_crds::{Changefeed, ChangefeedSpec, check};

use crate::plan::{Existing, Identity, mounted, stored_spec};
use crate::secrets::{self, Found};
pub use stall::{Stall, StallReason};

/// The outcome of looking at a spec.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// The spec in force; `None` if there was never one that could work.
    pub spec: Option<ChangefeedSpec>,
    /// Why the feed's own spec is not in force.
    pub stall: Option<Stall>,
}

/// Judges a feed's spec.
///
/// A spec that can't work changes nothing for what runs, but two fields count at once: `state`, since a person must
/// always be able to stop a feed, and `deletionPolicy`.
pub(crate) fn judge(
    feed: &Changefeed,
    last_good: Option<&ChangefeedSpec>,
    found: &Found,
    others: &[Arc<Changefeed>],
) -> Verdict {
    let Some(stall) = trouble(feed, last_good, found, others) else {
        return Verdict {
            spec: Some(feed.spec.clone()),
            stall: None,
        };
    };
    let spec = last_good.cloned().map(|mut spec| {
        spec.state = feed.spec.state;
        spec.deletion_policy = feed.spec.deletion_policy;
        spec
    });
    Verdict {
        spec,
        stall: Some(stall),
    }
}

fn trouble(
    feed: &Changefeed,
    last_good: Option<&ChangefeedSpec>,
    found: &Found,
    others: &[Arc<Changefeed>],
) -> Option<Stall> {
    let name = feed.name_any();
    if name.contains('.') {
        let message =
            format!("metadata.name: {name:?} has a dot, which no Service may: make it anew with \"-\"");
        return Some(Stall::new(StallReason::InvalidSpec, message));
    }
    let problems = check(&feed.spec);
    if !problems.is_empty() {
        return Some(Stall::lines(StallReason::InvalidSpec, problems));
    }
    let missing = secrets::missing(&feed.spec, found);
    if !missing.is_empty() {
        return Some(Stall::lines(StallReason::SecretMissing, missing));
    }
    storage::conflict(feed, last_good, others).map(|told| Stall::new(StallReason::StorageConflict, told))
}

/// The spec that the workers were last given: that of the ConfigMap which the StatefulSet's template mounts.
pub(crate) fn last_good(identity: &Identity, existing: &Existing) -> Option<ChangefeedSpec> {
    let set: &StatefulSet = existing.set.as_ref()?;
    if !identity.owns(&set.metadata) {
        return None;
    }
    let template = set.spec.as_ref()?.template.spec.as_ref()?;
    mounted(template).find_map(|name| {
        let config = existing
            .config_maps
            .iter()
            .find(|config| config.name_any() == name)?;
        identity.owns(&config.metadata).then(|| stored_spec(config))?
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::ConfigMap;
    use tidemark_crds::State;

    use super::*;
    use crate::fixture::{feed, noon};
    use crate::plan::plan;

    /// What exists once the feed was applied.
    fn applied(feed: &Changefeed, now: Timestamp) -> Existing {
        let plan = plan(
            &Identity::of(feed),
            &feed.spec,
            "image",
            &Existing::default(),
            now,
        )
        .unwrap();
        let config = plan
            .apply
            .iter()
            .find(|m| m.resource.kind == "ConfigMap")
            .unwrap();
        let config: ConfigMap = serde_json::from_value(config.body.clone()).unwrap();
        Existing {
            set: Some(serde_json::from_value(plan.workers.unwrap().body).unwrap()),
            config_maps: vec![config],
            ..Existing::default()
        }
    }

    #[test]
    fn the_last_good_spec_is_read_back_from_what_was_applied() {
        let feed = feed("shop");
        let identity = Identity::of(&feed);
        let mut existing = applied(&feed, noon());
        assert_eq!(last_good(&identity, &existing), Some(feed.spec));
        existing.config_maps[0].metadata.owner_references = None;
        assert_eq!(
            last_good(&identity, &existing),
            None,
            "someone else's ConfigMap is not believed"
        );
    }

    #[test]
    fn a_valid_spec_is_in_force() {
        let feed = feed("shop");
        let verdict = judge(&feed, None, &Found::new(), &[]);
        assert_eq!((verdict.spec, verdict.stall), (Some(feed.spec), None));
    }

    #[test]
    fn an_invalid_edit_keeps_the_last_good_spec_but_for_its_state() {
        let mut feed = feed("shop");
        let good = feed.spec.clone();
        feed.spec.limits.memory = tidemark_crds::Quantity(1);
        feed.spec.state = State::Paused;
        let verdict = judge(&feed, Some(&good), &Found::new(), &[]);
        let stall = verdict.stall.unwrap();
        assert_eq!(stall.reason, StallReason::InvalidSpec);
        assert!(
            stall.message.starts_with("spec.limits.memory: "),
            "{}",
            stall.message
        );
        let spec = verdict.spec.unwrap();
        assert_eq!((spec.limits, spec.state), (good.limits, State::Paused));
    }

    #[test]
    fn an_invalid_first_spec_runs_nothing() {
        let mut feed = feed("shop");
        feed.spec.source.pd.clear();
        assert_eq!(judge(&feed, None, &Found::new(), &[]).spec, None);
    }
}
