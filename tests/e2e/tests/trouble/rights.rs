//! What workers may do: no more than they need, and without one right a feed says so.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::rbac::v1::Role;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tidemark_e2e::{Fleet, audit};
use tidemark_harness::eventually;
use tokio::time::sleep;

use super::{LOOK, PATIENCE, Site, advances, shows, to_nowhere};

/// Feeds whose workers were given all rights.
const FEEDS: [(&str, usize); 3] = [("edited", 2), ("busy", 2), ("survivor", 2)];

/// The workers of all feeds together used every right, and were refused nothing.
pub(crate) async fn are_the_least(site: &Site) -> Result<()> {
    let role = site.plane.api::<Role>("tests").get("edited-worker").await?;
    let feeds = FEEDS.map(|(name, pods)| ("tests", name, pods));
    audit::are_the_least(&site.plane.calls()?, &role, &feeds)
}

/// Takes one right from a feed's workers; the operator keeps its hands off.
async fn take_away(fleet: &Fleet, resource: &str, verb: &str) -> Result<()> {
    let (namespace, feed, _) = fleet.identity();
    fleet
        .edit(json!({"metadata": {"annotations": {"tidemark.io/reconcile": "disabled"}}}))
        .await?;
    shows(fleet, &["ReconciliationPaused=True/AnnotationSet"], &[]).await?;
    let roles = fleet.plane.api::<Role>(namespace);
    let name = format!("{feed}-worker");
    let mut rules = roles.get(&name).await?.rules.context("no rules")?;
    let rule = rules.iter_mut().find(|rule| {
        let mut resources = rule.resources.iter().flatten();
        resources.any(|of| of == resource)
    });
    let rule = rule.context("no such rule")?;
    let before = rule.verbs.len();
    rule.verbs.retain(|of| of != verb);
    ensure!(rule.verbs.len() < before, "it has no such right");
    // A rule without a verb is refused by the API server.
    rules.retain(|rule| !rule.verbs.is_empty());
    let patch = Patch::Merge(json!({"rules": rules}));
    roles.patch(&name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until a worker's log says what it was refused.
async fn logs_say(fleet: &Fleet, ordinal: usize, words: &[&str]) -> Result<()> {
    eventually(PATIENCE, &format!("a line with {words:?}"), || async {
        sleep(LOOK).await;
        let log = fleet.log(ordinal);
        let line = log
            .lines()
            .find(|line| !line.contains("DEBUG") && words.iter().all(|word| line.contains(word)));
        eprintln!("{}: {}", fleet.identity().1, line.context("no such line")?);
        Ok(())
    })
    .await
    .with_context(|| fleet.logs())
}

pub(crate) async fn without_patch_on_the_status(site: &Site) -> Result<()> {
    let fleet = site
        .run(&to_nowhere("no-patch", site.cluster.pd_endpoints()))
        .await?;
    fleet.streams(1).await?;
    take_away(&fleet, "changefeeds/status", "patch").await?;
    logs_say(
        &fleet,
        0,
        &["WARN", "cannot patch resource", "changefeeds/status", "no-patch"],
    )
    .await
}

pub(crate) async fn without_update_on_leases(site: &Site) -> Result<()> {
    let fleet = site
        .run(&to_nowhere("no-update", site.cluster.pd_endpoints()))
        .await?;
    fleet.streams(1).await?;
    take_away(&fleet, "leases", "update").await?;
    logs_say(
        &fleet,
        0,
        &["WARN", "cannot update resource", "leases", "no-update"],
    )
    .await?;
    shows(&fleet, &["Ready=False/Starting"], &["0 of 1 workers are ready"]).await
}

pub(crate) async fn without_get_on_pods(site: &Site) -> Result<()> {
    let mut feed = to_nowhere("no-pods", site.cluster.pd_endpoints());
    feed.more = json!({"workers": {"replicas": 2}});
    let mut fleet = site.run(&feed).await?;
    fleet.streams(2).await?;
    take_away(&fleet, "pods", "get").await?;
    let owner = fleet.owner().await?;
    fleet.kill(owner)?;
    // Nobody can tell that it has ended: its Leases have to run out. Then the feed goes on.
    let other = 1 - owner;
    logs_say(&fleet, other, &["WARN", "cannot get resource", "pods", "no-pods"]).await?;
    fleet.streams(1).await?;
    advances(&fleet).await?;
    Ok(())
}
