use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tidemark_harness::eventually;

use super::super::feed::Changefeed;
use super::super::line::PATIENCE;
use super::super::stage::Stage;
use crate::Feed;

const STEP: &str = "delete";

/// Deleted feeds give their history back, unless they are to retain it.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    let released = scratch(stage, "scratch", "Release");
    let kept = scratch(stage, "scratch-kept", "Retain");
    let (released, kept) = tokio::join!(released, kept);
    let (released, kept) = (released?, kept?);
    let moment = stage.now();
    for (feed, _) in [&released, &kept] {
        feed.delete(&stage.site).await?;
    }
    for (feed, _) in [&released, &kept] {
        eventually(PATIENCE, &format!("end of feed {}", feed.name), || async {
            let left = stage
                .site
                .get(&["changefeeds,statefulsets,leases,pods", "-n", &feed.namespace])
                .await?;
            let left: Vec<&Value> = left["items"]
                .as_array()
                .context("a list")?
                .iter()
                .filter(|object| belongs_to(object, &feed.name))
                .map(|object| &object["metadata"]["name"])
                .collect();
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
        .await?;
    }
    stage.time(
        STEP,
        "two feeds and all that was theirs gone after",
        moment.elapsed(),
        None,
    );
    let has = |service: &str| {
        let barriers = stage.site.tikv.gc_barriers();
        barriers.iter().any(|barrier| barrier.service == service)
    };
    ensure!(!has(&released.1), "{} still holds history", released.1);
    ensure!(
        has(&kept.1),
        "{} holds no history, though it was to be retained",
        kept.1
    );
    Ok(())
}

fn belongs_to(object: &Value, feed: &str) -> bool {
    let meta = &object["metadata"];
    meta["labels"]["tidemark.io/feed"] == feed || meta["name"] == feed
}

/// A feed to nowhere that streams; and its service at PD.
async fn scratch(stage: &Stage, name: &str, policy: &str) -> Result<(Changefeed, String)> {
    let mut feed = Feed::new(stage.site.tikv.pd_endpoints(), json!({"blackhole": {}}));
    feed.name = name.into();
    feed.namespace = stage.orders.feed.namespace.clone();
    feed.tables = vec!["crm.*".into()];
    feed.more = json!({"deletionPolicy": policy});
    let document = feed.document();
    stage.site.apply(&document).await?;
    let feed = Changefeed::of(&document)?;
    feed.wait_ready(&stage.site, PATIENCE).await?;
    let seen = feed.get(&stage.site).await?;
    let uid = seen["metadata"]["uid"].as_str().context("no uid")?;
    let service = format!("tidemark-{uid}");
    eventually(PATIENCE, &format!("service {service} at PD"), || async {
        let barriers = stage.site.tikv.gc_barriers();
        let known = barriers.iter().any(|barrier| barrier.service == service);
        ensure!(known, "{barriers:?}");
        Ok(())
    })
    .await?;
    Ok((feed, service))
}
