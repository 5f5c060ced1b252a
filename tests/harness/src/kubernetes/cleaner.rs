use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::sleep;

use super::KubernetesPrograms;
use crate::{Folder, cache_dir};

const SCRIPT: &str = include_str!("cleanup.sh");

/// Clears the machine of a cluster when the cluster stops, and also when its owner dies without stopping it.
///
/// It holds the lock by which only one cluster is on a machine: bridge, cgroup and rules have fixed names.
#[derive(Debug)]
pub(super) struct Cleaner {
    child: Child,
    log: PathBuf,
}

impl Cleaner {
    /// Waits for the machine, clears what a killed cleaner has left, and keeps watch over `folder`.
    pub(super) async fn arm(folder: &Folder, programs: &KubernetesPrograms) -> Result<Self> {
        let path = cache_dir()?.join("kubernetes-node.lock");
        let mut lock = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        take(&lock).await?;
        let holder = fs::read_to_string(&path)?;
        if !holder.trim().is_empty() {
            eprintln!("kubernetes: clearing what a killed cluster has left in {holder}");
            let mut child = command(Path::new(holder.trim()), programs, &path, &lock, "")?
                .arg("now")
                .stdin(Stdio::null())
                .spawn()?;
            let status = tokio::task::spawn_blocking(move || child.wait()).await??;
            ensure!(status.success(), "clear {holder}: see cleanup.log in it");
        }
        refuse_foreign_node()?;
        writeln!(lock, "{}", folder.path().display())?;
        let keep = if folder.is_temporary() { "" } else { "keep" };
        let child = command(folder.path(), programs, &path, &lock, keep)?
            .stdin(Stdio::piped())
            .spawn()
            .context("start the cleaner")?;
        Ok(Self {
            child,
            log: folder.path().join("cleanup.log"),
        })
    }

    /// Clears the machine now. Blocks for a second or two.
    pub(super) fn finish(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(
            status.success(),
            "clear the machine: {}",
            fs::read_to_string(&self.log).unwrap_or_default()
        );
        Ok(())
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            eprintln!("kubernetes: {error:#}");
        }
    }
}

async fn take(lock: &File) -> Result<()> {
    let mut told = false;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if !told => {
                eprintln!("kubernetes: waiting for the end of this machine's other cluster");
                told = true;
            }
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(200)).await,
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// Kubernetes' rules have fixed names, and clearing ours would break another node.
fn refuse_foreign_node() -> Result<()> {
    for (table, chain) in [("nat", "KUBE-SERVICES"), ("filter", "KUBE-FIREWALL")] {
        let out = Command::new("iptables")
            .args(["-w", "-t", table, "-n", "-L", chain])
            .stdin(Stdio::null())
            .output()
            .context("run iptables (Debian package iptables)")?;
        ensure!(
            !out.status.success(),
            "this machine is a Kubernetes node: iptables has the chain {chain}; stop the node and delete the chain"
        );
    }
    Ok(())
}

fn command(
    folder: &Path,
    programs: &KubernetesPrograms,
    path: &Path,
    lock: &File,
    keep: &str,
) -> Result<Command> {
    // A session of its own: what kills the owner's process group spares it.
    let mut command = Command::new("setsid");
    command
        .args(["sh", "-c", SCRIPT, "cleanup"])
        .arg(folder)
        .arg(programs.program("kube-proxy"))
        .arg(path)
        .arg(keep)
        .stdout(lock.try_clone()?)
        .stderr(Stdio::null());
    Ok(command)
}
