//! What feeds say and do when something around them is wrong: source, sink, Leases, a status that people edited, rights.
//! Workers are processes; all cases share an API server and an operator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod trouble;

use anyhow::Result;
use tidemark_e2e::{Plane, Worker};
use trouble::{Site, edited, refused, rights, survived};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_say_what_is_wrong_and_go_on_where_they_can() -> Result<()> {
    let plane = Plane::start(Worker::built()?).await?;
    let site = Site::start(&plane).await?;
    let wanted = std::env::var("TIDEMARK_CASES").unwrap_or_default();
    let mut failed = Vec::new();
    macro_rules! all {
        ($($case:path),* $(,)?) => {{
            let outcomes = tokio::join!($(async {
                let name = stringify!($case);
                if !name.contains(&wanted) {
                    return (name, Ok(()));
                }
                let begun = std::time::Instant::now();
                let outcome = Box::pin($case(&site)).await;
                let took = begun.elapsed().as_secs_f64();
                match &outcome {
                    Ok(()) => eprintln!("{name} ... ok after {took:.1} s"),
                    Err(error) => eprintln!("{name} ... FAILED after {took:.1} s: {error:#}"),
                }
                (name, outcome)
            }),*);
            let outcomes: [(&str, Result<()>); _] = outcomes.into();
            let outcomes = outcomes.into_iter();
            failed.extend(outcomes.filter(|(_, outcome)| outcome.is_err()).map(|(name, _)| name));
        }};
    }
    all!(
        refused::a_wrong_pd_address_is_named_until_pd_is_there,
        refused::a_wrong_cluster_id_is_told_with_both_ids,
        refused::another_cluster_under_the_same_address_is_refused,
        refused::history_that_is_gone_is_refused,
        refused::a_start_in_the_future_is_refused,
        refused::a_broker_that_is_not_there_is_named,
        refused::a_place_that_can_not_be_written_is_named,
        refused::a_ddl_that_brings_rows_stops_the_feed_below_it,
    );
    all!(
        survived::a_feed_survives_lost_leases_and_pd,
        edited::a_feed_survives_a_stranger_in_its_status,
        edited::a_checkpoint_in_the_future_is_refused,
        edited::an_owner_takes_over_while_others_write_the_resource,
    );
    all!(
        rights::without_patch_on_the_status,
        rights::without_update_on_leases,
        rights::without_get_on_pods,
    );
    assert!(failed.is_empty(), "{} failed: {failed:?}", failed.len());
    if wanted.is_empty() {
        rights::are_the_least(&site).await?;
    }
    Ok(())
}
