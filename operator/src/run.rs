//! The operator as a process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use kube::Client;
use tidemark_process::admin;
use tidemark_process::signals::stop_on_signal;
use tokio_util::sync::CancellationToken;

use crate::cli::RunArgs;
use crate::feeds::Feeds;
use crate::leader::{Duty, lead};
use crate::metrics::Metrics;

/// Between looks whether the API server answers.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: &RunArgs) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    let feeds = Feeds::default();
    let metrics = Arc::new(Metrics::new(feeds.clone()));
    let bound = admin::serve(args.admin, Arc::clone(&metrics), Router::new(), stop.clone())
        .await
        .with_context(|| format!("--admin: can't listen on {}", args.admin))?;
    let client = Client::try_default()
        .await
        .context("no way to the API server: run in a pod, or set KUBECONFIG")?;
    let duty = Duty {
        namespace: args
            .own_namespace
            .clone()
            .unwrap_or_else(|| client.default_namespace().to_owned()),
        scope: args.serves.scope(),
        image: args.image.clone(),
    };
    tracing::info!(admin = %bound, scope = ?duty.scope, image = duty.image, "the operator starts");
    tokio::spawn(reach(client.clone(), Arc::clone(&metrics), stop.clone()));
    lead(client, &duty, feeds, metrics, stop).await;
    tracing::info!("the operator has ended");
    Ok(())
}

/// Tells that the operator is ready once the API server has answered.
async fn reach(client: Client, metrics: Arc<Metrics>, stop: CancellationToken) {
    loop {
        match tokio::time::timeout(PAUSE * 5, client.apiserver_version()).await {
            Ok(Ok(_)) => return metrics.set_ready(true),
            Ok(Err(error)) => tracing::warn!(%error, "the API server doesn't answer yet"),
            Err(_) => tracing::warn!("the API server doesn't answer yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}
