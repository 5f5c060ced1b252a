//! `verify-config`, and what is said of clusters that can't be used.

use anyhow::{Result, ensure};

use crate::world::{World, failure, feed};

pub(crate) async fn a_cluster_without_the_definition_is_told(world: &World) -> Result<()> {
    let message = failure(&world.run(&["status"]).await?)?;
    ensure!(
        message.contains("serves no Changefeeds: install Tidemark there") && message.lines().count() == 1,
        "{message}"
    );
    let file = world.file("early.yaml", &feed("orders"))?;
    let message = failure(&world.run(&["verify-config", &file.display().to_string()]).await?)?;
    ensure!(message.contains("serves no Changefeeds"), "{message}");
    Ok(())
}

pub(crate) async fn a_file_is_checked_here_and_by_the_cluster(world: &World) -> Result<()> {
    let place = world.place("verify").await?;
    let good = world.file("good.yaml", &feed("orders"))?;
    let good = good.display().to_string();
    let said = place.says(&["verify-config", &good]).await?;
    ensure!(
        said.contains("the cluster would take it in namespace verify"),
        "{said}"
    );
    // One line a mistake.
    let text = feed("orders") + "  limits: {memory: 1Mi, gcTtl: 1s}\n";
    let bad = world.file("bad.yaml", &text)?;
    let bad = bad.display().to_string();
    let said = place.fails(&["verify-config", &bad]).await?;
    let lines: Vec<_> = said.lines().collect();
    ensure!(lines.len() == 2, "{said}");
    ensure!(
        lines
            .iter()
            .all(|line| line.starts_with(&format!("{bad}: spec."))),
        "{said}"
    );
    // Only the cluster knows what is there already.
    let text = feed("orders") + "  start: {ts: \"7\"}\n";
    let moved = world.file("moved.yaml", &text)?;
    let moved = moved.display().to_string();
    let said = place.fails(&["verify-config", &moved]).await?;
    ensure!(said.contains("start can't be changed: make a new feed"), "{said}");
    ensure!(
        place.field("{.spec.start}").await? == "{}",
        "something was changed"
    );
    let said = place.fails(&["-n", "nowhere", "verify-config", &good]).await?;
    ensure!(said.contains("namespaces \"nowhere\" not found"), "{said}");
    // Nobody listens there.
    let away = "
apiVersion: v1
kind: Config
clusters: [{name: away, cluster: {server: \"https://127.0.0.1:1\", insecure-skip-tls-verify: true}}]
users: [{name: away, user: {token: secret}}]
contexts: [{name: away, context: {cluster: away, user: away}}]
current-context: away
";
    let away = world.file("away.yaml", away)?;
    let away = away.display().to_string();
    let said = place
        .says(&["--kubeconfig", &away, "verify-config", &good])
        .await?;
    ensure!(
        said.contains("without a cluster: https://127.0.0.1:1/ can't be reached"),
        "{said}"
    );
    let said = place.fails(&["--kubeconfig", &away, "status"]).await?;
    ensure!(
        said.starts_with("error: https://127.0.0.1:1/ can't be reached") && said.lines().count() == 1,
        "{said}"
    );
    let said = place.fails(&["--context", "none", "status"]).await?;
    ensure!(said.contains("none") && said.lines().count() == 1, "{said}");
    Ok(())
}
