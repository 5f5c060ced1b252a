use std::fmt;
use std::time::Duration;

/// Settings of a [`crate::Puller`]. `Default` suits a production cluster.
#[derive(Clone, Debug)]
pub struct PullConfig {
    /// Streams (each on a connection of its own) per TiKV store. More spread the decoding over
    /// cores, but each costs messages for every resolved ts. Default 2.
    pub streams_per_store: usize,
    /// Regions per store that may be in their initial scan at once. TiKV itself scans 6 at a time
    /// and refuses beyond 10000. Default 128.
    pub scans_per_store: usize,
    /// Bytes of changes that may wait for their consumer; when they are spent the streams stop
    /// reading. Default 256 MiB.
    pub budget_bytes: usize,
    /// First pause before a failed key range is tried again. Default 50 ms.
    pub backoff_min: Duration,
    /// Longest such pause. Default 2 s.
    pub backoff_max: Duration,
    /// Pause before a store whose stream failed is connected again. Default 1 s.
    pub store_pause: Duration,
    /// At most one resolved ts per span is delivered in this time. Default 20 ms.
    pub advance_interval: Duration,
    /// How often stuck regions are looked for. Default 1 s.
    pub stuck_tick: Duration,
    /// A region whose resolved ts lags this far and hasn't moved for as long is searched for locks.
    /// Default 2 s.
    pub stuck_after: Duration,
    /// Shortest time between two lock searches of one region. Default 3 s.
    pub lock_check_interval: Duration,
    /// Lock searches in a row that must find nothing before the region's subscriptions on its store are
    /// ended and made anew. Default 2.
    pub heal_after_checks: u32,
    /// First pause between two such heals of one region; it doubles up to 64 times this. Default 10 s.
    pub heal_pause: Duration,
    /// A lagging or uninitialised region is reported as slow after this time. Default 30 s.
    pub slow_after: Duration,
    /// A stream with initialised regions that is silent for this long is taken for dead. TiKV sends
    /// each `min-ts-interval`, 1 s by default. Default 60 s.
    pub stream_silence: Duration,
    /// Leave out changes that a CDC sink wrote (`txn_source` 1 to 255). Default false.
    pub filter_loop: bool,
    /// Seed of the back-off jitter.
    pub seed: u64,
    /// Connections to TiKV.
    pub net: NetConfig,
}

impl Default for PullConfig {
    fn default() -> Self {
        Self {
            streams_per_store: 2,
            scans_per_store: 128,
            budget_bytes: 256 << 20,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            store_pause: Duration::from_secs(1),
            advance_interval: Duration::from_millis(20),
            stuck_tick: Duration::from_secs(1),
            stuck_after: Duration::from_secs(2),
            lock_check_interval: Duration::from_secs(3),
            heal_after_checks: 2,
            heal_pause: Duration::from_secs(10),
            slow_after: Duration::from_secs(30),
            stream_silence: Duration::from_secs(60),
            filter_loop: false,
            seed: 0,
            net: NetConfig::default(),
        }
    }
}

/// Settings of one HTTP/2 connection.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Longest wait for a connection. Default 3 s.
    pub connect_timeout: Duration,
    /// Pause between keepalive pings. Default 10 s.
    pub keepalive_interval: Duration,
    /// Longest wait for the answer to a ping. Default 3 s.
    pub keepalive_timeout: Duration,
    /// HTTP/2 flow-control window of a stream, bytes. Default 2 MiB.
    pub stream_window: u32,
    /// HTTP/2 flow-control window of a connection, bytes. Default 8 MiB.
    pub connection_window: u32,
    /// Largest message accepted, bytes. TiKV sends a transaction's rows uncut: a few MiB are common.
    /// Default 512 MiB.
    pub max_message: usize,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(3),
            stream_window: 2 << 20,
            connection_window: 8 << 20,
            max_message: 512 << 20,
        }
    }
}

/// TLS material as PEM text. A field that is `None` is not used; with none at all the system's
/// roots are not consulted either, so a server can't be verified without `ca`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Certificates that sign the servers'.
    pub ca: Option<Vec<u8>>,
    /// The client's certificate chain.
    pub cert: Option<Vec<u8>>,
    /// The client's private key.
    pub key: Option<Vec<u8>>,
}

/// Says what is present; never the key.
impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security")
            .field("ca", &self.ca.is_some())
            .field("cert", &self.cert.is_some())
            .field("key", &self.key.is_some())
            .finish()
    }
}
