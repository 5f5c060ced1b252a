//! Names of a feed's objects. They must never change: a new name would leave the old object running.

/// The StatefulSet, and the PodDisruptionBudget.
pub fn workers(feed: &str) -> String {
    feed.to_owned()
}

/// The headless Service that gives pods their host names.
pub fn service(feed: &str) -> String {
    format!("{feed}-workers")
}

/// The ConfigMap that holds the feed at a revision.
pub fn config(feed: &str, revision: &str) -> String {
    format!("{feed}-{revision}")
}

/// The workers' ServiceAccount, Role and RoleBinding.
pub fn account(feed: &str) -> String {
    format!("{feed}-worker")
}

/// The Secret for TLS among workers.
pub fn peers(feed: &str) -> String {
    format!("{feed}-peers")
}

/// The Lease of the feed's owner.
pub fn owner_lease(feed: &str) -> String {
    format!("{feed}-owner")
}

/// A pod, and the Lease of the same name by which it is a member.
pub fn pod(feed: &str, ordinal: u32) -> String {
    format!("{feed}-{ordinal}")
}

/// The ordinal in the name of a pod or of its Lease.
pub fn ordinal(feed: &str, name: &str) -> Option<u32> {
    let digits = name.strip_prefix(feed)?.strip_prefix('-')?;
    let number = digits.parse().ok()?;
    (pod(feed, number) == name).then_some(number)
}

/// What the feed is called at PD. By uid, so that a feed made again under the same name never meets it.
pub fn safe_point_service(uid: &str) -> String {
    format!("tidemark-{uid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_as_they_are() {
        assert_eq!(workers("shop"), "shop");
        assert_eq!(service("shop"), "shop-workers");
        assert_eq!(config("shop", "0123456789"), "shop-0123456789");
        assert_eq!(account("shop"), "shop-worker");
        assert_eq!(peers("shop"), "shop-peers");
        assert_eq!(owner_lease("shop"), "shop-owner");
        assert_eq!(pod("shop", 3), "shop-3");
        assert_eq!(safe_point_service("8c2e"), "tidemark-8c2e");
    }

    #[test]
    fn the_longest_name_leaves_room_for_suffixes() {
        let feed = "f".repeat(52);
        // A Service's name is a DNS label; a pod's label holds its set's name, a dash and ten digits.
        assert!(service(&feed).len() <= 63);
        assert!(format!("{feed}-0123456789").len() <= 63);
        assert!(pod(&feed, 99).len() <= 63);
    }

    #[test]
    fn an_ordinal_is_read_back_from_a_name_of_ours_only() {
        assert_eq!(ordinal("shop", "shop-12"), Some(12));
        for other in ["shop-owner", "shop-012", "shop-", "shop", "shops-1", "shop-+1"] {
            assert_eq!(ordinal("shop", other), None, "{other}");
        }
    }
}
