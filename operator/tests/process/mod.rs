//! The program itself: stands by, takes over, ends.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tidemark_harness::{eventually, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::world::{PATIENCE, World, feed};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidemark-operator");

pub(crate) struct Standby {
    child: Child,
    port: u16,
}

impl Standby {
    /// Starts a second operator, while the first leads.
    pub(crate) async fn start(world: &World) -> Result<Self> {
        let port = free_port()?;
        let child = Command::new(PROGRAM)
            .args([
                "--log-format",
                "json",
                "run",
                "--image",
                "tidemark:test",
                "--own-namespace",
                "default",
            ])
            .args([
                "--namespace",
                "takeover,other",
                "--admin",
                &format!("127.0.0.1:{port}"),
            ])
            .env("KUBECONFIG", world.plane.kubeconfig_for("operator")?)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let standby = Self { child, port };
        eventually(PATIENCE, "readiness", || standby.answers("/readyz", "200 OK")).await?;
        standby.answers("/metrics", "tidemark_operator_leader 0").await?;
        Ok(standby)
    }

    /// The first operator is gone: this one serves its namespaces, and no others.
    pub(crate) async fn takes_over(&self, world: &World) -> Result<()> {
        eventually(PATIENCE, "leadership", || {
            self.answers("/metrics", "tidemark_operator_leader 1")
        })
        .await?;
        let (place, other) = (world.place("takeover").await?, world.place("unserved").await?);
        other.apply(&feed("shop")).await?;
        place.apply(&feed("shop")).await?;
        place.shows("shop", &["Ready=False/Starting"]).await?;
        self.answers("/metrics", "tidemark_operator_reconciles_total{result=\"ok\"}")
            .await?;
        let counted = "tidemark_operator_feeds{condition=\"Ready\",reason=\"Starting\"} 1";
        eventually(PATIENCE, "count of feeds", || self.answers("/metrics", counted)).await?;
        let status = other.field("changefeed/shop", "{.status}").await?;
        ensure!(
            status.is_empty(),
            "a namespace that is not served was served: {status}"
        );
        Ok(())
    }

    /// Ends it as Kubernetes does.
    pub(crate) async fn end(mut self) -> Result<()> {
        let pid = self.child.id().context("a running operator")?.to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await?;
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        ensure!(status.success(), "the operator ended with {status}");
        Ok(())
    }

    async fn answers(&self, path: &str, words: &str) -> Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.contains(words), "{words:?} is not in {answer}");
        Ok(())
    }
}

/// The definition is printed as it is checked in.
pub(crate) async fn prints_the_definition() -> Result<()> {
    let output = Command::new(PROGRAM).arg("crd").output().await?;
    ensure!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout)?;
    ensure!(printed == tidemark_crds::crd_yaml()?, "{printed}");
    Ok(())
}
