use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tidemark_model::Span;
use tokio::time::Instant;

use super::coordinator::Coordinator;
use super::locate::Want;
use super::stream::Ticket;
use crate::stats::add;

/// The pause between two heals of a region doubles up to 2 to this power.
const DOUBLINGS: u32 = 6;
/// Past heals are forgotten after this.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// Regions whose subscriptions are all being ended, to be made anew together.
///
/// TiKV can keep a lock in its tracker that is no longer there (a rollback that leaves no record). It
/// forgets it when the last subscription of the region on that store ends, so all must end before one begins.
#[derive(Debug, Default)]
pub(super) struct Heals {
    under_way: HashMap<(u64, u64), Heal>,
    past: HashMap<u64, Past>,
}

#[derive(Debug, Default)]
struct Heal {
    outstanding: HashSet<Ticket>,
    wants: Vec<Want>,
}

#[derive(Debug)]
struct Past {
    at: Instant,
    count: u32,
}

impl Heals {
    pub(super) fn is_under_way(&self, store: u64, region: u64) -> bool {
        self.under_way.contains_key(&(store, region))
    }

    /// Whether the last heal of the region is long enough ago.
    pub(super) fn may_heal(&self, region: u64, pause: Duration) -> bool {
        self.past.get(&region).is_none_or(|past| {
            let doubled = 1 << past.count.saturating_sub(1).min(DOUBLINGS);
            past.at.elapsed() >= pause.saturating_mul(doubled)
        })
    }

    pub(super) fn forget_past(&mut self) {
        self.past.retain(|_, past| past.at.elapsed() < FORGET_AFTER);
    }

    /// A subscription ended. `Some` if it belongs to a heal: the ranges to locate, once the last one has ended.
    pub(super) fn ended(&mut self, ticket: &Ticket, range: &Span) -> Option<Vec<Want>> {
        let key = self
            .under_way
            .iter()
            .find(|(_, heal)| heal.outstanding.contains(ticket))
            .map(|(key, _)| *key)?;
        let heal = self.under_way.get_mut(&key)?;
        heal.outstanding.remove(ticket);
        heal.wants.push(Want {
            request: ticket.request,
            range: range.clone(),
        });
        if !heal.outstanding.is_empty() {
            return Some(Vec::new());
        }
        self.under_way.remove(&key).map(|heal| heal.wants)
    }

    /// A span has gone: its subscriptions are waited for no more. Gives what can be located now.
    pub(super) fn forget_span(&mut self, request: u64) -> Vec<Want> {
        let mut wants = Vec::new();
        self.under_way.retain(|_, heal| {
            heal.outstanding.retain(|ticket| ticket.request != request);
            let done = heal.outstanding.is_empty();
            if done {
                wants.append(&mut heal.wants);
            }
            !done
        });
        wants
    }
}

impl Coordinator {
    /// Ends all subscriptions of a region on a store; they are made anew once all have ended.
    pub(super) fn heal(&mut self, store: u64, region: u64) {
        if self.heals.is_under_way(store, region) {
            return;
        }
        let tickets =
            self.tickets(|hold| hold.region == region && hold.store == store && hold.stream.is_some());
        if tickets.is_empty() {
            return;
        }
        tracing::warn!(
            store,
            region,
            subscriptions = tickets.len(),
            "region is stuck and holds no lock: its subscriptions are made anew"
        );
        add(&self.shared.counters.heals, 1);
        let past = self.heals.past.entry(region).or_insert_with(|| Past {
            at: Instant::now(),
            count: 0,
        });
        past.at = Instant::now();
        past.count += 1;
        let heal = Heal {
            outstanding: tickets.iter().cloned().collect(),
            wants: Vec::new(),
        };
        self.heals.under_way.insert((store, region), heal);
        for ticket in tickets {
            self.release(ticket.request, &ticket.start, "its subscriptions are made anew");
        }
    }
}
