//! The plugin on a real API server. No operator runs; what it and the workers would say is told by the tests.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod steering;
mod verifying;
mod viewing;
mod world;

use anyhow::Result;
use world::World;

/// One test in one process: its parts share a server, which takes longer to start than they take to run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plugin_looks_at_feeds_and_steers_them() -> Result<()> {
    let world = World::start().await?;
    verifying::a_cluster_without_the_definition_is_told(&world).await?;
    world.install().await?;
    verifying::a_file_is_checked_here_and_by_the_cluster(&world).await?;
    viewing::feeds_are_shown(&world).await?;
    viewing::spans_come_from_the_owner(&world).await?;
    steering::a_feed_pauses_and_resumes(&world).await?;
    steering::a_wait_tells_of_trouble(&world).await?;
    steering::a_worker_is_drained_and_spans_are_moved(&world).await?;
    steering::an_exported_feed_begins_at_the_checkpoint(&world).await?;
    Ok(())
}
