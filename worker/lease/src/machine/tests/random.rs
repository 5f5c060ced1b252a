//! Never two holders at once, whatever befalls messages and processes, while clocks run at one rate.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use super::fate::fates;
use super::world::World;
use crate::LeaseTimes;

fn times() -> impl Strategy<Value = LeaseTimes> {
    prop_oneof![Just(2_000), Just(5_000)].prop_map(|retry| LeaseTimes {
        retry: Duration::from_millis(retry),
        ..LeaseTimes::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn two_never_hold_at_once_and_one_does_in_the_end((times, fates) in (times(), fates())) {
        let mut world = World::new(times, fates, false);
        world.run(60_000);
        prop_assert!(world.overlaps.is_empty(), "{:?}", world.overlaps);
        prop_assert_eq!(world.holding(), 1);
    }
}

/// How many holders came and went, over some runs, and whether two ever overlapped.
fn survey(times: LeaseTimes, careless: bool) -> (usize, bool) {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (holders, overlap) = (std::cell::Cell::new(0), std::cell::Cell::new(false));
    let outcome = runner.run(&fates(), |fates| {
        let mut world = World::new(times, fates, careless);
        world.run(0);
        holders.set(holders.get() + world.holders.len());
        overlap.set(overlap.get() || !world.overlaps.is_empty());
        Ok(())
    });
    assert!(!matches!(outcome, Err(TestError::Abort(_))));
    (holders.get(), overlap.get())
}

#[test]
fn the_lease_changes_hands_in_the_simulated_world() {
    let (holders, overlap) = survey(LeaseTimes::default(), false);
    eprintln!("{holders} holders in 256 runs");
    assert!(holders > 300 && !overlap);
}

#[test]
fn a_server_without_preconditions_would_let_two_hold() {
    assert!(survey(LeaseTimes::default(), true).1);
}

#[test]
fn a_deadline_longer_than_the_duration_would_let_two_hold() {
    let wrong = LeaseTimes {
        duration: Duration::from_secs(8),
        renew_deadline: Duration::from_secs(12),
        retry: Duration::from_secs(2),
    };
    assert!(survey(wrong, false).1);
}
