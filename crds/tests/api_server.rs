//! The definition on a real API server: what it fills in, what it refuses and with which words.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use serde_json::{Value, json};
use tidemark_crds::crd_yaml;
use tidemark_harness::{ControlPlane, ControlPlaneOptions, eventually};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Of this run's own: the cluster may be the user's.
fn namespace() -> String {
    format!("tidemark-crds-{}", std::process::id())
}

async fn kubectl(server: &ControlPlane, args: &[&str]) -> Result<String, String> {
    let namespace = namespace();
    let args = [&["-n", namespace.as_str()][..], args].concat();
    server.kubectl(&args).await.map_err(|error| format!("{error:#}"))
}

async fn server() -> ControlPlane {
    let server = ControlPlane::start(ControlPlaneOptions::default().without_controllers())
        .await
        .unwrap();
    let crd = crd_yaml().unwrap();
    server
        .kubectl_with_input(&["apply", "-f", "-"], &crd)
        .await
        .unwrap();
    eventually(PATIENCE, "served Changefeeds", || async {
        server.kubectl(&["get", "changefeeds", "-A"]).await
    })
    .await
    .unwrap();
    server
        .kubectl(&["create", "namespace", &namespace()])
        .await
        .unwrap();
    server
}

fn feed(name: &str) -> Value {
    json!({
        "apiVersion": "tidemark.io/v1alpha1",
        "kind": "Changefeed",
        "metadata": {"name": name, "namespace": namespace()},
        "spec": {
            "source": {"pd": ["http://pd:2379"]},
            "sink": {"kafka": {"brokers": ["kafka:9092"], "topic": "{schema}.{table}"}},
        },
    })
}

/// The feed with one field, named by a JSON pointer's last parent and key, set to a value.
fn with(mut feed: Value, parent: &str, key: &str, value: Value) -> Value {
    feed.pointer_mut(parent).unwrap()[key] = value;
    feed
}

async fn apply(server: &ControlPlane, feed: &Value) -> Result<String, String> {
    server
        .kubectl_with_input(&["apply", "-f", "-"], &feed.to_string())
        .await
        .map_err(|error| format!("{error:#}"))
}

async fn refused(server: &ControlPlane, feed: &Value, words: &str) {
    let answer = apply(server, feed).await;
    let error = answer.expect_err(&format!("accepted, though {words:?} was expected"));
    assert!(error.contains(words), "{words:?} is not in: {error}");
}

async fn patch_status(server: &ControlPlane, status: Value) -> Result<String, String> {
    let patch = json!({"status": status}).to_string();
    let target = ["patch", "changefeed", "orders", "--subresource=status"];
    kubectl(server, &[&target[..], &["--type=merge", "-p", &patch]].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_keeps_the_rules() {
    let server = server().await;
    let orders = feed("orders");
    apply(&server, &orders).await.unwrap();

    let again = apply(&server, &orders).await.unwrap();
    assert!(again.contains("unchanged"), "{again}");
    let shown = kubectl(&server, &["get", "cf", "orders", "-o", "json"])
        .await
        .unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["spec"]["workers"]["replicas"], 1);
    assert_eq!(shown["spec"]["state"], "Running");

    every_mistake_is_refused(&server, &orders).await;
    status_never_falls(&server).await;
    columns_and_scale_work(&server).await;
    server
        .kubectl(&["delete", "namespace", &namespace(), "--wait=false"])
        .await
        .unwrap();
}

async fn every_mistake_is_refused(server: &ControlPlane, orders: &Value) {
    let cases = [
        (
            "/spec",
            "sink",
            json!({}),
            "set exactly one of kafka, storage and blackhole",
        ),
        (
            "/spec/sink",
            "blackhole",
            json!({}),
            "set exactly one of kafka, storage and blackhole",
        ),
        (
            "/spec",
            "start",
            json!({"at": "now", "ts": "5"}),
            "set at most one of at, ts and time",
        ),
        (
            "/spec",
            "keyRanges",
            json!([{"start": "a", "end": "b"}]),
            "keyRanges is for source.format kv",
        ),
        (
            "/spec/source",
            "format",
            json!("kv"),
            "source.format kv needs at least one range in keyRanges",
        ),
        (
            "/spec",
            "workers",
            json!({"replicas": 0}),
            "greater than or equal to 1",
        ),
        (
            "/spec",
            "workers",
            json!({"replicas": 1000}),
            "less than or equal to 100",
        ),
        (
            "/spec",
            "state",
            json!("Sleeping"),
            "Unsupported value: \"Sleeping\"",
        ),
        ("/spec", "tabels", json!(["a.b"]), "unknown field \"spec.tabels\""),
    ];
    for (parent, key, value, words) in cases {
        refused(server, &with(feed("other"), parent, key, value), words).await;
    }
    refused(server, &feed(&"n".repeat(53)), "use at most 52 characters").await;

    let start = with(orders.clone(), "/spec", "start", json!({"ts": "7"}));
    refused(server, &start, "start can't be changed").await;
    let sink = with(orders.clone(), "/spec", "sink", json!({"blackhole": {}}));
    refused(server, &sink, "the kind of sink can't be changed").await;
}

async fn status_never_falls(server: &ControlPlane) {
    let at = |epoch: i64, ts: &str| json!({"epoch": epoch, "checkpointTs": ts});
    patch_status(server, at(3, "999")).await.unwrap();
    patch_status(server, at(3, "449001234567890123")).await.unwrap();
    let older = patch_status(server, at(2, "449001234567890124"))
        .await
        .unwrap_err();
    assert!(older.contains("status.epoch can't fall"), "{older}");
    let back = patch_status(server, at(4, "449001234567890122"))
        .await
        .unwrap_err();
    assert!(back.contains("status.checkpointTs can't fall"), "{back}");
    let removed = patch_status(server, json!({"checkpointTs": null}))
        .await
        .unwrap_err();
    assert!(removed.contains("status.checkpointTs can't fall"), "{removed}");
    // Text order alone would take the shorter number for the larger one.
    let shorter = patch_status(server, at(4, "99")).await.unwrap_err();
    assert!(shorter.contains("status.checkpointTs can't fall"), "{shorter}");
    patch_status(server, at(4, "449001234567890123")).await.unwrap();
}

async fn columns_and_scale_work(server: &ControlPlane) {
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "Replicating", "message": "",
        "lastTransitionTime": "2026-01-31T12:00:00Z",
    });
    let status =
        json!({"conditions": [condition], "sink": "kafka", "replicas": 1, "readyReplicas": 1, "lag": "1.2s"});
    patch_status(server, status).await.unwrap();
    let table = kubectl(server, &["get", "changefeeds"]).await.unwrap();
    let (head, row) = table.split_once('\n').unwrap();
    let names: Vec<_> = head.split_whitespace().collect();
    assert_eq!(
        names,
        [
            "NAME",
            "READY",
            "STATE",
            "SINK",
            "CHECKPOINT",
            "LAG",
            "WORKERS",
            "AGE"
        ]
    );
    for cell in ["orders", "True", "Replicating", "kafka", "1.2s"] {
        assert!(row.contains(cell), "{cell} is not in: {row}");
    }
    kubectl(
        server,
        &[
            "wait",
            "changefeed/orders",
            "--for=condition=Ready",
            "--timeout=10s",
        ],
    )
    .await
    .unwrap();
    kubectl(server, &["scale", "changefeed/orders", "--replicas=4"])
        .await
        .unwrap();
    let replicas = kubectl(
        server,
        &[
            "get",
            "changefeed",
            "orders",
            "-o",
            "jsonpath={.spec.workers.replicas}",
        ],
    )
    .await
    .unwrap();
    assert_eq!(replicas, "4");
    let running = [
        "get",
        "changefeeds",
        "-o",
        "name",
        "--field-selector=spec.state=Running",
    ];
    assert!(kubectl(server, &running).await.unwrap().contains("orders"));
}
