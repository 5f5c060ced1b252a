//! Rows per second, and many idle regions.
#![allow(clippy::print_stdout)] // Figures are for people.

use std::time::Instant;

use tidemark_cluster::ClusterConfig;
use tidemark_cluster::cdc::CdcConfig;
use tidemark_proto::cdcpb::ChangeDataRequest;
use tidemark_proto::metapb::{Region, RegionEpoch};

use crate::client::{Feed, Seen, region, start};
use crate::writer::{Writer, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_gets_all_rows_of_many_transactions() {
    const BATCHES: usize = 100;
    const ROWS: usize = 1000;
    let cluster = start(ClusterConfig::default()).await;
    let writer = Writer::new(&cluster);
    let meta = region(&cluster, "a");
    let mut live = Feed::open(&cluster).await;
    live.register(&meta, 1, 0);
    live.initialized(1).await;
    let count = |seen: &[Seen]| {
        seen.iter()
            .filter(|seen| matches!(seen, Seen::Row { .. }))
            .count()
    };
    let begin = Instant::now();
    for batch in 0..BATCHES {
        let keys = (0..ROWS).map(|row| put(&format!("k{:06}", batch * ROWS + row), vec![7; 100]));
        writer.one_pc(keys.collect()).await;
    }
    live.until("all live rows", |seen| {
        (seen.len() > BATCHES * ROWS && count(seen) > BATCHES * ROWS).then_some(())
    })
    .await;
    println!(
        "live: {} rows in {:?}, writes included",
        BATCHES * ROWS,
        begin.elapsed()
    );
    let mut scan = Feed::open(&cluster).await;
    let begin = Instant::now();
    scan.register(&meta, 1, 0);
    scan.until("all scanned rows", |seen| {
        (seen.len() > BATCHES * ROWS && count(seen) > BATCHES * ROWS).then_some(())
    })
    .await;
    println!("scan: {} rows in {:?}", BATCHES * ROWS, begin.elapsed());
    assert_eq!(
        (count(&live.seen), count(&scan.seen)),
        (BATCHES * ROWS + 1, BATCHES * ROWS + 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_idle_regions_are_resolved_in_few_messages() {
    const REGIONS: usize = 20_000;
    let split_keys = (1..REGIONS).map(|i| format!("k{i:06}").into_bytes()).collect();
    let cdc = CdcConfig {
        pending_scans: REGIONS * 2,
        ..CdcConfig::default()
    };
    let cluster = start(ClusterConfig {
        split_keys,
        cdc,
        ..ClusterConfig::default()
    })
    .await;
    let mut feed = Feed::open(&cluster).await;
    let begin = Instant::now();
    let infos = cluster.regions();
    let plain = infos
        .iter()
        .filter(|info| info.start.is_empty() || info.start.starts_with("6b"));
    let ids: Vec<_> = plain.map(|info| (info.id, info.version)).collect();
    assert_eq!(ids.len(), REGIONS);
    for (id, version) in ids {
        let region_epoch = Some(RegionEpoch { conf_ver: 1, version });
        let meta = Region {
            id,
            region_epoch,
            ..Default::default()
        };
        feed.send(ChangeDataRequest {
            ..feed.registration(&meta, 1, 0)
        });
    }
    let mut from = 0;
    let (regions, messages) = feed
        .until("a round of all regions", |seen| {
            let mut best = (0, 0);
            let mut sum = (0, 0);
            for seen in &seen[from..] {
                let Seen::Resolved { regions, .. } = seen else {
                    continue;
                };
                sum = if regions.len() == 8 {
                    (8, 1)
                } else {
                    (sum.0 + regions.len(), sum.1 + 1)
                };
                best = best.max(sum);
            }
            from = seen.len().saturating_sub(100).max(from);
            (best.0 == REGIONS).then_some(best)
        })
        .await;
    println!(
        "{regions} regions in {messages} messages, {:?} after the first registration",
        begin.elapsed()
    );
    assert!(messages <= 7, "{messages} messages for {regions} regions");
}
