use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use tidemark_harness::{ControlPlane, ControlPlaneOptions, Folder, Process, eventually, free_port};

use crate::audit::{self, Call};

/// Within which everything that shall happen happens, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The user that the operator is.
pub const OPERATOR: &str = "operator";
/// What it may do, as the chart grants it.
const RIGHTS: &str = include_str!("../../../operator/tests/rbac.yaml");
const AUDIT: &str = "audit.log";

/// An API server with an operator, which has the rights that the chart gives it. It writes down every call of operator and
/// workers.
pub struct Plane {
    /// The API server and its etcd.
    pub servers: ControlPlane,
    client: Client,
    folder: Folder,
    worker: PathBuf,
    operator: Process,
}

impl Plane {
    /// Starts API server and operator; `worker` is the worker's binary, and the operator's lies beside it.
    pub async fn start(worker: PathBuf) -> Result<Arc<Self>> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = Folder::new("plane")?;
        let policy = folder.path().join("policy.yaml");
        std::fs::write(&policy, audit::POLICY)?;
        let mut options = ControlPlaneOptions::default().user(OPERATOR, &[]);
        options.api_server_args = vec![
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", folder.path().join(AUDIT).display()),
        ];
        let servers = ControlPlane::own(options).await?;
        for document in [&*tidemark_crds::crd_yaml()?, RIGHTS] {
            servers
                .kubectl_with_input(&["apply", "-f", "-"], document)
                .await?;
        }
        eventually(PATIENCE, "served Changefeeds", || async {
            servers.kubectl(&["get", "changefeeds", "-A"]).await
        })
        .await?;
        let mut command = Command::new(worker.with_file_name("tidemark-operator"));
        command
            .args(["run", "--image", "tidemark:test", "--own-namespace", "default"])
            .args(["--admin", &format!("127.0.0.1:{}", free_port()?)])
            .env("KUBECONFIG", servers.kubeconfig_for(OPERATOR)?);
        let log = folder.path().join("operator.log");
        let operator = Process::spawn("operator", &mut command, &log, None)?;
        let client = client(servers.kubeconfig()).await?;
        Ok(Arc::new(Self {
            servers,
            client,
            folder,
            worker,
            operator,
        }))
    }

    /// Objects of a namespace, as the administrator sees them.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Objects of all namespaces.
    pub fn all<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }

    /// Applies a document.
    pub async fn apply(&self, document: &str) -> Result<()> {
        self.servers
            .kubectl_with_input(&["apply", "-f", "-"], document)
            .await?;
        Ok(())
    }

    /// Makes a namespace unless it is there.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        match self.all().create(&PostParams::default(), &namespace).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            made => made.map(|_| ()).context("a namespace"),
        }
    }

    /// The worker's binary.
    pub(crate) fn worker(&self) -> &Path {
        &self.worker
    }

    /// The operator's process, to be measured.
    pub fn operator(&self) -> &Process {
        &self.operator
    }

    /// All calls of operator and workers so far.
    pub fn calls(&self) -> Result<Vec<Call>> {
        let log = self.folder.path().join(AUDIT);
        audit::read(&log).with_context(|| log.display().to_string())
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
