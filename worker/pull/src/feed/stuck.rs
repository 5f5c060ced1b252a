use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidemark_model::{Span, SpanId, Ts};
use tokio::time::Instant;

use super::coordinator::{Coordinator, Done, Hold};
use super::stream::Ticket;
use crate::kv::LockSweep;
use crate::ranges::Piece;
use crate::stats::{SlowReason, SlowRegion, add};

/// Regions looked at per span and tick, the slowest first.
const LOOKED_AT: usize = 64;
/// Lock searches under way at once.
const CHECKS: usize = 8;
/// Regions reported.
const REPORTED: usize = 64;
/// Longest time for a lock search.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// Regions that don't move, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    suspects: HashMap<Ticket, Suspect>,
    checks: usize,
    /// A timestamp of PD, and when it came.
    now: Option<(Ts, Instant)>,
    asking: bool,
    round: u64,
}

#[derive(Debug)]
struct Suspect {
    ts: Ts,
    since: Instant,
    last_check: Option<Instant>,
    checking: bool,
    empty_checks: u32,
    reason: SlowReason,
    round: u64,
}

/// What a background look has found.
pub(super) enum Checked {
    /// The time, if PD told it.
    Now(Option<Ts>),
    /// The locks of a region that stands at `ts`.
    Locks {
        ticket: Ticket,
        ts: Ts,
        sweep: Option<LockSweep>,
    },
}

/// A lagging region, as the tick found it.
struct Lagging {
    ticket: Ticket,
    range: Span,
    ts: Ts,
    store: u64,
    region: u64,
    stream: u64,
}

impl Coordinator {
    /// Looks after regions that don't move.
    pub(super) fn tick(&mut self) {
        self.stores.drop_idle();
        self.heals.forget_past();
        if self.spans.is_empty() {
            self.shared.slow.lock().clear();
            return;
        }
        if !self.stuck.asking {
            self.stuck.asking = true;
            let shared = Arc::clone(&self.shared);
            self.tasks
                .spawn(async move { Done::Checked(Checked::Now(shared.pd.tso().await.ok())) });
        }
    }

    pub(super) fn checked(&mut self, checked: Checked) {
        match checked {
            Checked::Now(now) => {
                self.stuck.asking = false;
                if let Some(now) = now {
                    self.stuck.now = Some((now, Instant::now()));
                    self.look(now);
                }
                self.report_slow();
            }
            Checked::Locks { ticket, ts, sweep } => self.swept(&ticket, ts, sweep),
        }
    }

    /// Starts lock searches in the regions that lag and don't move.
    fn look(&mut self, now: Ts) {
        self.stuck.round += 1;
        let round = self.stuck.round;
        let config = &self.shared.config;
        let (after, again) = (config.stuck_after, config.lock_check_interval);
        let mut lagging = Vec::new();
        for (request, state) in &self.spans {
            let bound = minus(now, after);
            let frontier = state.feed.frontier.lock();
            for slot in frontier.below(bound, LOOKED_AT) {
                let Some((start, piece)) = state.ranges.of_slot(slot) else {
                    continue;
                };
                if let Some(hold) = piece
                    .holder
                    .as_ref()
                    .filter(|hold| hold.initialised && !hold.releasing)
                    && let Some(stream) = hold.stream
                {
                    lagging.push(Lagging {
                        ticket: Ticket {
                            request: *request,
                            start: start.clone(),
                            number: hold.number,
                        },
                        range: Span::new(start.clone(), piece.end.clone()),
                        ts: frontier.get(slot),
                        store: hold.store,
                        region: hold.region,
                        stream,
                    });
                }
            }
        }
        lagging.sort_by_key(|lagging| lagging.ts);
        for region in lagging {
            if self.stores.is_blocked(region.stream) {
                // Its news may lie unread.
                continue;
            }
            let fresh = || Suspect {
                ts: region.ts,
                since: Instant::now(),
                last_check: None,
                checking: false,
                empty_checks: 0,
                reason: SlowReason::Lagging,
                round,
            };
            let suspect = self
                .stuck
                .suspects
                .entry(region.ticket.clone())
                .or_insert_with(fresh);
            if suspect.ts != region.ts {
                *suspect = fresh();
            }
            suspect.round = round;
            let due = suspect.since.elapsed() >= after
                && suspect.last_check.is_none_or(|last| last.elapsed() >= again)
                && !suspect.checking;
            if due && self.stuck.checks < CHECKS {
                suspect.checking = true;
                suspect.last_check = Some(Instant::now());
                self.stuck.checks += 1;
                self.start_check(region, now, after);
            }
        }
        self.stuck
            .suspects
            .retain(|_, suspect| suspect.round == round || suspect.checking);
    }

    fn start_check(&mut self, region: Lagging, now: Ts, window: Duration) {
        add(&self.shared.counters.lock_checks, 1);
        let (store, id) = (region.store, region.region);
        tracing::debug!(store, region = id, ts = %region.ts, "region doesn't move: looking for locks");
        let upto = plus(region.ts, window).min(now);
        let kv = self.kv.clone();
        self.tasks.spawn(async move {
            let sweep = Box::pin(kv.sweep_locks(&region.range, upto));
            let sweep = match tokio::time::timeout(CHECK_TIMEOUT, sweep).await {
                Ok(Ok(sweep)) => Some(sweep),
                Ok(Err(error)) => {
                    tracing::warn!(store, region = id, %error, "locks can't be resolved");
                    None
                }
                Err(_) => None,
            };
            Done::Checked(Checked::Locks {
                ticket: region.ticket,
                ts: region.ts,
                sweep,
            })
        });
    }

    fn swept(&mut self, ticket: &Ticket, ts: Ts, sweep: Option<LockSweep>) {
        self.stuck.checks = self.stuck.checks.saturating_sub(1);
        let enough = self.shared.config.heal_after_checks.max(1);
        let Some(suspect) = self.stuck.suspects.get_mut(ticket) else {
            return;
        };
        suspect.checking = false;
        let Some(sweep) = sweep.filter(|_| suspect.ts == ts) else {
            return;
        };
        add(&self.shared.counters.locks_resolved, sweep.resolved as u64);
        suspect.reason = match sweep.oldest_live {
            Some(start_ts) => SlowReason::Locked {
                start_ts,
                locks: sweep.found,
            },
            None if sweep.found == 0 => SlowReason::StuckWithoutLock,
            None => SlowReason::Lagging,
        };
        suspect.empty_checks = if sweep.found == 0 {
            suspect.empty_checks + 1
        } else {
            0
        };
        if suspect.empty_checks < enough {
            return;
        }
        let hold = self.hold_mut(ticket.request, &ticket.start);
        let Some((store, region)) = hold
            .filter(|hold| hold.number == ticket.number && !hold.releasing)
            .map(|hold| (hold.store, hold.region))
        else {
            return;
        };
        // It may have moved while the locks were looked for.
        let moved = self.ts_of(ticket) != Some(ts);
        if !moved && self.heals.may_heal(region, self.shared.config.heal_pause) {
            self.stuck.suspects.remove(ticket);
            self.heal(store, region);
        }
    }

    fn ts_of(&self, ticket: &Ticket) -> Option<Ts> {
        let state = self.spans.get(&ticket.request)?;
        let frontier = state.feed.frontier.lock();
        let piece = state.ranges.get(&ticket.start)?;
        Some(frontier.get(piece.slot))
    }

    /// Writes down the regions that have been slow for a while.
    fn report_slow(&self) {
        let Some((seen, at)) = self.stuck.now else {
            return;
        };
        let slow_after = self.shared.config.slow_after;
        let now = plus(seen, at.elapsed());
        let bound = minus(now, slow_after);
        let mut slow = Vec::new();
        for (request, state) in &self.spans {
            let frontier = state.feed.frontier.lock();
            for slot in frontier.below(bound, REPORTED) {
                let Some((start, piece)) = state.ranges.of_slot(slot) else {
                    continue;
                };
                let resolved = frontier.get(slot);
                let (reason, lasting) = match &piece.holder {
                    None => match &piece.idle {
                        Some(idle) => (SlowReason::Unlocated(idle.why.clone()), idle.since.elapsed()),
                        None => continue,
                    },
                    Some(hold) => self.reason_of(*request, start, hold, resolved, now),
                };
                if lasting >= slow_after {
                    slow.push(slow_region(state.feed.id, piece, resolved, reason, lasting));
                }
            }
        }
        slow.sort_by_key(|region| region.resolved);
        slow.truncate(REPORTED);
        *self.shared.slow.lock() = slow;
    }

    fn reason_of(
        &self,
        request: u64,
        start: &bytes::Bytes,
        hold: &Hold,
        resolved: Ts,
        now: Ts,
    ) -> (SlowReason, Duration) {
        if !hold.initialised {
            let waits = hold.stream.is_none();
            let reason = if waits {
                SlowReason::Waiting
            } else {
                SlowReason::Scanning
            };
            return (reason, hold.since.elapsed());
        }
        let ticket = Ticket {
            request,
            start: start.clone(),
            number: hold.number,
        };
        let suspect = self.stuck.suspects.get(&ticket);
        let reason = suspect.map_or(SlowReason::Lagging, |suspect| suspect.reason.clone());
        (reason, resolved.lag_behind(now))
    }
}

fn slow_region(
    span: SpanId,
    piece: &Piece<Hold>,
    resolved: Ts,
    reason: SlowReason,
    lasting: Duration,
) -> SlowRegion {
    let holder = piece.holder.as_ref();
    SlowRegion {
        region: holder.map_or(0, |hold| hold.region),
        store: holder.map_or(0, |hold| hold.store),
        span,
        resolved,
        reason,
        lasting,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 18)
}

fn minus(ts: Ts, time: Duration) -> Ts {
    Ts::new(ts.physical_ms().saturating_sub(millis(time)), ts.logical())
}

fn plus(ts: Ts, time: Duration) -> Ts {
    Ts::new(ts.physical_ms().saturating_add(millis(time)), ts.logical())
}
