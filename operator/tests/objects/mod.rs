//! What is made for a feed, and kept.

use anyhow::{Result, ensure};
use serde_json::json;
use tidemark_harness::eventually;

use crate::world::{PATIENCE, World, feed};

const ALL: &str =
    "statefulsets,services,configmaps,serviceaccounts,roles,rolebindings,leases,secrets,poddisruptionbudgets";

pub(crate) async fn a_feed_gets_all_it_needs_and_applying_it_again_changes_nothing(
    world: &World,
) -> Result<()> {
    let place = world.place("all").await?;
    let mut shop = feed("shop");
    shop["spec"]["workers"] = json!({"replicas": 2});
    place.apply(&shop).await?;
    place
        .shows("shop", &["Ready=False/Starting", "Reconciling=True/Starting"])
        .await?;
    let uid = place.field("changefeed/shop", "{.metadata.uid}").await?;
    let revision = place
        .field(
            "statefulset/shop",
            "{.spec.template.spec.volumes[0].configMap.name}",
        )
        .await?;
    for object in [
        "statefulset/shop",
        "service/shop-workers",
        "serviceaccount/shop-worker",
        "role/shop-worker",
        "rolebinding/shop-worker",
        "poddisruptionbudget/shop",
        "lease/shop-owner",
        "lease/shop-0",
        "lease/shop-1",
        "secret/shop-peers",
        &format!("configmap/{revision}"),
    ] {
        let owner = place
            .field(object, "{.metadata.ownerReferences[?(@.controller)].uid}")
            .await?;
        ensure!(owner == uid, "{object} belongs to {owner:?}");
        let label = place
            .field(object, "{.metadata.labels.tidemark\\.io/feed}")
            .await?;
        ensure!(label == "shop", "{object} is labelled {label:?}");
    }
    place.stream(&shop).await?;

    let versions = "{range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    let output = format!("jsonpath={versions}");
    let list = ["get", ALL, "-l", "tidemark.io/feed=shop", "-o", &output];
    let before = place.kubectl(&list).await?;
    // Each starts a pass; the last one's end is seen in the status.
    for state in ["a", "b", "c"] {
        place.nudge("shop", state).await?;
    }
    place
        .edit("shop", json!({"spec": {"deletionPolicy": "Release"}}))
        .await?;
    place
        .tell("shop", json!({"stream": {"phase": "Halted", "message": "x"}}))
        .await?;
    place.shows("shop", &["Stalled=True/Halted"]).await?;
    let after = place.kubectl(&list).await?;
    ensure!(
        before == after,
        "a pass changed what was as it shall be:\n{before}\n{after}"
    );
    Ok(())
}

pub(crate) async fn whatever_is_changed_or_deleted_comes_back(world: &World) -> Result<()> {
    let place = world.place("drift").await?;
    place.begin(&feed("shop")).await?;
    place
        .kubectl(&["scale", "statefulset/shop", "--replicas=3"])
        .await?;
    place.has("statefulset/shop", "{.spec.replicas}", "1").await?;
    let wrong = r#"{"spec":{"selector":{"tidemark.io/feed":"other"}}}"#;
    place
        .kubectl(&["patch", "service/shop-workers", "--type=merge", "-p", wrong])
        .await?;
    place
        .has(
            "service/shop-workers",
            "{.spec.selector.tidemark\\.io/feed}",
            "shop",
        )
        .await?;
    place
        .kubectl(&[
            "delete",
            "statefulset/shop",
            "role/shop-worker",
            "service/shop-workers",
        ])
        .await?;
    for object in ["statefulset/shop", "role/shop-worker", "service/shop-workers"] {
        place
            .has(object, "{.metadata.ownerReferences[0].name}", "shop")
            .await?;
    }
    // Nobody watches Leases: they come back with the next pass.
    place.kubectl(&["delete", "lease/shop-0"]).await?;
    place.nudge("shop", "now").await?;
    place
        .has("lease/shop-0", "{.metadata.ownerReferences[0].name}", "shop")
        .await?;
    place
        .tell("shop", json!({"conditions": [], "replicas": 77, "sink": "tape"}))
        .await?;
    place
        .has("changefeed/shop", "{.status.sink}", "blackhole")
        .await?;
    place.shows("shop", &["Ready=False/Starting"]).await?;
    Ok(())
}

pub(crate) async fn scaling_makes_and_removes_leases_and_the_budget(world: &World) -> Result<()> {
    let place = world.place("scale").await?;
    place.begin(&feed("shop")).await?;
    place
        .kubectl(&["scale", "changefeed/shop", "--replicas=3"])
        .await?;
    place.has("statefulset/shop", "{.spec.replicas}", "3").await?;
    place
        .has("lease/shop-2", "{.metadata.ownerReferences[0].name}", "shop")
        .await?;
    place
        .has("poddisruptionbudget/shop", "{.spec.maxUnavailable}", "1")
        .await?;
    place.has("changefeed/shop", "{.status.replicas}", "3").await?;
    let held = r#"{"spec":{"holderIdentity":"x","leaseDurationSeconds":3600,"renewTime":"2100-01-01T00:00:00.000000Z"}}"#;
    place
        .kubectl(&["patch", "lease/shop-2", "--type=merge", "-p", held])
        .await?;
    place
        .kubectl(&["scale", "changefeed/shop", "--replicas=1"])
        .await?;
    place.gone("lease/shop-1").await?;
    place.gone("poddisruptionbudget/shop").await?;
    place.kubectl(&["get", "lease/shop-2"]).await?;
    let names = place
        .field("role/shop-worker", "{.rules[*].resourceNames}")
        .await?;
    ensure!(
        names.contains("shop-2"),
        "a pod that holds its Lease can't give it back: {names}"
    );
    place
        .kubectl(&[
            "patch",
            "lease/shop-2",
            "--type=merge",
            "-p",
            r#"{"spec":{"holderIdentity":""}}"#,
        ])
        .await?;
    place.gone("lease/shop-2").await
}

pub(crate) async fn a_feed_shows_how_its_stream_is(world: &World) -> Result<()> {
    let place = world.place("stream").await?;
    place.stream(&feed("shop")).await?;
    place
        .kubectl(&["wait", "--for=condition=Ready", "changefeed/shop", "--timeout=5s"])
        .await?;
    place
        .tell(
            "shop",
            json!({"stream": {"phase": "Halted", "message": "the topic is gone: create it"}}),
        )
        .await?;
    place
        .shows("shop", &["Ready=False/Halted", "Stalled=True/Halted"])
        .await?;
    place
        .tell("shop", json!({"stream": {"phase": "Streaming", "message": ""}}))
        .await?;
    place
        .shows("shop", &["Ready=True/Replicating", "!Stalled"])
        .await?;
    let checkpoint = place.field("changefeed/shop", "{.status.checkpointTs}").await?;
    ensure!(
        checkpoint == "10",
        "the operator touched the workers' part: {checkpoint}"
    );
    eventually(PATIENCE, "Events", || async {
        let events = place
            .kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"])
            .await?;
        for reason in ["Replicating", "Halted", "Mended"] {
            ensure!(events.contains(reason), "no {reason} in {events}");
        }
        Ok(())
    })
    .await?;
    // New tables: new revision, the old ConfigMap goes with its pods.
    let old = place
        .field(
            "statefulset/shop",
            "{.spec.template.spec.volumes[0].configMap.name}",
        )
        .await?;
    place
        .edit("shop", json!({"spec": {"tables": ["other.*"]}}))
        .await?;
    place.shows("shop", &["Reconciling=True/RollingUpdate"]).await?;
    place.gone(&format!("configmap/{old}")).await?;
    place.run_pods(1).await?;
    place
        .shows("shop", &["Ready=True/Replicating", "!Reconciling"])
        .await?;
    Ok(())
}

pub(crate) async fn hands_off_means_hands_off(world: &World) -> Result<()> {
    let place = world.place("handsoff").await?;
    place.begin(&feed("shop")).await?;
    place
        .kubectl(&["annotate", "changefeed/shop", "tidemark.io/reconcile=disabled"])
        .await?;
    place
        .shows("shop", &["ReconciliationPaused=True/AnnotationSet"])
        .await?;
    place
        .kubectl(&["scale", "statefulset/shop", "--replicas=0"])
        .await?;
    place
        .edit("shop", json!({"spec": {"workers": {"replicas": 2}}}))
        .await?;
    place
        .shows("shop", &["ReconciliationPaused=True/AnnotationSet"])
        .await?;
    let replicas = place.field("statefulset/shop", "{.spec.replicas}").await?;
    ensure!(replicas == "0", "replicas became {replicas}");
    place
        .kubectl(&["annotate", "changefeed/shop", "tidemark.io/reconcile-"])
        .await?;
    place.has("statefulset/shop", "{.spec.replicas}", "2").await?;
    place.shows("shop", &["!ReconciliationPaused"]).await?;
    Ok(())
}
