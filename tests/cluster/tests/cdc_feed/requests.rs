//! Opening streams, registering, and every way to be refused.

use tidemark_cluster::cdc::{CdcConfig, CdcControl, ScanHold};
use tidemark_cluster::{ClusterConfig, keys};
use tidemark_proto::cdcpb::change_data_request::KvApi;
use tidemark_proto::cdcpb::event::LogType;
use tidemark_proto::cdcpb::{ChangeDataRequest, Header};
use tidemark_proto::metapb::RegionEpoch;
use tonic::Code;

use crate::client::{Feed, Method, bytes, region, start};
use crate::writer::{Writer, put};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_feature_fails_the_stream_with_its_name() {
    let cluster = start(ClusterConfig::default()).await;
    let refused = Feed::connect(&cluster, 1, Method::V2, "stream-multiplexing,time-travel").await;
    let status = refused.err().unwrap();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unimplemented, "time-travel")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_knows_only_the_first_method() {
    let cdc = CdcConfig {
        v2: false,
        ..CdcConfig::default()
    };
    let cluster = start(ClusterConfig {
        cdc,
        ..ClusterConfig::default()
    })
    .await;
    let refused = Feed::connect(&cluster, 1, Method::V2, "stream-multiplexing").await;
    assert_eq!(refused.err().unwrap().code(), Code::Unimplemented);
    let mut feed = Feed::connect(&cluster, 1, Method::V1, "").await.unwrap();
    feed.register(&region(&cluster, "a"), 1, 0);
    feed.initialized(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_are_checked_in_the_order_of_tikv() {
    let cluster = start(ClusterConfig::default()).await;
    let meta = region(&cluster, "a");
    let mut feed = Feed::open(&cluster).await;
    feed.register(&meta, 1, 0);
    feed.initialized(1).await;
    let good = feed.registration(&meta, 1, 0);
    let other_cluster = Some(Header {
        cluster_id: 12345,
        ticdc_version: "8.5.0".to_owned(),
    });
    let epoch = |conf_ver, version| Some(RegionEpoch { conf_ver, version });
    let version = meta.region_epoch.unwrap().version;

    let all_wrong = ChangeDataRequest {
        header: other_cluster,
        kv_api: KvApi::RawKv.into(),
        region_id: 999_999,
        region_epoch: epoch(0, 0),
        request_id: 50,
        ..good.clone()
    };
    feed.send(all_wrong.clone());
    let mismatch = feed.error(50, 999_999).await.cluster_id_mismatch.unwrap();
    assert_eq!(
        (mismatch.current, mismatch.request),
        (cluster.cluster_id(), 12345)
    );

    let wrong_api = ChangeDataRequest {
        header: feed.header(),
        request_id: 51,
        ..all_wrong
    };
    feed.send(wrong_api.clone());
    assert_eq!(
        feed.error(51, 999_999)
            .await
            .compatibility
            .unwrap()
            .required_version,
        "6.2.0"
    );
    feed.send(ChangeDataRequest {
        kv_api: KvApi::TxnKv.into(),
        request_id: 52,
        ..wrong_api.clone()
    });
    assert_eq!(
        feed.error(52, 999_999)
            .await
            .compatibility
            .unwrap()
            .required_version,
        "6.2.0"
    );

    feed.send(ChangeDataRequest {
        kv_api: 0,
        request_id: 53,
        ..wrong_api
    });
    assert_eq!(
        feed.error(53, 999_999).await.region_not_found.unwrap().region_id,
        999_999
    );

    feed.send(ChangeDataRequest {
        region_epoch: epoch(0, 0),
        ..good.clone()
    });
    assert_eq!(
        feed.error(1, meta.id).await.duplicate_request.unwrap().region_id,
        meta.id
    );

    for (request_id, version) in [(54, version + 90), (55, version - 1)] {
        feed.send(ChangeDataRequest {
            region_epoch: epoch(1, version),
            request_id,
            ..good.clone()
        });
        let error = feed.error(request_id, meta.id).await;
        assert_eq!(
            error.epoch_not_match.unwrap().current_regions,
            std::slice::from_ref(&meta)
        );
    }
    feed.send(ChangeDataRequest {
        region_epoch: epoch(8, version),
        request_id: 56,
        ..good
    });
    feed.initialized(56).await;
    // The duplicate did not disturb the first.
    Writer::new(&cluster).write(vec![put("a", "1")]).await;
    feed.row(1, LogType::Commit, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_before_5_3_may_name_any_cluster() {
    let cluster = start(ClusterConfig::default()).await;
    let meta = region(&cluster, "a");
    let mut feed = Feed::open(&cluster).await;
    let header = Some(Header {
        cluster_id: 12345,
        ticdc_version: "5.2.0".to_owned(),
    });
    feed.send(ChangeDataRequest {
        header,
        ..feed.registration(&meta, 1, 0)
    });
    feed.initialized(1).await;
    // The first request decides for the stream.
    let header = Some(Header {
        cluster_id: 12345,
        ticdc_version: "8.5.0".to_owned(),
    });
    feed.send(ChangeDataRequest {
        header,
        ..feed.registration(&meta, 2, 0)
    });
    feed.initialized(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_waiting_scans_are_refused() {
    let control = CdcControl::default();
    let cdc = CdcConfig {
        pending_scans: 2,
        control: control.clone(),
        ..CdcConfig::default()
    };
    let cluster = start(ClusterConfig {
        cdc,
        ..ClusterConfig::default()
    })
    .await;
    let meta = region(&cluster, "a");
    control.hold_scans(ScanHold::AfterEvents(0));
    let mut feed = Feed::open(&cluster).await;
    for request in 1..=3 {
        feed.register(&meta, request, 0);
    }
    let busy = feed.error(3, meta.id).await.server_is_busy.unwrap();
    assert_eq!(
        (busy.reason.as_str(), busy.backoff_ms),
        ("too many pending incremental scans", 0)
    );
    control.hold_scans(ScanHold::None);
    feed.initialized(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deregistering_is_answered_by_region_not_found_and_ends_the_rows() {
    let split_keys = vec![b"m".to_vec()];
    let cluster = start(ClusterConfig {
        split_keys,
        ..ClusterConfig::default()
    })
    .await;
    let writer = Writer::new(&cluster);
    let (low, high) = (region(&cluster, "a"), region(&cluster, "n"));
    let mut feed = Feed::open(&cluster).await;
    for request in 1..=2 {
        feed.register(&low, request, 0);
        feed.register(&high, request, 0);
        feed.initialized(request).await;
    }
    feed.deregister(77, low.id);
    feed.deregister(78, 0);
    feed.deregister(1, low.id);
    assert_eq!(
        feed.error(1, low.id).await.region_not_found.unwrap().region_id,
        low.id
    );
    writer.write(vec![put("a", "1")]).await;
    writer.write(vec![put("n", "1")]).await;
    feed.row(2, LogType::Commit, "a").await;
    feed.row(1, LogType::Commit, "n").await;
    assert!(!feed.kinds(1).contains(&"COMMIT a".to_owned()));
    feed.deregister(2, 0);
    feed.error(2, low.id).await;
    feed.error(2, high.id).await;
    // The name is free again.
    feed.register(&low, 2, 0);
    feed.row(2, LogType::Committed, "a").await;
    let errors = feed
        .seen
        .iter()
        .filter(|seen| matches!(seen, crate::client::Seen::Error { .. }))
        .count();
    assert_eq!(errors, 3, "unknown ids are answered by nothing: {:?}", feed.seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn sub_ranges_filter_only_where_both_bounds_are_encoded() {
    let split_keys = vec![b"b".to_vec(), b"m".to_vec()];
    let cluster = start(ClusterConfig {
        split_keys,
        ..ClusterConfig::default()
    })
    .await;
    let writer = Writer::new(&cluster);
    writer
        .write(vec![put("c", "1"), put("d", "1"), put("e", "1")])
        .await;
    let meta = region(&cluster, "c");
    let mut feed = Feed::open(&cluster).await;
    let good = feed.registration(&meta, 0, 0);
    let (d, e) = (keys::encode(b"d"), keys::encode(b"e"));
    let cases = [
        (1, d.clone(), e.clone(), false),
        (2, d.clone(), bytes(""), true),
        (3, bytes(""), e.clone(), true),
        (4, bytes("d"), bytes("e"), true),
        (5, d.clone(), bytes("\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}"), true),
    ];
    for (request_id, start_key, end_key, whole) in cases {
        feed.send(ChangeDataRequest {
            request_id,
            start_key,
            end_key,
            ..good.clone()
        });
        feed.initialized(request_id).await;
        let expected: &[&str] = if whole {
            &["COMMITTED c", "COMMITTED d", "COMMITTED e", "INITIALIZED"]
        } else {
            &["COMMITTED d", "INITIALIZED"]
        };
        assert_eq!(feed.kinds(request_id), expected, "request {request_id}");
    }
    let crossing = ChangeDataRequest {
        request_id: 6,
        start_key: d,
        end_key: keys::encode(b"z"),
        ..good
    };
    feed.send(crossing);
    feed.initialized(6).await;
    assert_eq!(feed.kinds(6), ["COMMITTED d", "COMMITTED e", "INITIALIZED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_multiplexing_two_requests_of_a_region_live_side_by_side() {
    let cluster = start(ClusterConfig::default()).await;
    let meta = region(&cluster, "a");
    let mut feed = Feed::connect(&cluster, 1, Method::V2, "").await.unwrap();
    feed.register(&meta, 70, 0);
    feed.register(&meta, 71, 0);
    feed.initialized(70).await;
    feed.initialized(71).await;
    Writer::new(&cluster).write(vec![put("a", "1")]).await;
    feed.row(70, LogType::Commit, "a").await;
    feed.row(71, LogType::Commit, "a").await;
}
