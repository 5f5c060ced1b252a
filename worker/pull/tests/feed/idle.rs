//! What many idle regions cost.

use std::time::{Duration, Instant};

use tidemark_model::{Span, SpanId, Ts};
use tidemark_proto::cdcpb::change_data_request::Request;
use tidemark_proto::cdcpb::event::{Entries, LogType, Row};
use tidemark_proto::cdcpb::{ChangeDataEvent, Event, event};
use tidemark_pull::{PdClient, PullConfig, PullEvent, Puller};
use tokio::sync::mpsc;

use crate::fake::{CLUSTER, Fake, Feed, PATIENCE, region};

const REGIONS: u64 = 100_000;
const TICKS: u64 = 25;

/// Processor time of this process' threads of the name, from the kernel's accounting.
fn cpu_of(name: &str) -> Duration {
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        if std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name) {
            let times = std::fs::read_to_string(path.join("schedstat")).unwrap();
            total += times.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    Duration::from_nanos(total)
}

fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

async fn initialise_all(feed: &mut Feed, expected: &mut u64) {
    while *expected > 0 {
        let mut events = Vec::new();
        let request = feed.registration().await;
        assert!(matches!(request.request, Some(Request::Register(_))));
        let row = Row {
            r#type: LogType::Initialized.into(),
            ..Default::default()
        };
        events.push(Event {
            region_id: request.region_id,
            request_id: request.request_id,
            event: Some(event::Event::Entries(Entries { entries: vec![row] })),
            ..Default::default()
        });
        *expected -= 1;
        feed.send(ChangeDataEvent {
            events,
            resolved_ts: None,
        })
        .await;
    }
}

/// A measurement: `cargo test -p tidemark-pull --test feed idle -- --ignored --nocapture`.
#[test]
#[ignore = "takes a while and wants a quiet machine"]
fn a_hundred_thousand_idle_regions_cost_a_tenth_of_a_core_and_a_hundred_megabytes() {
    let servers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("servers")
        .enable_all()
        .build()
        .unwrap();
    let pulling = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("pulling")
        .enable_all()
        .build()
        .unwrap();
    let (fake, mut feeds) = servers.block_on(Fake::start());
    let key = |nth: u64| {
        if nth == 0 || nth == REGIONS {
            String::new()
        } else {
            format!("table-key-{nth:010}")
        }
    };
    let regions = (0..REGIONS)
        .map(|nth| (region(nth + 1, &key(nth), &key(nth + 1), 1), 1))
        .collect();
    fake.set_regions(regions);
    let before = resident();
    let (puller, mut events) = pulling.block_on(async {
        let pd = PdClient::connect(
            std::slice::from_ref(&fake.endpoint),
            None,
            Some(CLUSTER),
            PATIENCE,
        )
        .await
        .unwrap();
        let config = PullConfig {
            streams_per_store: 1,
            scans_per_store: 4096,
            ..Default::default()
        };
        let puller = Puller::new(pd, config);
        let (sender, events) = mpsc::channel(1024);
        puller.subscribe(SpanId(1), Span::new("", ""), Ts(100), sender);
        (puller, events)
    });
    servers.block_on(async {
        let begun = Instant::now();
        let mut feed = feeds.recv().await.unwrap();
        let mut left = REGIONS;
        initialise_all(&mut feed, &mut left).await;
        while puller.stats().initialised < REGIONS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!("registered and initialised in {:?}", begun.elapsed());
        let memory = resident() - before;
        let start = cpu_of("pulling");
        let wall = Instant::now();
        // Real time, so that no region counts as stuck.
        for tick in 1..=TICKS {
            let ts = (1 << 40) + tick;
            let (mut from, mut size) = (1, 8);
            while from <= REGIONS {
                let upto = (from + size).min(REGIONS + 1);
                let group: Vec<u64> = (from..upto).map(|nth| nth * 7919 % REGIONS + 1).collect();
                feed.resolved(1, &group, ts).await;
                (from, size) = (upto, size * 4);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let reached = async {
            loop {
                if let Some(PullEvent::Resolved { ts, .. }) = events.recv().await
                    && ts == Ts((1 << 40) + TICKS)
                {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap();
        let spent = cpu_of("pulling") - start;
        let share = spent.as_secs_f64() / wall.elapsed().as_secs_f64();
        println!(
            "{REGIONS} regions: {:.1} % of a core, {} ns a region and tick, {} MB",
            share * 100.0,
            spent.as_nanos() / u128::from(REGIONS * TICKS),
            memory >> 20
        );
        assert!(share < 0.10, "{share}");
        assert!(memory < 100 << 20, "{memory}");
    });
}
