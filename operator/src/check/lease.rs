//! Whether an operator leads: its Lease is held, and seen to be renewed.

use std::time::Instant;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};

use super::{Finding, PAUSE, WINDOW, brief};
use crate::deadline::bounded;
use crate::leader::LEASE;

/// Looks until the Lease is renewed, or for as long as a renewal may take.
pub(super) async fn look(client: &Client, namespace: &str) -> Finding {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let what = format!("{namespace}/{LEASE}");
    let begun = Instant::now();
    let mut first: Option<Lease> = None;
    loop {
        let seen = bounded(format!("get Lease {what}"), api.get_opt(LEASE)).await;
        let finding = match seen {
            Err(error) => Err(format!(
                "{}: look at the Role of the operator in {namespace}",
                brief(&error)
            )),
            Ok(None) => Err(format!(
                "there is no Lease {what}: no operator has run in namespace {namespace}, look at its pods, or give \
                 --own-namespace"
            )),
            Ok(Some(lease)) => judge(first.get_or_insert_with(|| lease.clone()), &lease, &what),
        };
        if finding.is_ok() || begun.elapsed() >= WINDOW {
            return finding;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What two looks at the Lease tell; by no clock but our own.
fn judge(first: &Lease, last: &Lease, what: &str) -> Finding {
    let Some(holder) = holder(last) else {
        return Err(format!(
            "nobody holds Lease {what}: no operator runs, look at the pods of its Deployment"
        ));
    };
    let renewed = |lease: &Lease| {
        let spec = lease.spec.as_ref();
        spec.and_then(|spec| spec.renew_time.clone())
    };
    if renewed(first) == renewed(last) {
        return Err(format!(
            "{holder} holds Lease {what} and doesn't renew it: look at the log of that pod, or whether it is gone"
        ));
    }
    Ok(format!("{holder} leads, by Lease {what}"))
}

fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref();
    holder.filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;
    use crate::fixture::noon;

    fn lease(holder: &str, seconds: u64) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                renew_time: Some(MicroTime(noon() + Duration::from_secs(seconds))),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    #[test]
    fn only_a_lease_that_is_renewed_tells_of_a_leader() {
        let judge = |first: &Lease, last: &Lease| judge(first, last, "system/tidemark-operator");
        assert!(judge(&lease("a", 0), &lease("a", 2)).is_ok());
        assert!(judge(&lease("a", 0), &lease("b", 2)).is_ok());
        assert!(judge(&lease("", 0), &lease("b", 2)).is_ok());
        let stale = judge(&lease("a", 0), &lease("a", 0)).unwrap_err();
        assert!(stale.contains("doesn't renew it"), "{stale}");
        let free = judge(&lease("a", 0), &lease("", 2)).unwrap_err();
        assert!(free.starts_with("nobody holds Lease system/"), "{free}");
    }
}
