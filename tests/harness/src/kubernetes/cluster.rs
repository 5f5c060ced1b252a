use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::cleaner::Cleaner;
use super::command::{direct, output};
use super::node::Node;
use super::{ControlPlane, ControlPlaneOptions, KubernetesPrograms, network};
use crate::{Folder, Signal};

/// A control plane and a node, this machine, on which pods really run. Needs root, containerd, runc, CNI plugins and
/// iptables. A machine has one at a time: a second waits for the first to stop.
///
/// Images come from files alone, so pods need `imagePullPolicy: Never` or `IfNotPresent`. There is no cluster DNS: pods
/// reach each other by address, and services by theirs.
// Fields are dropped in order, the cleaner last but for the folder.
#[derive(Debug)]
pub struct KubernetesCluster {
    node: Node,
    plane: ControlPlane,
    cleaner: Cleaner,
    programs: KubernetesPrograms,
    _folder: Folder,
}

impl KubernetesCluster {
    /// Starts a cluster and waits until pods can run.
    pub async fn start(options: ControlPlaneOptions) -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "a Kubernetes node needs root, for its containers and its network: run as root, or use ControlPlane alone"
        );
        let programs = KubernetesPrograms::get().await?;
        let folder = Folder::new("kubernetes")?;
        let cleaner = Cleaner::arm(&folder, &programs).await?;
        let begun = Instant::now();
        network::set_up(folder.path()).await?;
        let plane = ControlPlane::launch(&programs, options, folder.path(), network::HOST, None).await?;
        let node = Node::start(&programs, &plane, folder.path()).await?;
        eprintln!(
            "kubernetes: cluster ready at {} after {:.1?}",
            plane.url(),
            begun.elapsed()
        );
        Ok(Self {
            node,
            plane,
            cleaner,
            programs,
            _folder: folder,
        })
    }

    /// The API server and kubectl.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// kubectl, helm and the rest.
    pub fn programs(&self) -> &KubernetesPrograms {
        &self.programs
    }

    /// The host as pods see it: they reach servers that listen on this address.
    pub fn host_ip_for_pods(&self) -> Ipv4Addr {
        network::HOST
    }

    /// Runs kubectl as the administrator; returns what it prints.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.plane.kubectl(args).await
    }

    /// Lets pods use the images of an archive in docker's or OCI's format.
    pub async fn import_image(&self, archive: &Path) -> Result<()> {
        self.node.containers.import(archive).await
    }

    /// Gives an image that pods can use another name.
    pub async fn tag_image(&self, name: &str, other: &str) -> Result<()> {
        self.node.containers.tag(name, other).await
    }

    /// Runs helm as the administrator; returns what it prints.
    pub async fn helm(&self, args: &[&str]) -> Result<String> {
        let mut command = direct(self.programs.helm());
        command
            .arg("--kubeconfig")
            .arg(self.plane.kubeconfig())
            .args(args);
        output(command, None).await
    }

    /// Builds an image, as [`build_image_archive`](crate::build_image_archive) does, and lets pods use it.
    pub async fn build_image(&self, name: &str, context: &Path) -> Result<()> {
        self.node.containers.build(name, context).await
    }

    /// The process id, on this machine, of the main process of a pod's only running container.
    pub async fn container_pid(&self, namespace: &str, pod: &str) -> Result<u32> {
        self.node.containers.pid(namespace, pod).await
    }

    /// Sends a signal to the main process of a pod's only running container: `Signal::KILL`, `STOP`, `CONT`, ….
    pub async fn kill_container(&self, namespace: &str, pod: &str, signal: Signal) -> Result<()> {
        self.node.containers.signal(namespace, pod, signal).await
    }

    /// Stops everything and clears the machine; dropping does the same, but only prints what fails.
    pub async fn stop(self) -> Result<()> {
        let Self {
            node,
            plane,
            mut cleaner,
            _folder: folder,
            ..
        } = self;
        tokio::task::spawn_blocking(move || {
            drop(node);
            drop(plane);
            let cleared = cleaner.finish();
            drop(folder);
            cleared
        })
        .await?
    }
}
