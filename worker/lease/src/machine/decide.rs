//! What to do next.

use std::time::Instant;

use jiff::Timestamp;

use super::{Action, Machine, Pending, Request, View};
use crate::{Holding, LossReason, record};

impl Machine {
    /// What to do at `now`. `wall` is only written into the Lease, for people to read.
    ///
    /// `now` must be taken before the request is sent: authority counts from it.
    pub fn next(&mut self, now: Instant, wall: Timestamp) -> Action {
        self.lapse(now);
        let stopping = self.give_up.is_some();
        let action = if stopping {
            self.next_release(now, wall)
        } else {
            self.next_claim(now, wall)
        };
        let request = match action {
            Action::Read => Some(Request::Read),
            Action::Create(_) => Some(Request::Create),
            Action::Update(_) if stopping => Some(Request::Release),
            Action::Update(_) => Some(Request::Claim),
            Action::Wait(_) | Action::Done => None,
        };
        self.pending = request.map(|request| Pending { request, sent: now });
        action
    }

    /// Ends authority at once, and gives the Lease back with the next actions.
    pub fn stop(&mut self, now: Instant) {
        if self.give_up.is_some() {
            return;
        }
        self.give_up = Some(now + self.settings.times.renew_deadline);
        self.not_before = None;
        // Before the release is sent: as soon as it lands, someone else may act.
        self.lose(LossReason::Released);
    }

    fn next_claim(&self, now: Instant, wall: Timestamp) -> Action {
        if let Some(wait) = self.wait(now) {
            return wait;
        }
        if self.stale {
            return Action::Read;
        }
        let guarded = self.guard.is_some_and(|guard| guard > now);
        let claim = |lease| Action::Update(Box::new(record::claimed(lease, &self.settings, wall)));
        match &self.view {
            View::Missing if !guarded => record::created(&self.settings, wall)
                .map_or(Action::Read, |lease| Action::Create(Box::new(lease))),
            View::Unknown | View::Missing | View::Hidden => Action::Read,
            View::Seen { lease, since } => match record::holder(lease) {
                Some(_) if self.is_ours(lease) => claim(lease),
                _ if guarded => Action::Read,
                None => claim(lease),
                Some(holder) if self.is_over(holder) => claim(lease),
                Some(_) if now >= *since + record::duration(lease) => claim(lease),
                Some(_) => Action::Read,
            },
        }
    }

    /// Whether a holder can't act any more, whatever its Lease says.
    pub(super) fn is_over(&self, holder: &str) -> bool {
        self.settings.succeeds(holder) || self.ended.as_deref() == Some(holder)
    }

    fn next_release(&self, now: Instant, wall: Timestamp) -> Action {
        if self.give_up.is_some_and(|give_up| now >= give_up) {
            return Action::Done;
        }
        let unsure = self.stale || self.uncertain;
        match &self.view {
            _ if unsure => self.wait(now).unwrap_or(Action::Read),
            View::Seen { lease, .. } if self.is_ours(lease) => self
                .wait(now)
                .unwrap_or_else(|| Action::Update(Box::new(record::released(lease, wall)))),
            View::Seen { .. } | View::Missing | View::Hidden | View::Unknown => Action::Done,
        }
    }

    fn wait(&self, now: Instant) -> Option<Action> {
        let left = self.not_before?.saturating_duration_since(now);
        (!left.is_zero()).then_some(Action::Wait(left))
    }

    /// Notes that the deadline has passed.
    pub(super) fn lapse(&mut self, now: Instant) {
        if self.holding == Holding::Held && self.until.is_none_or(|until| until <= now) {
            self.holding = Holding::Lost(LossReason::Expired);
        }
    }

    /// Ends authority at once.
    pub(super) fn lose(&mut self, reason: LossReason) {
        self.until = None;
        // What an answer tells says more than that the time was up.
        if matches!(self.holding, Holding::Held | Holding::Lost(LossReason::Expired)) {
            self.holding = Holding::Lost(reason);
        }
    }
}
