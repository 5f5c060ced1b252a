//! `pause`, `resume`, `drain`, `move` and `export`.

use anyhow::{Result, ensure};
use tidemark_harness::eventually;

use crate::world::{PATIENCE, Place, World};

/// Plays the operator once the spec asks for a state: sets the conditions for it.
async fn operate(place: &Place<'_>, state: &str, ready: &str, more: &str) -> Result<()> {
    eventually(PATIENCE, state, || async {
        let found = place.field("{.spec.state}").await?;
        ensure!(found == state, "{found}");
        Ok(())
    })
    .await?;
    let generation = place.field("{.metadata.generation}").await?;
    let at = r#""lastTransitionTime": "2026-01-31T12:00:00Z""#;
    place
        .tell(&format!(
            r#"{{"observedGeneration": {generation}, "conditions": [
            {{"type": "Ready", "status": "True", "reason": "{ready}", "message": "so", {at}}}{more}]}}"#
        ))
        .await
}

pub(crate) async fn a_feed_pauses_and_resumes(world: &World) -> Result<()> {
    let place = world.place("pause").await?;
    let args = ["pause", "orders", "--wait"];
    let (said, told) = tokio::join!(place.says(&args), operate(&place, "Paused", "Paused", ""));
    told?;
    let said = said?;
    ensure!(
        said == "pause/orders pauses: its workers drain and end, its history stays protected\npause/orders: Paused, so\n",
        "{said}"
    );
    let said = place.says(&["pause", "orders"]).await?;
    ensure!(said == "pause/orders is Paused already\n", "{said}");
    let said = place.says(&["resume", "orders"]).await?;
    ensure!(said == "pause/orders resumes where spec.start says\n", "{said}");
    ensure!(place.field("{.spec.state}").await? == "Running");
    Ok(())
}

pub(crate) async fn a_wait_tells_of_trouble(world: &World) -> Result<()> {
    let place = world.place("wait").await?;
    let failed = place
        .world
        .run(&["-n", "wait", "pause", "orders", "--wait", "--timeout", "1s"])
        .await?;
    let errors = String::from_utf8(failed.stderr)?;
    ensure!(!failed.status.success(), "it waits for nobody");
    ensure!(
        errors.contains("error: wait/orders: not done after 1s: no operator has seen the feed yet"),
        "{errors}"
    );
    let stalled = r#", {"type": "Stalled", "status": "True", "reason": "InvalidSpec", "message": "spec.x: is y",
        "lastTransitionTime": "2026-01-31T12:00:00Z"}"#;
    operate(&place, "Paused", "Starting", stalled).await?;
    let failed = place
        .world
        .run(&["-n", "wait", "pause", "orders", "--wait"])
        .await?;
    let errors = String::from_utf8(failed.stderr)?;
    ensure!(
        errors.contains("error: wait/orders needs a person: InvalidSpec, spec.x: is y"),
        "{errors}"
    );
    Ok(())
}

pub(crate) async fn a_worker_is_drained_and_spans_are_moved(world: &World) -> Result<()> {
    let place = world.place("drain").await?;
    let drained = || place.field("{.metadata.annotations.tidemark\\.io/drain}");
    let moved = || place.field("{.metadata.annotations.tidemark\\.io/move}");
    place
        .tell(r#"{"epoch": 1, "members": [{"name": "orders-1", "spans": 4}]}"#)
        .await?;
    let emptied = async {
        eventually(PATIENCE, "drain", || async {
            let found = drained().await?;
            ensure!(found == "orders-1", "{found}");
            Ok(())
        })
        .await?;
        place
            .tell(r#"{"members": [{"name": "orders-1", "spans": 0}]}"#)
            .await
    };
    let args = ["drain", "orders", "orders-1", "--wait"];
    let (said, told) = tokio::join!(place.says(&args), emptied);
    told?;
    let said = said?;
    ensure!(said.ends_with("orders-1 has no spans\n"), "{said}");
    let message = place.fails(&["drain", "orders", "orders-0"]).await?;
    ensure!(message.contains("orders-0 is the last worker"), "{message}");
    let message = place.fails(&["move", "orders", "shop.items", "orders-1"]).await?;
    ensure!(message.contains("orders-1 is drained"), "{message}");
    place.says(&["move", "orders", "shop.items", "orders-0"]).await?;
    place.says(&["move", "orders", "shop.a#7", "orders-0"]).await?;
    let found = moved().await?;
    ensure!(found == "shop.a#7=orders-0,shop.items=orders-0", "{found}");
    place.says(&["move", "orders", "shop.items", "--undo"]).await?;
    place.says(&["drain", "orders", "orders-1", "--undo"]).await?;
    let (drained, moved) = (drained().await?, moved().await?);
    ensure!(
        drained.is_empty() && moved == "shop.a#7=orders-0",
        "{drained} {moved}"
    );
    Ok(())
}

pub(crate) async fn an_exported_feed_begins_at_the_checkpoint(world: &World) -> Result<()> {
    let place = world.place("export").await?;
    place
        .tell(r#"{"epoch": 1, "checkpointTs": "463958411509456000"}"#)
        .await?;
    place.says(&["pause", "orders"]).await?;
    let text = place.says(&["export", "orders", "--rename", "copy"]).await?;
    place.apply(&text).await?;
    let path = "jsonpath={.spec.start.ts} {.spec.state} {.spec.workers.replicas} {.status}";
    let copy = place.kubectl(&["get", "changefeed/copy", "-o", path]).await?;
    ensure!(copy == "463958411509456000 Running 2 ", "{copy}");
    Ok(())
}
