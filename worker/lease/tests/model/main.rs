//! Lease, epoch and fence together, checked in all interleavings.
//!
//! The world is harsher than the one the Lease is made for: a Lease may be taken over at any instant (a paused holder, a
//! clock that runs fast), any message may be lost, late or doubled, and the Lease may be deleted and made anew. So
//! nothing here rests on time; the epoch and the fence alone must keep the sink in order, and with one of them
//! taken away a counterexample must be found.

mod rules;
mod state;
mod world;

use std::collections::BTreeSet;

use rules::Rules;
use stateright::{Checker, HasDiscoveries, Model};
use world::World;

const LATE: &str = "the sink never takes a lower epoch after a higher";
const SHARED: &str = "an epoch has one writer";
const FELL: &str = "the checkpoint never falls";
const AHEAD: &str = "the checkpoint covers only what the sink has";

/// Looks at every state, and demands that all properties hold.
fn holds(world: World) {
    let checker = world.checker().threads(2).spawn_bfs().join();
    eprintln!(
        "holds: {} states, depth {}",
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}

/// Looks for a way to break this property, and shows it.
fn breaks(property: &'static str, world: World) {
    let until = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = world.checker().threads(2).finish_when(until).spawn_bfs().join();
    let path = checker.assert_any_discovery(property).into_actions();
    eprintln!(
        "{property}: broken after {} states by {path:?}",
        checker.unique_state_count()
    );
}

#[test]
fn two_workers_keep_the_sink_in_order() {
    holds(World {
        rows: 2,
        claims: 3,
        flight: 2,
        ..World::default()
    });
}

#[test]
fn a_deleted_lease_and_doubled_messages_keep_the_sink_in_order() {
    holds(World {
        rows: 2,
        claims: 2,
        deletions: 1,
        doubles: 1,
        ..World::default()
    });
}

#[test]
fn three_workers_keep_the_sink_in_order() {
    holds(World {
        workers: 3,
        claims: 3,
        flight: 2,
        ..World::default()
    });
}

#[test]
fn a_status_set_back_by_a_restored_backup_keeps_the_sink_in_order() {
    let rules = Rules {
        fence_names_writer: true,
        ..Rules::default()
    };
    holds(World {
        rules,
        restores: 1,
        ..World::default()
    });
}

#[test]
fn without_the_fence_a_late_write_gets_through() {
    let rules = Rules {
        fence: false,
        ..Rules::default()
    };
    breaks(
        LATE,
        World {
            rules,
            ..World::default()
        },
    );
}

#[test]
fn without_compare_and_swap_two_workers_share_an_epoch() {
    let rules = Rules {
        compare_and_swap: false,
        ..Rules::default()
    };
    breaks(
        SHARED,
        World {
            rules,
            ..World::default()
        },
    );
}

#[test]
fn without_a_rule_on_the_checkpoint_a_doubled_message_sets_it_back() {
    let rules = Rules {
        rising_checkpoint: false,
        ..Rules::default()
    };
    breaks(
        FELL,
        World {
            rules,
            rows: 2,
            doubles: 1,
            ..World::default()
        },
    );
}

#[test]
fn a_fence_that_does_not_know_its_writer_fails_after_a_restored_backup() {
    breaks(
        SHARED,
        World {
            restores: 1,
            ..World::default()
        },
    );
}
