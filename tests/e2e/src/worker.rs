use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tidemark_harness::{Folder, Process, Usage, eventually, free_port};

/// How long a worker may take for what it is told.
const PATIENCE: Duration = Duration::from_secs(120);

/// A worker process of a feed, which can be killed and started again on its state folder.
#[derive(Debug)]
pub struct Worker {
    binary: PathBuf,
    folder: Folder,
    admin: u16,
    process: Option<Process>,
    /// Settings of the command line besides the usual ones.
    arguments: Vec<String>,
}

impl Worker {
    /// A worker for the feed's YAML; not started.
    pub fn new(binary: &Path, feed: &str) -> Result<Self> {
        let folder = Folder::new("worker")?;
        std::fs::write(folder.path().join("feed.yaml"), feed)?;
        Ok(Self {
            binary: binary.to_owned(),
            folder,
            admin: free_port()?,
            process: None,
            arguments: Vec::new(),
        })
    }

    /// The binary that `cargo build -p tidemark-worker` left beside the tests' own, or `TIDEMARK_WORKER`.
    pub fn built() -> Result<PathBuf> {
        if let Some(path) = std::env::var_os("TIDEMARK_WORKER") {
            return Ok(path.into());
        }
        let own = std::env::current_exe()?;
        let found = own
            .ancestors()
            .skip(1)
            .take(2)
            .map(|folder| folder.join("tidemark-worker"));
        found
            .into_iter()
            .find(|path| path.is_file())
            .context("no worker beside the tests: cargo build -p tidemark-worker")
    }

    /// Adds an argument of the command line.
    pub fn argument(&mut self, text: &str) {
        self.arguments.push(text.to_owned());
    }

    /// Puts a key of a Secret where the worker finds it.
    pub fn secret(&self, secret: &str, key: &str, value: &str) -> Result<()> {
        let folder = self.folder.path().join("secrets").join(secret);
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join(key), value)?)
    }

    /// The folder of the feed's file, its state and its log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The state folder.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Starts the process.
    pub fn start(&mut self) -> Result<()> {
        let folder = self.folder.path();
        let mut command = Command::new(&self.binary);
        command
            .arg("run")
            .args(&self.arguments)
            .args(["--admin", &format!("127.0.0.1:{}", self.admin)])
            .arg("--secrets")
            .arg(folder.join("secrets"))
            .arg("--changefeed")
            .arg(folder.join("feed.yaml"))
            .arg("--state")
            .arg(self.state());
        self.process = Some(Process::spawn(
            "worker",
            &mut command,
            &folder.join("worker.log"),
            None,
        )?);
        Ok(())
    }

    /// Starts the process and waits until it streams.
    pub async fn start_ready(&mut self) -> Result<()> {
        self.start()?;
        let admin = self.admin;
        let log = self.folder.path().join("worker.log");
        let ready = eventually(PATIENCE, "streaming worker", || async move {
            let (status, body) = http_get(admin, "/readyz").await?;
            ensure!(status == 200, "/readyz: {status} {body}");
            Ok(())
        });
        tokio::select! {
            ready = ready => ready.with_context(|| tail(&log)),
            ended = self.ended() => bail!("the worker ended: {:?}\n{}", ended?, tail(&log)),
        }
    }

    async fn ended(&mut self) -> Result<ExitStatus> {
        let process = self.process.as_mut().context("not started")?;
        process.wait(PATIENCE * 2).await
    }

    /// Kills the process (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("not started")?.kill()
    }

    /// The running process, to be signalled or measured.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("not started")
    }

    /// CPU time and memory so far.
    pub fn usage(&self) -> Result<Usage> {
        self.process.as_ref().context("not started")?.usage()
    }

    /// Asks it to drain and end (SIGTERM); fails unless it ends well.
    pub async fn drain(&mut self) -> Result<()> {
        let mut process = self.process.take().context("not started")?;
        let status = process.terminate(PATIENCE).await?;
        ensure!(
            status.success(),
            "the worker ended with {status}\n{}",
            process.log_tail()
        );
        Ok(())
    }

    /// Waits until it ends by itself; gives its exit code and all it has printed.
    pub async fn outcome(&mut self) -> Result<(Option<i32>, String)> {
        let mut process = self.process.take().context("not started")?;
        let status = process.wait(PATIENCE).await?;
        Ok((status.code(), process.log_text()))
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = http_get(self.admin, "/metrics").await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.with_context(|| format!("no metric {name}"))?
            .parse()
            .context("a number")
    }

    /// The checkpoint as its metrics tell it.
    pub async fn checkpoint(&self) -> Result<u64> {
        let (_, text) = http_get(self.admin, "/metrics").await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("tidemark_checkpoint_ts "));
        line.context("no checkpoint")?.parse().context("a ts")
    }

    /// Waits until the checkpoint is above `ts`.
    pub async fn checkpoint_above(&self, ts: u64) -> Result<()> {
        eventually(PATIENCE, "checkpoint that moves", || async {
            let checkpoint = self.checkpoint().await?;
            ensure!(checkpoint > ts, "checkpoint {checkpoint} is not above {ts}");
            Ok(())
        })
        .await
        .with_context(|| self.log_tail())
    }

    /// The checkpoint in the state folder.
    pub fn saved_checkpoint(&self) -> Result<u64> {
        let saved: serde_json::Value =
            serde_json::from_slice(&std::fs::read(self.state().join("checkpoint.json"))?)?;
        saved["checkpoint_ts"]
            .as_str()
            .context("no checkpoint")?
            .parse()
            .context("a ts")
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.folder.path().join("worker.log"))
    }

    /// All it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("worker.log")).unwrap_or_default()
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// A GET request by hand: two paths of a loopback server need no HTTP client.
pub(crate) async fn http_get(port: u16, path: &str) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
