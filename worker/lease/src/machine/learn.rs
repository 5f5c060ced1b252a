//! What an answer tells.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;

use super::{Answer, Machine, Request, View};
use crate::{Holding, LossReason, record};

impl Machine {
    /// Takes the answer to the last action in, as received at `now`. Ignored where no request is open.
    pub fn answer(&mut self, now: Instant, answer: Answer) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        self.lapse(now);
        self.refused = None;
        // A server that has just begun refuses everybody for a moment: that ends no outage.
        if !matches!(answer, Answer::Unanswered(_) | Answer::Refused(_)) {
            self.unreachable_since = None;
        }
        let wrote = matches!(pending.request, Request::Create | Request::Claim);
        match answer {
            Answer::Lease(lease) if wrote && self.is_ours(&lease) => {
                self.confirmed(lease, pending.sent, now);
            }
            Answer::Lease(lease) => self.observed(lease, now),
            Answer::Missing => self.missing(pending.request, now),
            Answer::Conflict => {
                self.stale = true;
                self.hide();
                // The first conflict tells that our view is old. More of them come from someone who writes all the time.
                self.not_before = (self.conflicts > 0).then(|| now + self.quick_retry());
                self.conflicts = self.conflicts.saturating_add(1);
            }
            Answer::Refused(why) => {
                self.refused = Some(why);
                self.not_before = Some(now + self.retry());
            }
            Answer::Unanswered(_) => {
                self.unreachable_since.get_or_insert(pending.sent);
                self.hide();
                self.uncertain |= wrote;
                self.not_before = Some(now + self.quick_retry());
            }
        }
    }

    /// Our claim stands: we may act for the renew deadline, counted from before it was sent.
    fn confirmed(&mut self, lease: Box<Lease>, sent: Instant, now: Instant) {
        self.view = View::Seen { lease, since: now };
        self.stale = false;
        self.uncertain = false;
        self.conflicts = 0;
        self.guard = None;
        let until = sent + self.settings.times.renew_deadline;
        if self.give_up.is_some() {
            // Stopped meanwhile: only give it back.
            self.not_before = None;
        } else if until <= now {
            // We slept over it. It is still ours to renew.
            self.not_before = None;
        } else {
            if self.holding != Holding::Held {
                self.term += 1;
                self.holding = Holding::Held;
            }
            self.until = Some(until);
            self.not_before = Some(sent + self.retry());
        }
    }

    /// A read, or a write that didn't do what we asked.
    fn observed(&mut self, lease: Box<Lease>, now: Instant) {
        self.stale = false;
        self.uncertain = false;
        let since = match &self.view {
            View::Seen { lease: old, since } if record::unchanged(old, &lease) => *since,
            View::Seen { lease: old, .. } => {
                if !record::same_object(old, &lease) {
                    self.set_guard(now);
                }
                now
            }
            View::Hidden => {
                self.set_guard(now);
                now
            }
            View::Unknown | View::Missing => now,
        };
        let expiry = since + record::duration(&lease);
        let retry = self.retry();
        self.not_before = match record::holder(&lease) {
            Some(_) if self.is_ours(&lease) => None,
            Some(_) => {
                self.lose(LossReason::Taken);
                let over = record::holder(&lease).is_some_and(|holder| self.is_over(holder));
                let look = (!over).then(|| expiry.min(now + retry));
                look.max(self.guarded(now))
            }
            None => {
                self.lose(LossReason::Deleted);
                self.guarded(now)
            }
        };
        self.view = View::Seen { lease, since };
    }

    fn missing(&mut self, request: Request, now: Instant) {
        self.set_guard(now);
        // Whoever creates it next may act at once.
        self.lose(LossReason::Deleted);
        self.view = View::Missing;
        self.stale = false;
        self.uncertain = false;
        // Missing in answer to a creation: it is the namespace that's missing.
        let ours_to_make = self.settings.create.is_some() && request != Request::Create;
        self.not_before = if ours_to_make {
            self.guarded(now)
        } else {
            Some(now + self.retry())
        };
    }

    /// Where there was no Lease, someone else may have made one, and may hold it when it is gone again.
    fn hide(&mut self) {
        if matches!(self.view, View::Missing) {
            self.view = View::Hidden;
        }
    }

    /// The Lease we knew, or should have known, is gone, with or without a new one: whoever held it last doesn't know
    /// that yet.
    fn set_guard(&mut self, now: Instant) {
        let own = self.settings.times.duration;
        let longest = match &self.view {
            View::Seen { lease, .. } if self.holding == Holding::Held && self.is_ours(lease) => return,
            View::Seen { lease, .. } => record::duration(lease).max(own),
            View::Hidden => own,
            View::Unknown | View::Missing => return,
        };
        self.guard = Some(now + longest);
    }

    /// When to look next while a guard is set; at once without.
    fn guarded(&mut self, now: Instant) -> Option<Instant> {
        let guard = self.guard.filter(|guard| *guard > now)?;
        Some(guard.min(now + self.retry()))
    }

    pub(super) fn is_ours(&self, lease: &Lease) -> bool {
        record::holder(lease) == Some(self.settings.identity.as_str())
    }

    fn retry(&mut self) -> Duration {
        self.jitter.spread(self.settings.times.retry)
    }

    fn quick_retry(&mut self) -> Duration {
        self.jitter.spread(self.settings.times.quick_retry())
    }
}
