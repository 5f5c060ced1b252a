//! Workers, messages, and what may happen next.

use std::collections::BTreeSet;

use stateright::{Model, Property};

use crate::rules::{Lease, Rules, Sink, Status};
use crate::state::{Act, Message, State, Step};

/// How big the world is and which rules hold.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) rules: Rules,
    pub(crate) workers: u8,
    pub(crate) rows: u8,
    /// How often the Lease may be acquired.
    pub(crate) claims: u8,
    pub(crate) deletions: u8,
    /// How many messages may arrive twice.
    pub(crate) doubles: u8,
    /// How often the status may be set back, as by a restored backup of the API server.
    pub(crate) restores: u8,
    /// How many messages may be under way at once.
    pub(crate) flight: usize,
}

impl Default for World {
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            rules,
            workers: 2,
            rows: 1,
            claims: 2,
            deletions: 0,
            doubles: 0,
            restores: 0,
            flight: 3,
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            lease: None,
            status: Status::default(),
            sink: Sink::default(),
            steps: vec![Step::Idle; self.workers.into()],
            flight: BTreeSet::new(),
            claims: 0,
            deletions: 0,
            doubles: 0,
            restores: 0,
            last_owner: None,
            handed_over: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Act>) {
        for (by, step) in (0..).zip(&state.steps) {
            if !matches!(step, Step::Waits(_)) {
                actions.push(Act::Go(by));
            }
            if !matches!(step, Step::Idle) {
                actions.push(Act::GiveUp(by));
            }
        }
        for &(by, message) in &state.flight {
            let awaited = state.steps[usize::from(by)] == Step::Waits(message);
            for answered in [true, false].into_iter().filter(|answered| awaited || !answered) {
                actions.push(Act::Arrive {
                    by,
                    message,
                    answered,
                    again: false,
                });
                if state.doubles < self.doubles {
                    actions.push(Act::Arrive {
                        by,
                        message,
                        answered,
                        again: true,
                    });
                }
            }
        }
        if state.lease.is_some() && state.deletions < self.deletions {
            actions.push(Act::DeleteLease);
        }
        if state.status.epoch > 0 && state.restores < self.restores {
            actions.push(Act::RestoreStatus);
        }
    }

    fn next_state(&self, before: &State, action: Act) -> Option<State> {
        let mut state = before.clone();
        match action {
            Act::Go(by) => self.go(&mut state, by)?,
            Act::GiveUp(by) => state.steps[usize::from(by)] = Step::Idle,
            Act::Arrive {
                by,
                message,
                answered,
                again,
            } => {
                if again {
                    state.doubles += 1;
                } else {
                    state.flight.remove(&(by, message));
                }
                let done = self.arrive(&mut state, by, message)?;
                if answered {
                    state.steps[usize::from(by)] = if done { after(message) } else { Step::Idle };
                }
            }
            Act::DeleteLease => {
                state.deletions += 1;
                state.lease = None;
            }
            Act::RestoreStatus => {
                state.restores += 1;
                state.status = Status {
                    fell: state.status.fell,
                    ..Status::default()
                };
            }
        }
        Some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.flight.len() <= self.flight
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(crate::LATE, |_, state: &State| !state.sink.late),
            Property::always(crate::SHARED, |_, state: &State| !state.sink.shared),
            Property::always(crate::FELL, |_, state: &State| !state.status.fell),
            Property::always(crate::AHEAD, |_, state: &State| {
                (0..state.status.checkpoint).all(|row| state.sink.rows & (1 << row) != 0)
            }),
            Property::sometimes("ownership changes hands", |_, state: &State| state.handed_over),
            Property::sometimes("a late write is refused", |_, state: &State| state.sink.refused),
            Property::sometimes("every row is written", |world: &World, state: &State| {
                state.status.checkpoint == world.rows
            }),
        ]
    }
}

impl World {
    fn go(&self, state: &mut State, by: u8) -> Option<()> {
        let message = match state.steps[usize::from(by)] {
            // Whoever holds it: by this worker's clock its time may be up.
            Step::Idle if state.claims < self.claims => match state.lease {
                None => Message::Create,
                Some(lease) => Message::Claim {
                    uid: lease.uid,
                    version: lease.version,
                },
            },
            Step::Claimed => {
                let from = state.status.epoch;
                Message::Raise {
                    from,
                    to: from.max(state.sink.fence) + 1,
                }
            }
            Step::Raised { epoch } => Message::Fence { epoch },
            Step::Fenced { epoch } => {
                let written = state.status.checkpoint;
                state.steps[usize::from(by)] = Step::Owner { epoch, written };
                state.handed_over |= state.last_owner.is_some_and(|last| last != by);
                state.last_owner = Some(by);
                return Some(());
            }
            Step::Owner { epoch, written } if written < self.rows => Message::Row { epoch, row: written },
            Step::Wrote { epoch, row } => Message::Checkpoint { epoch, row },
            Step::Idle | Step::Owner { .. } | Step::Waits(_) => return None,
        };
        state.flight.insert((by, message));
        state.steps[usize::from(by)] = Step::Waits(message);
        Some(())
    }

    /// Whether it was done; `None` beyond the bounds of this world.
    fn arrive(&self, state: &mut State, by: u8, message: Message) -> Option<bool> {
        Some(match message {
            Message::Create if state.lease.is_none() => self.hold(state, by, state.deletions)?,
            Message::Claim { uid, version }
                if state
                    .lease
                    .is_some_and(|lease| (lease.uid, lease.version) == (uid, version)) =>
            {
                self.hold(state, by, uid)?
            }
            Message::Create | Message::Claim { .. } => false,
            Message::Raise { from, to } => state.status.raise(self.rules, from, to),
            Message::Fence { epoch } => state.sink.raise(self.rules, by, epoch),
            Message::Row { epoch, row } => state.sink.write(self.rules, by, epoch, row),
            Message::Checkpoint { epoch, row } => state.status.advance(self.rules, epoch, row + 1),
        })
    }

    fn hold(&self, state: &mut State, by: u8, uid: u8) -> Option<bool> {
        if state.claims == self.claims {
            return None;
        }
        state.claims += 1;
        state.lease = Some(Lease {
            uid,
            version: state.claims,
            holder: Some(by),
        });
        Some(true)
    }
}

/// Where a worker stands once its message was carried out.
fn after(message: Message) -> Step {
    match message {
        Message::Create | Message::Claim { .. } => Step::Claimed,
        Message::Raise { to, .. } => Step::Raised { epoch: to },
        Message::Fence { epoch } => Step::Fenced { epoch },
        Message::Row { epoch, row } => Step::Wrote { epoch, row },
        Message::Checkpoint { epoch, row } => Step::Owner {
            epoch,
            written: row + 1,
        },
    }
}
