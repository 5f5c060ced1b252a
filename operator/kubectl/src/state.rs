//! `pause` and `resume`.

use anyhow::Result;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tidemark_crds::{Changefeed, State};

use crate::cli::WaitArgs;
use crate::cluster::{Cluster, full_name};
use crate::output::print;
use crate::times::of_ts;
use crate::wait::{settled, until};

pub(crate) async fn pause(cluster: &Cluster, name: &str, wait: &WaitArgs) -> Result<()> {
    set(cluster, name, State::Paused, "Paused", wait).await
}

pub(crate) async fn resume(cluster: &Cluster, name: &str, wait: &WaitArgs) -> Result<()> {
    set(cluster, name, State::Running, "Replicating", wait).await
}

async fn set(cluster: &Cluster, name: &str, state: State, reason: &str, wait: &WaitArgs) -> Result<()> {
    let feed = cluster.feed(name).await?;
    if feed.spec.state != state {
        let patch = Patch::Merge(json!({"spec": {"state": state}}));
        let patched = cluster.feeds().patch(name, &PatchParams::default(), &patch).await;
        patched.map_err(|error| cluster.explain(error))?;
    }
    print(format!("{}\n", says(&feed, state)))?;
    if wait.wait {
        let words = until(cluster, name, wait.timeout, |feed| settled(feed, reason)).await?;
        print(format!("{}: {words}\n", full_name(&feed)))?;
    }
    Ok(())
}

/// What setting a feed's state does.
fn says(feed: &Changefeed, state: State) -> String {
    let name = full_name(feed);
    let old = feed.spec.state;
    if old == state {
        return format!("{name} is {state:?} already");
    }
    let hands_off = feed.metadata.annotations.as_ref().is_some_and(|all| {
        all.get("tidemark.io/reconcile")
            .is_some_and(|value| value == "disabled")
    });
    if hands_off {
        return format!(
            "{name}: spec.state is {state:?}; nothing happens before the annotation tidemark.io/reconcile is removed"
        );
    }
    let checkpoint = feed
        .status
        .as_ref()
        .and_then(|status| status.checkpoint_ts.as_deref());
    let place = match checkpoint.and_then(of_ts) {
        Some(time) => format!("at its checkpoint, {time:.0}"),
        None => "where spec.start says".into(),
    };
    match (old, state) {
        (_, State::Paused) => {
            format!("{name} pauses: its workers drain and end, its history stays protected")
        }
        (State::Stopped, _) => {
            format!(
                "{name} resumes {place}; if TiKV has collected that history meanwhile, it halts and says so"
            )
        }
        _ => format!("{name} resumes {place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{feed, new_feed};

    #[test]
    fn what_happens_is_said() {
        let mut feed = feed();
        assert_eq!(
            says(&feed, State::Paused),
            "shop/orders pauses: its workers drain and end, its history stays protected"
        );
        assert_eq!(says(&feed, State::Running), "shop/orders is Running already");
        feed.spec.state = State::Paused;
        assert_eq!(
            says(&feed, State::Running),
            "shop/orders resumes at its checkpoint, 2026-01-31T11:59:50Z"
        );
        feed.spec.state = State::Stopped;
        assert!(says(&feed, State::Running).ends_with("it halts and says so"));
        let off = [("tidemark.io/reconcile".to_owned(), "disabled".to_owned())];
        feed.metadata.annotations = Some(off.into());
        assert!(says(&feed, State::Running).contains("nothing happens before"));
        let mut new = new_feed();
        new.spec.state = State::Paused;
        assert!(says(&new, State::Running).ends_with("resumes where spec.start says"));
    }
}
