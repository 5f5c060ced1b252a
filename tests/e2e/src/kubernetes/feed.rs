use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::site::Site;

/// A Changefeed resource, seen through kubectl.
#[derive(Clone, Debug)]
pub(super) struct Changefeed {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A worker's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) image: String,
    pub(super) ready: bool,
    pub(super) running: bool,
    pub(super) leaving: bool,
    pub(super) restarts: u64,
}

impl Changefeed {
    pub(super) fn of(document: &Value) -> Result<Self> {
        let text = |field: &str| {
            let value = document["metadata"][field].as_str();
            Ok::<_, anyhow::Error>(value.with_context(|| format!("metadata.{field}"))?.to_owned())
        };
        Ok(Self {
            namespace: text("namespace")?,
            name: text("name")?,
        })
    }

    /// The resource.
    pub(super) async fn get(&self, site: &Site) -> Result<Value> {
        site.get(&["changefeed", &self.name, "-n", &self.namespace]).await
    }

    /// Waits with `kubectl wait`.
    pub(super) async fn wait_ready(&self, site: &Site, patience: Duration) -> Result<()> {
        let name = format!("changefeed/{}", self.name);
        let patience = format!("--timeout={}s", patience.as_secs());
        let namespace = ["-n", &self.namespace];
        let wait = ["wait", "--for=condition=Ready", &name, &patience];
        site.kubectl(&[&wait[..], &namespace].concat()).await?;
        Ok(())
    }

    /// Changes the spec by a merge patch.
    pub(super) async fn patch(&self, site: &Site, spec: Value) -> Result<()> {
        let patch = json!({"spec": spec}).to_string();
        let target = ["patch", "changefeed", &self.name, "-n", &self.namespace];
        site.kubectl(&[&target[..], &["--type=merge", "-p", &patch]].concat())
            .await?;
        Ok(())
    }

    /// `kubectl scale`.
    pub(super) async fn scale(&self, site: &Site, replicas: u32) -> Result<()> {
        let replicas = format!("--replicas={replicas}");
        let target = ["scale", "changefeed", &self.name, "-n", &self.namespace];
        site.kubectl(&[&target[..], &[&replicas]].concat()).await?;
        Ok(())
    }

    /// `kubectl delete`, without waiting.
    pub(super) async fn delete(&self, site: &Site) -> Result<()> {
        let target = ["delete", "changefeed", &self.name, "-n", &self.namespace];
        site.kubectl(&[&target[..], &["--wait=false"]].concat()).await?;
        Ok(())
    }

    /// The checkpoint in the status.
    pub(super) async fn checkpoint(&self, site: &Site) -> Result<u64> {
        let feed = self.get(site).await?;
        let text = feed["status"]["checkpointTs"].as_str();
        text.context("status.checkpointTs is not there")?
            .parse()
            .context("status.checkpointTs is no number")
    }

    /// The pod that owns the feed, by its Lease.
    pub(super) async fn owner(&self, site: &Site) -> Result<String> {
        let holder = self.holder(site).await?;
        let uid = holder.split('.').next().unwrap_or_default();
        let pods = self.pods(site).await?;
        let owner = pods.into_iter().find(|pod| pod.uid == uid);
        let owner = owner.with_context(|| format!("{holder:?} holds the Lease of feed {}", self.name))?;
        Ok(owner.name)
    }

    /// Who holds the owner's Lease: `<pod uid>.<nonce>`.
    pub(super) async fn holder(&self, site: &Site) -> Result<String> {
        let lease = format!("{}-owner", self.name);
        let lease = site.get(&["lease", &lease, "-n", &self.namespace]).await?;
        let holder = lease["spec"]["holderIdentity"].as_str();
        Ok(holder.unwrap_or_default().to_owned())
    }

    /// The feed's pods, by name.
    pub(super) async fn pods(&self, site: &Site) -> Result<Vec<Pod>> {
        let selector = format!("tidemark.io/feed={}", self.name);
        let list = site
            .get(&["pods", "-n", &self.namespace, "-l", &selector])
            .await?;
        let pods = list["items"].as_array().context("a list")?;
        pods.iter().map(pod).collect()
    }

    /// One of them.
    pub(super) async fn pod(&self, site: &Site, name: &str) -> Result<Pod> {
        pod(&site.get(&["pod", name, "-n", &self.namespace]).await?)
    }

    /// Fails unless all is as the spec says: pods ready and of the newest template, the conditions calm.
    pub(super) async fn settled(&self, site: &Site) -> Result<()> {
        let feed = self.get(site).await?;
        let (spec, status) = (&feed["spec"], &feed["status"]);
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let told = || {
            let line = |condition: &Value| {
                let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
                let (kind, status) = (text("type"), text("status"));
                format!("{kind}={status} {}: {}", text("reason"), text("message"))
            };
            let conditions: Vec<_> = conditions.iter().map(line).collect();
            format!("{}; {}", conditions.join("; "), status["stream"])
        };
        let is = |kind: &str| {
            let mut of_kind = conditions.iter().filter(|condition| condition["type"] == kind);
            of_kind.any(|condition| condition["status"] == "True")
        };
        let seen = status["observedGeneration"] == feed["metadata"]["generation"];
        ensure!(seen, "the operator has not looked yet: {}", told());
        let calm = is("Ready") && !is("Reconciling") && !is("Stalled");
        ensure!(calm, "{}", told());

        let running = spec["state"].as_str().unwrap_or("Running") == "Running";
        let wanted = spec["workers"]["replicas"].as_u64().unwrap_or(1);
        let wanted = if running { wanted } else { 0 };
        let set = site
            .get(&["statefulset", &self.name, "-n", &self.namespace])
            .await?;
        let pods = self.pods(site).await?;
        let ready = pods.iter().filter(|pod| pod.ready && !pod.leaving).count();
        ensure!(
            pods.len() as u64 == wanted && ready as u64 == wanted,
            "{ready} of {} pods are ready, not {wanted}",
            pods.len()
        );
        let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
        let old = pods.iter().find(|pod| Some(pod.image.as_str()) != image);
        ensure!(old.is_none(), "an old image runs: {old:?}");
        let updated = set["status"]["updatedReplicas"].as_u64().unwrap_or_default();
        ensure!(updated == wanted, "{updated} pods are of the newest template");
        Ok(())
    }
}

fn pod(pod: &Value) -> Result<Pod> {
    let (meta, status) = (&pod["metadata"], &pod["status"]);
    let text = |field: &str| Ok::<_, anyhow::Error>(meta[field].as_str().context("a text")?.to_owned());
    let container = &status["containerStatuses"][0];
    Ok(Pod {
        name: text("name")?,
        uid: text("uid")?,
        image: pod["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        ready: container["ready"] == true,
        running: container["state"]["running"].is_object(),
        leaving: !meta["deletionTimestamp"].is_null(),
        restarts: container["restartCount"].as_u64().unwrap_or_default(),
    })
}
