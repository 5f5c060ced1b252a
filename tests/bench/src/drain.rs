use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tidemark_proto::cdcpb::change_data_client::ChangeDataClient;
use tidemark_proto::cdcpb::change_data_request::{Register, Request as Body};
use tidemark_proto::cdcpb::event::{Event as Body2, LogType};
use tidemark_proto::cdcpb::{ChangeDataEvent, ChangeDataRequest, Event, Header};
use tidemark_proto::pdpb::pd_client::PdClient;
use tidemark_proto::pdpb::{self, GetMembersRequest, GetStoreRequest, RequestHeader, ScanRegionsRequest};
use tidemark_workload::encode::{encode_bytes, record_range};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::actor::{Meter, tell};
use crate::arguments::DrainArgs;

/// Registrations that wait for the end of their scan, on one stream.
const SCANS: usize = 128;
/// The worker's HTTP/2 windows.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Until all is read.
const PATIENCE: Duration = Duration::from_secs(150);
/// Regions of one answer of PD.
const PAGE: i32 = 10_000;

/// What a stream tells the counter, once a message at most.
enum Count {
    Rows(u64),
    Initialised(usize),
}

/// The drain's process: registers all regions of a table, reads and decodes every message, and only counts.
pub(crate) async fn drain(args: &DrainArgs) -> Result<()> {
    let meter = Meter::start()?;
    let mut pd = PdClient::new(Endpoint::from_shared(args.pd.clone())?.connect().await?);
    let members = pd.get_members(GetMembersRequest::default()).await?.into_inner();
    let cluster_id = members.header.context("no header")?.cluster_id;
    let header = RequestHeader {
        cluster_id,
        ..RequestHeader::default()
    };
    let by_store = regions(&mut pd, &header, args.table).await?;
    let wanted: usize = by_store.values().map(VecDeque::len).sum();
    let (counts, mut counted) = mpsc::channel(1024);
    let mut streams = JoinSet::new();
    for (store_id, regions) in by_store {
        let request = GetStoreRequest {
            header: Some(header.clone()),
            store_id,
        };
        let store = pd
            .get_store(request)
            .await?
            .into_inner()
            .store
            .context("no store")?;
        let channel = Endpoint::from_shared(format!("http://{}", store.address))?
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .tcp_nodelay(true)
            .connect()
            .await?;
        let stream = Stream {
            cluster_id,
            start_ts: args.start_ts,
            regions,
            counts: counts.clone(),
        };
        streams.spawn(stream.read(channel));
    }
    drop(counts);
    let (mut rows, mut initialised) = (0, 0);
    let deadline = Instant::now() + PATIENCE;
    while rows < args.rows || initialised < wanted {
        let count = tokio::select! {
            count = timeout_at(deadline, counted.recv()) => count,
            Some(ended) = streams.join_next() => bail!("a stream ended: {:?}", ended?),
        };
        match count.with_context(|| format!("{rows} rows, {initialised} of {wanted} regions"))? {
            Some(Count::Rows(more)) => rows += more,
            Some(Count::Initialised(more)) => {
                initialised += more;
                if initialised == wanted {
                    tell(&args.ready, &wanted)?;
                }
            }
            None => bail!("all streams ended"),
        }
    }
    if args.seconds == 0 {
        return tell(&args.report, &meter.stop(rows)?);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let meter = Meter::start()?;
    let end = tokio::time::sleep(Duration::from_secs(args.seconds));
    tokio::pin!(end);
    tokio::select! {
        () = &mut end => tell(&args.report, &meter.stop(rows)?),
        Some(ended) = streams.join_next() => bail!("a stream ended: {:?}", ended?),
    }
}

/// Regions of the table's rows by the store that leads them.
async fn regions(
    pd: &mut PdClient<Channel>,
    header: &RequestHeader,
    table: i64,
) -> Result<BTreeMap<u64, VecDeque<pdpb::Region>>> {
    let (start, end) = record_range(table);
    let (mut start, end) = (encode_bytes(&start), encode_bytes(&end));
    let mut found: BTreeMap<u64, VecDeque<pdpb::Region>> = BTreeMap::new();
    loop {
        let request = ScanRegionsRequest {
            header: Some(header.clone()),
            start_key: start.into(),
            end_key: end.clone().into(),
            limit: PAGE,
        };
        let page = pd.scan_regions(request).await?.into_inner().regions;
        let last = page
            .last()
            .and_then(|region| region.region.clone())
            .context("PD knows no region")?;
        for region in page {
            let leader = region.leader.context("a region without a leader")?;
            found.entry(leader.store_id).or_default().push_back(region);
        }
        if last.end_key.is_empty() || last.end_key[..] >= end[..] {
            return Ok(found);
        }
        start = last.end_key.to_vec();
    }
}

/// One stream to one store.
struct Stream {
    cluster_id: u64,
    start_ts: u64,
    /// Still to be registered.
    regions: VecDeque<pdpb::Region>,
    counts: mpsc::Sender<Count>,
}

impl Stream {
    async fn read(mut self, channel: Channel) -> Result<()> {
        let mut client = ChangeDataClient::new(channel).max_decoding_message_size(usize::MAX);
        let (requests, outgoing) = mpsc::channel(SCANS);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        request
            .metadata_mut()
            .insert("features", "stream-multiplexing".parse()?);
        for _ in 0..SCANS {
            self.register(&requests).await?;
        }
        let mut messages = client.event_feed_v2(request).await?.into_inner();
        while let Some(message) = messages.message().await? {
            let (rows, initialised) = tally(message)?;
            for _ in 0..initialised {
                self.register(&requests).await?;
            }
            if rows > 0 {
                self.counts.send(Count::Rows(rows)).await?;
            }
            if initialised > 0 {
                self.counts.send(Count::Initialised(initialised)).await?;
            }
        }
        bail!("the store ended the stream")
    }

    async fn register(&mut self, requests: &mpsc::Sender<ChangeDataRequest>) -> Result<()> {
        let Some(region) = self.regions.pop_front().and_then(|region| region.region) else {
            return Ok(());
        };
        let request = ChangeDataRequest {
            header: Some(Header {
                cluster_id: self.cluster_id,
                ticdc_version: "8.5.0".to_owned(),
            }),
            region_id: region.id,
            region_epoch: region.region_epoch,
            checkpoint_ts: self.start_ts,
            start_key: region.start_key,
            end_key: region.end_key,
            request_id: 1,
            request: Some(Body::Register(Register {})),
            ..ChangeDataRequest::default()
        };
        Ok(requests.send(request).await?)
    }
}

/// Committed rows and ended scans of a message.
fn tally(message: ChangeDataEvent) -> Result<(u64, usize)> {
    let (mut rows, mut initialised) = (0, 0);
    for Event { event, region_id, .. } in message.events {
        match event {
            Some(Body2::Entries(entries)) => {
                for row in &entries.entries {
                    match row.r#type() {
                        LogType::Committed | LogType::Commit => rows += 1,
                        LogType::Initialized => initialised += 1,
                        _ => {}
                    }
                }
            }
            Some(Body2::Error(error)) => {
                ensure!(false, "region {region_id}: {error:?}");
            }
            _ => {}
        }
    }
    Ok((rows, initialised))
}
