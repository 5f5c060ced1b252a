//! The operator on a real API server. No pod runs there; their kubelet and workers are played by the tests.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod deletion;
mod objects;
mod process;
mod trouble;
mod world;

use anyhow::Result;
use world::World;

/// Tests of their own in one process: they share a server, which takes longer to start than they take to run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_serves_feeds() -> Result<()> {
    let mut world = World::start().await?;
    let mut failed = Vec::new();
    macro_rules! all {
        ($($test:path),* $(,)?) => {{
            let outcomes = tokio::join!($(Box::pin($test(&world))),*);
            let names = [$(stringify!($test)),*];
            let outcomes: [Result<()>; _] = outcomes.into();
            for (name, outcome) in names.into_iter().zip(outcomes) {
                match outcome {
                    Ok(()) => eprintln!("{name} ... ok"),
                    Err(error) => failed.push(format!("{name}: {error:#}")),
                }
            }
        }};
    }
    all!(
        objects::a_feed_gets_all_it_needs_and_applying_it_again_changes_nothing,
        objects::whatever_is_changed_or_deleted_comes_back,
        objects::scaling_makes_and_removes_leases_and_the_budget,
        objects::a_feed_shows_how_its_stream_is,
        objects::hands_off_means_hands_off,
    );
    all!(
        trouble::an_invalid_edit_changes_nothing_that_runs,
        trouble::a_template_that_the_server_refuses_changes_nothing_that_runs,
        trouble::a_missing_secret_is_told_and_waited_for,
        trouble::objects_of_others_are_never_adopted,
        trouble::two_feeds_never_share_a_prefix,
        trouble::a_broken_pod_never_holds_up_its_own_mend,
        trouble::workers_that_fail_are_told_with_their_last_words,
    );
    all!(
        deletion::pausing_keeps_history_and_deleting_releases_it,
        deletion::a_retained_history_outlives_its_feed,
        deletion::lost_history_is_told,
        deletion::without_pd_a_deletion_waits_for_a_person,
        deletion::a_feed_that_never_ran_goes_at_once,
    );
    process::prints_the_definition().await?;
    let standby = process::Standby::start(&world).await?;
    world.stop_operator().await?;
    standby.takes_over(&world).await?;
    standby.end().await?;
    world.lease_is_free().await?;
    world.rights_are_the_least()?;
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    Ok(())
}
