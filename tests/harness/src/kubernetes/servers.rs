use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::command::direct;
use super::identity::{CONTROLLERS, Identity};
use super::{ControlPlaneOptions, KubernetesPrograms, network};
use crate::{Folder, Process, free_port};

/// Where a control plane is.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) path: PathBuf,
    address: Ipv4Addr,
    port: u16,
    etcd: u16,
    etcd_peers: u16,
}

impl Site {
    pub(super) fn new(path: &Path, address: Ipv4Addr) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            address,
            port: free_port()?,
            etcd: free_port()?,
            etcd_peers: free_port()?,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}:{}", self.address, self.port)
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.path.join("certificates/apiserver.crt")
    }
}

pub(super) fn run_etcd(
    programs: &KubernetesPrograms,
    site: &Site,
    tries: u32,
    folder: Option<&Folder>,
) -> Result<Process> {
    let clients = format!("http://{}:{}", Ipv4Addr::LOCALHOST, site.etcd);
    let peers = format!("http://{}:{}", Ipv4Addr::LOCALHOST, site.etcd_peers);
    let mut command = direct(programs.program("etcd"));
    command
        // Nobody needs a test's data after a power cut.
        .args(["--unsafe-no-fsync", "--log-level=warn", "--name=test"])
        .args([
            "--listen-client-urls",
            &clients,
            "--advertise-client-urls",
            &clients,
        ])
        .args([
            "--listen-peer-urls",
            &peers,
            "--initial-advertise-peer-urls",
            &peers,
        ])
        .args(["--initial-cluster", &format!("test={peers}"), "--data-dir"])
        .arg(site.path.join(format!("etcd{tries}")));
    spawn("etcd", &mut command, site, folder)
}

pub(super) fn run_api_server(
    programs: &KubernetesPrograms,
    site: &Site,
    options: &ControlPlaneOptions,
    folder: Option<&Folder>,
) -> Result<Process> {
    let address = site.address;
    let file = |name: &str| site.path.join(name).display().to_string();
    let mut command = direct(programs.program("kube-apiserver"));
    command
        .arg(format!("--bind-address={address}"))
        .arg(format!("--advertise-address={address}"))
        .arg(format!("--secure-port={}", site.port))
        .arg(format!("--etcd-servers=http://127.0.0.1:{}", site.etcd))
        .arg(format!("--service-cluster-ip-range={}", network::SERVICES))
        .arg(format!("--token-auth-file={}", file("tokens.csv")))
        .arg(format!("--service-account-key-file={}", file("accounts.key")))
        .arg(format!(
            "--service-account-signing-key-file={}",
            file("accounts.key")
        ))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .args(["--authorization-mode=Node,RBAC", "--allow-privileged=true"])
        .arg("--enable-admission-plugins=NodeRestriction")
        .arg("--kubelet-preferred-address-types=InternalIP")
        .args(["--profiling=false", "--watch-cache=true"]);
    if address.is_loopback() {
        // Kubernetes refuses a loopback address as an endpoint of its own service.
        command.arg("--endpoint-reconciler-type=none");
    }
    command
        .args(&options.api_server_args)
        .arg(format!("--cert-dir={}", file("certificates")));
    spawn("kube-apiserver", &mut command, site, folder)
}

pub(super) fn run_controllers(
    programs: &KubernetesPrograms,
    site: &Site,
    folder: Option<&Folder>,
) -> Result<Process> {
    let file = |path: PathBuf| path.display().to_string();
    let mut command = direct(programs.program("kube-controller-manager"));
    command
        .args([
            "--leader-elect=false",
            "--secure-port=0",
            "--use-service-account-credentials=true",
        ])
        .arg(format!("--root-ca-file={}", file(site.certificate())))
        .arg(format!(
            "--service-account-private-key-file={}",
            file(site.path.join("accounts.key"))
        ))
        .arg(format!(
            "--kubeconfig={}",
            file(Identity::kubeconfig(&site.path, CONTROLLERS))
        ));
    spawn("kube-controller-manager", &mut command, site, folder)
}

fn spawn(name: &str, command: &mut Command, site: &Site, folder: Option<&Folder>) -> Result<Process> {
    Process::spawn(name, command, &site.path.join(format!("{name}.log")), folder)
}
