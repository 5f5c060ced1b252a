use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{Folder, once_per_machine};

const GO_MOD: &str = include_str!("../../kubernetes/go.mod");
const GO_SUM: &str = include_str!("../../kubernetes/go.sum");

/// What `kubectl version` shows; the modules' own versions are in `go.mod`.
const VERSION: &str = "1.36.3";

const PACKAGES: [&str; 7] = [
    "k8s.io/kubernetes/cmd/kube-apiserver",
    "k8s.io/kubernetes/cmd/kube-controller-manager",
    "k8s.io/kubernetes/cmd/kube-scheduler",
    "k8s.io/kubernetes/cmd/kubelet",
    "k8s.io/kubernetes/cmd/kube-proxy",
    "k8s.io/kubernetes/cmd/kubectl",
    "helm.sh/helm/v4/cmd/helm",
];

/// Where the programs of Kubernetes are; built with Go once per machine.
#[derive(Clone, Debug)]
pub struct KubernetesPrograms {
    folder: PathBuf,
}

impl KubernetesPrograms {
    /// Builds them unless they are there: then it takes about six minutes.
    pub async fn get() -> Result<Self> {
        let folder = tokio::task::spawn_blocking(|| {
            once_per_machine(&format!("kubernetes-{VERSION}"), |folder| {
                eprintln!("kubernetes: building {VERSION} with Go (once, about six minutes)");
                build(folder)?;
                eprintln!("kubernetes: built");
                Ok(())
            })
        })
        .await??;
        Ok(Self { folder })
    }

    /// The `kubectl` program.
    pub fn kubectl(&self) -> PathBuf {
        self.program("kubectl")
    }

    /// The `helm` program, of version 4.
    pub fn helm(&self) -> PathBuf {
        self.program("helm")
    }

    /// Another program, like `etcd` or `kube-apiserver`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn build(folder: &Path) -> Result<()> {
    // Go wants to write to go.mod's folder, and the sources may be read-only.
    let module = Folder::new("kubernetes-module")?;
    std::fs::write(module.path().join("go.mod"), GO_MOD)?;
    std::fs::write(module.path().join("go.sum"), GO_SUM)?;
    let key = "-X k8s.io/component-base/version.git";
    let minor = VERSION
        .split('.')
        .nth(1)
        .context("a version has a minor number")?;
    let flags = format!("-s -w {key}Version=v{VERSION} {key}Major=1 {key}Minor={minor}");
    let mut all = PathBuf::from(folder).into_os_string();
    all.push("/");
    go(module.path(), &flags, all.as_ref(), &PACKAGES)?;
    go(
        module.path(),
        "-s -w",
        &folder.join("etcd"),
        &["go.etcd.io/etcd/server/v3"],
    )
}

fn go(module: &Path, flags: &str, output: &Path, packages: &[&str]) -> Result<()> {
    let out = Command::new("go")
        .args(["build", "-trimpath", "-ldflags", flags, "-o"])
        .arg(output)
        .args(packages)
        .current_dir(module)
        .env("CGO_ENABLED", "0")
        .output()
        .context("run go (https://go.dev, or Debian package golang)")?;
    ensure!(
        out.status.success(),
        "go build {}: {}",
        packages.join(" "),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}
