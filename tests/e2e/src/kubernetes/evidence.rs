use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::site::{SYSTEM, Site};

/// What helps to find out why something failed: a folder with logs of all containers that ever ran, and what the API server
/// tells.
pub(super) struct Evidence {
    folder: PathBuf,
    follower: JoinHandle<()>,
}

impl Evidence {
    /// Begins to collect logs.
    pub(super) fn start(site: &Site) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("tidemark-e2e-{}", std::process::id()));
        let (from, to) = (site.folder().join("logs"), folder.join("logs"));
        fs::create_dir_all(&to)?;
        let follower = tokio::spawn(async move {
            loop {
                // A container that comes and goes in between is not missed much.
                link_logs(&from, &to);
                sleep(Duration::from_secs(1)).await;
            }
        });
        Ok(Self { folder, follower })
    }

    /// Adds what the API server tells now, under a name.
    pub(super) async fn look(&self, site: &Site, name: &str, namespace: &str) {
        let folder = self.folder.join(name);
        if fs::create_dir_all(&folder).is_err() {
            return;
        }
        let namespaces = [namespace, SYSTEM];
        for of in namespaces {
            for (file, args) in [
                (
                    "all.txt",
                    &["get", "all,changefeeds,leases,pdb", "-o", "wide"][..],
                ),
                ("describe.txt", &["describe", "pods,changefeeds,statefulsets"]),
                (
                    "feeds.yaml",
                    &["get", "changefeeds,leases,configmaps", "-o", "yaml"],
                ),
                ("events.txt", &["events"]),
            ] {
                let args = [args, &["-n", of, "--request-timeout=10s"]].concat();
                let text = match site.kubectl(&args).await {
                    Ok(text) => text,
                    Err(error) => format!("{error:#}\n"),
                };
                // Evidence is a help, not the test.
                let _ = fs::write(folder.join(format!("{of}-{file}")), text);
            }
        }
    }

    /// Ends; keeps the folder if it is to be looked at, or if `TIDEMARK_TEST_KEEP` is set.
    pub(super) fn end(self, keep: bool) -> Option<PathBuf> {
        self.follower.abort();
        if keep || std::env::var_os("TIDEMARK_TEST_KEEP").is_some() {
            return Some(self.folder);
        }
        let _ = fs::remove_dir_all(&self.folder);
        None
    }
}

/// `logs/<namespace>_<pod>_<uid>/<container>/<n>.log` as hard links: they stay when the kubelet removes them.
fn link_logs(from: &Path, to: &Path) {
    let inside = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    for pod in inside(from) {
        for container in inside(&pod) {
            for log in inside(&container) {
                let Ok(path) = log.strip_prefix(from) else {
                    continue;
                };
                let name = path.display().to_string().replace('/', "_");
                // It is there already, most of the time.
                let _ = fs::hard_link(&log, to.join(name));
            }
        }
    }
}
