use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use uuid::Uuid;

pub(super) const ADMIN: &str = "admin";
pub(super) const CONTROLLERS: &str = "system:kube-controller-manager";
pub(super) const SCHEDULER: &str = "system:kube-scheduler";
pub(super) const PROXY: &str = "system:kube-proxy";

/// The name of the only node.
pub(super) const NODE: &str = "node1";

/// A user that the API server knows by a token.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) user: String,
    groups: Vec<String>,
    token: String,
}

impl Identity {
    pub(super) fn new(user: &str, groups: &[String]) -> Result<Self> {
        ensure!(
            !user.is_empty() && !user.contains(['"', ',', '\n']),
            "user name {user:?}: choose one without quotes, commas and line ends"
        );
        Ok(Self {
            user: user.to_owned(),
            groups: groups.to_vec(),
            token: Uuid::new_v4().simple().to_string(),
        })
    }

    /// The administrator and Kubernetes' own parts.
    pub(super) fn system() -> Result<Vec<Self>> {
        let node = format!("system:node:{NODE}");
        [
            (ADMIN, "system:masters"),
            (CONTROLLERS, ""),
            (SCHEDULER, ""),
            (PROXY, ""),
            (&node, "system:nodes"),
        ]
        .into_iter()
        .map(|(user, group)| {
            let groups: Vec<_> = [group]
                .iter()
                .filter(|group| !group.is_empty())
                .map(|&group| group.to_owned())
                .collect();
            Self::new(user, &groups)
        })
        .collect()
    }

    /// Its line of the API server's token file.
    pub(super) fn line(&self) -> String {
        let Self { user, groups, token } = self;
        format!("{token},{user},{user},\"{}\"\n", groups.join(","))
    }

    /// Writes its kubeconfig.
    pub(super) fn write_kubeconfig(&self, url: &str, certificate: &Path, file: &Path) -> Result<()> {
        write_kubeconfig(url, certificate, &self.token, file)
    }

    /// Where its kubeconfig is in the control plane's folder.
    pub(super) fn kubeconfig(folder: &Path, user: &str) -> PathBuf {
        folder.join(format!("{}.kubeconfig", user.replace([':', '/'], "-")))
    }
}

/// Writes a kubeconfig for whoever has the token.
pub(super) fn write_kubeconfig(url: &str, certificate: &Path, token: &str, file: &Path) -> Result<()> {
    let certificate = certificate.display();
    let text = format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: \"{url}\", certificate-authority: \"{certificate}\"}}}}]
users: [{{name: test, user: {{token: \"{token}\"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
current-context: test
"
    );
    fs::write(file, text).with_context(|| format!("write {}", file.display()))
}
