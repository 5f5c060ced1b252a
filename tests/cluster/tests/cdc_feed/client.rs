//! A raw client of the change feed: no matching, no sorting, it remembers all that came.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tidemark_cluster::{Cluster, ClusterConfig, keys};
use tidemark_proto::cdcpb::change_data_client::ChangeDataClient;
use tidemark_proto::cdcpb::change_data_request::{Deregister, Register, Request as Body};
use tidemark_proto::cdcpb::event::{self, LogType, Row};
use tidemark_proto::cdcpb::{self, ChangeDataEvent, ChangeDataRequest, Header};
use tidemark_proto::metapb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Request, Status, Streaming};

/// What came, one entry each.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Row {
        request: u64,
        region: u64,
        row: Row,
    },
    Error {
        request: u64,
        region: u64,
        error: Box<cdcpb::Error>,
    },
    Resolved {
        request: u64,
        regions: Vec<u64>,
        ts: u64,
    },
    /// The deprecated form: an event of one region.
    OldResolved {
        request: u64,
        region: u64,
        ts: u64,
    },
    End(String),
}

/// A message of either side.
#[derive(Clone, Debug)]
pub(crate) enum Traffic {
    Request(ChangeDataRequest),
    Message(ChangeDataEvent),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    V1,
    V2,
}

pub(crate) struct Feed {
    requests: mpsc::Sender<ChangeDataRequest>,
    messages: Streaming<ChangeDataEvent>,
    cluster_id: u64,
    pub(crate) version: String,
    pub(crate) seen: Vec<Seen>,
    /// The traffic itself, in order, where a test wants it.
    pub(crate) traffic: Option<std::sync::Mutex<Vec<Traffic>>>,
    /// Encoded size of each message.
    pub(crate) sizes: Vec<usize>,
}

/// Requests that may wait to be sent.
const REQUESTS: usize = 1 << 18;
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) async fn start(config: ClusterConfig) -> Cluster {
    Cluster::start(ClusterConfig {
        resolved_ts_interval: Duration::from_millis(20),
        ..config
    })
    .await
    .unwrap()
}

impl Feed {
    pub(crate) async fn open(cluster: &Cluster) -> Self {
        Self::connect(cluster, 1, Method::V2, "stream-multiplexing")
            .await
            .unwrap()
    }

    pub(crate) async fn connect(
        cluster: &Cluster,
        store: u64,
        method: Method,
        features: &'static str,
    ) -> Result<Self, Status> {
        let url = format!("http://{}", cluster.store_address(store).unwrap());
        let channel = Endpoint::try_from(url).unwrap().connect().await.unwrap();
        let mut client = ChangeDataClient::new(channel).max_decoding_message_size(usize::MAX);
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let mut request = Request::new(ReceiverStream::new(receiver));
        if !features.is_empty() {
            request
                .metadata_mut()
                .insert("features", features.parse().unwrap());
        }
        let response = match method {
            Method::V1 => client.event_feed(request).await?,
            Method::V2 => client.event_feed_v2(request).await?,
        };
        Ok(Self {
            requests,
            messages: response.into_inner(),
            cluster_id: cluster.cluster_id(),
            version: "8.5.0".to_owned(),
            seen: Vec::new(),
            traffic: None,
            sizes: Vec::new(),
        })
    }

    pub(crate) fn header(&self) -> Option<Header> {
        Some(Header {
            cluster_id: self.cluster_id,
            ticdc_version: self.version.clone(),
        })
    }

    /// A registration of a whole region, to be changed and sent.
    pub(crate) fn registration(
        &self,
        region: &metapb::Region,
        request_id: u64,
        checkpoint_ts: u64,
    ) -> ChangeDataRequest {
        ChangeDataRequest {
            header: self.header(),
            region_id: region.id,
            region_epoch: region.region_epoch,
            checkpoint_ts,
            start_key: region.start_key.clone(),
            end_key: region.end_key.clone(),
            request_id,
            request: Some(Body::Register(Register {})),
            ..Default::default()
        }
    }

    pub(crate) fn register(&self, region: &metapb::Region, request_id: u64, checkpoint_ts: u64) {
        self.send(self.registration(region, request_id, checkpoint_ts));
    }

    pub(crate) fn register_range(&self, region: &metapb::Region, request_id: u64, start: &str, end: &str) {
        self.send(ChangeDataRequest {
            start_key: keys::encode(start.as_bytes()),
            end_key: keys::encode(end.as_bytes()),
            ..self.registration(region, request_id, 0)
        });
    }

    pub(crate) fn deregister(&self, request_id: u64, region_id: u64) {
        self.send(ChangeDataRequest {
            header: self.header(),
            region_id,
            request_id,
            request: Some(Body::Deregister(Deregister {})),
            ..Default::default()
        });
    }

    pub(crate) fn send(&self, request: ChangeDataRequest) {
        if let Some(traffic) = &self.traffic {
            traffic.lock().unwrap().push(Traffic::Request(request.clone()));
        }
        self.requests.try_send(request).unwrap();
    }

    /// Reads until the condition holds of all that was seen, and gives what it found.
    pub(crate) async fn until<T>(&mut self, what: &str, mut found: impl FnMut(&[Seen]) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            if let Some(found) = found(&self.seen) {
                return found;
            }
            let tail = self.seen.len().saturating_sub(20);
            if matches!(self.seen.last(), Some(Seen::End(_))) {
                panic!(
                    "the stream ended before: {what}; seen last: {:#?}",
                    &self.seen[tail..]
                );
            }
            match tokio::time::timeout_at(deadline, self.messages.message()).await {
                Ok(Ok(Some(message))) => self.take(message),
                Ok(Ok(None)) => self.seen.push(Seen::End("ok".to_owned())),
                Ok(Err(status)) => {
                    self.seen
                        .push(Seen::End(format!("{:?}: {}", status.code(), status.message())));
                }
                Err(_) => panic!("waited in vain for: {what}; seen last: {:#?}", &self.seen[tail..]),
            }
        }
    }

    fn take(&mut self, message: ChangeDataEvent) {
        if let Some(traffic) = &self.traffic {
            traffic.lock().unwrap().push(Traffic::Message(message.clone()));
        }
        self.sizes.push(message.encoded_len());
        assert!(
            message.events.is_empty() || message.resolved_ts.is_none(),
            "never both in one message"
        );
        for event in message.events {
            let (request, region) = (event.request_id, event.region_id);
            match event.event.unwrap() {
                event::Event::Entries(entries) => {
                    let rows = entries
                        .entries
                        .into_iter()
                        .map(|row| Seen::Row { request, region, row });
                    self.seen.extend(rows);
                }
                event::Event::Error(error) => {
                    self.seen.push(Seen::Error {
                        request,
                        region,
                        error: Box::new(error),
                    });
                }
                event::Event::ResolvedTs(ts) => self.seen.push(Seen::OldResolved { request, region, ts }),
                other => panic!("TiKV never sends {other:?}"),
            }
        }
        if let Some(resolved) = message.resolved_ts {
            self.seen.push(Seen::Resolved {
                request: resolved.request_id,
                regions: resolved.regions,
                ts: resolved.ts,
            });
        }
    }

    /// All rows of a request so far.
    pub(crate) fn rows(&self, of: u64) -> Vec<Row> {
        let rows = self.seen.iter().filter_map(|seen| match seen {
            Seen::Row { request, row, .. } if *request == of => Some(row.clone()),
            _ => None,
        });
        rows.collect()
    }

    /// Rows of a request in short: kind and key.
    pub(crate) fn kinds(&self, of: u64) -> Vec<String> {
        self.rows(of).iter().map(kind).collect()
    }

    pub(crate) async fn initialized(&mut self, of: u64) {
        self.until("INITIALIZED", |seen| {
            seen.iter()
                .find(|seen| is_row(seen, of, LogType::Initialized, ""))
                .map(|_| ())
        })
        .await;
    }

    pub(crate) async fn row(&mut self, of: u64, kind: LogType, key: &str) -> Row {
        let what = format!("{kind:?} of {key}");
        self.until(&what, |seen| {
            let row = seen.iter().find(|seen| is_row(seen, of, kind, key));
            row.map(|row| match row {
                Seen::Row { row, .. } => row.clone(),
                _ => unreachable!(),
            })
        })
        .await
    }

    /// The next resolved ts of a request that is at least `ts`.
    pub(crate) async fn resolved(&mut self, of: u64, ts: u64) -> u64 {
        let what = format!("a resolved ts of at least {ts}");
        let from = self.seen.len();
        self.until(&what, |seen| {
            seen[from..].iter().find_map(|seen| match seen {
                Seen::Resolved {
                    request, ts: reached, ..
                } if *request == of && *reached >= ts => Some(*reached),
                _ => None,
            })
        })
        .await
    }

    /// Where the resolved ts of a request stands still: a tick may have passed a lock's start ts before the lock
    /// came, so it can be a little above.
    pub(crate) async fn held(&mut self, of: u64) -> u64 {
        const ROUNDS: usize = 4;
        let from = self.seen.len();
        self.until("a resolved ts that stands still", |seen| {
            let all = seen[from..].iter().filter_map(|seen| match seen {
                Seen::Resolved { request, ts, .. } if *request == of => Some(*ts),
                _ => None,
            });
            let all: Vec<_> = all.collect();
            let last = *all.last()?;
            let same = all.iter().rev().take_while(|ts| **ts == last).count();
            (same >= ROUNDS).then_some(last)
        })
        .await
    }

    /// The next `count` resolved timestamps of a request.
    pub(crate) async fn next_resolved(&mut self, of: u64, count: usize) -> Vec<u64> {
        let from = self.seen.len();
        self.until("resolved timestamps", |seen| {
            let all = seen[from..].iter().filter_map(|seen| match seen {
                Seen::Resolved { request, ts, .. } if *request == of => Some(*ts),
                _ => None,
            });
            let all: Vec<_> = all.collect();
            (all.len() >= count).then_some(all)
        })
        .await
    }

    /// The next resolved ts event of a request (the deprecated form) that is at least `ts`.
    pub(crate) async fn old_resolved(&mut self, of: u64, ts: u64) {
        let from = self.seen.len();
        self.until("a resolved ts event", |seen| {
            let found = |seen: &&Seen| matches!(seen, Seen::OldResolved { request, ts: reached, .. } if *request == of && *reached >= ts);
            seen[from..].iter().find(found).map(|_| ())
        })
        .await;
    }

    /// The error that ended, or refused, a request's subscription of a region.
    pub(crate) async fn error(&mut self, of: u64, of_region: u64) -> cdcpb::Error {
        let what = format!("an error of request {of}, region {of_region}");
        self.until(&what, |seen| {
            seen.iter().find_map(|seen| match seen {
                Seen::Error {
                    request,
                    region,
                    error,
                } if (*request, *region) == (of, of_region) => Some((**error).clone()),
                _ => None,
            })
        })
        .await
    }

    /// How the stream ended.
    pub(crate) async fn end(&mut self) -> String {
        self.until("the stream's end", |seen| match seen.last() {
            Some(Seen::End(how)) => Some(how.clone()),
            _ => None,
        })
        .await
    }
}

pub(crate) fn is_row(seen: &Seen, of: u64, kind: LogType, of_key: &str) -> bool {
    matches!(seen, Seen::Row { request, row, .. }
        if *request == of && row.r#type() == kind && &row.key[..] == of_key.as_bytes())
}

pub(crate) fn kind(row: &Row) -> String {
    format!(
        "{} {}",
        row.r#type().as_str_name(),
        String::from_utf8_lossy(&row.key)
    )
    .trim_end()
    .to_owned()
}

/// Metadata of the region of a key, of its leader's store.
pub(crate) fn leader(cluster: &Cluster, key: &[u8]) -> (metapb::Region, u64) {
    let id = cluster.region_of(key);
    let led = cluster.stores().into_iter().find_map(|store| {
        let meta = cluster.handle(store).leader_region(id).ok()?;
        Some((meta, store))
    });
    led.unwrap()
}

/// Metadata of the region of a key.
pub(crate) fn region(cluster: &Cluster, key: &str) -> metapb::Region {
    leader(cluster, key.as_bytes()).0
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
