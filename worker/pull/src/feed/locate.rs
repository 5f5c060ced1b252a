use std::sync::Arc;
use std::time::Duration;

use tidemark_model::{Span, Ts};
use tokio::time::Instant;

use super::PullError;
use super::coordinator::{Coordinator, Done, Hold};
use super::shared::Shared;
use crate::pd::{PdError, Region};
use crate::ranges::Acquired;

/// Regions asked for in one call, as TiCDC does.
const PAGE: usize = 1024;
/// Ranges asked for in one call.
const RANGES: usize = 512;
/// How long the GC safe point is believed.
const SAFE_POINT_FRESH: Duration = Duration::from_secs(10);

/// A range whose regions are to be found.
#[derive(Clone, Debug)]
pub(super) struct Want {
    pub(super) request: u64,
    pub(super) range: Span,
}

/// The look-ups of regions: what is wanted, and the one call under way.
#[derive(Debug, Default)]
pub(super) struct Locating {
    wants: Vec<Want>,
    under_way: bool,
    safe_point: Option<(Ts, Instant)>,
}

impl Locating {
    pub(super) fn want(&mut self, want: Want) {
        self.wants.push(want);
    }

    /// The call under way has failed with its task.
    pub(super) fn abandoned(&mut self) {
        self.under_way = false;
    }
}

/// The answer to a look-up.
pub(super) struct Located {
    wants: Vec<Want>,
    regions: Result<Vec<Region>, PdError>,
    safe_point: Option<Ts>,
}

impl Coordinator {
    /// Starts a look-up of all that is wanted, unless one is under way.
    pub(super) fn start_locating(&mut self) {
        if self.locating.under_way || self.locating.wants.is_empty() {
            return;
        }
        let mut wants = std::mem::take(&mut self.locating.wants);
        wants.retain(|want| self.spans.contains_key(&want.request));
        wants.sort_by(|a, b| a.range.cmp(&b.range));
        let mut asked = disjoint(&wants);
        if let Some(cut) = asked.get(RANGES).map(|range| range.start.clone()) {
            asked.truncate(RANGES);
            let at = wants.partition_point(|want| want.range.start < cut);
            self.locating.wants = wants.split_off(at);
        }
        if wants.is_empty() {
            return;
        }
        let fresh = self
            .locating
            .safe_point
            .is_some_and(|(_, at)| at.elapsed() < SAFE_POINT_FRESH);
        self.locating.under_way = true;
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            // A server without the call protects no history, nor does a failure here prove a loss.
            let safe_point = if fresh { None } else { safe_point(&shared).await };
            let regions = shared.pd.regions(&asked, PAGE).await;
            Done::Located(Box::new(Located {
                wants,
                regions,
                safe_point,
            }))
        });
    }

    pub(super) fn task_failed(&mut self, error: &tokio::task::JoinError) {
        tracing::error!(%error, "a task of the puller failed");
        self.locating.abandoned();
        // Whatever that task was to find is looked for again.
        for (request, state) in &self.spans {
            for range in state.ranges.free_within(state.ranges.span()) {
                let request = *request;
                self.locating.wants.push(Want { request, range });
            }
        }
    }

    pub(super) fn located(&mut self, located: Located) {
        self.locating.under_way = false;
        if let Some(ts) = located.safe_point {
            self.locating.safe_point = Some((ts, Instant::now()));
        }
        match located.regions {
            Ok(regions) => {
                for want in &located.wants {
                    self.locate(want, &regions);
                }
            }
            Err(error) => {
                let why = format!("PD gave no regions: {error}");
                tracing::warn!(%error, "regions can't be located");
                for want in &located.wants {
                    self.retry(want.request, &want.range, Duration::ZERO, &why);
                }
            }
        }
    }

    /// Places the regions of one range, and has the holes looked up again.
    fn locate(&mut self, want: &Want, regions: &[Region]) {
        let request = want.request;
        if self.is_collected(want) {
            return;
        }
        let mut at = want.range.start.clone();
        let first = regions
            .partition_point(|region| !region.span.end.is_empty() && region.span.end <= want.range.start);
        for region in &regions[first..] {
            if !want.range.end.is_empty() && region.span.start >= want.range.end {
                break;
            }
            if region.span.start > at {
                let hole = Span::new(at, region.span.start.clone());
                self.retry(request, &hole, Duration::ZERO, "PD knows no region there");
            }
            self.place(request, region);
            if region.span.end.is_empty() {
                return;
            }
            at = region.span.end.clone();
        }
        let rest = Span::new(at, want.range.end.clone());
        if rest.is_empty() {
            return;
        }
        if regions.len() >= PAGE {
            let range = rest;
            self.locating.want(Want { request, range });
        } else {
            self.retry(request, &rest, Duration::ZERO, "PD knows no region there");
        }
    }

    /// Whether history that the range needs may be gone; then the span has failed.
    fn is_collected(&mut self, want: &Want) -> bool {
        let Some((safe_point, _)) = self.locating.safe_point else {
            return false;
        };
        let Some(state) = self.spans.get(&want.request) else {
            return true;
        };
        let checkpoint = state.feed.frontier.lock().min();
        let lost = checkpoint < safe_point;
        if lost {
            self.fail(
                want.request,
                PullError::Collected {
                    checkpoint,
                    safe_point,
                },
            );
        }
        lost
    }

    /// Has a region read its part of the span, if nobody reads it.
    pub(super) fn place(&mut self, request: u64, region: &Region) {
        let number = self.number();
        let Some(state) = self.spans.get_mut(&request) else {
            return;
        };
        let Some(range) = region.span.intersect(state.ranges.span()) else {
            return;
        };
        if state.ranges.free_pieces(&range).is_empty() {
            return;
        }
        let Some(leader) = &region.leader else {
            let why = format!("region {} has no leader", region.id);
            return self.retry(request, &range, Duration::ZERO, &why);
        };
        let store = leader.store_id;
        if self.heals.is_under_way(store, region.id) {
            return self.retry(
                request,
                &range,
                Duration::ZERO,
                "its subscriptions are being made anew",
            );
        }
        let hold = Hold {
            region: region.id,
            epoch: region.epoch,
            store,
            stream: None,
            number,
            since: Instant::now(),
            initialised: false,
            releasing: false,
        };
        let acquired = state
            .ranges
            .acquire(&range, hold, &mut state.feed.frontier.lock());
        match acquired {
            Acquired::Held { start, .. } => {
                state.held += 1;
                self.stores.queue(store, request, start, number);
            }
            Acquired::Conflict { older, free } => {
                for start in older {
                    self.release(request, &start, "its range changed");
                }
                for range in free {
                    self.retry(
                        request,
                        &range,
                        Duration::ZERO,
                        "a neighbour holds part of its region",
                    );
                }
            }
        }
    }
}

async fn safe_point(shared: &Shared) -> Option<Ts> {
    shared.pd.gc_safe_point().await.ok()
}

/// Joins sorted ranges that touch or overlap.
fn disjoint(wants: &[Want]) -> Vec<Span> {
    let mut joined: Vec<Span> = Vec::new();
    for want in wants {
        match joined.last_mut() {
            Some(last) if last.end.is_empty() => break,
            Some(last) if want.range.start <= last.end => {
                if want.range.end.is_empty() || want.range.end > last.end {
                    last.end = want.range.end.clone();
                }
            }
            _ => joined.push(want.range.clone()),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_wants_are_asked_for_as_one_range() {
        let want = |start: &'static str, end: &'static str| Want {
            request: 1,
            range: Span::new(start, end),
        };
        let wants = [
            want("a", "c"),
            want("b", "d"),
            want("d", "e"),
            want("g", ""),
            want("h", "i"),
        ];
        assert_eq!(disjoint(&wants), [Span::new("a", "e"), Span::new("g", "")]);
    }
}
