//! A worker under Kubernetes: one of those that stream a feed together.
//!
//! Each process holds a Lease of its own and contends for the feed's owner Lease. All are [`member`]s and stream the spans
//! that the [`owner`] gives them over [`peers`]; the one that holds the owner Lease is both. [`gate`] and [`right`] say
//! whether a process may still write and still own, [`deadman`] ends one that can't ask; [`liveness`] tells that another has ended before its Lease runs out;
//! [`memory`] is what outlives a container, [`deleted`] has a deleted Lease made anew. docs/cluster.md explains the whole.

mod deadman;
mod deleted;
mod gate;
mod liveness;
mod me;
mod member;
mod memory;
mod owner;
mod parts;
mod peers;
mod right;
mod span_key;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shown;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kube::{Api, Client};
use tidemark_crds::Changefeed;
use tidemark_lease::{Contender, LeaseSettings, LeaseTimes};
use tidemark_process::admin;
use tidemark_process::signals::stop_on_signal;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::cli::ServeArgs;
use crate::error::{FeedError, chain};
use crate::metrics::Metrics;
use crate::secrets::SecretDir;
use crate::state::StateDir;
use deadman::DeadMan;
use liveness::Sightings;
use me::Me;
use member::Member;
use owner::Views;
use parts::Parts;
use peers::{Door, PeerTls};

/// Annotation of a Lease: where its holder listens for peers.
const ADDRESS: &str = "tidemark.io/address";
/// Annotation of a Lease: the holder's pod.
const POD: &str = "tidemark.io/pod";

/// How long a silent worker's Lease is waited for.
const LEASE: Duration = Duration::from_secs(15);
/// How long a worker may write after the last renewal that was confirmed.
const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// How long a worker may take to give up what it may not write any more; still within the time for which others wait.
const GRACE: Duration = Duration::from_secs(3);
/// How often Leases are renewed.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// What both roles of a worker share; a cheap clone.
#[derive(Clone)]
struct Shared {
    me: Arc<Me>,
    feed: Arc<Changefeed>,
    state: Arc<StateDir>,
    metrics: Arc<Metrics>,
    client: Client,
    sightings: Sightings,
    parts: Arc<Parts>,
    tls: PeerTls,
    door: Door,
    views: Views,
    deadman: Arc<DeadMan>,
}

/// Takes part in a feed until SIGTERM, then drains.
pub fn serve(feed: Changefeed, args: &ServeArgs) -> Result<(), FeedError> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| FeedError::Stopped(format!("runtime: {error}")))?;
    runtime.block_on(Box::pin(take_part(feed, args)))
}

async fn take_part(feed: Changefeed, args: &ServeArgs) -> Result<(), FeedError> {
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone()).map_err(|error| FeedError::Stopped(format!("signals: {error}")))?;
    let metrics = Arc::new(Metrics::new());
    let views = Views::default();
    let admin_stop = CancellationToken::new();
    let routes = Router::new()
        .route("/spans", get(spans))
        .with_state(views.clone());
    let bound = admin::serve(args.admin, Arc::clone(&metrics), routes, admin_stop.clone())
        .await
        .map_err(|error| FeedError::Stopped(format!("--admin: can't listen on {}: {error}", args.admin)))?;
    tracing::info!(address = %bound, "Serving /metrics, /healthz, /readyz and /spans");
    let tls = PeerTls::new(&args.peers);
    let door = Door::default();
    let listening = peers::serve(args.listen, &tls, door.clone()).await?;
    let me = Arc::new(Me::read(&feed, listening.port(), |name| {
        std::env::var(name).ok()
    })?);
    let client = Client::try_default().await.map_err(|error| {
        FeedError::Stopped(format!(
            "Kubernetes API: {}: `serve` runs in a pod, else set KUBECONFIG",
            chain(&error)
        ))
    })?;
    let deadman = DeadMan::start(GRACE).map_err(|error| {
        FeedError::Stopped(format!(
            "a timer that ends the process when it stands still: {error}"
        ))
    })?;
    let feed = Arc::new(feed);
    let parts = Parts::new(
        Changefeed::clone(&feed),
        Arc::new(SecretDir::new(args.secrets.clone())),
    );
    let shared = Shared {
        state: Arc::new(StateDir::open(&args.state).map_err(|error| FeedError::Stopped(error.to_string()))?),
        parts: Arc::new(parts),
        sightings: Sightings::new(client.clone(), &me.namespace),
        me,
        feed,
        metrics,
        client,
        tls,
        door,
        views,
        deadman: Arc::new(deadman),
    };
    let parts = Arc::clone(&shared.parts);
    tokio::spawn(async move { parts.warm().await });
    let ended = hold(shared, stop).await;
    admin_stop.cancel();
    ended
}

/// Contends for both Leases and plays both roles; on a stop the member drains first, then the owner, then both Leases are
/// given back.
async fn hold(shared: Shared, stop: CancellationToken) -> Result<(), FeedError> {
    let (drained, give_back) = (CancellationToken::new(), CancellationToken::new());
    let me = &shared.me;
    let own = Contender::spawn(
        shared.client.clone(),
        lease(me, me.pod.clone()),
        give_back.clone(),
    );
    let owner = Contender::spawn(
        shared.client.clone(),
        lease(me, me.owner_lease()),
        drained.clone(),
    );
    let feeds: Api<Changefeed> = Api::namespaced(shared.client.clone(), &me.namespace);
    let watched = [
        (me.pod.clone(), own.standing()),
        (me.owner_lease(), owner.standing()),
    ];
    for (lease, standing) in watched {
        tokio::spawn(deleted::tell(feeds.clone(), me.feed.clone(), lease, standing));
    }
    let reign = CancellationToken::new();
    let owning = tokio::spawn(owner::run(
        shared.clone(),
        owner.standing(),
        owner.authority(),
        reign.clone(),
    ));
    let member = Member::new(
        shared.clone(),
        (own.standing(), own.authority()),
        (owner.standing(), owner.hints()),
        stop,
    );
    let ended = Box::pin(member.run()).await;
    reign.cancel();
    let _ = owning.await;
    drained.cancel();
    owner.finished().await;
    give_back.cancel();
    own.finished().await;
    tracing::info!("Ended");
    ended
}

fn lease(me: &Me, name: String) -> LeaseSettings {
    let annotations = [(ADDRESS, me.address.to_string()), (POD, me.pod.clone())];
    LeaseSettings {
        namespace: me.namespace.clone(),
        name,
        identity: me.identity.clone(),
        // Fewer renewals than usual: what is given back is taken at once, so only a silent death waits for them.
        times: LeaseTimes::new(LEASE, RENEW_WITHIN, RENEW_EVERY).unwrap_or_default(),
        // The operator makes it, and takes it away with the feed.
        create: None,
        annotations: annotations
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        lineage: Some(me.pod_uid.clone()),
    }
}

/// All spans as JSON; 404 where another worker owns the feed.
async fn spans(Shown(views): Shown<Views>) -> Response {
    let Some(spans) = views.ask().await else {
        return (StatusCode::NOT_FOUND, "this worker doesn't own the feed\n").into_response();
    };
    match serde_json::to_string(&spans) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
