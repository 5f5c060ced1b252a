use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::rbac::v1::Role;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tidemark_crds::Changefeed;
use tidemark_harness::{Folder, Process, Signal, eventually, free_port};
use tokio_util::task::AbortOnDropHandle;

use crate::plane::PATIENCE;
use crate::{Destination, Feed, Plane, audit, kubelet, now_ms};

/// A feed whose workers are processes, on a real API server with an operator: what pods do without the pods. They have the
/// rights of the account that the operator makes.
pub struct Fleet {
    /// The API server and the operator; other feeds may be there too.
    pub plane: Arc<Plane>,
    folder: Folder,
    namespace: String,
    feed: String,
    members: Vec<Member>,
}

/// A worker's process that stands for a pod.
struct Member {
    pod: String,
    process: Option<Process>,
    _kubelet: Option<AbortOnDropHandle<()>>,
}

impl Fleet {
    /// Starts API server and operator, and begins the feed there.
    pub async fn start(worker: PathBuf, feed: &Feed) -> Result<Self> {
        Self::begin(&Plane::start(worker).await?, feed).await
    }

    /// Applies the feed and waits for its pods; no worker runs yet.
    pub async fn begin(plane: &Arc<Plane>, feed: &Feed) -> Result<Self> {
        plane.namespace(&feed.namespace).await?;
        plane.apply(&feed.yaml()).await?;
        Self::of(plane, feed).await
    }

    /// Waits for the pods of a feed that was applied.
    pub async fn of(plane: &Arc<Plane>, feed: &Feed) -> Result<Self> {
        let mut fleet = Self {
            plane: Arc::clone(plane),
            folder: Folder::new("fleet")?,
            namespace: feed.namespace.clone(),
            feed: feed.name.clone(),
            members: Vec::new(),
        };
        fleet.config().await?;
        for ordinal in 0..feed.replicas() {
            let pod = format!("{}-{ordinal}", feed.name);
            fleet.pod_uid(&pod).await?;
            fleet.members.push(Member {
                pod,
                process: None,
                _kubelet: None,
            });
        }
        Ok(fleet)
    }

    fn feeds(&self) -> Api<Changefeed> {
        self.plane.api(&self.namespace)
    }

    async fn pod_uid(&self, pod: &str) -> Result<String> {
        let pods: Api<Pod> = self.plane.api(&self.namespace);
        eventually(PATIENCE, "pod", || async {
            let meta = pods.get(pod).await?.metadata;
            ensure!(meta.deletion_timestamp.is_none(), "it is being deleted");
            meta.uid.context("no uid")
        })
        .await
    }

    /// Writes the feed and the workers' certificate as they are mounted in a pod.
    async fn config(&mut self) -> Result<()> {
        let sets: Api<StatefulSet> = self.plane.api(&self.namespace);
        let set = eventually(PATIENCE, "StatefulSet", || async {
            Ok(sets.get(&self.feed).await?)
        })
        .await
        .with_context(|| self.logs())?;
        let volumes = set.spec.and_then(|spec| spec.template.spec?.volumes);
        let mut volumes = volumes.into_iter().flatten();
        let config = volumes.find_map(|volume| volume.config_map);
        let config = config.context("no ConfigMap")?.name;
        let maps: Api<ConfigMap> = self.plane.api(&self.namespace);
        let data = maps.get(&config).await?.data.unwrap_or_default();
        let text = data.get("feed.yaml").context("no feed.yaml")?;
        std::fs::write(self.folder.path().join("feed.yaml"), text)?;
        let secrets: Api<Secret> = self.plane.api(&self.namespace);
        let secret = secrets.get(&format!("{}-peers", self.feed)).await?;
        let peers = self.folder.path().join("peers");
        std::fs::create_dir_all(&peers)?;
        for (key, text) in secret.data.unwrap_or_default() {
            std::fs::write(peers.join(key), text.0)?;
        }
        Ok(())
    }

    /// Starts the worker of a pod, or starts it again as the kubelet does: same pod, same folder.
    pub async fn run(&mut self, ordinal: usize) -> Result<()> {
        let account = format!("{}-worker", self.feed);
        let kubeconfig = self
            .plane
            .servers
            .kubeconfig_of_account(&self.namespace, &account)
            .await?;
        let feed_uid = self.feeds().get(&self.feed).await?.metadata.uid;
        let uid = self.pod_uid(&self.members[ordinal].pod).await?;
        let member = &mut self.members[ordinal];
        let folder = self.folder.path();
        let log = folder.join(format!("{}.log", member.pod));
        let pods = self.plane.api(&self.namespace);
        for tries in 1.. {
            // A free port may be taken by another process before the worker listens.
            let admin = free_port()?;
            let mut command = Command::new(self.plane.worker());
            command
                .arg("serve")
                .arg("--changefeed")
                .arg(folder.join("feed.yaml"))
                .arg("--state")
                .arg(folder.join(&uid))
                .arg("--secrets")
                .arg(folder.join("secrets"))
                .arg("--peers")
                .arg(folder.join("peers"))
                .args(["--admin", &format!("127.0.0.1:{admin}")])
                .args(["--listen", "127.0.0.1:0"])
                .env("KUBECONFIG", &kubeconfig)
                .env("POD_NAME", &member.pod)
                .env("POD_NAMESPACE", &self.namespace)
                .env("POD_UID", &uid)
                .env("POD_IP", "127.0.0.1")
                .env("TIDEMARK_FEED_UID", feed_uid.as_deref().context("no uid")?)
                .env("TIDEMARK_REVISION", "test");
            let mut process = Process::spawn("worker", &mut command, &log, None)?;
            let listens = kubelet::listens(admin, &mut process).await?;
            if listens || tries == 3 {
                member.process = Some(process);
                member._kubelet = Some(kubelet::probe(pods, member.pod.clone(), uid, admin));
                break;
            }
        }
        Ok(())
    }

    /// Kills a worker (SIGKILL).
    pub fn kill(&mut self, ordinal: usize) -> Result<()> {
        self.members[ordinal]
            .process
            .take()
            .context("not running")?
            .kill()
    }

    /// Sends a worker a signal.
    pub fn signal(&mut self, ordinal: usize, signal: Signal) -> Result<()> {
        self.members[ordinal]
            .process
            .as_mut()
            .context("not running")?
            .signal(signal)
    }

    /// Fails unless a worker has ended by SIGKILL.
    pub fn was_killed(&mut self, ordinal: usize) -> Result<()> {
        let mut process = self.members[ordinal].process.take().context("not running")?;
        let ended = process.exited()?.context("it lives")?;
        ensure!(
            ended.signal() == Some(Signal::KILL.as_raw()),
            "ended with {ended}"
        );
        Ok(())
    }

    /// Asks a worker to drain and end.
    pub async fn drain(&mut self, ordinal: usize) -> Result<()> {
        let mut process = self.members[ordinal].process.take().context("not running")?;
        let status = process.terminate(PATIENCE).await?;
        ensure!(status.success(), "ended with {status}\n{}", process.log_tail());
        Ok(())
    }

    /// Deletes a pod, as a node's death with a forced deletion does; a new one with another UID takes its place.
    pub async fn delete_pod(&self, ordinal: usize) -> Result<()> {
        let pods: Api<Pod> = self.plane.api(&self.namespace);
        let now = DeleteParams::default().grace_period(0);
        pods.delete(&self.members[ordinal].pod, &now).await?;
        Ok(())
    }

    /// The feed's status.
    pub async fn status(&self) -> Result<Value> {
        let feed = self.feeds().get(&self.feed).await?;
        Ok(serde_json::to_value(feed.status.unwrap_or_default())?)
    }

    /// Changes the feed's status by a merge patch, as anyone may who has the right.
    pub async fn edit_status(&self, status: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"status": status}));
        self.feeds()
            .patch_status(&self.feed, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// Changes the feed's document by a merge patch.
    pub async fn edit(&self, document: Value) -> Result<()> {
        let patch = Patch::Merge(document);
        self.feeds()
            .patch(&self.feed, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// The checkpoint in the status.
    pub async fn checkpoint(&self) -> Result<u64> {
        let status = self.status().await?;
        let text = status["checkpointTs"].as_str().context("no checkpoint")?;
        Ok(text.parse()?)
    }

    /// A Lease of the feed: `owner`, or a pod's ordinal.
    pub async fn lease(&self, of: &str) -> Result<Lease> {
        let leases: Api<Lease> = self.plane.api(&self.namespace);
        Ok(leases.get(&format!("{}-{of}", self.feed)).await?)
    }

    /// Deletes a Lease of the feed.
    pub async fn delete_lease(&self, of: &str) -> Result<()> {
        let leases: Api<Lease> = self.plane.api(&self.namespace);
        let name = format!("{}-{of}", self.feed);
        leases.delete(&name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// The ordinal of the owner's pod.
    pub async fn owner(&self) -> Result<usize> {
        let lease = self.lease("owner").await?;
        let annotations = lease.metadata.annotations.unwrap_or_default();
        let pod = annotations.get("tidemark.io/pod").context("no owner")?;
        self.members
            .iter()
            .position(|member| member.pod == *pod)
            .context("an unknown owner")
    }

    /// Waits until the status says that all streams and each of so many workers has spans.
    pub async fn streams(&self, workers: usize) -> Result<()> {
        eventually(PATIENCE, "streaming feed", || async {
            let status = self.status().await?;
            let members = status["members"].as_array().cloned().unwrap_or_default();
            let busy = members
                .iter()
                .filter(|member| member["spans"].as_i64() > Some(0))
                .count();
            let phase = status["stream"]["phase"].as_str().unwrap_or_default();
            ensure!(phase == "Streaming" && busy == workers, "{status}");
            Ok(())
        })
        .await
        .with_context(|| self.logs())
    }

    /// Reads until the watermark has passed this moment; gives how long that took.
    pub async fn passes_now(&self, to: &mut Destination, what: &str) -> Result<Duration> {
        let (progress, begun, now) = (to.progress(), Instant::now(), now_ms());
        while progress.reached(now << 18).is_none() {
            to.read_for(Duration::from_millis(100)).await?;
            ensure!(
                begun.elapsed() < PATIENCE,
                "{what}: the watermark stands still\n{}",
                self.logs()
            );
        }
        eprintln!(
            "{what}: the watermark passed that moment after {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        Ok(begun.elapsed())
    }

    /// Tells the judge of the checkpoint in the status, once all was read that it speaks of.
    pub async fn note_checkpoint(&self, to: &mut Destination) -> Result<()> {
        let checkpoint = self.checkpoint().await?;
        to.read_on().await?;
        to.checkpoint(checkpoint);
        Ok(())
    }

    /// Fails if the workers were refused something or have a right that none of them has used so far.
    pub async fn rights_are_the_least(&self) -> Result<()> {
        let role = format!("{}-worker", self.feed);
        let role = self.plane.api::<Role>(&self.namespace).get(&role).await?;
        audit::are_the_least(&self.plane.calls()?, &role, &[self.identity()])
    }

    /// Namespace, name and number of pods.
    pub fn identity(&self) -> (&str, &str, usize) {
        (&self.namespace, &self.feed, self.members.len())
    }

    /// All that a worker has logged.
    pub fn log(&self, ordinal: usize) -> String {
        let log = self
            .folder
            .path()
            .join(format!("{}.log", self.members[ordinal].pod));
        std::fs::read_to_string(log).unwrap_or_default()
    }

    /// The ends of all logs.
    pub fn logs(&self) -> String {
        let operator = ("operator", self.plane.operator().log_text());
        let workers = self.members.iter().enumerate();
        let workers = workers.map(|(ordinal, member)| (member.pod.as_str(), self.log(ordinal)));
        let mut text = String::new();
        for (name, log) in std::iter::once(operator).chain(workers) {
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            text.push_str(&format!("--- {name}\n{tail}\n"));
        }
        text
    }
}
