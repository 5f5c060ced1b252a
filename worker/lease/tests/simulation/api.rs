//! A small API server: one Lease and one Changefeed, with the preconditions and answers of a real one.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::{any, get, patch, post};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::net::{NAMESPACE, PROCESS};
use crate::rules::Rules;
use crate::world::World;

pub(crate) const LEASE: &str = "orders-owner";
pub(crate) const FEED: &str = "orders";

/// What the server has stored; outlives its crashes.
pub(crate) struct Store {
    rules: Rules,
    version: u64,
    pub(crate) lease: Option<Lease>,
    status: Value,
    rng: SmallRng,
    /// How often a request fails with 5xx, before or after it was carried out.
    pub(crate) fails: f64,
    pub(crate) conflicts: u64,
    pub(crate) refused: u64,
    /// The checkpoint or the epoch fell.
    pub(crate) fell: bool,
}

struct Refusal(u16, &'static str);

type Answer = Result<Value, Refusal>;

const CONFLICT: Refusal = Refusal(409, "Conflict");
const MISSING: Refusal = Refusal(404, "NotFound");
const INVALID: Refusal = Refusal(422, "Invalid");
const ERROR: Refusal = Refusal(500, "InternalError");

impl Store {
    pub(crate) fn new(rules: Rules, seed: u64) -> Self {
        Self {
            rules,
            version: 1,
            lease: None,
            status: json!({}),
            rng: SmallRng::seed_from_u64(seed),
            fails: 0.0,
            conflicts: 0,
            refused: 0,
            fell: false,
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.status["epoch"].as_u64().unwrap_or(0)
    }

    pub(crate) fn checkpoint(&self) -> u64 {
        checkpoint(&self.status)
    }

    /// The Lease as the operator makes it: nobody's.
    pub(crate) fn make_lease(&mut self) {
        let mut lease = Lease::default();
        lease.metadata.name = Some(LEASE.to_owned());
        lease.metadata.namespace = Some(NAMESPACE.to_owned());
        lease.spec = Some(LeaseSpec::default());
        let _ = self.create(lease);
    }

    /// UID of the Lease that is there.
    pub(crate) fn uid(&self) -> Option<&str> {
        self.lease.as_ref()?.metadata.uid.as_deref()
    }

    fn create(&mut self, mut lease: Lease) -> Answer {
        if self.lease.is_some() {
            return Err(Refusal(409, "AlreadyExists"));
        }
        lease.metadata.uid = Some(format!("lease-{}", self.version));
        self.put(lease)
    }

    fn replace(&mut self, lease: Lease) -> Answer {
        let Some(stored) = &self.lease else {
            // Leases may be made by PUT, but not with another's UID.
            return if lease.metadata.uid.is_some() {
                Err(CONFLICT)
            } else {
                self.create(lease)
            };
        };
        let (old, new) = (&stored.metadata, &lease.metadata);
        if new.resource_version.is_none() {
            return Err(INVALID);
        }
        if new.resource_version != old.resource_version
            || new.uid.as_ref().is_some_and(|_| new.uid != old.uid)
        {
            return Err(CONFLICT);
        }
        self.put(lease)
    }

    fn put(&mut self, mut lease: Lease) -> Answer {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        let value = serde_json::to_value(&lease).map_err(|_| INVALID);
        self.lease = Some(lease);
        value
    }

    fn read(&self) -> Answer {
        let lease = self.lease.as_ref().ok_or(MISSING)?;
        serde_json::to_value(lease).map_err(|_| INVALID)
    }

    fn feed(&self) -> Value {
        json!({
            "apiVersion": "tidemark.io/v1alpha1",
            "kind": "Changefeed",
            "metadata": {
                "name": FEED,
                "namespace": NAMESPACE,
                "resourceVersion": self.status["version"].as_u64().unwrap_or(0).to_string(),
            },
            "status": self.status,
        })
    }

    fn patch(&mut self, patch: &Value) -> Answer {
        let before = self.feed();
        let wanted = &patch["metadata"]["resourceVersion"];
        if !wanted.is_null() && *wanted != before["metadata"]["resourceVersion"] {
            return Err(CONFLICT);
        }
        let mut status = self.status.clone();
        json_patch::merge(&mut status, &patch["status"]);
        let falls = status["epoch"].as_u64() < self.status["epoch"].as_u64()
            || checkpoint(&status) < checkpoint(&self.status);
        if falls && self.rules.rising_status {
            self.refused += 1;
            return Err(INVALID);
        }
        self.fell |= falls;
        self.version += 1;
        status["version"] = json!(self.version);
        self.status = status;
        Ok(self.feed())
    }

    fn answer(&mut self, carry_out: impl FnOnce(&mut Self) -> Answer) -> (StatusCode, String) {
        let before = self.rng.random_bool(self.fails);
        let after = self.rng.random_bool(self.fails);
        let answer = if before { Err(ERROR) } else { carry_out(self) };
        let answer = if after { Err(ERROR) } else { answer };
        match answer {
            Ok(value) => (StatusCode::OK, value.to_string()),
            Err(Refusal(code, reason)) => {
                self.conflicts += u64::from(code == 409);
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": reason, "reason": reason, "code": code,
                });
                let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (code, status.to_string())
            }
        }
    }
}

fn checkpoint(status: &Value) -> u64 {
    let text = status["checkpointTs"].as_str().unwrap_or("0");
    text.parse().unwrap_or(0)
}

type Shared = State<Arc<World>>;

async fn lease(
    State(world): Shared,
    method: Method,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let sent = serde_json::from_str::<Lease>(&body).ok();
    let creates = method == Method::POST;
    let mut store = world.store.lock();
    let answer = store.answer(|store| match (method, sent) {
        (Method::GET, _) => store.read(),
        (Method::POST, Some(lease)) => store.create(lease),
        (Method::PUT, Some(lease)) => store.replace(lease),
        _ => Err(INVALID),
    });
    // Whoever tries to make one learns of the Lease, be it by no answer. A conflict on a renewal tells only that the own
    // Lease is another or gone, and of a read the answer may be lost.
    let process = headers.get(PROCESS).filter(|_| creates);
    let process = process.and_then(|process| process.to_str().ok());
    if let (Some(there), Some(process)) = (store.uid(), process) {
        let now = turmoil::sim_elapsed();
        world.judge.lock().lives.meet(there, process, now);
    }
    answer
}

async fn feed(State(world): Shared) -> (StatusCode, String) {
    world.store.lock().answer(|store| Ok(store.feed()))
}

async fn status(State(world): Shared, body: String) -> (StatusCode, String) {
    let patch = serde_json::from_str::<Value>(&body).unwrap_or_default();
    world.store.lock().answer(|store| store.patch(&patch))
}

pub(crate) fn routes(world: Arc<World>) -> Router {
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases");
    let feeds = format!("/apis/tidemark.io/v1alpha1/namespaces/{NAMESPACE}/changefeeds/{FEED}");
    Router::new()
        .route(&leases, post(lease))
        .route(&format!("{leases}/{LEASE}"), any(lease))
        .route(&feeds, get(feed))
        .route(&format!("{feeds}/status"), patch(status))
        .with_state(world)
}
