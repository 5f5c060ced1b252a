//! Settings of an embedded cluster.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cdc::CdcConfig;

/// Where PD's timestamps get their milliseconds from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    Real,
    /// Moves only when the test says so; each timestamp still differs by its logical part.
    Stepped(SteppedClock),
}

impl Clock {
    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        match self {
            Self::Real => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
            Self::Stepped(clock) => clock.0.load(Ordering::SeqCst),
        }
    }
}

/// A clock that the test moves; copies share the time.
#[derive(Clone, Debug)]
pub struct SteppedClock(Arc<AtomicU64>);

impl SteppedClock {
    /// A clock that stands at so many milliseconds since the Unix epoch.
    pub fn new(start_ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(start_ms)))
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// Settings of an embedded cluster; [`Default`] suits most tests.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// TiKV stores.
    pub stores: usize,
    /// PD members; the first leads.
    pub pd_members: usize,
    /// Address on which PD and the stores listen, and which they tell their clients.
    pub address: Ipv4Addr,
    /// Port of the first PD member, the others follow; 0 takes any free ports.
    pub pd_port: u16,
    /// Port of the first store, the others follow; 0 takes any free ports.
    pub store_port: u16,
    /// More splits of the region of TiDB's and plain keys at the start, at these user keys.
    pub split_keys: Vec<Vec<u8>>,
    /// Decides all that is left to chance: the cluster id where none is given, placement of leaders.
    pub seed: u64,
    /// The cluster's id; `None` takes one from the seed.
    pub cluster_id: Option<u64>,
    /// PD's clock.
    pub clock: Clock,
    /// How often CDC sends resolved timestamps.
    pub resolved_ts_interval: Duration,
    /// The change feeds of the stores.
    pub cdc: CdcConfig,
    /// How long the regions of a killed store have no leader.
    pub election_timeout: Duration,
    /// Version that PD and the stores report.
    pub version: String,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            stores: 1,
            pd_members: 1,
            address: Ipv4Addr::LOCALHOST,
            pd_port: 0,
            store_port: 0,
            split_keys: Vec::new(),
            seed: 1,
            cluster_id: None,
            clock: Clock::Real,
            resolved_ts_interval: Duration::from_millis(200),
            cdc: CdcConfig::default(),
            election_timeout: Duration::from_millis(500),
            version: "8.5.0".to_owned(),
        }
    }
}
