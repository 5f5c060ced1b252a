//! HTTP over the simulated network.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Uri};
use axum::serve::Listener;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::{ClientBuilder, ConfigExt};
use kube::{Client, Config};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::util::MapResponseLayer;
use turmoil::net::{TcpListener, TcpStream};

pub(crate) const NAMESPACE: &str = "shop";

/// Header: the identity of the process that asks.
pub(crate) const PROCESS: &str = "x-process";

const PORT: u16 = 80;

/// Serves on this host until it crashes.
pub(crate) async fn serve(routes: Router) -> turmoil::Result {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    axum::serve(Door(listener), routes).await?;
    Ok(())
}

/// A real client with a pool of connections, to this host; the process is told with each request. `answered` is called
/// with each answer.
pub(crate) fn client(
    host: &'static str,
    process: &str,
    answered: impl Fn() + Clone + Send + 'static,
) -> Result<Client, Box<dyn std::error::Error>> {
    let connector = tower::service_fn(move |_: Uri| {
        Box::pin(async move {
            let stream = TcpStream::connect((host, PORT)).await?;
            Ok::<_, io::Error>(TokioIo::new(Wire(stream)))
        })
    });
    let http = legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(None)
        .build(connector);
    let mut config = Config::new(format!("http://{host}").parse()?);
    let name = HeaderName::from_static(PROCESS);
    config.headers.push((name, HeaderValue::from_str(process)?));
    let hear = MapResponseLayer::new(move |answer| {
        answered();
        answer
    });
    Ok(ClientBuilder::new(http, NAMESPACE)
        .with_layer(&hear)
        .with_layer(&config.base_uri_layer())
        .with_layer(&config.extra_headers_layer()?)
        .build())
}

struct Door(TcpListener);

impl Listener for Door {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok(accepted) => return accepted,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A client's end of a connection.
struct Wire(TcpStream);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
