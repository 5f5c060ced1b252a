//! `/metrics`, `/healthz` and `/readyz` over HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// OpenMetrics' media type.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens on `address` and serves until `stop`; returns the address that was bound.
pub async fn serve(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let ready = Arc::clone(&metrics);
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || async move {
                if ready.is_ready() {
                    (StatusCode::OK, "streaming\n")
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, "not streaming\n")
                }
            }),
        )
        .route(
            "/metrics",
            get(move || async move { ([(header::CONTENT_TYPE, TEXT)], metrics.text()) }),
        );
    tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "The admin server ended");
        }
    });
    Ok(bound)
}
