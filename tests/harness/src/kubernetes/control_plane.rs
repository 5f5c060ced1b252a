use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;

use super::command::{direct, output};
use super::identity::{ADMIN, Identity, write_kubeconfig};
use super::servers::{Site, run_api_server, run_controllers, run_etcd};
use super::{ControlPlaneOptions, KubernetesPrograms};
use crate::{Folder, Process, Signal, eventually};

/// Until a server answers.
const PATIENCE: Duration = Duration::from_secs(90);

/// etcd, the API server and the controller manager; no pod of theirs runs. Or the user's cluster.
///
/// RBAC and Pod Security admission are on as in any cluster. [`KubernetesCluster`](crate::KubernetesCluster) has a node too.
#[derive(Debug)]
pub struct ControlPlane {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    url: String,
    own: Option<Own>,
}

// Fields are dropped in order: an API server without its etcd hangs.
#[derive(Debug)]
struct Own {
    controllers: Option<Process>,
    api_server: Mutex<Process>,
    etcd: Mutex<Process>,
    programs: KubernetesPrograms,
    options: ControlPlaneOptions,
    site: Site,
    folder: Option<Folder>,
}

impl ControlPlane {
    /// The user's cluster if `TIDEMARK_TEST_KUBECONFIG` names its file and the options ask for nothing that only an own one
    /// can give: users, or arguments of the API server. Else a new control plane on loopback.
    pub async fn start(options: ControlPlaneOptions) -> Result<Self> {
        match std::env::var_os("TIDEMARK_TEST_KUBECONFIG") {
            Some(file) if !file.is_empty() && options.fit_any_cluster() => Self::users(file.into()).await,
            _ => Self::own(options).await,
        }
    }

    /// A new control plane on loopback, for tests that stop it.
    pub async fn own(options: ControlPlaneOptions) -> Result<Self> {
        let programs = KubernetesPrograms::get().await?;
        let begun = Instant::now();
        let folder = Folder::new("kubernetes")?;
        let path = folder.path().to_owned();
        let plane = Self::launch(&programs, options, &path, Ipv4Addr::LOCALHOST, Some(folder)).await?;
        eprintln!(
            "kubernetes: control plane ready at {} after {:.1?}",
            plane.url,
            begun.elapsed()
        );
        Ok(plane)
    }

    async fn users(kubeconfig: PathBuf) -> Result<Self> {
        let kubectl = "kubectl".into();
        let mut plane = Self {
            kubectl,
            kubeconfig,
            url: String::new(),
            own: None,
        };
        let path = "jsonpath={.clusters[0].cluster.server}";
        plane.url = plane
            .kubectl(&["config", "view", "--minify", "-o", path])
            .await
            .context("TIDEMARK_TEST_KUBECONFIG")?;
        plane.kubectl(&["get", "--raw", "/readyz"]).await?;
        Ok(plane)
    }

    /// Starts one whose files are at `path` and whose API server listens on `address`.
    pub(super) async fn launch(
        programs: &KubernetesPrograms,
        options: ControlPlaneOptions,
        path: &Path,
        address: Ipv4Addr,
        mut folder: Option<Folder>,
    ) -> Result<Self> {
        let mut identities = Identity::system()?;
        for (user, groups) in &options.users {
            identities.push(Identity::new(user, groups)?);
        }
        let tokens: String = identities.iter().map(Identity::line).collect();
        std::fs::write(path.join("tokens.csv"), tokens)?;
        let mut key = direct("openssl");
        key.args(["genrsa", "-out"])
            .arg(path.join("accounts.key"))
            .arg("2048");
        output(key, None).await.context("Debian package openssl")?;
        for tries in 0.. {
            // A free port may be taken by another process before a server binds it.
            let site = Site::new(path, address)?;
            for identity in &identities {
                let file = Identity::kubeconfig(path, &identity.user);
                identity.write_kubeconfig(&site.url(), &site.certificate(), &file)?;
            }
            let etcd = run_etcd(programs, &site, tries, folder.as_ref())?;
            let api_server = run_api_server(programs, &site, &options, folder.as_ref())?;
            let plane = Self {
                kubectl: programs.kubectl(),
                kubeconfig: Identity::kubeconfig(path, ADMIN),
                url: site.url(),
                own: Some(Own {
                    controllers: None,
                    api_server: Mutex::new(api_server),
                    etcd: Mutex::new(etcd),
                    programs: programs.clone(),
                    options: options.clone(),
                    site,
                    folder,
                }),
            };
            match plane.ready().await {
                Ok(()) => return plane.with_controllers().await,
                Err(error) if tries < 2 && format!("{error:#}").contains("address already in use") => {}
                Err(error) => return Err(error),
            }
            folder = plane.own.and_then(|own| own.folder);
        }
        bail!("no try")
    }

    async fn with_controllers(mut self) -> Result<Self> {
        let own = self.own.as_mut().context("a control plane of one's own")?;
        if own.options.controllers {
            own.controllers = Some(run_controllers(&own.programs, &own.site, own.folder.as_ref())?);
            eventually(PATIENCE, "service account of the namespace default", || async {
                self.kubectl(&["get", "serviceaccount/default", "configmap/kube-root-ca.crt"])
                    .await
            })
            .await?;
        }
        Ok(self)
    }

    /// The API server, `https://host:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The administrator's kubeconfig; the user's own for the user's cluster.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubeconfig of a user that the options named.
    pub fn kubeconfig_for(&self, user: &str) -> Result<PathBuf> {
        let own = self.own_servers()?;
        let known = own.options.users.iter().any(|(name, _)| name == user);
        ensure!(
            known,
            "user {user} is unknown: name it in ControlPlaneOptions::users"
        );
        Ok(Identity::kubeconfig(&own.site.path, user))
    }

    /// Writes a kubeconfig of a service account, with a new token.
    pub async fn kubeconfig_of_account(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let own = self.own_servers()?;
        let token = self
            .kubectl(&["-n", namespace, "create", "token", account])
            .await?;
        let user = format!("account:{namespace}:{account}");
        let file = Identity::kubeconfig(&own.site.path, &user);
        write_kubeconfig(&self.url, &own.site.certificate(), token.trim_end(), &file)?;
        Ok(file)
    }

    /// Runs kubectl as the administrator; returns what it prints.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.run_kubectl(args, None).await
    }

    /// Runs kubectl with text at its standard input, for `apply -f -`.
    pub async fn kubectl_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        self.run_kubectl(args, Some(input)).await
    }

    async fn run_kubectl(&self, args: &[&str], input: Option<&str>) -> Result<String> {
        let mut command = direct(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        if let Some(own) = &self.own {
            command.env("KUBECACHEDIR", own.site.path.join("kubectl-cache"));
        }
        output(command, input).await
    }

    /// Kills the API server (SIGKILL): clients see refused connections. What it has answered is in etcd.
    pub fn stop_api_server(&self) -> Result<()> {
        self.own_servers()?.api_server.lock().kill()
    }

    /// Starts the API server again, on the same port and data, and waits until it is ready.
    pub async fn start_api_server(&self) -> Result<()> {
        let own = self.own_servers()?;
        let running = own.api_server.lock().exited()?.is_none();
        ensure!(!running, "the API server runs: stop it first");
        let fresh = run_api_server(&own.programs, &own.site, &own.options, own.folder.as_ref())?;
        *own.api_server.lock() = fresh;
        self.ready().await
    }

    /// Stops the API server from running without closing its connections (SIGSTOP): clients see timeouts.
    pub fn pause_api_server(&self) -> Result<()> {
        self.own_servers()?.api_server.lock().signal(Signal::STOP)
    }

    /// Lets the API server run on (SIGCONT).
    pub fn resume_api_server(&self) -> Result<()> {
        self.own_servers()?.api_server.lock().signal(Signal::CONT)
    }

    /// The process id of the API server.
    pub fn api_server_pid(&self) -> Result<u32> {
        Ok(self.own_servers()?.api_server.lock().pid())
    }

    /// The API server's log so far.
    pub fn api_server_log(&self) -> Result<String> {
        Ok(self.own_servers()?.api_server.lock().log_text())
    }

    fn own_servers(&self) -> Result<&Own> {
        self.own
            .as_ref()
            .with_context(|| format!("{} is the user's cluster and its servers are not ours", self.url))
    }

    async fn ready(&self) -> Result<()> {
        let own = self.own_servers()?;
        let up = eventually(PATIENCE, "answer of the API server", || async {
            for (name, process) in [("etcd", &own.etcd), ("the API server", &own.api_server)] {
                let mut process = process.lock();
                if let Some(status) = process.exited()? {
                    return Ok(Err(format!("{name} ended: {status}\n{}", process.log_tail())));
                }
            }
            self.kubectl(&["get", "--raw", "/readyz"]).await?;
            Ok(Ok(()))
        })
        .await?;
        up.map_err(anyhow::Error::msg)
    }
}
