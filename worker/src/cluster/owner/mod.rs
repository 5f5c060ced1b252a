//! The feed's owner: gives spans to workers, keeps checkpoint, watermark and status.
//!
//! [`open`] takes the feed over; [`reign`] is the loop of one term. [`table`], [`placement`] and [`roster`] decide, the rest
//! acts: [`cutting`] finds where big spans are cut, [`publisher`] writes the watermark, [`resource`] the status, [`history`] PD's safe point, [`judge`] looks at
//! workers that are not connected, [`schema`] adds the spans of new tables.

mod cutting;
mod history;
mod judge;
mod open;
mod phase;
mod placement;
mod publisher;
mod reign;
mod resource;
mod roster;
mod schema;
mod status;
mod table;
mod view;

use std::time::Instant;

use tidemark_crds::StreamPhase;
use tidemark_lease::{Authority, Standing};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::right::Right;
use crate::error::FeedError;
use crate::feed::retry::Backoff;
use resource::FeedResource;
use status::{Teller, entered};
pub(crate) use view::Views;

/// Owns the feed whenever the Lease is held, until `stop`.
pub(crate) async fn run(
    shared: Shared,
    mut standing: watch::Receiver<Standing>,
    authority: Authority,
    stop: CancellationToken,
) {
    loop {
        let held = tokio::select! {
            held = standing.wait_for(Standing::is_held) => held.map(|standing| standing.term),
            () = stop.cancelled() => return,
        };
        let Ok(term) = held else { return };
        let right = Right::new(authority.clone(), term);
        own(&shared, &right, &stop).await;
        shared.door.shut();
        shared.views.close();
        if stop.is_cancelled() {
            return;
        }
        // The standing may be older than what ended it.
        sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Owns the feed for one term, with as many attempts as it takes.
async fn own(shared: &Shared, right: &Right, stop: &CancellationToken) {
    let resource = FeedResource::new(shared.client.clone(), &shared.me.namespace, &shared.me.feed);
    let mut backoff = Backoff::new();
    while right.holds() && !stop.is_cancelled() {
        let began = Instant::now();
        let mut teller = None;
        let ended = Box::pin(attempt(shared, &resource, right, stop, &mut teller)).await;
        let Err(error) = ended else { return };
        if !right.holds() {
            return;
        }
        let pause = backoff.after(began.elapsed());
        tracing::warn!(%error, ?pause, "The owner was interrupted and begins anew");
        shared.parts.discard().await;
        if let Some(teller) = teller {
            tell(&resource, &teller, &error).await;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn attempt(
    shared: &Shared,
    resource: &FeedResource,
    right: &Right,
    stop: &CancellationToken,
    teller: &mut Option<Teller>,
) -> Result<(), FeedError> {
    let opened = open::open(shared, resource, right, teller).await?;
    reign::reign(shared, opened, stop).await
}

/// Says in the status why the feed can't go on.
async fn tell(resource: &FeedResource, teller: &Teller, error: &FeedError) {
    let phase = if error.may_pass() {
        StreamPhase::Retrying
    } else {
        StreamPhase::Halted
    };
    let before = resource.get().await.ok();
    let before = before
        .and_then(|feed| feed.status)
        .and_then(|status| status.stream);
    let stream = entered(
        &before.unwrap_or_default(),
        phase,
        error.to_string(),
        jiff::Timestamp::now(),
    );
    if let Err(error) = resource.write(&teller.opening(&stream)).await {
        tracing::warn!(?error, "Could not write why the feed is held up");
    }
}
