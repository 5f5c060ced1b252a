//! `/metrics`, `/healthz` and `/readyz` over HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// OpenMetrics' media type.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the admin server tells of a process.
pub trait Report: Send + Sync + 'static {
    /// All metrics in OpenMetrics' text form.
    fn metrics(&self) -> String;

    /// Whether the process does its part; the error says in a few words why not.
    fn ready(&self) -> Result<(), String>;
}

/// Listens on `address` and serves until `stop`; returns the address that was bound.
///
/// `routes` are served besides: pass `Router::new()` for none.
pub async fn serve<R: Report>(
    address: SocketAddr,
    report: Arc<R>,
    routes: Router,
    stop: CancellationToken,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let router = probes(report).merge(routes);
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

fn probes<R: Report>(report: Arc<R>) -> Router {
    let metrics = Arc::clone(&report);
    let ready = move || async move {
        match report.ready() {
            Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        }
    };
    let metrics = move || async move { ([(header::CONTENT_TYPE, TEXT)], metrics.metrics()) };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    struct Process {
        ready: AtomicBool,
    }

    impl Report for Process {
        fn metrics(&self) -> String {
            "up 1\n# EOF\n".into()
        }

        fn ready(&self) -> Result<(), String> {
            if self.ready.load(Ordering::Relaxed) {
                Ok(())
            } else {
                Err("warming up".into())
            }
        }
    }

    async fn get_text(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_metrics_and_further_routes_are_served_until_the_stop() {
        let process = Arc::new(Process {
            ready: AtomicBool::new(false),
        });
        let routes = Router::new().route("/spans", get(|| async { "[]" }));
        let stop = CancellationToken::new();
        let any = "127.0.0.1:0".parse().unwrap();
        let address = serve(any, Arc::clone(&process), routes, stop.clone())
            .await
            .unwrap();
        assert!(
            get_text(address, "/healthz")
                .await
                .starts_with("HTTP/1.1 200 OK\r\n")
        );
        let answer = get_text(address, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("warming up\n"),
            "{answer}"
        );
        process.ready.store(true, Ordering::Relaxed);
        assert!(get_text(address, "/readyz").await.ends_with("ready\n"));
        let answer = get_text(address, "/metrics").await;
        assert!(
            answer.contains("application/openmetrics-text") && answer.ends_with("# EOF\n"),
            "{answer}"
        );
        assert!(get_text(address, "/spans").await.ends_with("[]"));
        stop.cancel();
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
