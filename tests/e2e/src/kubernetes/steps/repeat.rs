use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::site::SYSTEM;
use super::super::stage::Stage;

const STEP: &str = "repeat";

/// Applying once more what is there changes nothing.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    let site = &stage.site;
    let tag = stage.tag.lock().clone();
    // The first apply after patches and scales takes them back.
    for line in stage.lines() {
        site.apply(&line.document).await?;
    }
    stage.settle().await?;
    stage.calm().await;
    let before = state(stage).await?;
    let moment = stage.now();
    for _ in 0..2 {
        site.helm_upgrade(&tag).await?;
        for line in stage.lines() {
            let told = site.apply(&line.document).await?;
            ensure!(told.contains("unchanged"), "kubectl apply: {told}");
        }
    }
    stage.settle().await?;
    let after = state(stage).await?;
    for (before, after) in before.iter().zip(&after) {
        ensure!(before == after, "{before} has become {after}");
    }
    ensure!(before.len() == after.len(), "{before:?} has become {after:?}");
    for line in stage.lines() {
        stage.bump(
            STEP,
            line,
            moment,
            "while helm and kubectl applied twice",
            Some(1),
        );
    }
    Ok(())
}

/// Generations of what is declared, ids and restarts of pods.
async fn state(stage: &Stage) -> Result<Vec<String>> {
    let kinds = "deployments,statefulsets,changefeeds,pods,poddisruptionbudgets";
    let mut found = Vec::new();
    for namespace in [SYSTEM, &stage.orders.feed.namespace] {
        let list = stage.site.get(&[kinds, "-n", namespace]).await?;
        let line = |object: &Value| {
            let meta = &object["metadata"];
            let restarts = &object["status"]["containerStatuses"][0]["restartCount"];
            format!(
                "{} {} {} generation {} restarts {restarts}",
                object["kind"], meta["name"], meta["uid"], meta["generation"]
            )
        };
        found.extend(list["items"].as_array().context("a list")?.iter().map(line));
    }
    Ok(found)
}
