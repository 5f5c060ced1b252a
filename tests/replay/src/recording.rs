//! The files of a recorded scenario.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use flate2::read::GzDecoder;
use prost::Message;
use serde::Deserialize;
use tidemark_model::{Op, Span, Ts};
use tidemark_proto::cdcpb::{ChangeDataEvent, ChangeDataRequest};

/// One recorded scenario.
#[derive(Debug)]
pub struct Recording {
    /// Its name.
    pub name: String,
    /// The cluster's id.
    pub cluster_id: u64,
    /// What the recording client subscribed to.
    pub subscriptions: Vec<Subscription>,
    /// The CDC traffic in order.
    pub feed: Vec<Record>,
    /// What was committed, ascending by commit ts.
    pub truth: Vec<Version>,
}

/// One message of the CDC traffic.
#[derive(Debug)]
pub struct Record {
    /// The stream that it belongs to.
    pub stream: u16,
    /// The message.
    pub what: What,
}

/// What a record holds.
#[derive(Debug)]
pub enum What {
    /// From the client.
    Request(Box<ChangeDataRequest>),
    /// From the store.
    Event(ChangeDataEvent),
    /// The stream was opened to a store by a method.
    Opened {
        /// The store.
        store: u64,
        /// Whether by `EventFeedV2`.
        v2: bool,
    },
    /// The stream ended; by the store, or by the client itself.
    Closed {
        /// Whether the store or the network ended it.
        by_store: bool,
    },
}

/// A subscription of the recording client.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The request id; pieces of it have `n * 10000 +` this.
    pub request_id: u64,
    /// The keys.
    pub span: Span,
    /// Changes after it were asked for.
    pub checkpoint: Ts,
    /// What the recording client had reached when it closed.
    pub resolved: Ts,
}

/// A committed version.
#[derive(Debug)]
pub struct Version {
    /// The user key.
    pub key: Bytes,
    /// When its transaction began.
    pub start_ts: Ts,
    /// When it took effect.
    pub commit_ts: Ts,
    /// Put or delete.
    pub op: Op,
    /// The value.
    pub value: Bytes,
    /// The value before; empty for none.
    pub old_value: Bytes,
    /// The transaction's source mark.
    pub source: u64,
}

#[derive(Deserialize)]
struct Scenario {
    cluster_id: u64,
    subscriptions: Vec<ScenarioSubscription>,
}

#[derive(Deserialize)]
struct ScenarioSubscription {
    request_id: u64,
    start: String,
    end: String,
    checkpoint_ts: u64,
    client_resolved_ts: u64,
}

#[derive(Deserialize)]
struct TruthLine {
    key: String,
    start_ts: u64,
    commit_ts: u64,
    op: String,
    value: String,
    old_value: Option<String>,
    #[serde(default)]
    txn_source: u64,
}

impl Recording {
    /// Reads a scenario's folder.
    pub fn load(folder: &Path) -> Result<Self> {
        let name = folder
            .file_name()
            .context("no folder name")?
            .to_string_lossy()
            .into_owned();
        let scenario: Scenario =
            serde_json::from_reader(BufReader::new(File::open(folder.join("scenario.json"))?))
                .context("scenario.json")?;
        let subscriptions = scenario
            .subscriptions
            .iter()
            .map(Subscription::of)
            .collect::<Result<_>>()?;
        let feed = load_feed(&folder.join("feed.rec.gz")).context("feed.rec.gz")?;
        let truth = load_truth(folder).context("truth.jsonl")?;
        Ok(Self {
            name,
            cluster_id: scenario.cluster_id,
            subscriptions,
            feed,
            truth,
        })
    }
}

impl Subscription {
    fn of(raw: &ScenarioSubscription) -> Result<Self> {
        Ok(Self {
            request_id: raw.request_id,
            span: Span::new(hex::decode(&raw.start)?, hex::decode(&raw.end)?),
            checkpoint: Ts(raw.checkpoint_ts),
            resolved: Ts(raw.client_resolved_ts),
        })
    }
}

/// Framing: `u32 length of the rest | u8 direction | u16 stream | u64 microseconds | payload`, big-endian.
fn load_feed(path: &Path) -> Result<Vec<Record>> {
    let mut data = Vec::new();
    GzDecoder::new(File::open(path)?).read_to_end(&mut data)?;
    let mut rest = Bytes::from(data);
    let mut feed = Vec::new();
    while !rest.is_empty() {
        ensure!(rest.len() >= 4, "a frame's length is cut off");
        let length = u32::from_be_bytes(rest.split_to(4).as_ref().try_into()?) as usize;
        ensure!(
            length >= 11 && rest.len() >= length,
            "frame {} is cut off",
            feed.len()
        );
        let mut frame = rest.split_to(length);
        let head = frame.split_to(11);
        let stream = u16::from_be_bytes([head[1], head[2]]);
        let what = match head[0] {
            0 => What::Request(Box::new(ChangeDataRequest::decode(frame)?)),
            1 => What::Event(ChangeDataEvent::decode(frame)?),
            2 => match stream_event(std::str::from_utf8(&frame)?)? {
                Some(what) => what,
                None => continue,
            },
            other => bail!("frame {}: unknown direction {other}", feed.len()),
        };
        feed.push(Record { stream, what });
    }
    Ok(feed)
}

fn stream_event(text: &str) -> Result<Option<What>> {
    if text.starts_with("open failed") {
        return Ok(None);
    }
    if let Some(fields) = text.strip_prefix("opened ") {
        let field = |name: &str| {
            fields
                .split(' ')
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let store = field("store").context("no store")?.parse()?;
        return Ok(Some(What::Opened {
            store,
            v2: field("method") == Some("EventFeedV2"),
        }));
    }
    ensure!(text.starts_with("closed"), "unknown stream event {text:?}");
    Ok(Some(What::Closed {
        by_store: !text.contains("context canceled"),
    }))
}

fn load_truth(folder: &Path) -> Result<Vec<Version>> {
    let plain = folder.join("truth.jsonl");
    let reader: Box<dyn BufRead> = if plain.exists() {
        Box::new(BufReader::new(File::open(plain)?))
    } else {
        Box::new(BufReader::new(GzDecoder::new(File::open(
            folder.join("truth.jsonl.gz"),
        )?)))
    };
    let mut truth = Vec::new();
    for line in reader.lines() {
        let raw: TruthLine =
            serde_json::from_str(&line?).with_context(|| format!("line {}", truth.len() + 1))?;
        truth.push(Version {
            key: hex::decode(raw.key)?.into(),
            start_ts: Ts(raw.start_ts),
            commit_ts: Ts(raw.commit_ts),
            op: match raw.op.as_str() {
                "put" => Op::Put,
                "delete" => Op::Delete,
                other => bail!("unknown op {other:?}"),
            },
            value: hex::decode(raw.value)?.into(),
            old_value: hex::decode(raw.old_value.unwrap_or_default())?.into(),
            source: raw.txn_source,
        });
    }
    Ok(truth)
}
