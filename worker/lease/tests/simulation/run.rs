//! One simulation from its seed to its end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Builder;
use turmoil::Sim;

use crate::judge::{IDLE, STUCK, Violation};
use crate::nemesis::{LATENCY, Nemesis};
use crate::rules::Rules;
use crate::world::{API, SINK, WORKERS, World};
use crate::{api, net, sink, worker};

/// All hosts run for so long, one after the other; then the judge looks.
pub(crate) const TICK: Duration = Duration::from_millis(20);
/// Faults, then peace; then the same again.
const ROUNDS: u64 = 2;
const FAULTS: Duration = Duration::from_secs(90);

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violation: Option<Violation>,
    pub(crate) events: Vec<String>,
    pub(crate) counts: Counts,
}

/// How much happened, to see that the faults bite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) terms: u64,
    pub(crate) rows: u64,
    /// Rows that the fence refused.
    pub(crate) fenced: u64,
    /// Patches that the API server refused.
    pub(crate) refused: u64,
    pub(crate) conflicts: u64,
    pub(crate) deleted: u64,
    /// Two holders, of whom the second couldn't know of the first's Lease, which was deleted.
    pub(crate) excused: u64,
    /// From the end of the faults until someone held, at worst.
    pub(crate) idle: Duration,
}

/// Tokio numbers the tasks of the whole process, and the order in which a crashed host's tasks are dropped depends on the
/// numbers: what runs later must begin at the like of them, and alone.
static ALONE: Mutex<()> = Mutex::new(());

/// More than the lists among which tokio divides tasks, and a multiple of how many there are.
const NUMBERS: u64 = 256;

/// Spawns nothing until the number of the next task is a multiple.
fn align() -> Option<()> {
    let runtime = Builder::new_current_thread().build().ok()?;
    let number = || runtime.spawn(async {}).id().to_string().parse::<u64>().ok();
    while number()? % NUMBERS != NUMBERS - 1 {}
    Some(())
}

/// A simulation under way.
pub(crate) struct Run<'a> {
    pub(crate) sim: Sim<'a>,
    pub(crate) world: Arc<World>,
    _alone: MutexGuard<'static, ()>,
}

impl Run<'_> {
    pub(crate) fn new(seed: u64, rules: Rules) -> Self {
        let alone = ALONE.lock();
        align();
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
            .tick_duration(TICK)
            .simulation_duration(Duration::MAX)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(LATENCY)
            .enable_random_order()
            .build();
        let world = World::new(seed, rules);
        let shared = Arc::clone(&world);
        sim.host(API, move || net::serve(api::routes(Arc::clone(&shared))));
        let shared = Arc::clone(&world);
        sim.host(SINK, move || net::serve(sink::routes(Arc::clone(&shared))));
        for host in WORKERS {
            let shared = Arc::clone(&world);
            sim.host(host, move || worker::live(host, Arc::clone(&shared)));
        }
        Self {
            sim,
            world,
            _alone: alone,
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    /// One tick for all, then a look at everything.
    pub(crate) fn step(&mut self) -> Result<(), Violation> {
        let now = self.now() + TICK;
        let broke = |error: Box<dyn std::error::Error>| Violation {
            rule: "a host broke off",
            at: now,
            what: error.to_string(),
        };
        self.sim.step().map_err(broke)?;
        let found = self
            .world
            .judge
            .lock()
            .look(&self.world, self.sim.elapsed(), TICK);
        found.map_or(Ok(()), Err)
    }

    /// Steps until `done` says something.
    pub(crate) fn until<T>(
        &mut self,
        deadline: Duration,
        late: &'static str,
        mut done: impl FnMut(&World, Duration) -> Option<T>,
    ) -> Result<T, Violation> {
        loop {
            if let Some(done) = done(&self.world, self.now()) {
                return Ok(done);
            }
            if self.now() > deadline {
                let what = format!("deadline {deadline:?}");
                return Err(Violation {
                    rule: late,
                    at: self.now(),
                    what,
                });
            }
            self.step()?;
        }
    }

    /// Lets so much time pass.
    pub(crate) fn pass(&mut self, time: Duration) -> Result<(), Violation> {
        let end = self.now() + time;
        while self.now() < end {
            self.step()?;
        }
        Ok(())
    }

    /// What it came to.
    pub(crate) fn end(self, violation: Option<Violation>, deleted: u64, idle: Duration) -> Outcome {
        let world = Arc::clone(&self.world);
        // The hosts end before the judge is asked.
        drop(self);
        let (mut judge, store, sink) = (world.judge.lock(), world.store.lock(), world.sink.lock());
        Outcome {
            violation,
            events: std::mem::take(&mut judge.events),
            counts: Counts {
                terms: judge.terms,
                rows: sink.rows,
                fenced: sink.refused,
                refused: store.refused,
                conflicts: store.conflicts,
                deleted,
                excused: u64::try_from(judge.excused.len()).unwrap_or(u64::MAX),
                idle,
            },
        }
    }

    /// Without faults someone holds within two durations, by a renewal after they ended, and things go on.
    fn recover(&mut self) -> Result<Duration, Violation> {
        let times = self.world.rules.times;
        let (begun, before) = (self.now(), progress(&self.world));
        let renewed = begun + times.renew_deadline;
        let held = self.until(begun + 2 * times.duration, IDLE, |world, now| {
            let holder = world.judge.lock().holder(now);
            holder.filter(|(_, until)| *until > renewed).map(|_| now)
        })?;
        // A process may be paused still.
        self.until(held + 2 * times.duration, STUCK, |world, _| {
            let now = progress(world);
            (now.0 > before.0 && now.1 > before.1).then_some(())
        })?;
        Ok(held - begun)
    }
}

/// Rows in the sink, and the checkpoint.
fn progress(world: &World) -> (u64, u64) {
    (world.sink.lock().rows, world.store.lock().checkpoint())
}

/// Runs a seed to its end, or to the first violation.
pub(crate) fn run(seed: u64, rules: Rules) -> Outcome {
    let mut run = Run::new(seed, rules);
    let mut nemesis = Nemesis::new(&run.world);
    let mut idle = Duration::ZERO;
    let violation = suffer(&mut run, &mut nemesis, &mut idle).err();
    run.end(violation, nemesis.deleted, idle)
}

fn suffer(run: &mut Run<'_>, nemesis: &mut Nemesis, idle: &mut Duration) -> Result<(), Violation> {
    for _ in 0..ROUNDS {
        run.world.set_calm(false);
        let end = run.now() + FAULTS;
        while run.now() < end {
            let now = run.now();
            nemesis.act(&mut run.sim, now);
            run.step()?;
        }
        run.world.set_calm(true);
        nemesis.heal(&mut run.sim);
        *idle = (*idle).max(run.recover()?);
    }
    Ok(())
}
