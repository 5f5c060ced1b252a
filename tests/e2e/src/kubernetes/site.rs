use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemark_cluster::{Cluster, ClusterConfig};
use tidemark_harness::{
    ControlPlane, ControlPlaneOptions, Folder, Kafka, KafkaOptions, KubernetesCluster, S3Server,
};

/// The image's repository; `.local` names no registry.
const REPOSITORY: &str = "tidemark.local/tidemark";
/// Commas are escaped for helm.
const LOG: &str = "log.level=info\\,tidemark_operator=debug\\,tidemark_lease=debug";
/// The operator's namespace and its release.
pub(super) const SYSTEM: &str = "tidemark-system";
const RELEASE: &str = "tidemark";

/// The programs under test.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `tidemark-worker`.
    pub worker: PathBuf,
    /// `tidemark-operator`.
    pub operator: PathBuf,
}

/// A Kubernetes with the product's image, and the servers that its pods reach.
// Fields are dropped in order: the servers listen on the cluster's network.
pub(super) struct Site {
    pub(super) tikv: Cluster,
    pub(super) kafka: Kafka,
    pub(super) s3: S3Server,
    cluster: KubernetesCluster,
}

impl Site {
    /// Starts Kubernetes and TiKV, and makes the image.
    pub(super) async fn start(binaries: &Binaries, seed: u64) -> Result<Self> {
        let folder = Folder::new("image")?;
        let archive = folder.path().join("tidemark.tar");
        let ((), cluster) = tokio::try_join!(
            build_image(binaries, &archive),
            KubernetesCluster::start(ControlPlaneOptions::default())
        )?;
        cluster.import_image(&archive).await?;
        let tikv = Cluster::start(ClusterConfig {
            stores: 3,
            seed,
            address: cluster.host_ip_for_pods(),
            ..ClusterConfig::default()
        })
        .await?;
        let options = KafkaOptions {
            max_message_bytes: Some(4 << 20),
            address: Some(cluster.host_ip_for_pods()),
            ..KafkaOptions::default()
        };
        let (kafka, s3) =
            tokio::try_join!(Kafka::own(options), S3Server::own_at(cluster.host_ip_for_pods()))?;
        Ok(Self {
            tikv,
            kafka,
            s3,
            cluster,
        })
    }

    /// Kubernetes.
    pub(super) fn cluster(&self) -> &KubernetesCluster {
        &self.cluster
    }

    /// The API server.
    pub(super) fn plane(&self) -> &ControlPlane {
        self.cluster.control_plane()
    }

    /// Runs kubectl; returns what it prints.
    pub(super) async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.kubectl(args).await
    }

    /// Applies a document; returns what kubectl prints.
    pub(super) async fn apply(&self, document: &Value) -> Result<String> {
        let text = document.to_string();
        self.plane()
            .kubectl_with_input(&["apply", "-f", "-"], &text)
            .await
    }

    /// What `kubectl get … -o json` prints.
    pub(super) async fn get(&self, args: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json"], args].concat()).await?;
        serde_json::from_str(&text).with_context(|| format!("kubectl get {}", args.join(" ")))
    }

    /// Gives the image another tag.
    pub(super) async fn tag_image(&self, from: &str, to: &str) -> Result<()> {
        let name = |tag: &str| format!("{REPOSITORY}:{tag}");
        self.cluster.tag_image(&name(from), &name(to)).await
    }

    /// Installs the operator with helm, or upgrades it, and waits until it is ready.
    pub(super) async fn helm_upgrade(&self, tag: &str) -> Result<Duration> {
        let begun = Instant::now();
        let chart = repository().join("charts/tidemark").display().to_string();
        let values = format!("image.repository={REPOSITORY},image.tag={tag},image.pullPolicy=Never");
        let command = ["upgrade", "--install", RELEASE, &chart];
        let target = ["--namespace", SYSTEM, "--create-namespace"];
        let options = [
            "--set",
            &values,
            "--set-string",
            LOG,
            "--wait",
            "--timeout",
            "120s",
        ];
        self.cluster
            .helm(&[&command[..], &target, &options].concat())
            .await?;
        Ok(begun.elapsed())
    }

    /// The operator's pod.
    pub(super) async fn operator_pod(&self) -> Result<String> {
        let selector = "app.kubernetes.io/name=tidemark-operator";
        let list = self.get(&["pods", "-n", SYSTEM, "-l", selector]).await?;
        let pods = list["items"].as_array().context("a list")?;
        let alive: Vec<_> = pods
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .collect();
        ensure!(alive.len() == 1, "{} operator pods", alive.len());
        let name = alive.first().and_then(|pod| pod["metadata"]["name"].as_str());
        Ok(name.context("a name")?.to_owned())
    }

    /// The folder with the cluster's files: kubelet's logs of containers are in `logs`.
    pub(super) fn folder(&self) -> &Path {
        let kubeconfig = self.plane().kubeconfig();
        kubeconfig.parent().unwrap_or(kubeconfig)
    }

    /// Stops everything.
    pub(super) async fn stop(self) -> Result<()> {
        let Self {
            tikv,
            kafka,
            s3,
            cluster,
        } = self;
        drop((tikv, kafka, s3));
        cluster.stop().await
    }
}

/// The tag that the image has at first.
pub(super) const FIRST_TAG: &str = "one";

async fn build_image(binaries: &Binaries, archive: &Path) -> Result<()> {
    let folder = Folder::new("binaries")?;
    for (name, path) in [
        ("tidemark-worker", &binaries.worker),
        ("tidemark-operator", &binaries.operator),
    ] {
        let path = path
            .canonicalize()
            .with_context(|| format!("{}: cargo build -p {name}", path.display()))?;
        symlink(path, folder.path().join(name))?;
    }
    let out = tokio::process::Command::new(repository().join("deploy/image/build.sh"))
        .arg("--strip")
        .arg(folder.path())
        .arg(format!("{REPOSITORY}:{FIRST_TAG}"))
        .arg(archive)
        .kill_on_drop(true)
        .output()
        .await
        .context("run deploy/image/build.sh")?;
    ensure!(
        out.status.success(),
        "deploy/image/build.sh: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
