//! All feeds in a table.

use jiff::Timestamp;
use tidemark_crds::Changefeed;

use crate::cluster::full_name;
use crate::output::{Table, line};
use crate::times::age_of;

/// A row a feed, then a line for each that isn't well.
pub(super) fn render(feeds: &[Changefeed], with_namespace: bool, now: Timestamp) -> String {
    let mut table = Table::new(&[
        if with_namespace { "FEED" } else { "NAME" },
        "READY",
        "STATE",
        "CHECKPOINT",
        "LAG",
        "WORKERS",
        "SPANS",
        "OWNER",
        "HELD BY",
    ]);
    let mut troubles = String::new();
    for feed in feeds {
        let name = match with_namespace {
            true => full_name(feed),
            false => feed.metadata.name.clone().unwrap_or_default(),
        };
        let status = feed.status.clone().unwrap_or_default();
        let find = |type_: &str| status.conditions.iter().find(|have| have.type_ == type_);
        let ready = find("Ready");
        let trouble = find("Stalled").or_else(|| ready.filter(|ready| ready.reason == "Retrying"));
        if let Some(trouble) = trouble {
            troubles.push_str(&format!(
                "{name}: {}: {}\n",
                trouble.reason,
                line(&trouble.message)
            ));
        }
        let held = status.held_by.as_ref();
        table.row([
            name,
            ready.map(|ready| ready.status.clone()).unwrap_or_default(),
            ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
            age_of(status.checkpoint_time.as_ref(), now),
            status.lag.clone().unwrap_or_default(),
            format!(
                "{}/{}",
                status.ready_replicas.unwrap_or(0),
                status.replicas.unwrap_or(0)
            ),
            status.spans.map(|spans| spans.to_string()).unwrap_or_default(),
            status.owner.clone().unwrap_or_default(),
            held.map(|held| format!("{} ({})", held.span, held.stage))
                .unwrap_or_default(),
        ]);
    }
    if troubles.is_empty() {
        return table.to_string();
    }
    format!("{table}\n{troubles}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{condition, feed, new_feed, noon};

    #[test]
    fn feeds_are_rows_and_trouble_is_told_below() {
        let mut bad = feed();
        bad.metadata.name = Some("bad".into());
        let status = bad.status.get_or_insert_default();
        status.conditions = vec![
            condition("Ready", "False", "Halted", "the topic is gone: create it"),
            condition("Stalled", "True", "Halted", "the topic is gone: create it"),
        ];
        status.held_by = None;
        let mut new = new_feed();
        new.metadata.name = Some("new".into());
        let shown = render(&[feed(), bad, new], true, noon());
        let expected = "\
FEED          READY   STATE         CHECKPOINT   LAG   WORKERS   SPANS   OWNER      HELD BY
shop/orders   True    Replicating   10s          8s    2/2       12      orders-0   shop.items (sink)
shop/bad      False   Halted        10s          8s    2/2       12      orders-0   -
shop/new      -       -             -            -     0/0       -       -          -

shop/bad: Halted: the topic is gone: create it
";
        assert_eq!(shown, expected);
        assert!(render(&[feed()], false, noon()).starts_with("NAME     READY"));
    }
}
