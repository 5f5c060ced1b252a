//! Stands between a sink and the S3 server, where the network is: holds requests back, loses answers.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidemark_harness::anyhow::{Context, Result, ensure};
use tidemark_harness::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

const SOON: Duration = Duration::from_secs(60);

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits for [`Proxy::release`], then goes on.
    Held,
    /// It is done, and its answer is lost.
    Unanswered,
    /// The server doesn't know what is asked for.
    Unknown,
}

/// A proxy on a loopback port.
pub(crate) struct Proxy {
    endpoint: String,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// Requests with this text in their head, and what becomes of the next such.
    rules: Mutex<Vec<(String, Fate)>>,
    /// `GET /path`, as they are answered or held.
    log: Mutex<Vec<String>>,
    released: Notify,
}

impl Proxy {
    pub(crate) async fn start(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = endpoint.strip_prefix("http://").unwrap().to_owned();
        let shared = Arc::new(Shared::default());
        let of_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (shared, server) = (Arc::clone(&of_task), server.clone());
                // A client that goes away is its own affair.
                connections.spawn(async move { pass_on(client, &server, &shared).await.ok() });
            }
        });
        Self {
            endpoint: format!("http://{address}"),
            shared,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What becomes of requests that have this text in their head: of the next one, or of all that the server doesn't know.
    pub(crate) fn rule(&self, text: &str, fate: Fate) {
        self.shared.rules.lock().push((text.to_owned(), fate));
    }

    /// Lets the held requests go on.
    pub(crate) fn release(&self) {
        self.shared.released.notify_waiters();
    }

    /// Waits until a request whose line ends so was answered, or is held.
    pub(crate) async fn seen(&self, end: &str) {
        eventually(SOON, end, || async {
            let log = self.shared.log.lock();
            ensure!(log.iter().any(|line| line.ends_with(end)), "{log:?}");
            Ok(())
        })
        .await
        .unwrap();
    }
}

impl Shared {
    fn fate(&self, head: &str) -> Option<Fate> {
        let mut rules = self.rules.lock();
        let at = rules.iter().position(|(text, _)| head.contains(text.as_str()))?;
        let fate = rules[at].1;
        if fate != Fate::Unknown {
            rules.remove(at);
        }
        Some(fate)
    }
}

/// One request, on a connection of its own.
async fn pass_on(mut client: TcpStream, server: &str, shared: &Shared) -> Result<()> {
    let mut request = Vec::new();
    let end = loop {
        if let Some(at) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 2;
        }
        ensure!(client.read_buf(&mut request).await? > 0, "no request");
    };
    let head = String::from_utf8(request[..end].to_vec())?.to_ascii_lowercase();
    let length = match head.split_once("content-length: ") {
        Some((_, rest)) => rest.split("\r\n").next().context("length")?.parse()?,
        None => 0,
    };
    while request.len() < end + 2 + length {
        ensure!(client.read_buf(&mut request).await? > 0, "half a request");
    }
    let text = String::from_utf8_lossy(&request[..end]).into_owned();
    let line = text.split(" HTTP/1.1").next().context("line")?.to_owned();
    let fate = shared.fate(&text);
    if fate == Some(Fate::Unknown) {
        let body = "<Error><Code>NotImplemented</Code></Error>";
        let answer = format!(
            "HTTP/1.1 501 Not Implemented\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        client.write_all(answer.as_bytes()).await?;
        return Ok(());
    }
    if fate == Some(Fate::Held) {
        let released = shared.released.notified();
        shared.log.lock().push(line.clone());
        released.await;
    }
    request.splice(end..end, *b"connection: close\r\n");
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(&request).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    if fate != Some(Fate::Unanswered) {
        client.write_all(&answer).await?;
    }
    if fate != Some(Fate::Held) {
        shared.log.lock().push(line);
    }
    Ok(())
}
