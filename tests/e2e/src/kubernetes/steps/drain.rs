use anyhow::{Result, ensure};
use serde_json::json;
use tidemark_harness::eventually;

use super::super::line::{Line, PATIENCE};
use super::super::stage::Stage;

const STEP: &str = "drain";

/// Every worker is evicted, as a drain of its node does; the disruption budget lets one go at a time.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    for line in stage.lines() {
        stage.calm().await;
        let moment = stage.now();
        for pod in line.feed.pods(&stage.site).await? {
            evict(stage, line, &pod.name, &pod.uid).await?;
        }
        line.settle(&stage.site).await?;
        stage.bump(STEP, line, moment, "while each worker was evicted", Some(1));
    }
    Ok(())
}

async fn evict(stage: &Stage, line: &Line, name: &str, uid: &str) -> Result<()> {
    let (site, namespace) = (&stage.site, &line.feed.namespace);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    });
    let eviction = eviction.to_string();
    let asked = stage.now();
    let args = ["create", "--raw", &path, "-f", "-"];
    // Refused while the disruption budget is used up.
    eventually(PATIENCE, &format!("leave to evict {name}"), || {
        site.plane().kubectl_with_input(&args, &eviction)
    })
    .await?;
    let moment = stage.now();
    if moment.ms - asked.ms > 2000 {
        stage.say(&format!(
            "  leave to evict {name} came after {:.1?}",
            asked.until(moment.ms)
        ));
    }
    eventually(PATIENCE, &format!("new pod {name}"), || async {
        let now = line.feed.pod(site, name).await?;
        ensure!(now.uid != uid && now.ready, "{now:?}");
        Ok(())
    })
    .await?;
    stage.say(&format!(
        "  {name} evicted and ready anew after {:.1?}",
        moment.elapsed()
    ));
    Ok(())
}
