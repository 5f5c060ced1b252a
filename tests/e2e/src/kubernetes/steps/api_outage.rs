use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tidemark_harness::eventually;
use tokio::time::sleep;

use super::super::line::PATIENCE;
use super::super::stage::Stage;

const STEP: &str = "api-outage";
const OUTAGE: Duration = Duration::from_secs(60);

/// The API server is away for a minute: rows flow on, and the status catches up afterwards.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    let (site, plane) = (&stage.site, stage.site.plane());
    stage.calm().await;
    let rows = stage.lines().map(|line| line.watch.progress().rows());
    let moment = stage.now();
    plane.stop_api_server()?;
    stage.say("the API server is stopped");
    sleep(OUTAGE).await;
    let ended = stage.now();
    for (line, before) in stage.lines().iter().zip(rows) {
        let came = line.watch.progress().rows() - before;
        stage.text(
            STEP,
            &format!("{}: rows during the outage", line.name()),
            &came.to_string(),
        );
        stage.bump(STEP, line, moment, "during the outage", Some(1));
    }
    plane.start_api_server().await?;
    stage.say("the API server is back");
    let back = stage.now();
    for line in stage.lines() {
        let name = line.name();
        eventually(PATIENCE, &format!("caught up status of {name}"), || async {
            let checkpoint = line.feed.checkpoint(site).await?;
            ensure!(
                checkpoint >= ended.ts,
                "checkpoint {checkpoint}, not {}",
                ended.ts
            );
            Ok(())
        })
        .await?;
        stage.time(
            STEP,
            &format!("{name}: status caught up after"),
            back.elapsed(),
            None,
        );
    }
    for line in stage.lines() {
        stage.bump(STEP, line, back, "after the outage", Some(1));
    }
    let probed = probe(stage).await;
    stage.time(
        STEP,
        "Kubernetes itself makes pods again after",
        back.elapsed(),
        None,
    );
    probed
}

/// Kubernetes' controllers and its scheduler take up to a minute to see the world anew: what follows is not to be measured by
/// that.
async fn probe(stage: &Stage) -> Result<()> {
    let site = &stage.site;
    let labels = json!({"app": "probe"});
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "probe", "namespace": "default"},
        "spec": {
            "serviceName": "probe",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "probe",
                    "image": "tidemark.local/pause:1",
                    "imagePullPolicy": "IfNotPresent",
                }]},
            },
        },
    });
    site.apply(&set).await?;
    eventually(PATIENCE, "pod of a StatefulSet", || async {
        let set = site.get(&["statefulset", "probe", "-n", "default"]).await?;
        ensure!(set["status"]["readyReplicas"] == 1, "{}", set["status"]);
        Ok(())
    })
    .await?;
    site.kubectl(&["delete", "statefulset", "probe", "-n", "default"])
        .await?;
    Ok(())
}
