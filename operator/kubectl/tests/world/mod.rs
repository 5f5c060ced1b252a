//! A real API server, the plugin's program, and what operator and workers would do.

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidemark_harness::{ControlPlane, ControlPlaneOptions, Folder, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

/// Within which everything that shall happen happens, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-tidemark");

pub(crate) struct World {
    pub(crate) plane: ControlPlane,
    folder: Folder,
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        Ok(Self {
            plane: ControlPlane::own(ControlPlaneOptions::default().without_controllers()).await?,
            folder: Folder::new("kubectl")?,
        })
    }

    /// Installs the definition.
    pub(crate) async fn install(&self) -> Result<()> {
        let crd = tidemark_crds::crd_yaml()?;
        self.plane.kubectl_with_input(&["apply", "-f", "-"], &crd).await?;
        eventually(PATIENCE, "served Changefeeds", || async {
            self.plane.kubectl(&["get", "changefeeds", "-A"]).await
        })
        .await?;
        Ok(())
    }

    /// A new namespace with the feed `orders`.
    pub(crate) async fn place(&self, namespace: &'static str) -> Result<Place<'_>> {
        self.plane.kubectl(&["create", "namespace", namespace]).await?;
        let place = Place {
            world: self,
            namespace,
        };
        place.apply(&feed("orders")).await?;
        Ok(place)
    }

    /// A file of that content.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Runs the plugin.
    pub(crate) async fn run(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(PROGRAM);
        command.args(args).env("KUBECONFIG", self.plane.kubeconfig());
        let command = command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        Ok(output.with_context(|| format!("{args:?} doesn't end"))??)
    }
}

/// A test's own namespace.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) world: &'a World,
    pub(crate) namespace: &'static str,
}

impl Place<'_> {
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["-n", self.namespace];
        all.extend(args);
        self.world.plane.kubectl(&all).await
    }

    pub(crate) async fn apply(&self, text: &str) -> Result<()> {
        let args = ["-n", self.namespace, "apply", "-f", "-"];
        self.world.plane.kubectl_with_input(&args, text).await?;
        Ok(())
    }

    /// Writes a part of the status of `orders`.
    pub(crate) async fn tell(&self, status: &str) -> Result<()> {
        let patch = format!("{{\"status\": {status}}}");
        let args = [
            "patch",
            "changefeed/orders",
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        self.kubectl(&args).await?;
        Ok(())
    }

    pub(crate) async fn field(&self, path: &str) -> Result<String> {
        self.kubectl(&["get", "changefeed/orders", "-o", &format!("jsonpath={path}")])
            .await
    }

    /// What the plugin writes when it succeeds.
    pub(crate) async fn says(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["-n", self.namespace];
        all.extend(args);
        let output = self.world.run(&all).await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{args:?}: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What the plugin writes when it fails; it is one line an error.
    pub(crate) async fn fails(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["-n", self.namespace];
        all.extend(args);
        failure(&self.world.run(&all).await?)
    }
}

/// What a program that failed said.
pub(crate) fn failure(output: &Output) -> Result<String> {
    let errors = String::from_utf8(output.stderr.clone())?;
    ensure!(!output.status.success(), "it succeeded: {errors}");
    ensure!(output.stdout.is_empty(), "{output:?}");
    Ok(errors)
}

pub(crate) fn feed(name: &str) -> String {
    format!(
        r#"
apiVersion: tidemark.io/v1alpha1
kind: Changefeed
metadata: {{name: {name}}}
spec:
  source: {{pd: ["http://pd:2379"]}}
  tables: ["shop.*"]
  sink: {{blackhole: {{}}}}
  workers: {{replicas: 2}}
"#
    )
}

/// An address of this machine that API servers pass requests on to: loopback is none.
pub(crate) fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// Plays a worker's admin server; answers each `/spans` with `body`.
pub(crate) async fn serve_spans(listener: TcpListener, body: &'static str) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => break,
            }
        }
        let known = request.starts_with(b"GET /spans HTTP/1.1\r\n");
        let status = if known { "200 OK" } else { "404 Not Found" };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}
