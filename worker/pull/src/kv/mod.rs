//! The little of transactional reading that a worker needs: gets and scans at a ts, and locks resolved.

mod cache;
mod call;
mod error;
mod read;
mod resolve;
mod status;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tonic::transport::Channel;

pub use error::KvError;
pub use resolve::LockSweep;

use crate::channel::Connector;
use crate::config::NetConfig;
use crate::pd::PdClient;

/// Settings of a [`KvClient`].
#[derive(Clone, Debug)]
pub struct KvConfig {
    /// Longest time for a whole get or scan, retries included. Default 60 s.
    pub deadline: Duration,
    /// Longest time for one request. Default 10 s.
    pub request_timeout: Duration,
    /// Keys carry API V2's keyspace prefix (`x` and 3 bytes). Default false.
    pub api_v2: bool,
    /// Connections.
    pub net: NetConfig,
}

impl Default for KvConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            request_timeout: Duration::from_secs(10),
            api_v2: false,
            net: NetConfig::default(),
        }
    }
}

/// Reads keys at a ts as a transaction would, and resolves locks of dead transactions.
///
/// Clones share the region cache and the connections.
#[derive(Clone, Debug)]
pub struct KvClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pd: PdClient,
    config: KvConfig,
    connector: Connector,
    regions: Mutex<cache::RegionCache>,
    channels: Mutex<HashMap<u64, (String, Channel)>>,
}

impl KvClient {
    /// A client with default settings.
    pub fn new(pd: PdClient) -> Self {
        Self::with_config(pd, KvConfig::default())
    }

    /// A client with the given settings.
    pub fn with_config(pd: PdClient, config: KvConfig) -> Self {
        let connector = pd.connector(config.net.clone());
        Self {
            inner: Arc::new(Inner {
                pd,
                config,
                connector,
                regions: Mutex::default(),
                channels: Mutex::default(),
            }),
        }
    }
}
