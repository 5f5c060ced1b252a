//! How the feeds are; none of them is the installation's fault.

use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tidemark_crds::Changefeed;

use super::{Finding, brief, few, place};
use crate::controller::Scope;
use crate::deadline::bounded;

/// Counts the feeds of a scope; `None` where none can be, because they are not served.
pub(super) async fn look(client: &Client, scope: &Scope) -> Option<Finding> {
    let mut feeds = Vec::new();
    for namespace in scope.parts() {
        let api: Api<Changefeed> = match namespace {
            None => Api::all(client.clone()),
            Some(namespace) => Api::namespaced(client.clone(), namespace),
        };
        match bounded("list Changefeeds", api.list(&ListParams::default())).await {
            Ok(list) => feeds.extend(list.items),
            // The definition's line says it.
            Err(error) if error.is_code(404) => return None,
            Err(error) => return Some(Err(format!("{}: see the lines above", brief(&error)))),
        }
    }
    Some(Ok(tell(&feeds, &place(scope))))
}

fn tell(feeds: &[Changefeed], place: &str) -> String {
    let is = |feed: &Changefeed, type_: &str| condition(feed, type_).is_some();
    let ready = feeds.iter().filter(|feed| is(feed, "Ready")).count();
    let stalled: Vec<_> = feeds
        .iter()
        .filter_map(|feed| {
            let name = format!("{}/{}", feed.namespace().unwrap_or_default(), feed.name_any());
            condition(feed, "Stalled").map(|reason| format!("{name} ({reason})"))
        })
        .collect();
    let mut words = format!(
        "{} in {place}, {ready} ready, {} stalled",
        feeds.len(),
        stalled.len()
    );
    if !stalled.is_empty() {
        words = format!("{words}: {}", few(stalled));
    }
    words
}

/// The reason of a condition that is true.
fn condition<'a>(feed: &'a Changefeed, type_: &str) -> Option<&'a str> {
    let mut conditions = feed.status.iter().flat_map(|status| &status.conditions);
    let found = conditions.find(|have| have.type_ == type_ && have.status == "True");
    found.map(|found| found.reason.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn feeds_are_counted_and_those_that_need_a_person_named() {
        let with = |name: &str, conditions: &[(&str, &str, &str)]| {
            let mut feed = fixture::feed(name);
            let conditions = conditions.iter();
            feed.status.get_or_insert_default().conditions = conditions
                .map(|(type_, status, reason)| fixture::condition(type_, status, reason, ""))
                .collect();
            feed
        };
        let feeds = [
            with("good", &[("Ready", "True", "Replicating")]),
            with("new", &[("Ready", "False", "Starting")]),
            with(
                "bad",
                &[("Ready", "False", "Halted"), ("Stalled", "True", "Halted")],
            ),
        ];
        assert_eq!(
            tell(&feeds, "all namespaces"),
            "3 in all namespaces, 1 ready, 1 stalled: default/bad (Halted)"
        );
        assert_eq!(tell(&[], "shop"), "0 in shop, 0 ready, 0 stalled");
    }
}
