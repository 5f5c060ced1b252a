//! Opens a feed and keeps it running.
//!
//! [`session`] is one attempt: connect, decide where to begin, stream until something ends it. A transient
//! end is tried again from the checkpoint, with growing pauses.

pub(crate) mod catalog;
pub(crate) mod engine;
pub(crate) mod follower;
pub(crate) mod initial;
mod keeper;
pub(crate) mod pending;
pub(crate) mod retry;
pub(crate) mod sampling;
mod session;
pub(crate) mod source;
pub(crate) mod start;
mod whole;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use tidemark_crds::{Changefeed, State};
use tidemark_process::admin;
use tidemark_process::signals::stop_on_signal;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::cli::RunArgs;
use crate::error::FeedError;
use crate::metrics::Metrics;
use crate::secrets::SecretDir;
use crate::state::StateDir;
use retry::Backoff;
use session::Session;

/// Runs a feed until SIGTERM or SIGINT, or until it can't go on.
///
/// The first attempt has to reach the source and the sink; later ones are repeated while that may help.
pub fn run(feed: Changefeed, args: &RunArgs) -> Result<(), FeedError> {
    if feed.spec.state != State::Running {
        return Err(FeedError::Stopped(format!(
            "spec.state: is {:?}: set it to Running, or don't start the worker",
            feed.spec.state
        )));
    }
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = args.threads {
        builder.worker_threads(threads.max(1));
    }
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| FeedError::Stopped(format!("runtime: {error}")))?;
    runtime.block_on(supervise(feed, args))
}

async fn supervise(feed: Changefeed, args: &RunArgs) -> Result<(), FeedError> {
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone()).map_err(|error| FeedError::Stopped(format!("signals: {error}")))?;
    let metrics = Arc::new(Metrics::new());
    if let Some(address) = args.admin {
        let bound = admin::serve(address, Arc::clone(&metrics), Router::new(), stop.clone())
            .await
            .map_err(|error| FeedError::Stopped(format!("--admin: can't listen on {address}: {error}")))?;
        tracing::info!(address = %bound, "Serving /metrics, /healthz and /readyz");
    }
    let name = feed.metadata.name.clone().unwrap_or_default();
    let folder = args
        .state
        .clone()
        .unwrap_or_else(|| format!("tidemark-state/{name}").into());
    let state = StateDir::open(&folder).map_err(|error| FeedError::Stopped(error.to_string()))?;
    let secrets = Arc::new(SecretDir::new(args.secrets.clone()));
    let session = Session {
        feed,
        state,
        secrets,
        metrics: Arc::clone(&metrics),
        stop: stop.clone(),
    };
    let mut backoff = Backoff::new();
    let mut streamed = false;
    loop {
        let began = Instant::now();
        let ended = session.stream().await;
        streamed |= metrics.is_ready();
        metrics.set_ready(false);
        match ended {
            Ok(()) => return Ok(()),
            Err(error) if error.is_transient() && streamed => {
                let pause = backoff.after(began.elapsed());
                tracing::warn!(%error, ?pause, "The feed was interrupted and is begun again at its checkpoint");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => return Ok(()),
                }
            }
            Err(error) => return Err(error),
        }
    }
}
