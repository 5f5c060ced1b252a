//! A real API server with an operator that has no more rights than the chart grants, and one namespace a test.

pub(crate) mod rights;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use serde_json::{Value, json};
use tidemark_crds::{Changefeed, crd_yaml};
use tidemark_harness::{ControlPlane, ControlPlaneOptions, Folder, eventually};
use tidemark_operator::controller::Scope;
use tidemark_operator::feeds::Feeds;
use tidemark_operator::leader::{Duty, lead};
use tidemark_operator::metrics::Metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Within which everything that shall happen happens, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

const RBAC: &str = include_str!("../rbac.yaml");
const AUDIT: &str = "audit.log";

pub(crate) struct World {
    pub(crate) plane: ControlPlane,
    /// The administrator's.
    pub(crate) client: Client,
    stop: CancellationToken,
    operator: JoinHandle<()>,
    folder: Folder,
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = Folder::new("operator")?;
        let policy = folder.path().join("policy.yaml");
        std::fs::write(&policy, rights::POLICY)?;
        let mut options = ControlPlaneOptions::default().user("operator", &[]);
        options.api_server_args = vec![
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", folder.path().join(AUDIT).display()),
        ];
        let plane = ControlPlane::own(options).await?;
        plane
            .kubectl_with_input(&["apply", "-f", "-"], &crd_yaml()?)
            .await?;
        plane.kubectl_with_input(&["apply", "-f", "-"], RBAC).await?;
        eventually(PATIENCE, "served Changefeeds", || async {
            plane.kubectl(&["get", "changefeeds", "-A"]).await
        })
        .await?;
        let client = client(plane.kubeconfig()).await?;
        let operator = client_of_operator(&plane).await?;
        let stop = CancellationToken::new();
        let end = stop.clone();
        let operator = tokio::spawn(async move {
            let duty = Duty {
                namespace: "default".into(),
                scope: Scope::All,
                image: "tidemark:test".into(),
            };
            let feeds = Feeds::default();
            let metrics = Arc::new(Metrics::new(feeds.clone()));
            lead(operator, &duty, feeds, metrics, end).await;
        });
        Ok(Self {
            plane,
            client,
            stop,
            operator,
            folder,
        })
    }

    /// Stops the operator as SIGTERM does.
    pub(crate) async fn stop_operator(&mut self) -> Result<()> {
        self.stop.cancel();
        (&mut self.operator).await?;
        Ok(())
    }

    /// Fails if an operator that ended kept its Lease.
    pub(crate) async fn lease_is_free(&self) -> Result<()> {
        let path = "jsonpath={.spec.holderIdentity}";
        let lease = ["get", "lease", "tidemark-operator", "-o", path];
        let holder = self.plane.kubectl(&lease).await?;
        ensure!(
            holder.is_empty(),
            "the operator's Lease was not given back: {holder}"
        );
        Ok(())
    }

    /// Fails if the operator was refused something or has rights that it doesn't need.
    pub(crate) fn rights_are_the_least(&self) -> Result<()> {
        rights::are_the_least(&self.folder.path().join(AUDIT), RBAC)
    }

    /// A new namespace, of the strictest Pod Security level.
    pub(crate) async fn place(&self, name: &'static str) -> Result<Place<'_>> {
        self.plane.kubectl(&["create", "namespace", name]).await?;
        let strict = "pod-security.kubernetes.io/enforce=restricted";
        self.plane.kubectl(&["label", "namespace", name, strict]).await?;
        Ok(Place {
            world: self,
            namespace: name,
        })
    }
}

async fn client_of_operator(plane: &ControlPlane) -> Result<Client> {
    client(&plane.kubeconfig_for("operator")?).await
}

async fn client(kubeconfig: &std::path::Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// A test's own namespace.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) world: &'a World,
    pub(crate) namespace: &'static str,
}

impl Place<'_> {
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["-n", self.namespace];
        all.extend(args);
        self.world.plane.kubectl(&all).await
    }

    pub(crate) async fn apply(&self, object: &Value) -> Result<()> {
        let args = ["-n", self.namespace, "apply", "-f", "-"];
        self.world
            .plane
            .kubectl_with_input(&args, &object.to_string())
            .await?;
        Ok(())
    }

    /// Applies a feed that has what it needs; its workers are still to start.
    pub(crate) async fn begin(&self, feed: &Value) -> Result<()> {
        self.apply(feed).await?;
        let name = feed["metadata"]["name"].as_str().context("a name")?;
        self.shows(name, &["Ready=False/Starting", "!Stalled"]).await?;
        Ok(())
    }

    /// Applies a feed and plays its workers until it streams.
    pub(crate) async fn stream(&self, feed: &Value) -> Result<()> {
        self.apply(feed).await?;
        let name = feed["metadata"]["name"].as_str().context("a name")?;
        let count = feed["spec"]["workers"]["replicas"].as_u64().unwrap_or(1);
        self.run_pods(usize::try_from(count)?).await?;
        let ready = "{.status.readyReplicas}";
        self.has(&format!("statefulset/{name}"), ready, &count.to_string())
            .await?;
        let status = json!({"epoch": 1, "checkpointTs": "10", "stream": {"phase": "Streaming"}});
        self.tell(name, status).await?;
        self.shows(name, &["Ready=True/Replicating", "!Reconciling", "!Stalled"])
            .await?;
        Ok(())
    }

    /// Makes the operator look at a feed.
    pub(crate) async fn nudge(&self, name: &str, value: &str) -> Result<()> {
        self.edit(name, json!({"metadata": {"annotations": {"look": value}}}))
            .await
    }

    pub(crate) fn feeds(&self) -> Api<Changefeed> {
        Api::namespaced(self.world.client.clone(), self.namespace)
    }

    /// Changes the feed's document by a merge patch.
    pub(crate) async fn edit(&self, name: &str, patch: Value) -> Result<()> {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        self.feeds().patch(name, &params, &patch).await?;
        Ok(())
    }

    /// Tells a worker's part of the status.
    pub(crate) async fn tell(&self, name: &str, status: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"status": status}));
        self.feeds()
            .patch_status(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// Runs the pods that exist, as a kubelet would: they become ready.
    pub(crate) async fn run_pods(&self, count: usize) -> Result<()> {
        let api: Api<Pod> = Api::namespaced(self.world.client.clone(), self.namespace);
        eventually(PATIENCE, "pods", || async {
            let pods = api.list(&ListParams::default()).await?.items;
            ensure!(pods.len() == count, "{} pods", pods.len());
            for pod in pods {
                let patch = Patch::Merge(json!({"status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True"}],
                }}));
                api.patch_status(&pod.name_any(), &PatchParams::default(), &patch)
                    .await?;
            }
            Ok(())
        })
        .await
    }

    /// Waits until conditions are such, written `Ready=True/Replicating`; `!Stalled` is one that isn't there.
    pub(crate) async fn shows(&self, name: &str, wanted: &[&str]) -> Result<Changefeed> {
        let api = self.feeds();
        eventually(PATIENCE, &format!("{wanted:?} of {name}"), || async {
            let feed = api.get(name).await?;
            let shown = shown(&feed);
            for want in wanted {
                let holds = match want.strip_prefix('!') {
                    Some(absent) => !shown.iter().any(|have| have.starts_with(&format!("{absent}="))),
                    None => shown.iter().any(|have| have == want),
                };
                ensure!(holds, "{want}: {shown:?} {:?}", messages(&feed));
            }
            let seen = feed.status.as_ref().and_then(|status| status.observed_generation);
            ensure!(seen == feed.metadata.generation, "generation not seen yet");
            Ok(feed)
        })
        .await
    }

    /// The message of a condition.
    pub(crate) async fn message(&self, name: &str, type_: &str) -> Result<String> {
        let feed = self.feeds().get(name).await?;
        let status = feed.status.context("a status")?;
        let found = status.conditions.into_iter().find(|have| have.type_ == type_);
        Ok(found.with_context(|| format!("no {type_}"))?.message)
    }

    /// Waits until something can no longer be got.
    pub(crate) async fn gone(&self, what: &str) -> Result<()> {
        eventually(PATIENCE, &format!("end of {what}"), || async {
            let found = self.kubectl(&["get", what, "--ignore-not-found"]).await?;
            ensure!(found.is_empty(), "{found}");
            Ok(())
        })
        .await
    }

    /// Waits until a field of an object has a value.
    pub(crate) async fn has(&self, what: &str, path: &str, value: &str) -> Result<()> {
        eventually(PATIENCE, &format!("{value:?} in {path} of {what}"), || async {
            let found = self.field(what, path).await?;
            ensure!(found == value, "{found}");
            Ok(())
        })
        .await
    }

    pub(crate) async fn field(&self, what: &str, path: &str) -> Result<String> {
        self.kubectl(&["get", what, "-o", &format!("jsonpath={path}")])
            .await
    }
}

pub(crate) fn shown(feed: &Changefeed) -> Vec<String> {
    let conditions = feed.status.iter().flat_map(|status| &status.conditions);
    conditions
        .map(|have| format!("{}={}/{}", have.type_, have.status, have.reason))
        .collect()
}

fn messages(feed: &Changefeed) -> Vec<String> {
    let conditions = feed.status.iter().flat_map(|status| &status.conditions);
    conditions.map(|have| have.message.clone()).collect()
}

/// A valid feed.
pub(crate) fn feed(name: &str) -> Value {
    json!({
        "apiVersion": "tidemark.io/v1alpha1",
        "kind": "Changefeed",
        "metadata": {"name": name},
        "spec": {
            "source": {"pd": ["http://127.0.0.1:1"]},
            "tables": ["shop.*"],
            "sink": {"blackhole": {}},
        },
    })
}
