//! What a kubelet does for a pod whose worker is a process of the test's: tells the API server whether it is ready.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tidemark_harness::Process;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::plane::PATIENCE;
use crate::worker::http_get;

const PERIOD: Duration = Duration::from_secs(1);

/// Waits until the worker's admin server answers; `false` if the worker ended before.
pub(crate) async fn listens(admin: u16, process: &mut Process) -> Result<bool> {
    let end = Instant::now() + PATIENCE;
    loop {
        if matches!(timeout(PERIOD, http_get(admin, "/healthz")).await, Ok(Ok(_))) {
            return Ok(process.exited()?.is_none());
        }
        if process.exited()?.is_some() {
            return Ok(false);
        }
        ensure!(
            Instant::now() < end,
            "the worker doesn't listen\n{}",
            process.log_tail()
        );
        sleep(Duration::from_millis(20)).await;
    }
}

/// Probes the worker's readiness for as long as the handle lives, and notes each change in the pod's status.
pub(crate) fn probe(pods: Api<Pod>, pod: String, uid: String, admin: u16) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut told = None;
        loop {
            let answer = timeout(PERIOD, http_get(admin, "/readyz")).await;
            let ready = matches!(answer, Ok(Ok((200, _))));
            // The API server may be away; the next probe tells it.
            if told != Some(ready) && tell(&pods, &pod, &uid, ready).await.is_ok() {
                told = Some(ready);
            }
            sleep(PERIOD).await;
        }
    }))
}

async fn tell(pods: &Api<Pod>, pod: &str, uid: &str, ready: bool) -> kube::Result<Pod> {
    let status = if ready { "True" } else { "False" };
    let patch = json!({
        "metadata": {"uid": uid},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
    });
    pods.patch_status(pod, &PatchParams::default(), &Patch::Merge(patch))
        .await
}
