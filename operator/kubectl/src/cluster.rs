//! The cluster that the user's kubeconfig names.

use std::error::Error as _;
use std::time::Duration;

use anyhow::{Result, anyhow};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tidemark_crds::Changefeed;

use crate::cli::ClusterArgs;

/// A server that doesn't answer in time can't be reached.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cluster and the namespace that is meant.
pub(crate) struct Cluster {
    pub client: Client,
    pub namespace: String,
    server: String,
}

impl Cluster {
    /// Reads the kubeconfig, or takes the pod's account where there is none; reaches no server yet.
    pub(crate) async fn connect(args: &ClusterArgs) -> Result<Self> {
        let options = KubeConfigOptions {
            context: args.context.clone(),
            ..KubeConfigOptions::default()
        };
        let mut config = match &args.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path)?;
                Config::from_custom_kubeconfig(file, &options).await?
            }
            None if args.context.is_some() => Config::from_kubeconfig(&options).await?,
            None => Config::infer().await.map_err(|error| {
                // Beside it stands that this is no pod either.
                let why = error.source().map(ToString::to_string).unwrap_or_default();
                anyhow!("no kubeconfig, and this is no pod: set KUBECONFIG or --kubeconfig ({why})")
            })?,
        };
        config.connect_timeout = Some(PATIENCE);
        config.read_timeout = Some(3 * PATIENCE);
        let namespace = args.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        Ok(Self {
            client: Client::try_from(config)?,
            namespace,
            server,
        })
    }

    /// The feeds of the namespace.
    pub(crate) fn feeds(&self) -> Api<Changefeed> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A feed.
    pub(crate) async fn feed(&self, name: &str) -> Result<Changefeed> {
        self.feeds().get(name).await.map_err(|error| self.explain(error))
    }

    /// What a call's error means, in one line.
    pub(crate) fn explain(&self, error: kube::Error) -> anyhow::Error {
        match &error {
            kube::Error::Api(status) if status.message.contains("404 page not found") => anyhow!(
                "{} serves no Changefeeds: install Tidemark there, or choose another --context",
                self.server
            ),
            kube::Error::Api(status) if status.code == 404 => {
                anyhow!("{} in namespace {}", status.message, self.namespace)
            }
            kube::Error::Api(status) => anyhow!("{}", status.message),
            kube::Error::Service(_) | kube::Error::HyperError(_) => {
                anyhow!("{} can't be reached: {}", self.server, root(&error))
            }
            _ => anyhow!(error),
        }
    }
}

/// The innermost cause: what lies around it repeats that a request failed.
fn root(error: &kube::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

/// Whether no server answered at all.
pub(crate) fn is_unreachable(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_))
}

/// `namespace/name` of a feed.
pub(crate) fn full_name(feed: &Changefeed) -> String {
    let meta = &feed.metadata;
    let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
    format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
}
