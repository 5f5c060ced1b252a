//! A real S3 server: versitygw over a temporary folder, built with Go from its module.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::net::TcpStream;

use crate::{Folder, Process, eventually, free_port, once_per_machine};

const MODULE: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";

const BUCKET: &str = "tidemark";
const ACCESS_KEY: &str = "tidemark-tests";
const SECRET_KEY: &str = "tidemark-tests-secret";

/// Until the server answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// An S3 server of the test's own with one bucket, or the user's:
/// `TIDEMARK_TEST_S3=<endpoint>,<bucket>,<access key>,<secret key>[,<region>]`.
#[derive(Debug)]
pub struct S3Server {
    endpoint: String,
    bucket: String,
    access_key: String,
    secret_key: String,
    region: String,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    process: Process,
    // Removed after the process has ended: fields are dropped in order.
    folder: Folder,
}

impl S3Server {
    /// The user's server if `TIDEMARK_TEST_S3` names one, else a new one on a loopback port.
    pub async fn start() -> Result<Self> {
        match std::env::var("TIDEMARK_TEST_S3") {
            Ok(text) if !text.is_empty() => Self::users(&text),
            _ => Self::own().await,
        }
    }

    /// A new server, for tests that look into its folder or stop it.
    pub async fn own() -> Result<Self> {
        Self::own_at(Ipv4Addr::LOCALHOST).await
    }

    /// A new server that listens on an address of this machine, for clients in a network of their own.
    pub async fn own_at(address: Ipv4Addr) -> Result<Self> {
        let program = tokio::task::spawn_blocking(program).await??;
        let begun = Instant::now();
        let mut last = None;
        for _ in 0..3 {
            // A free port may be taken by another process before the server binds it.
            match Self::run(&program, address).await {
                Ok(server) => {
                    eprintln!("s3: ready at {} after {:.1?}", server.endpoint, begun.elapsed());
                    return Ok(server);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no try")?)
    }

    async fn run(program: &Path, address: Ipv4Addr) -> Result<Self> {
        let folder = Folder::new("s3")?;
        let data = folder.path().join("buckets");
        std::fs::create_dir_all(data.join(BUCKET))?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command
            .args(["--port", &format!("{address}:{port}"), "--quiet"])
            .env("ROOT_ACCESS_KEY_ID", ACCESS_KEY)
            .env("ROOT_SECRET_ACCESS_KEY", SECRET_KEY)
            .arg("posix")
            .arg(&data);
        let process = Process::spawn("s3", &mut command, &folder.path().join("log"), Some(&folder))?;
        let mut own = Own { process, folder };
        let up = eventually(PATIENCE, "answer of the S3 server", || {
            let ended = own.process.exited();
            async move {
                if let Some(status) = ended? {
                    return Ok(Err(status));
                }
                TcpStream::connect((address, port)).await?;
                Ok(Ok(()))
            }
        })
        .await?;
        if let Err(status) = up {
            bail!("the S3 server ended: {status}\n{}", own.process.log_tail());
        }
        Ok(Self {
            endpoint: format!("http://{address}:{port}"),
            bucket: BUCKET.into(),
            access_key: ACCESS_KEY.into(),
            secret_key: SECRET_KEY.into(),
            region: "us-east-1".into(),
            own: Some(own),
        })
    }

    fn users(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(',').collect();
        ensure!(
            matches!(parts.len(), 4 | 5),
            "TIDEMARK_TEST_S3: write <endpoint>,<bucket>,<access key>,<secret key>[,<region>]"
        );
        Ok(Self {
            endpoint: parts[0].into(),
            bucket: parts[1].into(),
            access_key: parts[2].into(),
            secret_key: parts[3].into(),
            region: (*parts.get(4).unwrap_or(&"us-east-1")).into(),
            own: None,
        })
    }

    /// `http://host:port`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The bucket for tests; each takes a prefix of its own in it.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The access key id.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret access key.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The bucket's folder, unless the server is the user's.
    pub fn bucket_folder(&self) -> Option<PathBuf> {
        let own = self.own.as_ref()?;
        Some(own.folder.path().join("buckets").join(&self.bucket))
    }

    /// The server's process, unless the server is the user's: for tests that pause or kill it.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.own.as_mut().map(|own| &mut own.process)
    }
}

/// The server's binary; built with Go on first use. Blocks.
fn program() -> Result<PathBuf> {
    let folder = once_per_machine("versitygw-1.8.0", |folder| {
        eprintln!("s3: building {MODULE} with Go (once, about two minutes)");
        let out = Command::new("go")
            .args(["install", "-trimpath", "-ldflags", "-s -w", MODULE])
            .env("GOBIN", folder)
            .env("CGO_ENABLED", "0")
            .output()
            .context("run go (https://go.dev, or Debian package golang)")?;
        ensure!(
            out.status.success(),
            "go install {MODULE}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        eprintln!("s3: built");
        Ok(())
    })?;
    Ok(folder.join("versitygw"))
}
