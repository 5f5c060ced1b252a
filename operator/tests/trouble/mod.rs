//! What people get wrong, and what stands in the way.

use anyhow::{Result, ensure};
use serde_json::json;
use tidemark_harness::eventually;

use crate::world::{PATIENCE, Place, World, feed};

/// The revision that pods have.
async fn template(place: &Place<'_>) -> Result<String> {
    place.field("statefulset/shop", "{.spec.template}").await
}

pub(crate) async fn an_invalid_edit_changes_nothing_that_runs(world: &World) -> Result<()> {
    let place = world.place("invalid").await?;
    place.stream(&feed("shop")).await?;
    let before = template(&place).await?;
    let edit = json!({"spec": {"tables": ["a.b.c.d["], "limits": {"memory": "1Mi"}}});
    place.edit("shop", edit).await?;
    place
        .shows("shop", &["Ready=True/Replicating", "Stalled=True/InvalidSpec"])
        .await?;
    let message = place.message("shop", "Stalled").await?;
    ensure!(message.contains("spec.limits.memory: is below 32Mi"), "{message}");
    ensure!(template(&place).await? == before);
    // Drift is repaired to the last good spec meanwhile, and pausing works.
    place
        .kubectl(&["scale", "statefulset/shop", "--replicas=4"])
        .await?;
    place.has("statefulset/shop", "{.spec.replicas}", "1").await?;
    place.edit("shop", json!({"spec": {"state": "Paused"}})).await?;
    place.has("statefulset/shop", "{.spec.replicas}", "0").await?;
    let mend = json!({"spec": {"state": "Running", "tables": ["shop.*"], "limits": {"memory": "512Mi"}}});
    place.edit("shop", mend).await?;
    place.shows("shop", &["!Stalled"]).await?;
    ensure!(
        template(&place).await? == before,
        "mended to what it was, nothing needs to restart"
    );

    // A first spec that can't work: nothing is made.
    let mut never = feed("never");
    never["spec"]["limits"] = json!({"memory": "1Mi"});
    place.apply(&never).await?;
    place
        .shows("never", &["Ready=False/InvalidSpec", "Stalled=True/InvalidSpec"])
        .await?;
    place.gone("statefulset/never").await
}

pub(crate) async fn a_template_that_the_server_refuses_changes_nothing_that_runs(
    world: &World,
) -> Result<()> {
    let place = world.place("template").await?;
    place.begin(&feed("shop")).await?;
    let before = template(&place).await?;
    let edit = |policy: &str| json!({"spec": {"workers": {"podTemplate": {"spec": {"dnsPolicy": policy}}}}});
    place.edit("shop", edit("Sometimes")).await?;
    place.shows("shop", &["Stalled=True/InvalidSpec"]).await?;
    let message = place.message("shop", "Stalled").await?;
    ensure!(message.contains("dnsPolicy"), "{message}");
    ensure!(template(&place).await? == before);
    place.edit("shop", json!({"spec": {"state": "Paused"}})).await?;
    place.has("statefulset/shop", "{.spec.replicas}", "0").await?;
    place.edit("shop", json!({"spec": {"state": "Running"}})).await?;
    place.edit("shop", edit("Default")).await?;
    place
        .has("statefulset/shop", "{.spec.template.spec.dnsPolicy}", "Default")
        .await?;
    place.shows("shop", &["!Stalled"]).await?;
    Ok(())
}

pub(crate) async fn a_missing_secret_is_told_and_waited_for(world: &World) -> Result<()> {
    let place = world.place("secret").await?;
    let mut shop = feed("shop");
    shop["spec"]["sink"] = json!({"storage": {"url": "s3://secret/shop", "secretName": "login"}});
    place.apply(&shop).await?;
    place
        .shows(
            "shop",
            &["Ready=False/SecretMissing", "Stalled=True/SecretMissing"],
        )
        .await?;
    let message = place.message("shop", "Stalled").await?;
    ensure!(message.contains("secret \"login\" doesn't exist"), "{message}");
    place
        .kubectl(&[
            "create",
            "secret",
            "generic",
            "login",
            "--from-literal=access-key-id=a",
        ])
        .await?;
    place.nudge("shop", "now").await?;
    eventually(PATIENCE, "the missing key", || async {
        let message = place.message("shop", "Stalled").await?;
        ensure!(
            message.contains("secret \"login\" has no key secret-access-key: add it"),
            "{message}"
        );
        Ok(())
    })
    .await?;
    let whole = r#"{"stringData":{"secret-access-key":"b"}}"#;
    place
        .kubectl(&["patch", "secret/login", "--type=merge", "-p", whole])
        .await?;
    // Nobody tells the operator; it looks again by itself.
    place.shows("shop", &["Ready=False/Starting", "!Stalled"]).await?;
    let mounts = place
        .field(
            "statefulset/shop",
            "{.spec.template.spec.containers[0].volumeMounts[*].mountPath}",
        )
        .await?;
    ensure!(mounts.contains("/etc/tidemark/secrets/login"), "{mounts}");
    Ok(())
}

pub(crate) async fn objects_of_others_are_never_adopted(world: &World) -> Result<()> {
    let place = world.place("foreign").await?;
    place
        .kubectl(&["create", "service", "clusterip", "shop-workers", "--tcp=80"])
        .await?;
    place
        .kubectl(&["create", "serviceaccount", "shop-worker"])
        .await?;
    place.apply(&feed("shop")).await?;
    place
        .shows("shop", &["Ready=False/NameConflict", "Stalled=True/NameConflict"])
        .await?;
    let message = place.message("shop", "Stalled").await?;
    for object in ["Service shop-workers", "ServiceAccount shop-worker"] {
        ensure!(message.contains(object), "{message}");
    }
    let owners = place
        .field("service/shop-workers", "{.metadata.ownerReferences}")
        .await?;
    ensure!(owners.is_empty(), "adopted: {owners}");
    place.gone("statefulset/shop").await?;
    place
        .kubectl(&["delete", "service/shop-workers", "serviceaccount/shop-worker"])
        .await?;
    place.shows("shop", &["Ready=False/Starting", "!Stalled"]).await?;
    Ok(())
}

pub(crate) async fn two_feeds_never_share_a_prefix(world: &World) -> Result<()> {
    let place = world.place("prefix").await?;
    let to = |name: &str, url: &str| {
        let mut feed = feed(name);
        feed["spec"]["sink"] = json!({"storage": {"url": url}});
        feed
    };
    place.begin(&to("shop", "s3://bucket/shop")).await?;
    place.tell("shop", json!({"epoch": 1})).await?;
    place.apply(&to("below", "s3://bucket/shop/below")).await?;
    place
        .shows(
            "below",
            &["Ready=False/StorageConflict", "Stalled=True/StorageConflict"],
        )
        .await?;
    let message = place.message("below", "Stalled").await?;
    ensure!(
        message.contains("feed prefix/shop writes to \"s3://bucket/shop\""),
        "{message}"
    );
    place.begin(&to("below", "s3://bucket/below")).await?;
    // An edit into another's place is refused too, and the other goes on.
    place.apply(&to("shop", "s3://bucket/below")).await?;
    place.shows("shop", &["Stalled=True/StorageConflict"]).await?;
    place.nudge("below", "now").await?;
    place.shows("below", &["!Stalled"]).await?;
    Ok(())
}

pub(crate) async fn a_broken_pod_never_holds_up_its_own_mend(world: &World) -> Result<()> {
    let place = world.place("broken").await?;
    let mut shop = feed("shop");
    shop["spec"]["workers"] = json!({"replicas": 2, "image": "broken"});
    place.begin(&shop).await?;
    place
        .has("pod/shop-0", "{.spec.containers[0].image}", "broken")
        .await?;
    // No pod ever becomes ready here. Kubernetes replaces the last one and waits for it before it looks at the first.
    place
        .edit("shop", json!({"spec": {"workers": {"image": "mended"}}}))
        .await?;
    place
        .has("pod/shop-0", "{.spec.containers[0].image}", "mended")
        .await?;
    let events = place
        .kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"])
        .await?;
    ensure!(
        events.contains("PodReplaced"),
        "Kubernetes did it by itself: {events}"
    );
    Ok(())
}

pub(crate) async fn workers_that_fail_are_told_with_their_last_words(world: &World) -> Result<()> {
    let place = world.place("failing").await?;
    place.begin(&feed("shop")).await?;
    let play = |status: serde_json::Value| async move {
        place
            .kubectl(&[
                "patch",
                "pod/shop-0",
                "--subresource=status",
                "--type=merge",
                "-p",
                &json!({"status": status}).to_string(),
            ])
            .await
    };
    place
        .has(
            "pod/shop-0",
            "{.spec.containers[0].terminationMessagePolicy}",
            "FallbackToLogsOnError",
        )
        .await?;
    let line = r#"{"level":"ERROR","fields":{"message":"can't listen","error":"address in use"}}"#;
    let status = |restarts: u32| {
        json!({"phase": "Running", "containerStatuses": [{
            "name": "worker", "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 2, "reason": "Error", "message": format!("starting\n{line}\n")}},
        }]})
    };
    play(status(0)).await?;
    eventually(PATIENCE, "trouble", || async {
        let message = place.message("shop", "Ready").await?;
        ensure!(
            message.contains("shop-0: CrashLoopBackOff, ended once"),
            "{message}"
        );
        Ok(())
    })
    .await?;
    play(status(4)).await?;
    // Nobody tells the operator; it looks by itself.
    place
        .shows(
            "shop",
            &[
                "Ready=False/WorkersFailing",
                "Reconciling=True/Starting",
                "!Stalled",
            ],
        )
        .await?;
    let words = "0 of 1 workers are ready; shop-0: CrashLoopBackOff, ended 5 times, last with exit code 2: can't listen: \
                 address in use";
    for type_ in ["Ready", "Reconciling"] {
        let message = place.message("shop", type_).await?;
        ensure!(message == words, "{message}");
    }
    eventually(PATIENCE, "an Event", || async {
        let events = place
            .kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"])
            .await?;
        ensure!(events.contains("WorkersFailing"), "{events}");
        Ok(())
    })
    .await?;
    // It heals by itself.
    place.stream(&feed("shop")).await
}
