//! The cluster's handle: starts everything and carries out the test's commands.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tidemark_model::Ts;
use tidemark_proto::pdpb::pd_server::PdServer;
use tidemark_proto::tikvpb::tikv_server::TikvServer;
use tokio::net::TcpListener;

use crate::cdc::CdcService;
use crate::config::ClusterConfig;
use crate::faults::StreamFaults;
use crate::keys;
use crate::pd::gc::GcState;
use crate::pd::service::Member;
use crate::reshape::ReshapeError;
use crate::server::{self, Running};
use crate::state::{State, Store, StoreHandle};
use crate::topology::Topology;
use crate::tso::{MaxTs, Tso};

/// Keys at which PD splits a fresh cluster by itself.
const FRESH_BOUNDS: [&[u8]; 4] = [b"r\0\0\0", b"r\0\0\x01", b"x\0\0\0", b"x\0\0\x01"];

/// Why a command can't be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A port can't be bound.
    #[error("port {port} of {address} can't be bound; choose another or 0 for any")]
    Bind {
        /// The address.
        address: Ipv4Addr,
        /// The port.
        port: u16,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The settings make no cluster.
    #[error("a cluster needs at least one store and one PD member; it was given {stores} and {members}")]
    Empty {
        /// Stores.
        stores: usize,
        /// PD members.
        members: usize,
    },
    /// A region can't be changed so.
    #[error(transparent)]
    Reshape(#[from] ReshapeError),
    /// There is no such store.
    #[error("store {0} does not exist; the stores are numbered from 1")]
    NoStore(u64),
    /// There is no such PD member.
    #[error("PD member {0} does not exist; the members are numbered from 0")]
    NoMember(usize),
    /// A write that the test asked for was refused.
    #[error("the write was refused: {0}")]
    Refused(String),
}

/// A region, for people and tests.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RegionInfo {
    /// Its id.
    pub id: u64,
    /// First key inside: memcomparable, in hex.
    pub start: String,
    /// First key outside: memcomparable, in hex; empty for none.
    pub end: String,
    /// Raised by splits and merges.
    pub version: u64,
    /// The store that leads it; none during an election.
    pub leader: Option<u64>,
    /// Stores with a replica.
    pub stores: Vec<u64>,
    /// Keys that have committed versions.
    pub keys: usize,
    /// Keys that are locked.
    pub locks: usize,
}

/// A service that keeps history from its ts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcBarrier {
    /// The service's name.
    pub service: String,
    /// Where the history that it keeps begins.
    pub ts: Ts,
    /// Seconds until it ends, rounded down; `i64::MAX` for never.
    pub ttl_seconds: i64,
}

/// A running cluster. Copies are handles of the same; its servers end when the last is dropped.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) state: Arc<State>,
    servers: Arc<Servers>,
}

struct Servers {
    state: Arc<State>,
    pd: Mutex<BTreeMap<usize, Running>>,
    stores: Mutex<BTreeMap<u64, Running>>,
}

impl Drop for Servers {
    fn drop(&mut self) {
        // Observers hold handles of the state that holds them.
        for store in self.state.stores.values() {
            store.set_observer(None);
        }
    }
}

impl Cluster {
    /// Starts PD and the stores on sockets of the configured address.
    ///
    /// # Errors
    /// A port is taken, or no store or member is asked for.
    pub async fn start(config: ClusterConfig) -> Result<Self, ClusterError> {
        if config.stores == 0 || config.pd_members == 0 {
            return Err(ClusterError::Empty {
                stores: config.stores,
                members: config.pd_members,
            });
        }
        let mut rng = StdRng::seed_from_u64(config.seed);
        let drawn = rng.random_range(1..u64::MAX >> 1);
        let members = listeners(config.address, config.pd_port, config.pd_members).await?;
        let sockets = listeners(config.address, config.store_port, config.stores).await?;
        let mut stores = BTreeMap::new();
        for (id, socket) in (1..).zip(&sockets) {
            stores.insert(id, Store::new(address(socket)));
        }
        let mut bounds: Vec<Bytes> = FRESH_BOUNDS.iter().map(|key| keys::encode(key)).collect();
        bounds.extend(config.split_keys.iter().map(|key| keys::encode(key)));
        bounds.sort();
        bounds.dedup();
        let state = Arc::new(State {
            cluster_id: config.cluster_id.unwrap_or(drawn),
            tso: Tso::new(config.clock.clone()),
            max_ts: MaxTs::default(),
            topology: RwLock::new(Topology::default()),
            gc: Mutex::new(GcState::default()),
            rng: Mutex::new(rng),
            // Ids below are the stores'.
            next_id: AtomicU64::new(u64::try_from(config.stores).unwrap_or(u64::MAX) + 1),
            pd_urls: members
                .iter()
                .map(|socket| format!("http://{}", address(socket)))
                .collect(),
            pd_leader: AtomicU64::new(0),
            stores,
            config,
        });
        state.bootstrap(&bounds);
        let servers = Arc::new(Servers {
            state: Arc::clone(&state),
            pd: Mutex::default(),
            stores: Mutex::default(),
        });
        let cluster = Self { state, servers };
        for (index, socket) in members.into_iter().enumerate() {
            cluster.serve_pd(index, socket);
        }
        for (id, socket) in (1..).zip(sockets) {
            cluster.serve_store(id, socket);
        }
        Ok(cluster)
    }

    fn serve_pd(&self, index: usize, socket: TcpListener) {
        let member = Member {
            state: Arc::clone(&self.state),
            index,
        };
        let router = server::builder().add_service(PdServer::new(member));
        self.servers
            .pd
            .lock()
            .insert(index, server::serve(socket, router));
    }

    fn serve_store(&self, id: u64, socket: TcpListener) {
        let store = self.handle(id);
        let router = server::builder()
            .add_service(TikvServer::new(store.clone()).max_decoding_message_size(usize::MAX))
            .add_service(CdcService::start(store).into_server());
        self.servers
            .stores
            .lock()
            .insert(id, server::serve(socket, router));
    }

    /// What a store's services see of the cluster.
    pub fn handle(&self, store_id: u64) -> StoreHandle {
        StoreHandle {
            state: Arc::clone(&self.state),
            store_id,
        }
    }

    /// URLs of the PD members, the form that clients take.
    pub fn pd_endpoints(&self) -> Vec<String> {
        self.state.pd_urls.clone()
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> u64 {
        self.state.cluster_id
    }

    /// Ids of the stores.
    pub fn stores(&self) -> Vec<u64> {
        self.state.stores.keys().copied().collect()
    }

    /// `host:port` of a store.
    ///
    /// # Errors
    /// No such store.
    pub fn store_address(&self, id: u64) -> Result<String, ClusterError> {
        Ok(self.store(id)?.address.clone())
    }

    /// A new timestamp of PD's, even while PD is paused.
    pub fn now(&self) -> Ts {
        self.state.tso.take(1)
    }

    /// Splits the region that holds the user key, there; gives the ids of both parts in key order.
    ///
    /// # Errors
    /// The key is a region's start already.
    pub fn split(&self, user_key: &[u8]) -> Result<(u64, u64), ClusterError> {
        let bound = keys::encode(user_key);
        let region = self.state.topology.read().at(&bound);
        let id = region.map_or(0, |region| region.id);
        let parts = self.state.split_region(id, None, vec![bound]);
        let parts = parts.map_err(|error| ReshapeError::NoSplit(id, error.message))?;
        match parts.as_slice() {
            [low, high] => Ok((low.id, high.id)),
            _ => Err(ReshapeError::NoSplit(id, "the key is a bound".to_owned()).into()),
        }
    }

    /// Merges a region into a neighbour.
    ///
    /// # Errors
    /// One of them is unknown, or they are no neighbours.
    pub fn merge(&self, region_id: u64, into: u64) -> Result<(), ClusterError> {
        self.state.merge_region(region_id, into)?;
        Ok(())
    }

    /// Makes a store the leader of a region.
    ///
    /// # Errors
    /// The store is down or has no replica.
    pub fn move_leader(&self, region_id: u64, store: u64) -> Result<(), ClusterError> {
        Ok(self.state.move_leader(region_id, store)?)
    }

    /// Kills a store: its socket and connections close at once; its regions get leaders elsewhere after the
    /// election timeout, where a quorum lives.
    ///
    /// # Errors
    /// No such store.
    pub async fn kill_store(&self, id: u64) -> Result<(), ClusterError> {
        let store = self.store(id)?;
        store.alive.store(false, Ordering::SeqCst);
        let server = self.servers.stores.lock().remove(&id);
        if let Some(server) = server {
            server.kill().await;
        }
        store.set_observer(None);
        self.state.drop_leaders_of(id);
        self.elect_later();
        Ok(())
    }

    /// Brings a killed store back, at the same address.
    ///
    /// # Errors
    /// No such store, or its port was taken meanwhile.
    pub async fn revive_store(&self, id: u64) -> Result<(), ClusterError> {
        let store = self.store(id)?;
        if store.is_alive() {
            return Ok(());
        }
        let port = store
            .address
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .unwrap_or(0);
        let socket = bind(self.state.config.address, port).await?;
        store.alive.store(true, Ordering::SeqCst);
        self.serve_store(id, socket);
        self.elect_later();
        Ok(())
    }

    /// Elections after the timeout; the task ends with its one election.
    fn elect_later(&self) {
        let state = Arc::downgrade(&self.state);
        let timeout = self.state.config.election_timeout;
        tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            if let Some(state) = state.upgrade() {
                state.elect();
            }
        });
    }

    /// Stops PD's answers; connections stay, and stores see a clock that stands still.
    pub fn pause_pd(&self) {
        self.state.tso.pause(true);
    }

    /// Lets PD go on.
    pub fn resume_pd(&self) {
        self.state.tso.pause(false);
    }

    /// Kills a PD member: its socket and connections close. While no member lives, stores see a clock that
    /// stands still.
    ///
    /// # Errors
    /// No such member.
    pub async fn kill_pd(&self, member: usize) -> Result<(), ClusterError> {
        self.check_member(member)?;
        let server = self.servers.pd.lock().remove(&member);
        if let Some(server) = server {
            server.kill().await;
        }
        let next = self.servers.pd.lock().keys().next().copied();
        match next {
            Some(next) if self.pd_leader() == member => self.set_pd_leader(next)?,
            Some(_) => {}
            None => self.state.tso.pause(true),
        }
        Ok(())
    }

    /// Brings a killed PD member back, at the same address.
    ///
    /// # Errors
    /// No such member, or its port was taken meanwhile.
    pub async fn revive_pd(&self, member: usize) -> Result<(), ClusterError> {
        self.check_member(member)?;
        if self.servers.pd.lock().contains_key(&member) {
            return Ok(());
        }
        let url = self.state.pd_urls.get(member).cloned().unwrap_or_default();
        let port = url
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .unwrap_or(0);
        let socket = bind(self.state.config.address, port).await?;
        let first = self.servers.pd.lock().is_empty();
        self.serve_pd(member, socket);
        if first {
            self.set_pd_leader(member)?;
            self.state.tso.pause(false);
        }
        Ok(())
    }

    /// The PD member that leads.
    pub fn pd_leader(&self) -> usize {
        usize::try_from(self.state.pd_leader.load(Ordering::SeqCst)).unwrap_or(0)
    }

    /// Makes a PD member the leader; the others then answer "not leader".
    ///
    /// # Errors
    /// No such member.
    pub fn set_pd_leader(&self, member: usize) -> Result<(), ClusterError> {
        self.check_member(member)?;
        let index = u64::try_from(member).unwrap_or(0);
        self.state.pd_leader.store(index, Ordering::SeqCst);
        Ok(())
    }

    fn check_member(&self, member: usize) -> Result<(), ClusterError> {
        let known = member < self.state.pd_urls.len();
        if known {
            Ok(())
        } else {
            Err(ClusterError::NoMember(member))
        }
    }

    /// Faults of a store's change streams: delay them, drop them.
    ///
    /// # Errors
    /// No such store.
    pub fn stream_faults(&self, store: u64) -> Result<StreamFaults, ClusterError> {
        Ok(self.store(store)?.faults.clone())
    }

    /// All regions in key order.
    pub fn regions(&self) -> Vec<RegionInfo> {
        let regions: Vec<_> = self.state.topology.read().all().cloned().collect();
        let info = |region: &Arc<crate::region::Region>| {
            let state = region.state.lock();
            RegionInfo {
                id: region.id,
                start: hex(&state.meta.start_key),
                end: hex(&state.meta.end_key),
                version: state.version(),
                leader: state.leader.as_ref().map(|leader| leader.store_id),
                stores: state.meta.peers.iter().map(|peer| peer.store_id).collect(),
                keys: state.data.writes.len(),
                locks: state.data.locks.len(),
            }
        };
        regions.iter().map(info).collect()
    }

    /// The id of the region that holds a user key.
    pub fn region_of(&self, user_key: &[u8]) -> u64 {
        let region = self.state.topology.read().at(&keys::encode(user_key));
        region.map_or(0, |region| region.id)
    }

    /// What holds GC back now: services that protect history.
    pub fn gc_barriers(&self) -> Vec<GcBarrier> {
        let now_ms = self.state.config.clock.now_ms();
        let mut gc = self.state.gc.lock();
        let barriers = gc.barriers(now_ms).map(|barrier| GcBarrier {
            service: barrier.id.clone(),
            ts: barrier.ts,
            ttl_seconds: barrier.ttl_seconds(now_ms),
        });
        barriers.collect()
    }

    /// Raises the txn and GC safe points as far as barriers allow, and drops the versions that no read can see
    /// any more; gives the safe point reached.
    pub fn advance_gc_safe_point(&self, target: Ts) -> Ts {
        let safe_point = {
            let now_ms = self.state.config.clock.now_ms();
            let mut gc = self.state.gc.lock();
            // A target below the current one changes nothing.
            let _ = gc.advance_txn(target, now_ms);
            let reached = gc.txn_safe_point.min(target).max(gc.gc_safe_point);
            let _ = gc.advance_gc(reached);
            gc.gc_safe_point
        };
        let regions: Vec<_> = self.state.topology.read().all().cloned().collect();
        for region in regions {
            region.state.lock().data.collect_garbage(safe_point);
        }
        safe_point
    }

    fn store(&self, id: u64) -> Result<&Store, ClusterError> {
        self.state.stores.get(&id).ok_or(ClusterError::NoStore(id))
    }
}

async fn listeners(address: Ipv4Addr, port: u16, count: usize) -> Result<Vec<TcpListener>, ClusterError> {
    let mut sockets = Vec::with_capacity(count);
    for offset in 0..count {
        let offset = u16::try_from(offset).unwrap_or(u16::MAX);
        let port = if port == 0 { 0 } else { port.saturating_add(offset) };
        sockets.push(bind(address, port).await?);
    }
    Ok(sockets)
}

async fn bind(address: Ipv4Addr, port: u16) -> Result<TcpListener, ClusterError> {
    server::listen(address, port)
        .await
        .map_err(|source| ClusterError::Bind {
            address,
            port,
            source,
        })
}

fn address(socket: &TcpListener) -> String {
    socket
        .local_addr()
        .map(|address| address.to_string())
        .unwrap_or_default()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
