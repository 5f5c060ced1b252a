use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

use super::identity::Identity;

/// Beyond its own duration a Lease must have been silent for so many more of them, since clocks differ.
const SILENCE: u32 = 4;
/// The duration of a Lease whose holder names none.
const USUAL: Duration = Duration::from_secs(15);

/// A Lease that nobody holds. It is only ever created: what is in it belongs to the workers.
pub(super) fn lease(identity: &Identity, name: String) -> Lease {
    Lease {
        metadata: identity.meta(name),
        spec: Some(LeaseSpec::default()),
    }
}

/// Whether nobody holds a Lease any more: it was given back, or its holder has been silent for long.
pub fn is_free(lease: &Lease, now: Timestamp) -> bool {
    let Some(spec) = &lease.spec else { return true };
    if spec.holder_identity.as_deref().unwrap_or_default().is_empty() {
        return true;
    }
    let Some(renewed) = &spec.renew_time else {
        return false;
    };
    let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
    let duration = seconds
        .map_or(USUAL, Duration::from_secs)
        .max(Duration::from_secs(1));
    let silent = now.duration_since(renewed.0);
    Duration::try_from(silent).is_ok_and(|silent| silent > duration * SILENCE)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    fn held(since: Timestamp) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some("pod.1".into()),
                lease_duration_seconds: Some(5),
                renew_time: Some(MicroTime(since)),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    #[test]
    fn a_lease_is_free_once_given_back_or_long_silent() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let before = |seconds: u64| now - Duration::from_secs(seconds);
        assert!(is_free(&Lease::default(), now));
        assert!(!is_free(&held(before(6)), now));
        assert!(is_free(&held(before(30)), now));
        assert!(
            !is_free(&held(now + Duration::from_secs(60)), now),
            "another's clock may be ahead"
        );
        let mut back = held(before(1));
        back.spec.as_mut().unwrap().holder_identity = Some(String::new());
        assert!(is_free(&back, now));
    }
}
