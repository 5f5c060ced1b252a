use std::collections::{BTreeMap, BTreeSet};

/// Annotation of a Changefeed: pods that shall stream nothing, separated by commas.
pub const DRAIN: &str = "tidemark.io/drain";
/// Annotation of a Changefeed: spans that one pod shall stream, as `SPAN=POD`, separated by commas.
pub const MOVE: &str = "tidemark.io/move";

/// Which workers people want spans on, as a feed's annotations say; the feed's owner follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Pods that get no spans and give away those they have.
    pub drained: BTreeSet<String>,
    /// The pod for a span, by the span's name: `schema.table`, with `#` and the partition's id where there are several.
    pub pinned: BTreeMap<String, String>,
}

impl Placement {
    /// Reads a feed's annotations; what makes no sense in them is passed over.
    pub fn of(annotations: &BTreeMap<String, String>) -> Self {
        let items = |name: &str| {
            let text = annotations.get(name).map_or("", String::as_str);
            text.split(',').map(str::trim).filter(|item| !item.is_empty())
        };
        // A pod's name has no "=", a table's may have one.
        let pins = items(MOVE).filter_map(|item| item.rsplit_once('='));
        Self {
            drained: items(DRAIN).map(str::to_owned).collect(),
            pinned: pins
                .map(|(span, pod)| (span.trim().to_owned(), pod.trim().to_owned()))
                .filter(|(span, pod)| !span.is_empty() && !pod.is_empty())
                .collect(),
        }
    }

    /// The annotations that say this; `None` is one that isn't needed.
    pub fn annotations(&self) -> [(&'static str, Option<String>); 2] {
        let join = |items: Vec<String>| (!items.is_empty()).then(|| items.join(","));
        let pins = self.pinned.iter().map(|(span, pod)| format!("{span}={pod}"));
        [
            (DRAIN, join(self.drained.iter().cloned().collect())),
            (MOVE, join(pins.collect())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(drain: &str, pins: &str) -> Placement {
        Placement::of(
            &[
                (DRAIN.to_owned(), drain.to_owned()),
                (MOVE.to_owned(), pins.to_owned()),
            ]
            .into(),
        )
    }

    #[test]
    fn annotations_are_read_as_they_are_written() {
        let placement = read("orders-1, orders-2,", "shop.a=orders-0,shop.x=y=orders-0");
        assert_eq!(placement.drained, ["orders-1".into(), "orders-2".into()].into());
        assert_eq!(placement.pinned["shop.x=y"], "orders-0");
        let [(_, drain), (_, pins)] = placement.annotations();
        let (drain, pins) = (drain.unwrap(), pins.unwrap());
        assert_eq!(
            (drain.as_str(), pins.as_str()),
            ("orders-1,orders-2", "shop.a=orders-0,shop.x=y=orders-0")
        );
        assert_eq!(read(&drain, &pins), placement);
    }

    #[test]
    fn nothing_and_nonsense_place_nothing() {
        assert_eq!(Placement::of(&BTreeMap::new()), Placement::default());
        assert_eq!(read(" , ", "shop.a,=orders-0,shop.b="), Placement::default());
        assert_eq!(Placement::default().annotations(), [(DRAIN, None), (MOVE, None)]);
    }
}
