//! Judging the Leases of others.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;

use crate::record;

/// Judges others' Leases only by how long *we* have seen them unchanged, never by the timestamps in them: clocks may
/// differ, only their rates must not.
///
/// A Lease seen for the first time counts as just renewed, so a new observer sees nothing expire for a whole duration.
#[derive(Debug, Default)]
pub struct LeaseObserver {
    seen: HashMap<(String, String), Sighting>,
    told: HashMap<(String, String), Told>,
}

/// A version of a Lease that its holder has told of.
#[derive(Debug)]
struct Told {
    version: String,
    since: Instant,
}

#[derive(Debug)]
struct Sighting {
    lease: Lease,
    since: Instant,
}

/// One Lease as the observer judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Name of the Lease.
    pub name: String,
    /// Who holds it; `None` where it is released.
    pub holder: Option<String>,
    /// Its annotations, such as the holder's address.
    pub annotations: BTreeMap<String, String>,
    /// Whether the holder is to be taken for alive.
    pub state: LeaseState,
    /// How long we have seen this version of it.
    pub unchanged_for: Duration,
    /// When it expires if nothing changes, for the next look; zero where it is expired or released.
    pub expires_in: Duration,
}

/// Whether the holder of a Lease is to be taken for alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// Renewed less than its duration ago, as far as we have seen.
    Fresh,
    /// Unchanged for the whole of its duration: the holder's authority has surely ended.
    Expired,
    /// Given back by its holder.
    Released,
}

impl LeaseObserver {
    /// An observer that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a full list of Leases as answered at `now` at the latest, and judges each. Leases that are not in the list
    /// are forgotten; the order is kept.
    ///
    /// Call it with fresh answers as well as when nothing came: with a watch that is cut off, an unseen renewal makes a
    /// live Lease look expired, so take nothing by it without a conditional write.
    pub fn observe(&mut self, leases: &[Lease], now: Instant) -> Vec<Observed> {
        let mut before = std::mem::take(&mut self.seen);
        leases
            .iter()
            .map(|lease| {
                let key = key(lease);
                let sighting = match before.remove(&key) {
                    Some(old) if record::unchanged(&old.lease, lease) => old,
                    _ => Sighting {
                        lease: lease.clone(),
                        since: now,
                    },
                };
                let observed = judge(&key.1, &sighting, now);
                self.seen.insert(key, sighting);
                observed
            })
            .collect()
    }
}

impl LeaseObserver {
    /// Its holder has told us, by `now` at the latest, that the Lease has this resourceVersion: if that is what is seen later,
    /// it was unchanged from now on, without our having asked the API server meanwhile.
    pub fn told(&mut self, namespace: &str, name: &str, version: &str, now: Instant) {
        let key = (namespace.to_owned(), name.to_owned());
        if self.told.get(&key).is_none_or(|told| told.version != version) {
            let version = version.to_owned();
            self.told.insert(key, Told { version, since: now });
        }
    }

    /// Takes one Lease as answered at `now` at the latest, and judges it; others are kept as they are.
    pub fn see(&mut self, lease: &Lease, now: Instant) -> Observed {
        let key = key(lease);
        let told = self.told.get(&key);
        let told = told.filter(|told| lease.metadata.resource_version.as_ref() == Some(&told.version));
        let first_seen = || Sighting {
            lease: lease.clone(),
            since: told.map_or(now, |told| told.since),
        };
        let sighting = self.seen.entry(key.clone()).or_insert_with(first_seen);
        if !record::unchanged(&sighting.lease, lease) {
            *sighting = first_seen();
        }
        judge(&key.1, sighting, now)
    }
}

fn key(lease: &Lease) -> (String, String) {
    let metadata = &lease.metadata;
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

fn judge(name: &str, sighting: &Sighting, now: Instant) -> Observed {
    let holder = record::holder(&sighting.lease).map(str::to_owned);
    let unchanged_for = now.saturating_duration_since(sighting.since);
    let left = record::duration(&sighting.lease).saturating_sub(unchanged_for);
    let state = match holder {
        None => LeaseState::Released,
        Some(_) if left.is_zero() => LeaseState::Expired,
        Some(_) => LeaseState::Fresh,
    };
    Observed {
        name: name.to_owned(),
        annotations: sighting.lease.metadata.annotations.clone().unwrap_or_default(),
        expires_in: if state == LeaseState::Fresh {
            left
        } else {
            Duration::ZERO
        },
        holder,
        state,
        unchanged_for,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn lease(name: &str, holder: &str, version: u32, uid: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                uid: Some(uid.to_owned()),
                resource_version: Some(version.to_string()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            }),
        }
    }

    fn states(observer: &mut LeaseObserver, leases: &[Lease], now: Instant) -> Vec<LeaseState> {
        observer
            .observe(leases, now)
            .into_iter()
            .map(|observed| observed.state)
            .collect()
    }

    #[test]
    fn a_lease_expires_after_its_duration_without_a_change_seen_by_us() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut observer = LeaseObserver::new();
        let (old, renewed) = (lease("w0", "a", 1, "u"), lease("w0", "a", 2, "u"));
        let first = observer.observe(std::slice::from_ref(&old), start);
        assert_eq!(
            (first[0].state, first[0].expires_in),
            (LeaseState::Fresh, Duration::from_secs(15))
        );
        assert_eq!(
            states(&mut observer, std::slice::from_ref(&old), at(14)),
            [LeaseState::Fresh]
        );
        assert_eq!(
            states(&mut observer, std::slice::from_ref(&renewed), at(14)),
            [LeaseState::Fresh]
        );
        assert_eq!(
            states(&mut observer, std::slice::from_ref(&renewed), at(28)),
            [LeaseState::Fresh]
        );
        let last = observer.observe(&[renewed], at(29));
        assert_eq!(
            (last[0].state, last[0].unchanged_for),
            (LeaseState::Expired, Duration::from_secs(15))
        );
    }

    #[test]
    fn a_lease_made_anew_counts_as_changed_and_a_forgotten_one_as_new() {
        let start = Instant::now();
        let late = start + Duration::from_secs(20);
        let mut observer = LeaseObserver::new();
        states(
            &mut observer,
            &[lease("w0", "a", 1, "u"), lease("w1", "b", 1, "v")],
            start,
        );
        let seen = states(&mut observer, &[lease("w0", "a", 1, "other")], late);
        assert_eq!(seen, [LeaseState::Fresh]);
        let seen = states(
            &mut observer,
            &[lease("w0", "a", 1, "other"), lease("w1", "b", 1, "v")],
            late,
        );
        assert_eq!(seen, [LeaseState::Fresh, LeaseState::Fresh]);
    }

    #[test]
    fn one_seen_alone_leaves_the_others_as_they_were() {
        let start = Instant::now();
        let mut observer = LeaseObserver::new();
        let first = lease("w0", "a", 1, "u");
        assert_eq!(observer.see(&first, start).state, LeaseState::Fresh);
        let late = start + Duration::from_secs(15);
        assert_eq!(
            observer.see(&lease("w1", "b", 1, "v"), late).state,
            LeaseState::Fresh
        );
        assert_eq!(observer.see(&first, late).state, LeaseState::Expired);
        assert_eq!(
            observer.see(&lease("w0", "a", 2, "u"), late).state,
            LeaseState::Fresh
        );
    }

    #[test]
    fn what_a_holder_has_told_counts_as_seen() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut observer = LeaseObserver::new();
        observer.told("", "w0", "2", start);
        observer.told("", "w0", "2", at(4));
        let renewed = lease("w0", "a", 2, "u");
        assert_eq!(observer.see(&renewed, at(14)).state, LeaseState::Fresh);
        assert_eq!(observer.see(&renewed, at(15)).state, LeaseState::Expired);
        // A renewal that it could not tell of counts from when we see it.
        let again = lease("w0", "a", 3, "u");
        assert_eq!(observer.see(&again, at(16)).expires_in, Duration::from_secs(15));
    }

    #[test]
    fn an_empty_holder_means_released() {
        let observed = LeaseObserver::new().observe(&[lease("w0", "", 1, "u")], Instant::now());
        assert_eq!(
            (observed[0].state, observed[0].holder.as_deref()),
            (LeaseState::Released, None)
        );
    }
}
