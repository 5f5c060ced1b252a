//! A worker: contends for the Lease with the real contender, and while it holds it owns the feed as the product does.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tidemark_lease::{LeaseCreation, LeaseSettings};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::{FEED, LEASE};
use crate::holder::{Holder, Right};
use crate::judge::Subject;
use crate::net::{NAMESPACE, client};
use crate::world::{API, SINK, World};

/// Between rows.
const BEAT: Duration = Duration::from_millis(500);
/// Between writes of the status.
const EVERY: Duration = Duration::from_secs(2);
/// How long servers may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// What ends a reign before its term does.
#[derive(Debug)]
enum Ended {
    /// There is a newer owner.
    Deposed,
    /// No answer, or none that says more.
    Failed,
}

/// Runs one process after the other on this host, until the host crashes.
pub(crate) async fn live(host: &'static str, world: Arc<World>) -> turmoil::Result {
    loop {
        let boot = world.judge.lock().boot(host);
        let identity = format!("{host}-uid.{boot}");
        let (stop, give_back) = (CancellationToken::new(), CancellationToken::new());
        let settings = settings(host, &identity, &world);
        let (judge, process) = (Arc::clone(&world), identity.clone());
        let heard = move || judge.judge.lock().lives.hear(&process, turmoil::sim_elapsed());
        let client = client(API, &identity, heard)?;
        let holder = Holder::start(world.rules, client, settings, give_back.clone());
        let subject = Subject::new(identity.clone(), holder.right(), holder.hints(), stop.clone());
        world.judge.lock().register(host, subject);
        let mut owner = Owner::new(identity, &world)?;
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = owner.run(holder.right()) => {}
        }
        give_back.cancel();
        holder.finished().await;
        world.judge.lock().unregister(host);
        sleep(Duration::from_secs(1)).await;
    }
}

fn settings(host: &str, identity: &str, world: &World) -> LeaseSettings {
    LeaseSettings {
        namespace: NAMESPACE.to_owned(),
        name: LEASE.to_owned(),
        identity: identity.to_owned(),
        times: world.rules.times,
        create: world.contenders_create.then(LeaseCreation::default),
        annotations: BTreeMap::from([("tidemark.io/address".to_owned(), format!("{host}:7000"))]),
        lineage: world.rules.lineage.then(|| format!("{host}-uid")),
    }
}

struct Owner {
    identity: String,
    world: Arc<World>,
    rng: SmallRng,
    feeds: Api<DynamicObject>,
    sink: Client,
}

impl Owner {
    fn new(identity: String, world: &Arc<World>) -> turmoil::Result<Self> {
        let mut hasher = DefaultHasher::new();
        (world.seed, &identity).hash(&mut hasher);
        let kind = GroupVersionKind::gvk("tidemark.io", "v1alpha1", "Changefeed");
        let feeds = Api::namespaced_with(
            client(API, &identity, || ())?,
            NAMESPACE,
            &ApiResource::from_gvk(&kind),
        );
        Ok(Self {
            sink: client(SINK, &identity, || ())?,
            identity,
            world: Arc::clone(world),
            rng: SmallRng::seed_from_u64(hasher.finish()),
            feeds,
        })
    }

    /// Owns the feed whenever the Lease is held.
    async fn run(&mut self, mut right: Right) {
        while let Some(term) = right.held().await {
            while right.holds_term(term) {
                let ended = self.reign(&right, term).await;
                self.world
                    .judge
                    .lock()
                    .note(&format!("{} ended a reign: {ended:?}", self.identity));
                sleep(Duration::from_secs(1)).await;
            }
            // The standing may be older than what ended it.
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn reign(&mut self, right: &Right, term: u64) -> Result<(), Ended> {
        let (epoch, mut row) = self.raise_epoch().await?;
        self.hand(json!({"epoch": epoch, "writer": self.identity}))
            .await?;
        let mut due = Instant::now() + EVERY;
        while right.holds_term(term) {
            // A pause between the question and the write: nothing but the fence can help then.
            self.stall().await;
            let next = json!({"epoch": epoch, "writer": self.identity, "row": row + 1});
            match self.hand(next).await {
                Ok(()) => row += 1,
                Err(Ended::Failed) => {}
                Err(Ended::Deposed) => return Err(Ended::Deposed),
            }
            if Instant::now() >= due && right.holds_term(term) {
                self.stall().await;
                let status = json!({"status": {"epoch": epoch, "checkpointTs": row.to_string()}});
                match self.patch(&status).await {
                    Ok(_) => due = Instant::now() + EVERY,
                    Err((422, _)) => return Err(Ended::Deposed),
                    Err(_) => {}
                }
            }
            sleep(BEAT).await;
        }
        Ok(())
    }

    /// By compare-and-swap, as `worker/src/cluster/owner/resource.rs` does; tells the checkpoint too.
    async fn raise_epoch(&self) -> Result<(u64, u64), Ended> {
        loop {
            let answer = timeout(ANSWER, self.feeds.get(FEED)).await;
            let feed = answer.map_err(|_| Ended::Failed)?.map_err(|_| Ended::Failed)?;
            let epoch = feed.data["status"]["epoch"].as_u64().unwrap_or(0) + 1;
            let patch = json!({
                "metadata": {"resourceVersion": feed.metadata.resource_version},
                "status": {"epoch": epoch, "owner": self.identity},
            });
            match self.patch(&patch).await {
                Ok(feed) => {
                    self.world
                        .judge
                        .lock()
                        .note(&format!("{} raised the epoch to {epoch}", self.identity));
                    let checkpoint = feed.data["status"]["checkpointTs"].as_str().unwrap_or("0");
                    return Ok((epoch, checkpoint.parse().unwrap_or(0)));
                }
                Err((409, _)) => {}
                Err((422, _)) => return Err(Ended::Deposed),
                Err(_) => return Err(Ended::Failed),
            }
        }
    }

    async fn patch(&self, patch: &Value) -> Result<DynamicObject, (u16, String)> {
        let params = PatchParams::default();
        let patch = Patch::Merge(patch);
        let call = self.feeds.patch_status(FEED, &params, &patch);
        match timeout(ANSWER, call).await {
            Ok(Ok(feed)) => Ok(feed),
            Ok(Err(kube::Error::Api(status))) => Err((status.code, status.message.clone())),
            Ok(Err(error)) => Err((0, error.to_string())),
            Err(_) => Err((0, "no answer".to_owned())),
        }
    }

    /// Hands the sink a row, or the epoch alone.
    async fn hand(&self, request: Value) -> Result<(), Ended> {
        let request = Request::post("/rows").body(request.to_string().into_bytes());
        let request = request.map_err(|_| Ended::Failed)?;
        match timeout(ANSWER, self.sink.request::<Value>(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Ended::Deposed),
            Ok(Err(_)) | Err(_) => Err(Ended::Failed),
        }
    }

    async fn stall(&mut self) {
        if !self.world.is_calm() && self.rng.random_bool(0.01) {
            let pause = self.rng.random_range(1..25);
            sleep(Duration::from_secs(pause)).await;
        }
    }
}
