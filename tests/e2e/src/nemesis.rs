use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tidemark_cluster::Cluster;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// What a nemesis did, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deeds {
    /// Regions split.
    pub splits: usize,
    /// Regions merged.
    pub merges: usize,
    /// Leaders moved.
    pub moves: usize,
    /// Stores killed and revived.
    pub stores: usize,
    /// Locks left behind.
    pub locks: usize,
    /// Streams dropped.
    pub streams: usize,
    /// Pauses of PD.
    pub pauses: usize,
}

/// Makes trouble in a cluster, all of it decided by a seed.
pub struct Nemesis {
    cluster: Cluster,
    rng: StdRng,
    /// Physical tables whose regions it works on.
    tables: Vec<i64>,
    deeds: Deeds,
}

impl Nemesis {
    /// A nemesis for the regions of these physical tables.
    pub fn new(cluster: Cluster, seed: u64, tables: Vec<i64>) -> Self {
        Self {
            cluster,
            rng: StdRng::seed_from_u64(seed),
            tables,
            deeds: Deeds::default(),
        }
    }

    /// Splits tables until the cluster has so many regions.
    pub fn split_to(&mut self, regions: usize) {
        for _ in 0..regions * 4 {
            if self.cluster.regions().len() >= regions {
                return;
            }
            self.split();
        }
    }

    /// Works until stopped, a deed each half second or so; leaves all stores alive and PD running.
    pub async fn work(mut self, stop: CancellationToken) -> Deeds {
        let mut since_death = 0;
        while !stop.is_cancelled() {
            since_death += 1;
            match self.rng.random_range(0..100) {
                0..35 => self.split(),
                35..55 => self.merge(),
                55..75 => self.move_leader(),
                75..85 => self.leave_lock(),
                85..90 => self.drop_streams(),
                90..94 => self.pause_pd().await,
                _ if since_death > 8 => {
                    since_death = 0;
                    self.kill_store(&stop).await;
                }
                _ => self.split(),
            }
            let pause = Duration::from_millis(self.rng.random_range(200..700));
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
        self.deeds
    }

    /// One store's death and return.
    pub async fn kill_store(&mut self, stop: &CancellationToken) {
        let Some(store) = self.cluster.stores().choose(&mut self.rng).copied() else {
            return;
        };
        if self.cluster.kill_store(store).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(Duration::from_secs(3)) => {}
            () = stop.cancelled() => {}
        }
        while let Err(error) = self.cluster.revive_store(store).await {
            tracing::warn!(%error, store, "Trying to revive the store again");
            sleep(Duration::from_millis(200)).await;
        }
        self.deeds.stores += 1;
    }

    fn split(&mut self) {
        let Some(&table) = self.tables.choose(&mut self.rng) else {
            return;
        };
        let handle = self.rng.random_range(-50..400_i64);
        self.deeds.splits += usize::from(self.cluster.split(&record_key(table, handle)).is_ok());
    }

    fn merge(&mut self) {
        let regions = self.cluster.regions();
        // The outer regions hold no table.
        let inner: Vec<_> = regions
            .windows(2)
            .filter(|pair| pair[0].start.starts_with("74"))
            .collect();
        let Some(pair) = inner.choose(&mut self.rng) else {
            return;
        };
        let (source, target) = if self.rng.random_bool(0.5) { (0, 1) } else { (1, 0) };
        if regions.len() > 24 && self.cluster.merge(pair[source].id, pair[target].id).is_ok() {
            self.deeds.merges += 1;
        }
    }

    fn move_leader(&mut self) {
        let regions = self.cluster.regions();
        let Some(region) = regions.choose(&mut self.rng) else {
            return;
        };
        let Some(&store) = self.cluster.stores().choose(&mut self.rng) else {
            return;
        };
        if region.leader != Some(store) && self.cluster.move_leader(region.id, store).is_ok() {
            self.deeds.moves += 1;
        }
    }

    fn leave_lock(&mut self) {
        let Some(&table) = self.tables.choose(&mut self.rng) else {
            return;
        };
        // Far above every handle that the workload uses; the lock runs out and is rolled back.
        let key = record_key(table, i64::MAX - self.rng.random_range(0..1_000_000));
        let ttl = Duration::from_millis(500);
        self.deeds.locks += usize::from(
            self.cluster
                .leave_lock(&key, &[], b"never committed", ttl)
                .is_ok(),
        );
    }

    fn drop_streams(&mut self) {
        let Some(&store) = self.cluster.stores().choose(&mut self.rng) else {
            return;
        };
        if let Ok(faults) = self.cluster.stream_faults(store) {
            faults.drop_streams();
            self.deeds.streams += 1;
        }
    }

    async fn pause_pd(&mut self) {
        self.cluster.pause_pd();
        sleep(Duration::from_millis(self.rng.random_range(300..1500))).await;
        self.cluster.resume_pd();
        self.deeds.pauses += 1;
    }
}

/// `t` table id `_r` handle, both as TiDB's comparable integers.
pub fn record_key(table: i64, handle: i64) -> Vec<u8> {
    let comparable = |number: i64| (number.cast_unsigned() ^ (1 << 63)).to_be_bytes();
    [b"t".as_slice(), &comparable(table), b"_r", &comparable(handle)].concat()
}
