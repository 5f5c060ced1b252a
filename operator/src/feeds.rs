//! The feeds that are watched, and how many of them are how.

use std::fmt;
use std::sync::Arc;

use kube::runtime::reflector::Store;
use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tidemark_crds::Changefeed;

/// The feeds that are watched, by namespace or all in one; none while another operator leads.
#[derive(Clone, Default)]
pub struct Feeds(Arc<RwLock<Vec<Store<Changefeed>>>>);

impl Feeds {
    /// All feeds that are known.
    pub fn all(&self) -> Vec<Arc<Changefeed>> {
        self.0.read().iter().flat_map(Store::state).collect()
    }

    pub(crate) fn add(&self, store: Store<Changefeed>) {
        self.0.write().push(store);
    }

    pub(crate) fn clear(&self) {
        self.0.write().clear();
    }
}

impl fmt::Debug for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Feeds").field(&self.0.read().len()).finish()
    }
}

/// A condition that feeds have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    condition: String,
    reason: String,
}

/// Counted when it is read, so that it can't differ from what is there.
impl Collector for Feeds {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = count(&self.all());
        let help = "Feeds, by the reasons of their conditions Ready and Stalled";
        let metric = encoder.encode_descriptor("feeds", help, None, counts.metric_type())?;
        counts.encode(metric)
    }
}

/// Each feed counts under `Ready`, and under `Stalled` while it needs a person.
fn count(feeds: &[Arc<Changefeed>]) -> Family<State, Gauge> {
    let counts = Family::<State, Gauge>::default();
    let add = |condition: &str, reason: &str| {
        let (condition, reason) = (condition.to_owned(), reason.to_owned());
        counts.get_or_create(&State { condition, reason }).inc();
    };
    for feed in feeds {
        let conditions = feed.status.iter().flat_map(|status| &status.conditions);
        let find = |type_: &str| conditions.clone().find(|have| have.type_ == type_);
        add("Ready", find("Ready").map_or("Unknown", |ready| &ready.reason));
        if let Some(stalled) = find("Stalled") {
            add("Stalled", &stalled.reason);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use tidemark_crds::ChangefeedStatus;

    use super::*;
    use crate::fixture::{condition, feed};

    #[test]
    fn feeds_are_counted_by_their_conditions_as_long_as_they_are_watched() {
        let feeds = Feeds::default();
        let mut registry = Registry::with_prefix("tidemark_operator");
        registry.register_collector(Box::new(feeds.clone()));
        let text = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let (reader, mut writer) = store();
        feeds.add(reader);
        for (name, conditions) in [
            ("new", vec![]),
            ("good", vec![condition("Ready", "True", "Replicating", "")]),
            ("fine", vec![condition("Ready", "True", "Replicating", "")]),
            (
                "bad",
                vec![
                    condition("Ready", "True", "Replicating", ""),
                    condition("Stalled", "True", "InvalidSpec", ""),
                ],
            ),
        ] {
            let mut feed = feed(name);
            feed.status = Some(ChangefeedStatus {
                conditions,
                ..ChangefeedStatus::default()
            });
            writer.apply_watcher_event(&Event::Apply(feed));
        }
        for line in [
            "tidemark_operator_feeds{condition=\"Ready\",reason=\"Replicating\"} 3",
            "tidemark_operator_feeds{condition=\"Ready\",reason=\"Unknown\"} 1",
            "tidemark_operator_feeds{condition=\"Stalled\",reason=\"InvalidSpec\"} 1",
        ] {
            assert!(text().contains(line), "{line} is not in:\n{}", text());
        }
        feeds.clear();
        assert!(!text().contains("reason="), "{}", text());
    }
}
