use anyhow::{Result, ensure};
use tidemark_harness::{Signal, eventually};

use super::super::line::PATIENCE;
use super::super::site::SYSTEM;
use super::super::stage::Stage;

const STEP: &str = "kill-operator";

/// SIGKILL of the operator: feeds don't notice.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    let site = &stage.site;
    stage.calm().await;
    let pod = site.operator_pod().await?;
    let seen = || async {
        let path =
            "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}";
        let args = ["get", "pod", &pod, "-n", SYSTEM, "-o", path];
        site.kubectl(&args).await
    };
    let before = seen().await?;
    let moment = stage.now();
    site.cluster().kill_container(SYSTEM, &pod, Signal::KILL).await?;
    eventually(PATIENCE, "operator that is back", || async {
        let now = seen().await?;
        ensure!(now != before && now.ends_with("true"), "{now}");
        Ok(())
    })
    .await?;
    stage.time(STEP, "operator ready again after", moment.elapsed(), None);
    stage.calm().await;
    for line in stage.lines() {
        stage.bump(STEP, line, moment, "while the operator was away", Some(1));
    }
    Ok(())
}
