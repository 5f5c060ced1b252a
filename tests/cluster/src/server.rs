//! Sockets that die as a killed process's do: the listener and all connections at once.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, Router, TcpConnectInfo};

/// HTTP/2 windows: large, so that a stream of big events isn't paced by round trips.
const WINDOW: u32 = 16 << 20;

/// A running server; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    kill: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Running {
    /// Closes the listener and every connection; waits until the port is free.
    pub(crate) async fn kill(mut self) {
        self.kill.cancel();
        if let Some(task) = self.task.take() {
            // It ends by itself; a panic inside it has been reported already.
            let _ = task.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}

/// A builder of gRPC servers with the settings that all parts of the cluster use.
pub(crate) fn builder() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(1024)
}

/// Serves on the listener until killed.
pub(crate) fn serve(listener: TcpListener, router: Router) -> Running {
    let kill = CancellationToken::new();
    let connections = killable(listener, kill.clone());
    let stop = kill.clone().cancelled_owned();
    let task = tokio::spawn(async move {
        if let Err(error) = router.serve_with_incoming_shutdown(connections, stop).await {
            tracing::warn!(%error, "the embedded cluster's server ended");
        }
    });
    Running {
        kill,
        task: Some(task),
    }
}

/// Binds a port of the address; 0 takes a free one.
pub(crate) async fn listen(address: Ipv4Addr, port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((address, port))).await
}

fn killable(listener: TcpListener, kill: CancellationToken) -> impl Stream<Item = io::Result<Connection>> {
    TcpListenerStream::new(listener).map(move |accepted| {
        let stream = accepted?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            killed: Box::pin(kill.clone().cancelled_owned()),
        })
    })
}

/// A connection that fails once its server is killed.
struct Connection {
    stream: TcpStream,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.killed.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
