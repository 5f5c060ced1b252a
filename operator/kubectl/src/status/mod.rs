//! `status`: how feeds are, for people.

mod all;
mod one;

use anyhow::Result;
use jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;
use tidemark_crds::Changefeed;

use crate::cluster::Cluster;
use crate::output::print;

/// Shows one feed.
pub(crate) async fn one(cluster: &Cluster, name: &str) -> Result<()> {
    let feed = cluster.feed(name).await?;
    print(one::render(&feed, Timestamp::now()))
}

/// Shows the feeds of the namespace, or of all namespaces.
pub(crate) async fn all(cluster: &Cluster, everywhere: bool) -> Result<()> {
    let api: Api<Changefeed> = if everywhere {
        Api::all(cluster.client.clone())
    } else {
        cluster.feeds()
    };
    let list = api.list(&ListParams::default()).await;
    let feeds = list.map_err(|error| cluster.explain(error))?.items;
    if feeds.is_empty() {
        let place = if everywhere {
            "the cluster"
        } else {
            cluster.namespace.as_str()
        };
        eprintln!("no Changefeeds in {place}");
        return Ok(());
    }
    print(all::render(&feeds, everywhere, Timestamp::now()))
}
