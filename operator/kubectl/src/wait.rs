//! Waits until the operator and the workers have done what they were told.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kube::api::Api;
use tidemark_crds::Changefeed;

use crate::cluster::{Cluster, full_name};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// How far something has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has happened; says so.
    Done(String),
    /// It hasn't; what stands in the way.
    Waiting(String),
    /// It won't until a person acts; what is wrong.
    Stuck(String),
}

/// Looks at a feed until it has got there; tells standard error what it waits for.
pub(crate) async fn until(
    cluster: &Cluster,
    name: &str,
    timeout: Duration,
    progress: impl Fn(&Changefeed) -> Progress,
) -> Result<String> {
    let api: Api<Changefeed> = cluster.feeds();
    let end = Instant::now() + timeout;
    let mut told = String::new();
    loop {
        let feed = api.get(name).await.map_err(|error| cluster.explain(error))?;
        match progress(&feed) {
            Progress::Done(words) => return Ok(words),
            Progress::Stuck(words) => bail!("{} needs a person: {words}", full_name(&feed)),
            Progress::Waiting(words) => {
                if words != told {
                    eprintln!("waiting: {words}");
                    told = words;
                }
            }
        }
        if Instant::now() + PAUSE > end {
            let timeout = humantime::format_duration(timeout);
            bail!("{}: not done after {timeout}: {told}", full_name(&feed));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether a feed has got to a state of which `reason` is the word, all of it.
pub(crate) fn settled(feed: &Changefeed, reason: &str) -> Progress {
    let Some(status) = &feed.status else {
        return Progress::Waiting("no operator has seen the feed yet".into());
    };
    if status.observed_generation != feed.metadata.generation {
        return Progress::Waiting("the operator hasn't seen the change yet".into());
    }
    let find = |type_: &str| status.conditions.iter().find(|have| have.type_ == type_);
    let words = |type_: &str| {
        let found = find(type_).map(|have| format!("{}, {}", have.reason, have.message));
        found.unwrap_or_else(|| format!("no condition {type_} yet"))
    };
    let ready = find("Ready").is_some_and(|have| have.status == "True" && have.reason == reason);
    if ready && find("Reconciling").is_none() {
        return Progress::Done(words("Ready"));
    }
    match find("Stalled") {
        // A feed that is started again shows what it ended with until its workers tell anew.
        Some(stalled) if stalled.reason != "Halted" => Progress::Stuck(words("Stalled")),
        _ if ready => Progress::Waiting(words("Reconciling")),
        _ => Progress::Waiting(words("Ready")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{condition, feed, new_feed};

    fn with(conditions: &[(&str, &str, &str)]) -> Changefeed {
        let mut feed = feed();
        let all = conditions
            .iter()
            .map(|(type_, status, reason)| condition(type_, status, reason, "words"));
        feed.status.get_or_insert_default().conditions = all.collect();
        feed
    }

    #[test]
    fn a_feed_has_settled_once_nothing_is_left_to_do() {
        let done = Progress::Done("Paused, words".into());
        assert_eq!(settled(&with(&[("Ready", "True", "Paused")]), "Paused"), done);
        let draining = with(&[("Ready", "True", "Paused"), ("Reconciling", "True", "Draining")]);
        assert_eq!(
            settled(&draining, "Paused"),
            Progress::Waiting("Draining, words".into())
        );
        let streams = with(&[("Ready", "True", "Replicating")]);
        assert_eq!(
            settled(&streams, "Paused"),
            Progress::Waiting("Replicating, words".into())
        );
    }

    #[test]
    fn what_the_operator_has_not_seen_counts_for_nothing() {
        assert!(matches!(settled(&new_feed(), "Paused"), Progress::Waiting(_)));
        let mut old = with(&[("Ready", "True", "Paused")]);
        old.metadata.generation = Some(2);
        assert!(matches!(settled(&old, "Paused"), Progress::Waiting(_)));
    }

    #[test]
    fn trouble_ends_the_wait_unless_it_may_be_of_before() {
        let stuck = with(&[("Ready", "False", "Starting"), ("Stalled", "True", "InvalidSpec")]);
        assert_eq!(
            settled(&stuck, "Replicating"),
            Progress::Stuck("InvalidSpec, words".into())
        );
        let halted = with(&[("Ready", "False", "Halted"), ("Stalled", "True", "Halted")]);
        assert!(matches!(settled(&halted, "Replicating"), Progress::Waiting(_)));
    }
}
