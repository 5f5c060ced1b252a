//! `status` and `spans`.

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::world::{World, own_address, serve_spans};

pub(crate) async fn feeds_are_shown(world: &World) -> Result<()> {
    let place = world.place("view").await?;
    place
        .tell(
            r#"{"epoch": 1, "owner": "orders-0", "members": [{"name": "orders-0", "spans": 3}],
            "heldBy": {"span": "shop.items", "stage": "sink", "reason": "broker 1 is away"}}"#,
        )
        .await?;
    let one = place.says(&["status", "orders"]).await?;
    for words in [
        "view/orders",
        "orders-0, epoch 1",
        "shop.items: sink: broker 1 is away",
    ] {
        ensure!(one.contains(words), "{words:?} is not in:\n{one}");
    }
    let all = place.says(&["status"]).await?;
    ensure!(
        all.lines().count() == 2 && all.contains("shop.items (sink)"),
        "{all}"
    );
    let everywhere = place.says(&["status", "-A"]).await?;
    ensure!(
        everywhere.contains("\nview/orders ") && everywhere.contains("\nverify/orders "),
        "{everywhere}"
    );
    let message = place.fails(&["status", "other"]).await?;
    ensure!(
        message == "error: changefeeds.tidemark.io \"other\" not found in namespace view\n",
        "{message}"
    );
    Ok(())
}

pub(crate) async fn spans_come_from_the_owner(world: &World) -> Result<()> {
    const SPANS: &str = r#"[
        {"span": "shop.b", "table": 1, "physical": 1, "member": "orders-0", "state": "streaming", "checkpointTs": "463958411509456000"},
        {"span": "shop.a", "table": 2, "physical": 2, "member": "orders-1", "state": "starting", "checkpointTs": "99"}
    ]"#;
    let place = world.place("spans").await?;
    let message = place.fails(&["spans", "orders"]).await?;
    ensure!(message.contains("spans/orders has no owner"), "{message}");
    place.tell(r#"{"epoch": 1, "owner": "orders-0"}"#).await?;
    let message = place.fails(&["spans", "orders"]).await?;
    ensure!(
        message.contains("orders-0 gives no answer: pods \"orders-0\" not found"),
        "{message}"
    );
    let Some(address) = own_address() else {
        eprintln!("spans: this machine has only loopback, to which API servers pass nothing on");
        return Ok(());
    };
    let listener = TcpListener::bind((address, 0)).await?;
    let port = listener.local_addr()?.port().to_string();
    let worker = tokio::spawn(serve_spans(listener, SPANS));
    place.kubectl(&["create", "serviceaccount", "default"]).await?;
    place
        .kubectl(&["run", "orders-0", "--image=tidemark:test"])
        .await?;
    let at = format!(
        r#"{{"status": {{"phase": "Running", "podIP": "{address}", "podIPs": [{{"ip": "{address}"}}]}}}}"#
    );
    place
        .kubectl(&["patch", "pod/orders-0", "--subresource=status", "-p", &at])
        .await?;
    let table = place.says(&["spans", "orders", "--port", &port]).await?;
    let first: Vec<_> = table
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    ensure!(first == ["SPAN", "shop.a", "shop.b"], "{table}");
    let json = place
        .says(&["spans", "orders", "--output", "json", "--port", &port])
        .await?;
    let json: Value = serde_json::from_str(&json)?;
    ensure!(
        json[0]["span"] == "shop.a" && json[1]["checkpointTs"] == "463958411509456000",
        "{json}"
    );
    worker.abort();
    Ok(())
}
