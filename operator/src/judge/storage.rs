//! Two feeds must not write to one folder: each takes the other's files for its own.

use std::sync::Arc;

use kube::ResourceExt;
use tidemark_crds::{Changefeed, ChangefeedSpec};

use super::stall::StallReason;

/// A folder of a bucket or disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place<'a> {
    endpoint: &'a str,
    scheme: &'a str,
    /// Bucket and folders.
    path: Vec<&'a str>,
}

impl<'a> Place<'a> {
    fn of(spec: &'a ChangefeedSpec) -> Option<Self> {
        let storage = spec.sink.storage.as_ref()?;
        let url = storage.url.split(['?', '#']).next()?;
        let (scheme, path) = url.split_once("://")?;
        Some(Self {
            endpoint: storage
                .endpoint
                .as_deref()
                .unwrap_or_default()
                .trim_end_matches('/'),
            scheme,
            path: path.split('/').filter(|part| !part.is_empty()).collect(),
        })
    }

    /// Whether one is the other or lies below it.
    fn meets(&self, other: &Self) -> bool {
        (self.endpoint, self.scheme) == (other.endpoint, other.scheme)
            && self.path.iter().zip(&other.path).all(|(one, two)| one == two)
    }
}

/// The feed to whose place this one would write, if this one has to stand back.
///
/// Who writes there already goes on. A feed whose place is edited stands back from every other; of two new ones the
/// later created does.
pub(super) fn conflict(
    feed: &Changefeed,
    last_good: Option<&ChangefeedSpec>,
    others: &[Arc<Changefeed>],
) -> Option<String> {
    let place = Place::of(&feed.spec)?;
    if last_good.and_then(Place::of).as_ref() == Some(&place) {
        return None;
    }
    let edited = last_good.is_some();
    others
        .iter()
        .filter(|other| other.uid() != feed.uid())
        .filter(|other| Place::of(&other.spec).is_some_and(|theirs| theirs.meets(&place)))
        .filter(|other| !stands_back(other))
        .find(|other| edited || has_run(other) || age(other) < age(feed))
        .map(|other| {
            let url = other
                .spec
                .sink
                .storage
                .as_ref()
                .map_or("", |storage| &storage.url);
            format!(
                "spec.sink.storage.url: feed {}/{} writes to {url:?}: give each feed a prefix of its own",
                other.namespace().unwrap_or_default(),
                other.name_any(),
            )
        })
}

fn has_run(feed: &Changefeed) -> bool {
    feed.status.as_ref().is_some_and(|status| status.epoch.is_some())
}

/// A feed that never ran because of such a conflict itself holds no place.
fn stands_back(feed: &Changefeed) -> bool {
    let reason = StallReason::StorageConflict.to_string();
    let stalled = |status: &tidemark_crds::ChangefeedStatus| {
        status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Stalled" && condition.reason == reason)
    };
    !has_run(feed) && feed.status.as_ref().is_some_and(stalled)
}

/// Orders feeds by when they were made; the same for everyone who looks.
fn age(feed: &Changefeed) -> (Option<jiff::Timestamp>, Option<String>) {
    (feed.creation_timestamp().map(|time| time.0), feed.uid())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;
    use crate::fixture::{feed, noon};

    fn to_storage(name: &str, minute: u64, url: &str) -> Changefeed {
        let mut feed = feed(name);
        feed.spec.sink = serde_json::from_value(json!({"storage": {"url": url}})).unwrap();
        feed.metadata.uid = Some(name.into());
        feed.metadata.creation_timestamp = Some(Time(noon() + Duration::from_secs(60 * minute)));
        feed
    }

    fn ran(mut feed: Changefeed) -> Changefeed {
        feed.status.get_or_insert_default().epoch = Some(1);
        feed
    }

    fn meet(feed: &Changefeed, last_good: Option<&ChangefeedSpec>, other: &Changefeed) -> bool {
        conflict(
            feed,
            last_good,
            &[Arc::new(feed.clone()), Arc::new(other.clone())],
        )
        .is_some()
    }

    #[test]
    fn the_later_of_two_new_feeds_stands_back() {
        let (one, two) = (to_storage("one", 1, "s3://b/x"), to_storage("two", 2, "s3://b/x"));
        assert!(!meet(&one, None, &two));
        let told = conflict(&two, None, &[Arc::new(one)]).unwrap();
        assert_eq!(
            told,
            "spec.sink.storage.url: feed default/one writes to \"s3://b/x\": give each feed a prefix of its own"
        );
    }

    #[test]
    fn places_meet_where_one_lies_in_the_other() {
        let old = to_storage("old", 1, "s3://b/x");
        for (url, meets) in [
            ("s3://b/x/", true),
            ("s3://b/x/y", true),
            ("s3://b", true),
            ("s3://b/xy", false),
            ("s3://c/x", false),
            ("file:///b/x", false),
        ] {
            assert_eq!(meet(&to_storage("new", 2, url), None, &old), meets, "{url}");
        }
        let mut elsewhere = to_storage("new", 2, "s3://b/x");
        elsewhere.spec.sink.storage.as_mut().unwrap().endpoint = Some("http://minio:9000".into());
        assert!(!meet(&elsewhere, None, &old));
    }

    #[test]
    fn who_writes_there_goes_on_and_who_comes_by_an_edit_stands_back() {
        let young = ran(to_storage("young", 2, "s3://b/x"));
        let edited = to_storage("old", 1, "s3://b/x");
        let before = to_storage("old", 1, "s3://b/other").spec;
        assert!(meet(&edited, Some(&before), &young));
        assert!(!meet(&young, Some(&young.spec), &edited));
        let late = to_storage("late", 1, "s3://b/x");
        assert!(
            meet(&late, None, &young),
            "older, but it comes to where another has run"
        );
    }
}
