//! The steps of the recordings' scenarios, on the embedded cluster.

use std::sync::Mutex;

use tidemark_cluster::cdc::{CdcConfig, CdcControl, ScanHold};
use tidemark_cluster::{Cluster, ClusterConfig, keys};
use tidemark_proto::cdcpb::change_data_request::KvApi;
use tidemark_proto::cdcpb::event::LogType;
use tidemark_proto::cdcpb::{ChangeDataRequest, Header};
use tidemark_proto::metapb::{Region, RegionEpoch};

use crate::client::{Feed, Method, bytes, region, start};
use crate::shape::Shape;
use crate::writer::{Writer, delete, lock, put};

/// A cluster with one region `[um/, um0)`, as in the recordings.
pub(crate) struct Run {
    pub(crate) cluster: Cluster,
    pub(crate) writer: Writer,
    pub(crate) control: CdcControl,
}

impl Run {
    pub(crate) async fn new() -> Self {
        let cdc = CdcConfig::default();
        let control = cdc.control.clone();
        let split_keys = vec![b"um/".to_vec(), b"um0".to_vec()];
        let cluster = start(ClusterConfig {
            split_keys,
            cdc,
            stores: 3,
            ..ClusterConfig::default()
        })
        .await;
        let home = region(&cluster, "um/").id;
        cluster.move_leader(home, 1).unwrap();
        Self {
            writer: Writer::new(&cluster),
            cluster,
            control,
        }
    }

    async fn connect(&self, method: Method, features: &'static str) -> Feed {
        let mut feed = Feed::connect(&self.cluster, 1, method, features).await.unwrap();
        feed.traffic = Some(Mutex::default());
        feed
    }

    async fn open(&self) -> Feed {
        self.connect(Method::V2, "stream-multiplexing").await
    }

    fn home(&self) -> Region {
        region(&self.cluster, "um/")
    }

    /// Every kind of transaction, on keys with this prefix.
    async fn traffic(&self, prefix: &str) {
        let writer = &self.writer;
        let key = |name: &str| format!("{prefix}{name}");
        let [a, b, c, d] = ["a", "b", "c", "d"].map(key);
        for value in [vec![1; 10], vec![2; 300], Vec::new(), vec![3; 20]] {
            writer
                .write(vec![put(&a, value.clone()), put(&b, value.clone()), delete(&c)])
                .await;
            writer.one_pc(vec![put(&c, value.clone()), delete(&d)]).await;
            let start_ts = writer.now();
            let commit_ts = writer
                .prewrite_async(start_ts, vec![put(&d, value), delete(&a)])
                .await;
            writer.commit(start_ts, commit_ts, &[&d, &a]).await;
        }
        writer.one_pc(vec![delete(&c)]).await;
        writer.one_pc(vec![delete(&c)]).await;
        writer.one_pc(vec![put(&c, vec![1; 300])]).await;
        writer.one_pc(vec![put(&c, Vec::new())]).await;
        writer.one_pc(vec![put(&c, vec![1; 10])]).await;
        writer.one_pc(vec![put(&c, vec![1; 20])]).await;
        writer.one_pc(vec![put(&c, vec![1; 300])]).await;
        writer.one_pc(vec![put(&c, vec![2; 300])]).await;
        writer.write(vec![put(&d, "x")]).await;
        writer.write(vec![put(&d, vec![9; 300])]).await;
        writer.write(vec![put(&d, Vec::new())]).await;
        writer.write(vec![put(&d, Vec::new())]).await;
        writer.write(vec![delete(&d)]).await;
        writer.write(vec![put(&d, vec![9; 300])]).await;
        writer.write(vec![lock(&a)]).await;
        let start_ts = writer.now();
        writer.pessimistic_lock(start_ts, &b).await;
        writer.pessimistic_rollback(start_ts, &b).await;
        let start_ts = writer.now();
        writer
            .prewrite(start_ts, vec![put(&a, "never"), delete(&b)])
            .await;
        writer.heartbeat(start_ts, &a, 90_000).await;
        writer.rollback(start_ts, &[&a, &b]).await;
        writer.roll_back_missing(writer.now(), &b).await;
        writer.rollback(writer.now(), &[&c]).await;
    }

    /// Checks that the stream agrees with what was written until now.
    async fn caught_up(&self, feed: &mut Feed, request: u64) {
        feed.resolved(request, self.writer.now()).await;
    }
}

fn shape(feeds: Vec<Feed>) -> Shape {
    let mut shape = Shape::default();
    for feed in feeds {
        shape.add(&feed.traffic.unwrap().into_inner().unwrap());
    }
    shape
}

/// A subscription that begins in the middle of traffic, and a second later.
pub(crate) async fn mixed() -> Shape {
    let run = Run::new().await;
    let checkpoint = run.writer.now();
    run.traffic("um/k/").await;
    let open = run.writer.now();
    run.writer.prewrite(open, vec![put("um/p/", "open")]).await;
    let mut feed = run.open().await;
    let home = run.home();
    run.control.hold_scans(ScanHold::AfterEvents(0));
    // As in the recording, other keys of the region lie outside.
    let part = |feed: &Feed, request_id| ChangeDataRequest {
        end_key: keys::encode(b"um/~"),
        ..feed.registration(&home, request_id, checkpoint)
    };
    feed.send(part(&feed, 1));
    feed.send(part(&feed, 99));
    feed.deregister(99, 0);
    feed.error(99, home.id).await;
    run.writer.commit(open, run.writer.now(), &["um/p/"]).await;
    run.traffic("um/l/").await;
    feed.row(1, LogType::Rollback, "um/l/c").await;
    run.control.hold_scans(ScanHold::None);
    feed.initialized(1).await;
    run.traffic("um/m/").await;
    feed.send(part(&feed, 2));
    feed.initialized(2).await;
    let early = run.writer.now();
    run.caught_up(&mut feed, 1).await;
    run.writer.prewrite(early, vec![put("um/n/", "late")]).await;
    feed.row(1, LogType::Prewrite, "um/n/").await;
    let last = run.writer.now();
    run.writer.commit(early, last, &["um/n/"]).await;
    run.caught_up(&mut feed, 1).await;
    run.caught_up(&mut feed, 2).await;
    shape(vec![feed])
}

/// Splits and merges, each followed by new registrations.
pub(crate) async fn splitmerge() -> Shape {
    let run = Run::new().await;
    let mut feed = run.open().await;
    let home = run.home();
    feed.register(&home, 1, 0);
    feed.initialized(1).await;
    run.traffic("um/a/").await;
    run.caught_up(&mut feed, 1).await;
    run.cluster.split(b"um/k/").unwrap();
    feed.error(1, home.id).await;
    let (low, high) = (region(&run.cluster, "um/a/"), region(&run.cluster, "um/k/"));
    feed.register(&low, 2, 0);
    feed.register(&high, 2, 0);
    run.caught_up(&mut feed, 2).await;
    run.traffic("um/a/").await;
    run.traffic("um/k/").await;
    run.caught_up(&mut feed, 2).await;
    run.cluster.merge(low.id, high.id).unwrap();
    feed.error(2, low.id).await;
    feed.error(2, high.id).await;
    feed.register(&run.home(), 3, 0);
    run.traffic("um/k/").await;
    run.caught_up(&mut feed, 3).await;
    shape(vec![feed])
}

/// Locks left behind, found by a second subscription too, rolled back and committed later.
pub(crate) async fn stucklock() -> Shape {
    let run = Run::new().await;
    let mut feed = run.open().await;
    run.cluster.split(b"um/m/").unwrap();
    let home = run.home();
    let checkpoint = run.writer.now();
    feed.register(&home, 1, checkpoint);
    feed.register(&region(&run.cluster, "um/m/"), 1, checkpoint);
    feed.initialized(1).await;
    let left = run.writer.now();
    run.writer
        .prewrite(left, vec![put("um/LA/1", "left"), put("um/LA/2", "left")])
        .await;
    feed.resolved(1, left).await;
    feed.register(&home, 2, run.writer.now());
    feed.resolved(2, left).await;
    run.writer.rollback(left, &["um/LA/1", "um/LA/2"]).await;
    let left = run.writer.now();
    run.writer
        .prewrite(left, vec![put("um/LB/1", "left"), put("um/LB/2", "left")])
        .await;
    let commit_ts = run.writer.now();
    run.writer.commit(left, commit_ts, &["um/LB/1"]).await;
    feed.row(1, LogType::Commit, "um/LB/1").await;
    assert!(feed.held(1).await < run.writer.now());
    run.writer.commit(left, commit_ts, &["um/LB/2"]).await;
    run.traffic("um/a/").await;
    run.caught_up(&mut feed, 1).await;
    run.caught_up(&mut feed, 2).await;
    shape(vec![feed])
}

/// Sub-ranges, loop filter, and every odd registration.
pub(crate) async fn filters() -> Shape {
    let run = Run::new().await;
    let mut feed = run.open().await;
    let home = run.home();
    let checkpoint = run.writer.now();
    run.traffic("um/c/").await;
    let part = |feed: &Feed, request_id, start: &str, end: &str| ChangeDataRequest {
        start_key: keys::encode(start.as_bytes()),
        end_key: keys::encode(end.as_bytes()),
        ..feed.registration(&home, request_id, checkpoint)
    };
    feed.send(part(&feed, 1, "um/b/", "um/f/"));
    feed.send(part(&feed, 2, "um/d/", "um/k/"));
    feed.send(ChangeDataRequest {
        filter_loop: true,
        ..part(&feed, 3, "um/b/", "um/f/")
    });
    for request in 1..=3 {
        feed.initialized(request).await;
    }
    for source in [1, 5, 256, 65536] {
        run.writer
            .source
            .store(source, std::sync::atomic::Ordering::SeqCst);
        run.writer.write(vec![put("um/c/src", "1")]).await;
    }
    run.writer.source.store(0, std::sync::atomic::Ordering::SeqCst);
    feed.send(part(&feed, 1, "um/b/", "um/f/"));
    feed.error(1, home.id).await;
    feed.deregister(2, home.id);
    feed.error(2, home.id).await;
    let good = part(&feed, 0, "um/b/", "um/f/");
    let version = home.region_epoch.unwrap().version;
    let probe = |request_id| ChangeDataRequest {
        request_id,
        ..good.clone()
    };
    let epoch = |conf_ver, version| Some(RegionEpoch { conf_ver, version });
    feed.send(ChangeDataRequest {
        region_epoch: epoch(1, version + 90),
        ..probe(50)
    });
    feed.send(ChangeDataRequest {
        region_epoch: epoch(1, version - 1),
        ..probe(51)
    });
    feed.send(ChangeDataRequest {
        region_epoch: epoch(8, version),
        ..probe(52)
    });
    feed.send(ChangeDataRequest {
        region_id: 999_999,
        ..probe(53)
    });
    let header = Some(Header {
        cluster_id: 12345,
        ticdc_version: "8.5.0".to_owned(),
    });
    feed.send(ChangeDataRequest { header, ..probe(54) });
    feed.send(ChangeDataRequest {
        kv_api: KvApi::RawKv.into(),
        ..probe(55)
    });
    feed.send(ChangeDataRequest {
        kv_api: KvApi::TxnKv.into(),
        ..probe(56)
    });
    feed.deregister(57, home.id);
    feed.deregister(58, 0);
    feed.send(part(&feed, 59, "um/s/", "uz"));
    feed.send(ChangeDataRequest {
        end_key: bytes(""),
        ..probe(60)
    });
    feed.send(ChangeDataRequest {
        start_key: bytes("um/s/"),
        end_key: bytes("um/t/"),
        ..probe(61)
    });
    for request in [50, 51, 54, 55, 56] {
        feed.error(request, home.id).await;
    }
    feed.error(53, 999_999).await;
    for request in [52, 59, 60, 61] {
        feed.initialized(request).await;
    }
    run.traffic("um/c/").await;
    run.traffic("um/z/").await;
    run.caught_up(&mut feed, 60).await;
    feed.deregister(60, 0);
    feed.error(60, home.id).await;
    feed.send(part(&feed, 60, "um/s/", "um/t/"));
    let future = run.writer.now() + (60_000 << 18);
    feed.send(ChangeDataRequest {
        checkpoint_ts: future,
        ..part(&feed, 62, "um/a/", "um/c/")
    });
    run.caught_up(&mut feed, 62).await;
    run.caught_up(&mut feed, 60).await;
    assert!(
        Feed::connect(&run.cluster, 1, Method::V2, "stream-multiplexing,time-travel")
            .await
            .is_err()
    );
    let mut plain = run.connect(Method::V2, "").await;
    plain.send(part(&plain, 70, "um/b/", "um/f/"));
    plain.initialized(70).await;
    plain.send(part(&plain, 71, "um/b/", "um/f/"));
    plain.initialized(71).await;
    run.traffic("um/c/").await;
    run.caught_up(&mut plain, 0).await;
    let mut feeds = vec![feed, plain];
    for version in ["4.0.0", "nightly"] {
        let mut old = run.open().await;
        old.version = version.to_owned();
        old.send(part(&old, 70, "um/b/", "um/f/"));
        old.initialized(70).await;
        run.traffic("um/c/").await;
        old.row(70, LogType::Rollback, "um/c/c").await;
        feeds.push(old);
    }
    shape(feeds)
}

/// A rollback that leaves no trace, and what frees the region.
pub(crate) async fn silentrollback() -> Shape {
    let run = Run::new().await;
    let mut feed = run.open().await;
    let home = run.home();
    feed.register(&home, 1, 0);
    feed.initialized(1).await;
    run.traffic("um/a/").await;
    let ghost = run.cluster.silent_rollback(b"um/S/k", b"1").unwrap().ts.0;
    assert!(feed.held(1).await < run.writer.now());
    feed.register(&home, 2, 0);
    assert_eq!(feed.resolved(2, 1).await, ghost);
    feed.deregister(1, home.id);
    feed.error(1, home.id).await;
    feed.register(&home, 1, 0);
    assert_eq!(feed.next_resolved(1, 3).await, [ghost; 3]);
    let first = feed;
    let mut again = run.open().await;
    let before = shape_of(&first);
    drop(first);
    // The server needs a moment to see that the client is gone.
    let mut request = 1;
    loop {
        again.register(&home, request, 0);
        if again.resolved(request, 1).await > ghost {
            break;
        }
        again.deregister(request, 0);
        again.error(request, home.id).await;
        request += 1;
    }
    let ghost = run.cluster.silent_rollback(b"um/S/m", b"1").unwrap().ts.0;
    assert!((ghost..run.writer.now()).contains(&again.held(request).await));
    run.writer.write(vec![put("um/S/m", "2")]).await;
    run.traffic("um/a/").await;
    run.caught_up(&mut again, request).await;
    let mut all = shape(vec![again]);
    all.kinds.extend(before.kinds);
    all.broken.extend(before.broken);
    all
}

fn shape_of(feed: &Feed) -> Shape {
    let mut shape = Shape::default();
    shape.add(&feed.traffic.as_ref().unwrap().lock().unwrap());
    shape
}

/// The first method: resolved timestamps without request id, or as events for a very old client.
pub(crate) async fn oldserver() -> Shape {
    let run = Run::new().await;
    let mut feed = run.connect(Method::V1, "").await;
    let mut old = run.connect(Method::V1, "").await;
    old.version = "4.0.0".to_owned();
    run.traffic("um/a/").await;
    run.cluster.split(b"um/k/").unwrap();
    let high = region(&run.cluster, "um/k/");
    feed.register(&region(&run.cluster, "um/a/"), 1, 0);
    feed.register(&high, 1, 0);
    feed.initialized(1).await;
    old.register(&high, 2, 0);
    old.initialized(2).await;
    run.traffic("um/a/").await;
    run.traffic("um/k/").await;
    let left = run.writer.now();
    run.writer.prewrite(left, vec![put("um/k/left", "1")]).await;
    feed.row(1, LogType::Prewrite, "um/k/left").await;
    feed.resolved(0, left).await;
    old.old_resolved(2, left).await;
    run.writer.commit(left, run.writer.now(), &["um/k/left"]).await;
    run.cluster.split(b"um/p/").unwrap();
    feed.error(1, high.id).await;
    old.error(2, high.id).await;
    for key in ["um/k/", "um/p/"] {
        feed.register(&region(&run.cluster, key), 3, 0);
    }
    old.register(&region(&run.cluster, "um/p/"), 4, 0);
    run.caught_up(&mut feed, 0).await;
    old.old_resolved(4, left).await;
    shape(vec![feed, old])
}

/// Leaders that move between stores.
pub(crate) async fn stores() -> Shape {
    let run = Run::new().await;
    let mut feed = run.open().await;
    run.cluster.split(b"um/m/").unwrap();
    let home = run.home();
    feed.register(&home, 1, 0);
    feed.register(&region(&run.cluster, "um/m/"), 1, 0);
    feed.initialized(1).await;
    run.traffic("um/a/").await;
    run.caught_up(&mut feed, 1).await;
    run.cluster.move_leader(home.id, 2).unwrap();
    feed.error(1, home.id).await;
    let mut other = Feed::connect(&run.cluster, 2, Method::V2, "stream-multiplexing")
        .await
        .unwrap();
    other.traffic = Some(Mutex::default());
    other.register(&home, 1, 0);
    run.traffic("um/a/").await;
    run.caught_up(&mut other, 1).await;
    shape(vec![feed, other])
}

/// Many writers at once, while subscriptions come and go.
pub(crate) async fn crowd() -> Shape {
    const WRITERS: usize = 8;
    let run = Run::new().await;
    let mut feed = run.open().await;
    let home = run.home();
    feed.register(&home, 1, 0);
    let prefixes: Vec<_> = (0..WRITERS).map(|writer| format!("um/{writer}/")).collect();
    for request in 2..6 {
        let writers = prefixes.iter().map(|prefix| run.traffic(prefix));
        let registration = async {
            feed.register(&home, request, 0);
            feed.initialized(request).await;
            feed.next_resolved(request, 2).await;
            feed.deregister(request, 0);
            feed.error(request, home.id).await;
        };
        futures::future::join(futures::future::join_all(writers), registration).await;
    }
    run.caught_up(&mut feed, 1).await;
    assert!(feed.rows(1).len() > WRITERS * 100);
    shape(vec![feed])
}
