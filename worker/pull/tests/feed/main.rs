//! The puller against scripted stores: every answer of TiKV's and what follows from it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test crate"
)]

mod errors;
mod fake;
mod flow;
mod idle;
mod stuck;

use std::time::Duration;

use tidemark_model::{Span, SpanId, Ts};
use tidemark_proto::cdcpb::event::row::OpType;
use tidemark_proto::cdcpb::event::{LogType, Row};
use tidemark_pull::{PdClient, PullConfig, PullEvent, Puller};
use tokio::sync::mpsc;

use self::fake::{CLUSTER, Fake, Feed, PATIENCE};

/// A puller with one span, and both sides of it.
pub(crate) struct Scene {
    pub(crate) fake: Fake,
    pub(crate) feeds: mpsc::Receiver<Feed>,
    pub(crate) puller: Puller,
    pub(crate) events: mpsc::Receiver<PullEvent>,
    pub(crate) sender: mpsc::Sender<PullEvent>,
}

pub(crate) fn quick() -> PullConfig {
    PullConfig {
        streams_per_store: 1,
        store_pause: Duration::from_millis(50),
        stuck_tick: Duration::from_millis(50),
        stuck_after: Duration::from_millis(100),
        lock_check_interval: Duration::from_millis(50),
        ..PullConfig::default()
    }
}

impl Scene {
    /// Subscribes the span [`a`, `z`) from ts 100 as span 5.
    pub(crate) async fn new(config: PullConfig, prepare: impl FnOnce(&Fake)) -> Self {
        let (fake, feeds) = Fake::start().await;
        prepare(&fake);
        let pd = PdClient::connect(
            std::slice::from_ref(&fake.endpoint),
            None,
            Some(CLUSTER),
            PATIENCE,
        )
        .await
        .unwrap();
        let puller = Puller::new(pd, config);
        let (sender, events) = mpsc::channel(1024);
        puller.subscribe(SpanId(5), Span::new("a", "z"), Ts(100), sender.clone());
        Self {
            fake,
            feeds,
            puller,
            events,
            sender,
        }
    }

    pub(crate) async fn feed(&mut self) -> Feed {
        let feed = tokio::time::timeout(PATIENCE, self.feeds.recv()).await;
        feed.expect("a stream is opened in time").unwrap()
    }

    pub(crate) async fn event(&mut self) -> PullEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("an event comes in time").unwrap()
    }

    /// Reads until the span's resolved ts is exactly this; gives the keys of the changes on the way.
    pub(crate) async fn until_resolved(&mut self, ts: u64) -> Vec<String> {
        let mut keys = Vec::new();
        loop {
            match self.event().await {
                PullEvent::Changes { changes, .. } => {
                    keys.extend(
                        changes
                            .iter()
                            .map(|change| String::from_utf8(change.key.to_vec()).unwrap()),
                    );
                }
                PullEvent::Resolved { ts: reached, .. } if reached == Ts(ts) => return keys,
                PullEvent::Resolved { ts: reached, .. } => {
                    assert!(reached < Ts(ts), "{reached} is beyond {ts}");
                }
                PullEvent::Initialized { .. } => {}
                failed @ PullEvent::Failed { .. } => panic!("{failed:?}"),
            }
        }
    }
}

pub(crate) fn row(kind: LogType, key: &str, start_ts: u64, commit_ts: u64) -> Row {
    Row {
        start_ts,
        commit_ts,
        r#type: kind.into(),
        op_type: OpType::Put.into(),
        key: key.to_owned().into(),
        value: if kind == LogType::Commit {
            "".into()
        } else {
            "value".into()
        },
        ..Default::default()
    }
}
