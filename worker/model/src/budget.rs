use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound in bytes that several queues share.
///
/// Whoever brings data in takes a [`Grant`] first and waits while the budget is spent; the grant
/// travels with the data and gives the bytes back when it is dropped. One item larger than the
/// whole budget passes alone: it takes all of it.
#[derive(Clone, Debug)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    total: usize,
    /// Unit of the semaphore, so that budgets above 4 GiB fit its counter.
    unit: usize,
    permits: Arc<Semaphore>,
    used: AtomicUsize,
    peak: AtomicUsize,
}

impl Budget {
    /// Bytes one permit stands for.
    const UNIT: usize = 64;

    /// A budget of so many bytes.
    pub fn new(total: usize) -> Self {
        let units = (total / Self::UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            inner: Arc::new(Inner {
                total,
                unit: Self::UNIT,
                permits: Arc::new(Semaphore::new(units)),
                used: AtomicUsize::new(0),
                peak: AtomicUsize::new(0),
            }),
        }
    }

    /// Waits until `bytes` are free and takes them.
    pub async fn take(&self, bytes: usize) -> Grant {
        let units = self.units(bytes);
        // The semaphore is never closed, so the only failure can't happen; an empty permit
        // would merely under-count.
        let permit = Arc::clone(&self.inner.permits)
            .acquire_many_owned(units)
            .await
            .ok();
        self.grant(bytes, permit)
    }

    /// Takes `bytes` if they are free now.
    pub fn try_take(&self, bytes: usize) -> Option<Grant> {
        let units = self.units(bytes);
        let permit = Arc::clone(&self.inner.permits)
            .try_acquire_many_owned(units)
            .ok()?;
        Some(self.grant(bytes, Some(permit)))
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.inner.used.load(Ordering::Relaxed)
    }

    /// The most that was ever taken at once.
    pub fn peak(&self) -> usize {
        self.inner.peak.load(Ordering::Relaxed)
    }

    /// The whole budget in bytes.
    pub fn total(&self) -> usize {
        self.inner.total
    }

    fn units(&self, bytes: usize) -> u32 {
        let all = (self.inner.total / self.inner.unit).max(1);
        u32::try_from(bytes.div_ceil(self.inner.unit).min(all)).unwrap_or(u32::MAX)
    }

    fn grant(&self, bytes: usize, permit: Option<OwnedSemaphorePermit>) -> Grant {
        let used = self.inner.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.inner.peak.fetch_max(used, Ordering::Relaxed);
        Grant {
            bytes,
            permit,
            budget: Arc::clone(&self.inner),
        }
    }
}

/// Bytes taken from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Grant {
    bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
    budget: Arc<Inner>,
}

impl Grant {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Joins another grant of the same budget into this one.
    pub fn merge(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
        match (&mut self.permit, other.permit.take()) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_spent_budget_makes_the_next_wait() {
        let budget = Budget::new(1024);
        let first = budget.take(1000).await;
        assert!(budget.try_take(512).is_none());
        assert_eq!(budget.used(), 1000);
        drop(first);
        assert_eq!(budget.try_take(512).map(|grant| grant.bytes()), Some(512));
        assert_eq!(budget.peak(), 1000);
    }

    #[tokio::test]
    async fn an_oversized_item_passes_alone() {
        let budget = Budget::new(1024);
        let big = budget.take(1 << 20).await;
        assert!(budget.try_take(1).is_none());
        drop(big);
        assert_eq!(budget.used(), 0);
        assert!(budget.try_take(1024).is_some());
    }

    #[tokio::test]
    async fn merged_grants_give_back_all() {
        let budget = Budget::new(1024);
        let mut grant = budget.take(512).await;
        grant.merge(budget.take(512).await);
        assert_eq!((grant.bytes(), budget.used()), (1024, 1024));
        drop(grant);
        assert_eq!(budget.used(), 0);
        assert!(budget.try_take(1024).is_some());
    }
}
