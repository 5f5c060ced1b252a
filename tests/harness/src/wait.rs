use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

/// Tries until it succeeds or the deadline has passed; the error then holds the last attempt's.
///
/// Conditions are written with `ensure!`: `eventually(d, "ten rows", || async { ensure!(rows() == 10); Ok(()) })`.
pub async fn eventually<T, F, Fut>(deadline: Duration, what: &str, mut attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let end = Instant::now() + deadline;
    let mut last = anyhow!("the first attempt did not end");
    loop {
        match timeout_at(end, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = error,
            Err(_) => return Err(last.context(format!("no {what} within {deadline:?}"))),
        }
        if Instant::now() >= end {
            return Err(last.context(format!("no {what} within {deadline:?}")));
        }
        sleep(Duration::from_millis(30)).await;
    }
}

/// A loopback port that nobody listens on now.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("bind a loopback port")?;
    Ok(listener.local_addr()?.port())
}
