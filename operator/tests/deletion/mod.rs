//! History is kept while a feed rests and released when it is deleted.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_model::Ts;
use tidemark_pull::PdClient;

use crate::world::{Place, World, feed};

const TTL: Duration = Duration::from_secs(3600);

fn from(cluster: &Cluster) -> Value {
    let mut shop = feed("shop");
    let urls: Vec<_> = cluster
        .pd_endpoints()
        .iter()
        .map(|endpoint| match endpoint.starts_with("http") {
            true => endpoint.clone(),
            false => format!("http://{endpoint}"),
        })
        .collect();
    shop["spec"]["source"]["pd"] = json!(urls);
    shop
}

/// Plays the worker: protects history in the feed's name and tells its checkpoint. Gives the checkpoint.
async fn stream(place: &Place<'_>, cluster: &Cluster) -> Result<Ts> {
    let uid = place.field("changefeed/shop", "{.metadata.uid}").await?;
    let pd = PdClient::connect(&cluster.pd_endpoints(), None, None, Duration::from_secs(10)).await?;
    let checkpoint = pd.tso().await?;
    pd.set_service_safe_point(&format!("tidemark-{uid}"), TTL, Ts(checkpoint.0 - 1))
        .await?;
    let status = json!({
        "epoch": 1,
        "clusterId": cluster.cluster_id().to_string(),
        "checkpointTs": checkpoint.0.to_string(),
        "stream": {"phase": "Streaming"},
    });
    place.tell("shop", status).await?;
    Ok(checkpoint)
}

/// How far GC gets: as far as nobody protects history.
async fn collect(cluster: &Cluster) -> Result<Ts> {
    let pd = PdClient::connect(&cluster.pd_endpoints(), None, None, Duration::from_secs(10)).await?;
    let now = pd.tso().await?;
    Ok(cluster.advance_gc_safe_point(now))
}

pub(crate) async fn pausing_keeps_history_and_deleting_releases_it(world: &World) -> Result<()> {
    let place = world.place("history").await?;
    let cluster = Cluster::start(ClusterConfig::default()).await?;
    place.apply(&from(&cluster)).await?;
    place.run_pods(1).await?;
    place
        .has("statefulset/shop", "{.status.readyReplicas}", "1")
        .await?;
    let checkpoint = stream(&place, &cluster).await?;
    place.shows("shop", &["Ready=True/Replicating"]).await?;
    // As if the last worker's protection had run out.
    let uid = place.field("changefeed/shop", "{.metadata.uid}").await?;
    let pd = PdClient::connect(&cluster.pd_endpoints(), None, None, Duration::from_secs(10)).await?;
    pd.delete_service_safe_point(&format!("tidemark-{uid}")).await?;
    place.edit("shop", json!({"spec": {"state": "Paused"}})).await?;
    place
        .shows(
            "shop",
            &[
                "Ready=True/Paused",
                "Paused=True/UserRequest",
                "!Reconciling",
                "!Stalled",
            ],
        )
        .await?;
    let reached = collect(&cluster).await?;
    ensure!(
        reached < checkpoint,
        "history after {checkpoint} was collected: {reached}"
    );
    place.edit("shop", json!({"spec": {"state": "Running"}})).await?;
    place.run_pods(1).await?;
    place
        .shows("shop", &["Ready=True/Replicating", "!Paused"])
        .await?;
    place.edit("shop", json!({"spec": {"state": "Stopped"}})).await?;
    place
        .shows("shop", &["Ready=True/Stopped", "!Paused", "!Reconciling"])
        .await?;
    place
        .kubectl(&["delete", "changefeed/shop", "--timeout=60s"])
        .await?;
    let reached = collect(&cluster).await?;
    ensure!(
        reached >= checkpoint,
        "history after {checkpoint} is still kept: {reached}"
    );
    for object in [
        "statefulset/shop",
        "lease/shop-owner",
        "secret/shop-peers",
        "service/shop-workers",
    ] {
        place.gone(object).await?;
    }
    Ok(())
}

pub(crate) async fn a_retained_history_outlives_its_feed(world: &World) -> Result<()> {
    let place = world.place("retain").await?;
    let cluster = Cluster::start(ClusterConfig::default()).await?;
    let mut shop = from(&cluster);
    shop["spec"]["deletionPolicy"] = json!("Retain");
    place.apply(&shop).await?;
    place.run_pods(1).await?;
    let checkpoint = stream(&place, &cluster).await?;
    place
        .kubectl(&["delete", "changefeed/shop", "--timeout=60s"])
        .await?;
    let reached = collect(&cluster).await?;
    ensure!(
        reached < checkpoint,
        "history after {checkpoint} was collected: {reached}"
    );
    // Made again under its name, it gets objects of its own once the old ones are gone.
    place.begin(&from(&cluster)).await?;
    let uid = place.field("changefeed/shop", "{.metadata.uid}").await?;
    place
        .has("statefulset/shop", "{.metadata.ownerReferences[0].uid}", &uid)
        .await
}

pub(crate) async fn lost_history_is_told(world: &World) -> Result<()> {
    let place = world.place("lost").await?;
    let cluster = Cluster::start(ClusterConfig::default()).await?;
    let mut shop = from(&cluster);
    shop["spec"]["state"] = json!("Paused");
    place.apply(&shop).await?;
    place.shows("shop", &["Ready=True/Paused", "!Stalled"]).await?;
    place.edit("shop", json!({"spec": {"state": "Running"}})).await?;
    place.run_pods(1).await?;
    stream(&place, &cluster).await?;
    let uid = place.field("changefeed/shop", "{.metadata.uid}").await?;
    let pd = PdClient::connect(&cluster.pd_endpoints(), None, None, Duration::from_secs(10)).await?;
    pd.delete_service_safe_point(&format!("tidemark-{uid}")).await?;
    collect(&cluster).await?;
    place.edit("shop", json!({"spec": {"state": "Paused"}})).await?;
    place
        .shows("shop", &["Ready=True/Paused", "Stalled=True/SafepointLost"])
        .await?;
    Ok(())
}

pub(crate) async fn without_pd_a_deletion_waits_for_a_person(world: &World) -> Result<()> {
    let place = world.place("stuck").await?;
    place.begin(&feed("shop")).await?;
    place
        .tell("shop", json!({"epoch": 1, "checkpointTs": "10"}))
        .await?;
    place
        .kubectl(&["delete", "changefeed/shop", "--wait=false"])
        .await?;
    place
        .shows("shop", &["Ready=False/Deleting", "Stalled=True/CleanupFailed"])
        .await?;
    let message = place.message("shop", "Stalled").await?;
    ensure!(message.contains("tidemark.io/force-delete"), "{message}");
    let pods = place.kubectl(&["get", "pods", "-o", "name"]).await?;
    ensure!(pods.is_empty(), "workers write on: {pods}");
    place
        .kubectl(&["annotate", "changefeed/shop", "tidemark.io/force-delete=true"])
        .await?;
    place.gone("changefeed/shop").await
}

pub(crate) async fn a_feed_that_never_ran_goes_at_once(world: &World) -> Result<()> {
    let place = world.place("never").await?;
    let mut shop = feed("shop");
    shop["spec"]["limits"] = json!({"memory": "1Mi"});
    place.apply(&shop).await?;
    place.shows("shop", &["Ready=False/InvalidSpec"]).await?;
    place
        .kubectl(&["delete", "changefeed/shop", "--timeout=30s"])
        .await?;
    Ok(())
}
