//! Who this worker is.

use std::net::{IpAddr, SocketAddr};

use tidemark_crds::Changefeed;
use uuid::Uuid;

use crate::error::FeedError;

/// The pod that this process runs in, and the feed that it serves.
#[derive(Clone, Debug)]
pub(crate) struct Me {
    pub(crate) namespace: String,
    pub(crate) feed: String,
    /// The Changefeed's UID: another feed of the same name is another feed.
    pub(crate) feed_uid: String,
    pub(crate) pod: String,
    pub(crate) pod_uid: String,
    /// Where others reach it.
    pub(crate) address: SocketAddr,
    /// Of the feed's settings.
    pub(crate) revision: String,
    /// Names this run of the process: no other run, also of the same pod, has it.
    pub(crate) identity: String,
}

/// Names of the environment that the pod template sets.
pub(crate) const POD_NAME: &str = "POD_NAME";
const POD_NAMESPACE: &str = "POD_NAMESPACE";
const POD_UID: &str = "POD_UID";
const POD_IP: &str = "POD_IP";
const FEED_UID: &str = "TIDEMARK_FEED_UID";
const REVISION: &str = "TIDEMARK_REVISION";

impl Me {
    /// Reads the environment, by way of `variable`; `port` is where this process listens for its peers.
    pub(crate) fn read(
        feed: &Changefeed,
        port: u16,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, FeedError> {
        let get = |name: &str| {
            variable(name).filter(|value| !value.is_empty()).ok_or_else(|| {
                FeedError::Stopped(format!(
                    "environment: {name} is not set: `serve` runs in a pod that the operator makes; elsewhere use `run`"
                ))
            })
        };
        let ip = get(POD_IP)?;
        let ip: IpAddr = ip
            .parse()
            .map_err(|_| FeedError::Stopped(format!("environment: {POD_IP}: {ip:?} is no IP address")))?;
        let pod_uid = get(POD_UID)?;
        Ok(Self {
            namespace: get(POD_NAMESPACE)?,
            feed: feed.metadata.name.clone().unwrap_or_default(),
            feed_uid: get(FEED_UID)?,
            pod: get(POD_NAME)?,
            address: SocketAddr::new(ip, port),
            revision: get(REVISION)?,
            identity: format!("{pod_uid}.{}", Uuid::new_v4().simple()),
            pod_uid,
        })
    }

    /// The Lease of the feed's owner.
    pub(crate) fn owner_lease(&self) -> String {
        format!("{}-owner", self.feed)
    }

    /// The pod of an ordinal, and its Lease.
    pub(crate) fn pod_of(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.feed)
    }

    /// The ordinal in a pod's name.
    pub(crate) fn ordinal(&self, pod: &str) -> Option<u32> {
        pod.strip_prefix(&self.feed)?.strip_prefix('-')?.parse().ok()
    }

    /// The name of the feed's safe point in PD.
    pub(crate) fn service(&self) -> String {
        format!("tidemark-{}", self.feed_uid)
    }
}

/// The UID of the pod that an identity names.
pub(crate) fn pod_uid(identity: &str) -> &str {
    identity.split_once('.').map_or(identity, |(uid, _)| uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_variable_is_named() {
        let text = "apiVersion: tidemark.io/v1alpha1\nkind: Changefeed\nmetadata: {name: shop}\nspec: {source: {pd: [\"http://pd:2379\"]}, sink: {blackhole: {}}}\n";
        let feed = Changefeed::from_yaml(text).unwrap();
        let lookup = |missing: &'static str| {
            move |name: &str| match name {
                name if name == missing => None,
                POD_IP => Some("10.0.0.7".to_owned()),
                name => Some(name.to_lowercase()),
            }
        };
        let me = Me::read(&feed, 8081, lookup("")).unwrap();
        assert_eq!(me.address.to_string(), "10.0.0.7:8081");
        assert_eq!(pod_uid(&me.identity), "pod_uid");
        assert_eq!(
            (me.ordinal("shop-12"), me.ordinal("shop-owner")),
            (Some(12), None)
        );
        for name in [POD_NAME, POD_NAMESPACE, POD_UID, POD_IP, FEED_UID, REVISION] {
            let error = Me::read(&feed, 1, lookup(name)).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
