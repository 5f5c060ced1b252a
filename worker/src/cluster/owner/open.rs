//! Takes a feed over: epoch, source, where to begin, sink, schema.

use std::sync::Arc;

use futures::future::try_join_all;
use tidemark_crds::{Changefeed, StreamPhase, StreamStatus};
use tidemark_merge::{Spill, SpillConfig};
use tidemark_model::Ts;
use tidemark_pull::{PdClient, Puller};
use tidemark_sink::Sink;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::resource::FeedResource;
use super::schema::{Met, OwnerListener, named};
use super::status::{Teller, Wishes, entered};
use super::table::SpanTable;
use crate::cluster::Shared;
use crate::cluster::right::Right;
use crate::error::FeedError;
use crate::feed::follower::{Follower, Halt};
use crate::feed::initial::{Initial, Ranged};
use crate::feed::{source, start};
use crate::stream::barrier::Barrier;
use tidemark_model::SpanId;

/// Tables that are made known to the sink at once.
const ANNOUNCED_AT_ONCE: usize = 16;
/// Memory for DDL jobs that wait.
const DDL_MEMORY: usize = 8 << 20;

/// A feed that was taken over.
pub(super) struct Opened {
    pub(super) resource: FeedResource,
    pub(super) right: Right,
    pub(super) teller: Teller,
    pub(super) pd: PdClient,
    pub(super) sink: Arc<dyn Sink>,
    /// Everything at or below it is durable, as the status says.
    pub(super) start: Ts,
    pub(super) table: SpanTable,
    pub(super) barrier: Arc<Barrier>,
    pub(super) met: mpsc::Receiver<Met>,
    pub(super) halt: watch::Receiver<Option<Halt>>,
    pub(super) stream: StreamStatus,
    pub(super) wishes: Wishes,
    /// Pods that the owner before knew.
    pub(super) pods: Vec<String>,
    pub(super) tasks: JoinSet<Result<(), FeedError>>,
    /// Keeps the schema's subscription alive.
    pub(super) _puller: Arc<Puller>,
}

/// Takes the feed over. `teller` is set once there is an epoch to speak with.
pub(super) async fn open(
    shared: &Shared,
    resource: &FeedResource,
    right: &Right,
    teller: &mut Option<Teller>,
) -> Result<Opened, FeedError> {
    let (feed, mut epoch) = resource.raise_epoch(&shared.me.pod, 0).await?;
    tracing::info!(epoch, "Owns the feed");
    let teller = teller.insert(Teller {
        epoch,
        pod: shared.me.pod.clone(),
        cluster_id: None,
    });
    let status = feed.status.clone().unwrap_or_default();
    // What runs is what this worker was started with; the resource may hold a later spec.
    let spec = &shared.feed.spec;
    let pd = shared.parts.pd().await?;
    check_cluster(&feed, pd.cluster_id())?;
    teller.cluster_id = Some(pd.cluster_id());
    let saved = saved_checkpoint(&feed)?;
    let start = start::decide(
        &spec.start,
        saved,
        source::clock(&pd).await?,
        start::Kept::InStatus,
    )?;
    let initial = Initial::read(spec, &pd, start).await?;
    let sink = shared.parts.sink(epoch, start).await?;
    // After a restored backup the destination may know a higher one than the status.
    if let Some(found) = sink.fence().await?
        && found >= epoch
    {
        (_, epoch) = resource.raise_epoch(&shared.me.pod, found).await?;
        teller.epoch = epoch;
    }
    sink.take_over(epoch).await?;
    announce(&sink, &initial.tables, start).await?;
    source::protect(&pd, &shared.me.service(), spec.limits.gc_ttl.0, start.prev()).await?;
    let before = status.stream.unwrap_or_default();
    let stream = match before.phase {
        // A change of owner is no interruption that users should see.
        StreamPhase::Streaming => before,
        _ => entered(
            &before,
            StreamPhase::Starting,
            String::new(),
            jiff::Timestamp::now(),
        ),
    };
    let mut table = SpanTable::default();
    for ranged in &initial.tables {
        for (key, name) in named(ranged) {
            table.add(key, name, start);
        }
    }
    let barrier = Arc::new(Barrier::new(start));
    let puller = Arc::new(Puller::new(pd.clone(), source::pull_config(&spec.limits)));
    let (to_owner, met) = mpsc::channel(1);
    let (halts, halt) = watch::channel(None);
    let mut tasks = JoinSet::new();
    match initial.catalog {
        None => barrier.raise(Ts::MAX),
        Some(catalog) => {
            let folder = shared.state.spill().with_file_name("owner");
            let spill = Spill::open(SpillConfig::new(folder, DDL_MEMORY, spec.limits.disk.0))?;
            let listener = Arc::new(OwnerListener { to_owner });
            let follower = Follower::new(catalog, listener, Arc::clone(&barrier), &spill, start, halts);
            tasks.spawn(follower.follow(&puller, SpanId(1), start));
        }
    }
    let members = status.members.iter();
    let highest = members.filter_map(|member| shared.me.ordinal(&member.name)).max();
    let wishes = Wishes::read(&feed);
    let pods = (0..).take(wishes.replicas.max(highest.map_or(0, |n| n as usize + 1)));
    Ok(Opened {
        resource: resource.clone(),
        right: right.clone(),
        teller: teller.clone(),
        pd,
        sink,
        start,
        table,
        barrier,
        met,
        halt,
        stream,
        pods: pods.map(|ordinal| shared.me.pod_of(ordinal)).collect(),
        wishes,
        tasks,
        _puller: puller,
    })
}

/// Makes all tables known to the sink, several at once: each may take a round trip.
async fn announce(sink: &Arc<dyn Sink>, tables: &[Ranged], since: Ts) -> Result<(), FeedError> {
    for some in tables.chunks(ANNOUNCED_AT_ONCE) {
        let mut calls = Vec::with_capacity(some.len());
        for (table, _) in some {
            calls.push(sink.announce(table, since));
        }
        try_join_all(calls).await?;
    }
    Ok(())
}

fn saved_checkpoint(feed: &Changefeed) -> Result<Option<Ts>, FeedError> {
    let text = feed
        .status
        .as_ref()
        .and_then(|status| status.checkpoint_ts.as_deref());
    let Some(text) = text else { return Ok(None) };
    let ts = text.parse().map_err(|_| {
        FeedError::Stopped(format!(
            "status.checkpointTs: {text:?} is no timestamp: someone else wrote it; make a new feed with spec.start"
        ))
    })?;
    Ok(Some(ts))
}

/// Another cluster under the same address has other timestamps and other rows.
fn check_cluster(feed: &Changefeed, id: u64) -> Result<(), FeedError> {
    let known = feed
        .status
        .as_ref()
        .and_then(|status| status.cluster_id.as_deref());
    match known {
        Some(known) if known != id.to_string() => Err(FeedError::Stopped(format!(
            "spec.source.pd: leads to cluster {id}, but this feed streams cluster {known}: correct the address, or make \
             a new feed"
        ))),
        _ => Ok(()),
    }
}
