use anyhow::{Result, ensure};
use tidemark_harness::eventually;

use super::super::line::PATIENCE;
use super::super::stage::Stage;

const STEP: &str = "upgrade";

/// A new image by `helm upgrade`: operator and workers are replaced, one worker of a feed at a time.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    let site = &stage.site;
    let old = stage.tag.lock().clone();
    let new = format!("{old}-next");
    site.tag_image(&old, &new).await?;
    stage.calm().await;
    let moment = stage.now();
    let took = site.helm_upgrade(&new).await?;
    stage.tag.lock().clone_from(&new);
    stage.time(STEP, "helm upgrade took", took, None);
    for line in stage.lines() {
        let name = line.name();
        eventually(
            PATIENCE,
            &format!("new image in all workers of {name}"),
            || async {
                let pods = line.feed.pods(site).await?;
                let old = pods.iter().find(|pod| !pod.image.ends_with(&format!(":{new}")));
                ensure!(old.is_none(), "{old:?}");
                Ok(())
            },
        )
        .await?;
        line.settle(site).await?;
        stage.time(
            STEP,
            &format!("{name}: new workers at rest after"),
            moment.elapsed(),
            None,
        );
    }
    for line in stage.lines() {
        stage.bump(STEP, line, moment, "over the whole upgrade", Some(1));
    }
    Ok(())
}
