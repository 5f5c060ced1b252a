//! What may befall requests and processes.

use proptest::prelude::*;

/// What befalls one request and the process that sends it; times in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fate {
    pub(super) request_delay: u64,
    pub(super) request_lost: bool,
    /// The request arrives once more, so much later.
    pub(super) doubled: Option<u64>,
    pub(super) answer_delay: u64,
    pub(super) answer_lost: bool,
    /// The process pauses right after sending.
    pub(super) pause: u64,
    pub(super) process: Process,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Process {
    #[default]
    Runs,
    Stops,
    Crashes,
}

/// Mostly short, at times longer than a whole Lease.
fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0_u64..200, 2 => 0_u64..4_000, 1 => 0_u64..40_000]
}

fn fate() -> impl Strategy<Value = Fate> {
    let process =
        prop_oneof![20 => Just(Process::Runs), 1 => Just(Process::Stops), 1 => Just(Process::Crashes)];
    let pause = prop_oneof![12 => Just(0), 1 => 0_u64..40_000];
    let doubled = prop::option::weighted(0.1, delay());
    (
        delay(),
        prop::bool::weighted(0.1),
        doubled,
        delay(),
        prop::bool::weighted(0.15),
        pause,
        process,
    )
        .prop_map(
            |(request_delay, request_lost, doubled, answer_delay, answer_lost, pause, process)| Fate {
                request_delay,
                request_lost,
                doubled,
                answer_delay,
                answer_lost,
                pause,
                process,
            },
        )
}

pub(super) fn fates() -> impl Strategy<Value = Vec<Fate>> {
    prop::collection::vec(fate(), 1..120)
}
