//! Faults that are laid out, where chance would seldom bring them about.

use std::time::Duration;

use crate::judge::{IDLE, Violation};
use crate::nemesis::{LATENCY, Nemesis};
use crate::rules::Rules;
use crate::run::{Outcome, Run};
use crate::world::API;

const PATIENCE: Duration = Duration::from_secs(60);

/// The holder's answers get slow, then cease, four times over.
pub(crate) fn slow_then_cut(seed: u64, rules: Rules) -> Outcome {
    let mut run = Run::new(seed, rules);
    let violation = worsen(&mut run).err();
    run.end(violation, 0, Duration::ZERO)
}

fn worsen(run: &mut Run<'_>) -> Result<(), Violation> {
    let [slow, cut, well] = [8, 25, 5].map(Duration::from_secs);
    for _ in 0..4 {
        let host = holder(run)?;
        run.sim
            .set_link_max_message_latency(host, API, Duration::from_secs(4));
        run.pass(slow)?;
        run.sim.partition(host, API);
        run.pass(cut)?;
        run.sim.set_link_max_message_latency(host, API, LATENCY);
        run.sim.repair(host, API);
        run.pass(well)?;
    }
    Ok(())
}

/// The holder crashes and comes back at once. Tells it, who holds next, and after how long.
pub(crate) fn comeback(seed: u64, rules: Rules) -> Result<(&'static str, &'static str, Duration), Violation> {
    let mut run = Run::new(seed, rules);
    let mut nemesis = Nemesis::new(&run.world);
    let before = holder(&mut run)?;
    run.pass(Duration::from_secs(5))?;
    nemesis.crash(&mut run.sim, before);
    run.sim.bounce(before);
    let begun = run.now();
    let after = holder(&mut run)?;
    Ok((before, after, run.now() - begun))
}

/// Whoever holds the Lease, as soon as someone does.
fn holder(run: &mut Run<'_>) -> Result<&'static str, Violation> {
    run.until(run.now() + PATIENCE, IDLE, |world, now| {
        world.judge.lock().holder(now).map(|(host, _)| host)
    })
}
