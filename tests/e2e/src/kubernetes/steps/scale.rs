use anyhow::Result;

use super::super::stage::Stage;

const STEP: &str = "scale";

/// Fewer and more workers by `kubectl scale`.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    let line = &stage.orders;
    for replicas in [1, 4, 2] {
        stage.calm().await;
        let moment = stage.now();
        line.feed.scale(&stage.site, replicas).await?;
        line.settle(&stage.site).await?;
        let what = format!("scaled to {replicas}");
        stage.time(STEP, &format!("{what}, at rest after"), moment.elapsed(), None);
        stage.bump(STEP, line, moment, &what, Some(1));
    }
    Ok(())
}
