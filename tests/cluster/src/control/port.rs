//! The control port's server and client.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::command::Command;
use crate::cluster::Cluster;

/// Longest that a command may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What comes back for a command.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was done.
    Ok(Value),
    /// It was not, for this reason.
    Error(String),
}

/// Why a command got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The port can't be reached, or the connection broke.
    #[error("the control port {address} gives no answer; is `tikv-embedded start` running?")]
    Connection {
        /// `host:port`.
        address: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The answer makes no sense.
    #[error("the control port answered with something else than JSON")]
    Answer(#[from] serde_json::Error),
    /// The command took too long.
    #[error("the command took more than {} s", DEADLINE.as_secs())]
    Deadline,
    /// The cluster refused.
    #[error("{0}")]
    Refused(String),
}

/// Serves commands until the listener fails; to be run as a task of its own.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, cluster: Cluster) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let cluster = cluster.clone();
        // The task ends with its connection.
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &cluster).await {
                tracing::debug!(%error, "a control connection broke");
            }
        });
    }
}

async fn converse(stream: TcpStream, cluster: &Cluster) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str::<Command>(&line) {
            Ok(command) => match command.run(cluster).await {
                Ok(value) => Answer::Ok(value),
                Err(error) => Answer::Error(error.to_string()),
            },
            Err(error) => Answer::Error(format!("no such command: {error}")),
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        write.write_all(&text).await?;
    }
    Ok(())
}

/// Sends one command to the control port at `host:port`.
///
/// # Errors
/// No answer, or a refusal.
pub async fn ask(address: &str, command: &Command) -> Result<Value, ControlError> {
    let broken = |source| ControlError::Connection {
        address: address.to_owned(),
        source,
    };
    let talk = async {
        let mut stream = TcpStream::connect(address).await.map_err(broken)?;
        let mut text = serde_json::to_vec(command)?;
        text.push(b'\n');
        stream.write_all(&text).await.map_err(broken)?;
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .await
            .map_err(broken)?;
        match serde_json::from_str(&line)? {
            Answer::Ok(value) => Ok(value),
            Answer::Error(text) => Err(ControlError::Refused(text)),
        }
    };
    tokio::time::timeout(DEADLINE, talk)
        .await
        .map_err(|_| ControlError::Deadline)?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::ClusterConfig;

    #[tokio::test]
    async fn commands_go_over_the_port_and_come_back() {
        let cluster = Cluster::start(ClusterConfig {
            stores: 3,
            ..Default::default()
        })
        .await
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(serve(listener, cluster.clone()));
        let split = Command::Split { key: "m".to_owned() };
        ask(&address, &split).await.unwrap();
        assert_eq!(cluster.regions().len(), 6);
        let refused = ask(&address, &split).await.unwrap_err();
        assert!(matches!(refused, ControlError::Refused(_)), "{refused}");
        let regions = ask(&address, &Command::Regions).await.unwrap();
        assert_eq!(regions.as_array().map(Vec::len), Some(6));
        server.abort();
    }
}
