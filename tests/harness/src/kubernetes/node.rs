use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::command::direct;
use super::containers::Containers;
use super::identity::{Identity, NODE, PROXY, SCHEDULER};
use super::{ControlPlane, KubernetesPrograms, network};
use crate::{Process, eventually, free_port};

/// Until the node is ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// The cgroup of all pods. `cleanup.sh` names it too.
const CGROUP: &str = "tidemark-kubernetes";

/// The scheduler, and what makes this machine a node: containerd, the kubelet and kube-proxy.
// Fields are dropped in order: the kubelet would miss its containerd.
#[derive(Debug)]
pub(super) struct Node {
    keeper: Keeper,
    pub(super) containers: Containers,
}

/// Starts servers again that end: after an outage of the API server the scheduler may find its memory in disorder, and
/// leaves it to others to start it anew.
#[derive(Debug)]
struct Keeper {
    servers: Arc<Mutex<Vec<Server>>>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Server {
    make: Make,
    process: Process,
}

/// Gives a server's name and command.
type Make = fn(&KubernetesPrograms, &Path) -> (&'static str, Command);

/// How often servers are looked at that should run.
const LOOK: Duration = Duration::from_millis(500);

impl Node {
    /// Starts them with their files in the folder, and waits until pods can be scheduled.
    pub(super) async fn start(
        programs: &KubernetesPrograms,
        plane: &ControlPlane,
        folder: &Path,
    ) -> Result<Self> {
        make_cgroup()?;
        // Pods get no name server: there is none.
        fs::write(folder.join("resolv.conf"), "")?;
        let containers = Containers::start(folder).await?;
        fs::write(
            folder.join("kubelet.yaml"),
            kubelet_settings(folder, containers.socket())?,
        )?;
        fs::write(folder.join("kube-proxy.yaml"), proxy_settings(folder)?)?;
        let keeper = Keeper {
            servers: Arc::default(),
            task: None,
        };
        for make in [scheduler as Make, kubelet, proxy] {
            let process = run(make, programs, folder)?;
            keeper.servers.lock().push(Server { make, process });
        }
        let mut node = Self { keeper, containers };
        node.ready(plane).await?;
        node.keeper.keep(programs, folder);
        Ok(node)
    }

    async fn ready(&self, plane: &ControlPlane) -> Result<()> {
        eventually(PATIENCE, "ready node", || async {
            if let Some(ended) = self.ended()? {
                return Ok(Err(ended));
            }
            let node = format!("node/{NODE}");
            let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status} {.spec.taints}";
            let ready = plane.kubectl(&["get", &node, "-o", path]).await?;
            ensure!(ready.trim() == "True", "ready and taints: {ready}");
            Ok(Ok(()))
        })
        .await
        .with_context(|| self.logs())?
        .map_err(anyhow::Error::msg)
    }

    fn ended(&self) -> Result<Option<String>> {
        for Server { process, .. } in &mut *self.keeper.servers.lock() {
            if let Some(status) = process.exited()? {
                return Ok(Some(format!(
                    "{} ended: {status}\n{}",
                    process.log().display(),
                    process.log_tail()
                )));
            }
        }
        Ok(None)
    }

    fn logs(&self) -> String {
        let servers = self.keeper.servers.lock();
        let tails: Vec<_> = servers.iter().map(|server| server.process.log_tail()).collect();
        tails.join("\n")
    }
}

impl Keeper {
    fn keep(&mut self, programs: &KubernetesPrograms, folder: &Path) {
        let servers = Arc::clone(&self.servers);
        let (programs, folder) = (programs.clone(), folder.to_owned());
        self.task = Some(tokio::spawn(async move {
            loop {
                sleep(LOOK).await;
                for Server { make, process } in &mut *servers.lock() {
                    if !matches!(process.exited(), Ok(None)) {
                        match run(*make, &programs, &folder) {
                            Ok(fresh) => *process = fresh,
                            Err(error) => eprintln!("kubernetes: {error:#}"),
                        }
                    }
                }
            }
        }));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        // The task may hold them a little longer.
        self.servers.lock().clear();
    }
}

fn run(make: Make, programs: &KubernetesPrograms, folder: &Path) -> Result<Process> {
    let (name, mut command) = make(programs, folder);
    Process::spawn(name, &mut command, &folder.join(format!("{name}.log")), None)
}

fn kubeconfig(folder: &Path, user: &str) -> PathBuf {
    Identity::kubeconfig(folder, user)
}

fn scheduler(programs: &KubernetesPrograms, folder: &Path) -> (&'static str, Command) {
    let mut command = direct(programs.program("kube-scheduler"));
    command
        .args(["--leader-elect=false", "--secure-port=0"])
        .arg(format!(
            "--kubeconfig={}",
            kubeconfig(folder, SCHEDULER).display()
        ));
    ("kube-scheduler", command)
}

fn kubelet(programs: &KubernetesPrograms, folder: &Path) -> (&'static str, Command) {
    let user = format!("system:node:{NODE}");
    let mut command = direct(programs.program("kubelet"));
    command
        .arg(format!("--hostname-override={NODE}"))
        .arg(format!("--node-ip={}", network::HOST))
        .arg(format!("--kubeconfig={}", kubeconfig(folder, &user).display()))
        .arg(format!("--root-dir={}", folder.join("kubelet").display()))
        .arg(format!(
            "--cert-dir={}",
            folder.join("kubelet-certificates").display()
        ))
        .arg(format!("--config={}", folder.join("kubelet.yaml").display()));
    ("kubelet", command)
}

fn proxy(programs: &KubernetesPrograms, folder: &Path) -> (&'static str, Command) {
    let mut command = direct(programs.program("kube-proxy"));
    command.arg(format!("--config={}", folder.join("kube-proxy.yaml").display()));
    ("kube-proxy", command)
}

fn kubelet_settings(folder: &Path, socket: &Path) -> Result<String> {
    let port = free_port()?;
    let (address, folder, socket) = (network::HOST, folder.display(), socket.display());
    // Disks of test machines are often nearly full: neither pods nor images go because of that.
    Ok(format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {address}
port: {port}
healthzPort: 0
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
containerRuntimeEndpoint: unix://{socket}
cgroupDriver: cgroupfs
cgroupRoot: /{CGROUP}
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
oomScoreAdj: 0
podLogsDir: {folder}/logs
volumePluginDir: {folder}/volume-plugins
resolvConf: {folder}/resolv.conf
evictionHard: {{memory.available: 1Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0%}}
imageGCHighThresholdPercent: 100
syncFrequency: 5s
nodeStatusUpdateFrequency: 5s
"
    ))
}

fn proxy_settings(folder: &Path) -> Result<String> {
    let (health, metrics) = (free_port()?, free_port()?);
    let kubeconfig = kubeconfig(folder, PROXY);
    // Masquerading all keeps answers between pods of the one bridge on their way through the host.
    Ok(format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: {NODE}
healthzBindAddress: 127.0.0.1:{health}
metricsBindAddress: 127.0.0.1:{metrics}
oomScoreAdj: 0
clientConnection: {{kubeconfig: \"{}\"}}
iptables: {{masqueradeAll: true, localhostNodePorts: false, minSyncPeriod: 100ms}}
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
",
        kubeconfig.display()
    ))
}

/// Makes the cgroup of all pods, in every hierarchy of version 1 or in the one of version 2.
fn make_cgroup() -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        // A controller that can't be delegated is one that the kubelet complains about itself.
        for name in ["cpu", "cpuset", "memory", "pids", "hugetlb", "io"] {
            let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{name}"));
        }
        return fs::create_dir_all(root.join(CGROUP)).context("make the pods' cgroup");
    }
    for entry in fs::read_dir(root)? {
        let dir = entry?.path();
        if dir.join("cgroup.procs").exists() {
            fs::create_dir_all(dir.join(CGROUP))
                .with_context(|| format!("make the pods' cgroup in {}", dir.display()))?;
        }
    }
    Ok(())
}
