//! `drain` and `move`: annotations that the feed's owner follows.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tidemark_crds::{Changefeed, Placement};

use crate::cli::WaitArgs;
use crate::cluster::{Cluster, full_name};
use crate::output::print;
use crate::wait::{Progress, until};

/// How often a change is made anew because someone else changed the feed in between.
const TRIES: usize = 5;

pub(crate) async fn drain(
    cluster: &Cluster,
    name: &str,
    pod: &str,
    undo: bool,
    wait: &WaitArgs,
) -> Result<()> {
    let words = change(cluster, name, |feed, placement| {
        if undo {
            undrained(feed, placement, pod)
        } else {
            drained(feed, placement, pod)
        }
    })
    .await?;
    print(format!("{words}\n"))?;
    if wait.wait && !undo {
        let words = until(cluster, name, wait.timeout, |feed| emptied(feed, pod)).await?;
        print(format!("{words}\n"))?;
    }
    Ok(())
}

/// Pins a span to a pod, or to none.
pub(crate) async fn pin(cluster: &Cluster, name: &str, span: &str, pod: Option<&str>) -> Result<()> {
    let words = change(cluster, name, |feed, placement| match pod {
        Some(pod) => pinned(feed, placement, span, pod),
        None => unpinned(feed, placement, span),
    })
    .await?;
    print(format!("{words}\n"))
}

/// Changes a feed's annotations; nobody else's change in between is lost.
async fn change(
    cluster: &Cluster,
    name: &str,
    apply: impl Fn(&Changefeed, &mut Placement) -> Result<String>,
) -> Result<String> {
    let api = cluster.feeds();
    for _ in 0..TRIES {
        let feed = cluster.feed(name).await?;
        let old = Placement::of(feed.metadata.annotations.as_ref().unwrap_or(&BTreeMap::new()));
        let mut new = old.clone();
        let words = apply(&feed, &mut new)?;
        if new == old {
            return Ok(words);
        }
        let annotations: Value = new
            .annotations()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect();
        let version = &feed.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version, "annotations": annotations}});
        match api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => return Ok(words),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(cluster.explain(error)),
        }
    }
    bail!("{name} is changed by others all the time: try again");
}

fn workers(feed: &Changefeed) -> Vec<String> {
    let name = feed.metadata.name.as_deref().unwrap_or_default();
    let wanted = (0..feed.spec.workers.replicas).map(|ordinal| format!("{name}-{ordinal}"));
    let mut all: Vec<_> = wanted.collect();
    let there = feed.status.iter().flat_map(|status| &status.members);
    for member in there {
        if !all.contains(&member.name) {
            all.push(member.name.clone());
        }
    }
    all
}

fn is_worker(feed: &Changefeed, pod: &str) -> Result<()> {
    let all = workers(feed);
    if all.iter().any(|worker| worker == pod) {
        return Ok(());
    }
    bail!(
        "{pod:?} is no worker of {}: it has {}",
        full_name(feed),
        all.join(", ")
    )
}

fn drained(feed: &Changefeed, placement: &mut Placement, pod: &str) -> Result<String> {
    let name = full_name(feed);
    is_worker(feed, pod)?;
    let pins: Vec<_> = placement.pinned.iter().filter(|(_, to)| *to == pod).collect();
    if let Some((span, _)) = pins.first() {
        bail!(
            "{} spans were moved to {pod}, like {span}: move them elsewhere, or --undo that, first",
            pins.len()
        );
    }
    if !placement.drained.insert(pod.to_owned()) {
        return Ok(format!("{pod} is drained already"));
    }
    if workers(feed)
        .iter()
        .all(|worker| placement.drained.contains(worker))
    {
        bail!("{pod} is the last worker of {name} that isn't drained: add workers, or pause the feed");
    }
    Ok(format!(
        "{name} drains {pod}: its spans go to other workers, and none come until --undo"
    ))
}

fn undrained(feed: &Changefeed, placement: &mut Placement, pod: &str) -> Result<String> {
    Ok(if placement.drained.remove(pod) {
        format!("{} gives spans to {pod} again", full_name(feed))
    } else {
        format!("{pod} isn't drained")
    })
}

fn pinned(feed: &Changefeed, placement: &mut Placement, span: &str, pod: &str) -> Result<String> {
    let name = full_name(feed);
    is_worker(feed, pod)?;
    if span.contains(',') || span.trim() != span || span.is_empty() {
        bail!(
            "{span:?}: a span whose name is empty, has a comma, or a space at an end can't be moved by hand"
        );
    }
    if placement.drained.contains(pod) {
        bail!("{pod} is drained: undo that first (kubectl tidemark drain … --undo)");
    }
    if placement
        .pinned
        .insert(span.to_owned(), pod.to_owned())
        .as_deref()
        == Some(pod)
    {
        return Ok(format!("{span} was moved to {pod} already"));
    }
    Ok(format!(
        "{name} moves {span} to {pod} and keeps it there until --undo"
    ))
}

fn unpinned(feed: &Changefeed, placement: &mut Placement, span: &str) -> Result<String> {
    Ok(match placement.pinned.remove(span) {
        Some(pod) => format!("{} needn't keep {span} on {pod} any more", full_name(feed)),
        None => format!("{span} wasn't moved by hand"),
    })
}

/// Whether a worker has given its spans away.
fn emptied(feed: &Changefeed, pod: &str) -> Progress {
    let members = feed.status.iter().flat_map(|status| &status.members);
    match members.clone().find(|member| member.name == pod) {
        Some(member) if member.spans > 0 => Progress::Waiting(format!("{pod} has {} spans", member.spans)),
        _ => Progress::Done(format!("{pod} has no spans")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::feed;

    #[test]
    fn a_worker_is_drained_and_taken_up_again() {
        let (feed, mut placement) = (feed(), Placement::default());
        let words = drained(&feed, &mut placement, "orders-1").unwrap();
        assert!(words.starts_with("shop/orders drains orders-1: "), "{words}");
        assert_eq!(
            drained(&feed, &mut placement, "orders-1").unwrap(),
            "orders-1 is drained already"
        );
        let last = drained(&feed, &mut placement.clone(), "orders-0").unwrap_err();
        assert!(
            last.to_string().starts_with("orders-0 is the last worker"),
            "{last}"
        );
        undrained(&feed, &mut placement, "orders-1").unwrap();
        assert_eq!(placement, Placement::default());
        let stranger = drained(&feed, &mut placement, "orders-7").unwrap_err();
        assert_eq!(
            stranger.to_string(),
            "\"orders-7\" is no worker of shop/orders: it has orders-0, orders-1"
        );
    }

    #[test]
    fn a_span_is_moved_to_a_worker_that_takes_spans() {
        let (feed, mut placement) = (feed(), Placement::default());
        pinned(&feed, &mut placement, "shop.items#120", "orders-1").unwrap();
        assert_eq!(
            pinned(&feed, &mut placement, "shop.items#120", "orders-1").unwrap(),
            "shop.items#120 was moved to orders-1 already"
        );
        let blocked = drained(&feed, &mut placement, "orders-1").unwrap_err();
        assert!(blocked.to_string().contains("like shop.items#120"), "{blocked}");
        unpinned(&feed, &mut placement, "shop.items#120").unwrap();
        drained(&feed, &mut placement, "orders-1").unwrap();
        assert!(pinned(&feed, &mut placement, "shop.items", "orders-1").is_err());
        assert!(pinned(&feed, &mut placement, "a,b", "orders-0").is_err());
    }

    #[test]
    fn a_drained_worker_is_empty_once_its_owner_says_so() {
        let mut feed = feed();
        assert_eq!(
            emptied(&feed, "orders-1"),
            Progress::Waiting("orders-1 has 5 spans".into())
        );
        feed.status.get_or_insert_default().members.pop();
        assert!(matches!(emptied(&feed, "orders-1"), Progress::Done(_)));
    }
}
