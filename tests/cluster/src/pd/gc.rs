//! GC safe points and what holds them back.

use std::collections::BTreeMap;

use tidemark_model::Ts;

/// The id that stands for GC itself, and can't be a barrier's.
pub(crate) const GC_WORKER: &str = "gc_worker";

/// Safe points and barriers of the cluster. One keyspace: the null one, for everything.
#[derive(Debug, Default)]
pub(crate) struct GcState {
    pub(crate) txn_safe_point: Ts,
    pub(crate) gc_safe_point: Ts,
    barriers: BTreeMap<String, Barrier>,
}

/// Keeps history from its ts on until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Barrier {
    pub(crate) id: String,
    pub(crate) ts: Ts,
    /// When it ends, in milliseconds since the Unix epoch; `None` is never.
    expires_ms: Option<u64>,
}

impl Barrier {
    /// Seconds until it ends, rounded down; `i64::MAX` for never.
    pub(crate) fn ttl_seconds(&self, now_ms: u64) -> i64 {
        let left = self.expires_ms.map(|end| end.saturating_sub(now_ms) / 1000);
        left.and_then(|left| i64::try_from(left).ok()).unwrap_or(i64::MAX)
    }
}

impl GcState {
    /// Barriers that have not expired.
    pub(crate) fn barriers(&mut self, now_ms: u64) -> impl Iterator<Item = &Barrier> {
        self.barriers
            .retain(|_, barrier| barrier.expires_ms.is_none_or(|end| end > now_ms));
        self.barriers.values()
    }

    /// Sets a barrier, or moves it.
    pub(crate) fn set_barrier(&mut self, id: &str, ts: Ts, ttl: i64, now_ms: u64) -> Result<Barrier, String> {
        if id.is_empty() {
            return Err("the barrier id must not be empty".to_owned());
        }
        if id == GC_WORKER {
            return Err(format!("the barrier id {GC_WORKER:?} is reserved"));
        }
        if ttl <= 0 {
            return Err(format!("the TTL of barrier {id:?} must be positive, it is {ttl}"));
        }
        if ts < self.txn_safe_point {
            return Err(format!(
                "[PD:gc:ErrGCBarrierTSBehindTxnSafePoint]trying to set a GC barrier on ts {ts} which is already behind \
                 the txn safe point {}",
                self.txn_safe_point
            ));
        }
        let seconds = u64::try_from(ttl).unwrap_or(0);
        let end = seconds.checked_mul(1000).and_then(|ms| ms.checked_add(now_ms));
        let barrier = Barrier {
            id: id.to_owned(),
            ts,
            expires_ms: end.filter(|_| ttl != i64::MAX),
        };
        self.barriers.insert(id.to_owned(), barrier.clone());
        Ok(barrier)
    }

    /// Removes a barrier and gives it back.
    pub(crate) fn delete_barrier(&mut self, id: &str) -> Option<Barrier> {
        self.barriers.remove(id)
    }

    /// Raises the txn safe point as far as barriers allow: the old one, the new one, and who blocked.
    pub(crate) fn advance_txn(&mut self, target: Ts, now_ms: u64) -> Result<(Ts, Ts, String), String> {
        let old = self.txn_safe_point;
        if target < old {
            return Err(format!(
                "[PD:gc:ErrDecreasingTxnSafePoint]trying to update txn safe point to a smaller value, current value: \
                 {old}, given: {target}"
            ));
        }
        let blocker = self.barriers(now_ms).min_by_key(|barrier| barrier.ts).cloned();
        let blocker = blocker.filter(|barrier| barrier.ts < target);
        let new = blocker.as_ref().map_or(target, |barrier| barrier.ts).max(old);
        self.txn_safe_point = new;
        let who = blocker.map_or_else(String::new, |barrier| {
            format!(
                "GCBarrier {{ BarrierID: {:?}, BarrierTS: {} }}",
                barrier.id, barrier.ts
            )
        });
        Ok((old, new, who))
    }

    /// Raises the GC safe point, at most to the txn safe point: the old one and the new one.
    pub(crate) fn advance_gc(&mut self, target: Ts) -> Result<(Ts, Ts), String> {
        let old = self.gc_safe_point;
        if target < old {
            return Err(format!(
                "[PD:gc:ErrDecreasingGCSafePoint]trying to update GC safe point to a smaller value, current value: {old}, \
                 given: {target}"
            ));
        }
        if target > self.txn_safe_point {
            return Err(format!(
                "[PD:gc:ErrGCSafePointExceedsTxnSafePoint]trying to update GC safe point to a too large value, by \
                 which the txn safe point {} is exceeded: {target}",
                self.txn_safe_point
            ));
        }
        self.gc_safe_point = target;
        Ok((old, target))
    }

    /// Answers the classic call of a service: who blocks GC, its TTL in seconds, and the txn safe point.
    ///
    /// As a real PD was seen to answer: the blocker's name comes only to GC itself, everybody else is told of
    /// `gc_worker`, and the TTL is what remains of eternity.
    pub(crate) fn update_service(
        &mut self,
        id: &str,
        ts: Ts,
        ttl: i64,
        now_ms: u64,
    ) -> Result<(String, i64, Ts), String> {
        let mut blocker = None;
        if id == GC_WORKER {
            if ttl != i64::MAX {
                return Err(format!(
                    "the TTL of {GC_WORKER:?} must be {}, it is {ttl}",
                    i64::MAX
                ));
            }
            let held = self.barriers(now_ms).min_by_key(|barrier| barrier.ts).cloned();
            blocker = held.filter(|barrier| barrier.ts < ts).map(|barrier| barrier.id);
            if ts >= self.txn_safe_point {
                self.advance_txn(ts, now_ms)?;
            }
        } else if ttl <= 0 {
            self.delete_barrier(id);
        } else if ts >= self.txn_safe_point {
            self.set_barrier(id, ts, ttl, now_ms)?;
        }
        let now = i64::try_from(now_ms / 1000).unwrap_or(0);
        let who = blocker.unwrap_or_else(|| GC_WORKER.to_owned());
        Ok((who, i64::MAX - now, self.txn_safe_point))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_barrier_holds_the_safe_point_until_it_expires() {
        let mut gc = GcState::default();
        gc.set_barrier("feed", Ts(100), 10, 0).unwrap();
        let (old, new, who) = gc.advance_txn(Ts(200), 5_000).unwrap();
        assert_eq!((old, new), (Ts(0), Ts(100)));
        assert!(who.contains("feed"));
        assert_eq!(gc.advance_txn(Ts(200), 10_000).unwrap().1, Ts(200));
        assert!(gc.advance_txn(Ts(150), 10_000).is_err(), "it must not fall");
    }

    #[test]
    fn a_barrier_behind_the_safe_point_is_refused() {
        let mut gc = GcState::default();
        gc.advance_txn(Ts(100), 0).unwrap();
        assert!(
            gc.set_barrier("late", Ts(99), 10, 0)
                .unwrap_err()
                .contains("behind")
        );
        assert!(gc.set_barrier("gc_worker", Ts(100), 10, 0).is_err());
        assert!(gc.set_barrier("", Ts(100), 10, 0).is_err());
        assert!(gc.set_barrier("x", Ts(100), 0, 0).is_err());
        assert_eq!(
            gc.set_barrier("x", Ts(100), i64::MAX, 5).unwrap().ttl_seconds(7),
            i64::MAX
        );
        assert_eq!(gc.delete_barrier("x").map(|barrier| barrier.ts), Some(Ts(100)));
    }

    #[test]
    fn the_gc_safe_point_follows_the_txn_safe_point() {
        let mut gc = GcState::default();
        assert!(gc.advance_gc(Ts(5)).is_err());
        gc.advance_txn(Ts(10), 0).unwrap();
        assert_eq!(gc.advance_gc(Ts(5)).unwrap(), (Ts(0), Ts(5)));
        assert_eq!(gc.advance_gc(Ts(5)).unwrap(), (Ts(5), Ts(5)));
        assert!(gc.advance_gc(Ts(4)).is_err());
    }

    #[test]
    fn a_service_below_the_safe_point_learns_it_without_an_error() {
        let mut gc = GcState::default();
        gc.advance_txn(Ts(100), 0).unwrap();
        let late = gc.update_service("feed", Ts(50), 60, 0).unwrap();
        assert_eq!(late, ("gc_worker".to_owned(), i64::MAX, Ts(100)));
        let held = gc.update_service("feed", Ts(120), 60, 7_000).unwrap();
        assert_eq!(held, ("gc_worker".to_owned(), i64::MAX - 7, Ts(100)));
        let blocked = gc.update_service("gc_worker", Ts(300), i64::MAX, 0).unwrap();
        assert_eq!(blocked, ("feed".to_owned(), i64::MAX, Ts(120)));
        gc.update_service("feed", Ts(120), 0, 0).unwrap();
        let freed = gc.update_service("gc_worker", Ts(300), i64::MAX, 0).unwrap();
        assert_eq!(freed, ("gc_worker".to_owned(), i64::MAX, Ts(300)));
        assert!(gc.update_service("gc_worker", Ts(300), 5, 0).is_err());
    }
}
