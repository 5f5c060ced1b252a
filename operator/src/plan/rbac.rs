use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::identity::Identity;
use super::names;

/// The identity of the feed's workers.
pub(super) fn service_account(identity: &Identity) -> ServiceAccount {
    ServiceAccount {
        metadata: identity.meta(names::account(&identity.name)),
        ..ServiceAccount::default()
    }
}

/// What workers may do: read their feed, write its status, hold its Leases, tell which pods of theirs live.
///
/// `pods` is how many pods there are or were: one that goes away must still give its Lease back.
pub(super) fn role(identity: &Identity, pods: u32) -> Role {
    let feed = identity.name.as_str();
    let pods: Vec<_> = (0..pods).map(|ordinal| names::pod(feed, ordinal)).collect();
    let mut leases = vec![names::owner_lease(feed)];
    leases.extend(pods.iter().cloned());
    let this = || vec![feed.to_owned()];
    Role {
        metadata: identity.meta(names::account(feed)),
        rules: Some(vec![
            rule("tidemark.io", "changefeeds", &["get"], this()),
            rule("tidemark.io", "changefeeds/status", &["patch"], this()),
            rule("coordination.k8s.io", "leases", &["get", "update"], leases),
            rule("", "pods", &["get"], pods),
        ]),
    }
}

/// Gives the role to the account.
pub(super) fn role_binding(identity: &Identity) -> RoleBinding {
    let name = names::account(&identity.name);
    RoleBinding {
        metadata: identity.meta(name.clone()),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "Role".into(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name,
            namespace: Some(identity.namespace.clone()),
            ..Subject::default()
        }]),
    }
}

fn rule(group: &str, resource: &str, verbs: &[&str], names: Vec<String>) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.into()]),
        resources: Some(vec![resource.into()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        resource_names: Some(names),
        ..PolicyRule::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::feed;

    #[test]
    fn a_role_names_the_pods_it_is_for_and_never_all_of_a_kind() {
        let role = role(&Identity::of(&feed("shop")), 2);
        let rules = role.rules.unwrap();
        let names = |resource: &str| {
            let found = rules
                .iter()
                .find(|rule| rule.resources.as_ref().unwrap()[0] == resource)
                .unwrap();
            found.resource_names.clone().unwrap_or_default()
        };
        assert_eq!(names("leases"), ["shop-owner", "shop-0", "shop-1"]);
        assert_eq!(names("pods"), ["shop-0", "shop-1"]);
        assert_eq!(names("changefeeds/status"), ["shop"]);
        assert!(rules.iter().all(|rule| rule.resource_names.is_some()));
    }
}
