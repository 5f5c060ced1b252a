//! Has the kernel end this process if it stands still beyond its right to write.
//!
//! A process that is stopped, frozen or starved of CPU can't look at its gate, and what lay in a client's queue would go out
//! as soon as it goes on. A timer of the kernel's that sends SIGKILL needs nobody's help: it ends a stopped process where it
//! stands, and one whose whole cgroup was frozen before it runs another instruction.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;

/// How often the timer is set to what counts by then.
const EVERY: Duration = Duration::from_millis(500);
const ORDERS: usize = 4;
/// The process that a container's own processes can't kill.
const INIT: u32 = 1;

/// Until when the process may write; `None` once it may not.
type Until = Box<dyn Fn() -> Option<Instant> + Send>;

enum Order {
    Watch(Until),
    Release,
}

/// A switch that ends the process unless it is set anew; a thread of its own does that.
#[derive(Debug)]
pub(crate) struct DeadMan(SyncSender<Order>);

impl DeadMan {
    /// Makes the timer; it isn't set before [`DeadMan::watch`]. `grace` is what a process that isn't stopped has to give up
    /// what it may not do any more.
    ///
    /// # Errors
    ///
    /// The kernel gives no timer or no thread.
    pub(crate) fn start(grace: Duration) -> io::Result<Self> {
        if std::process::id() == INIT {
            tracing::warn!(
                "The worker is process 1, which nothing in its container can kill: if it is stopped or frozen for longer than its \
                 Lease, rows that it was about to send can come late. Set shareProcessNamespace in the pod"
            );
        }
        let (orders, from_worker) = sync_channel(ORDERS);
        let (made, answer) = sync_channel::<io::Result<()>>(1);
        thread::Builder::new().name("deadman".into()).spawn(move || {
            // A timer can't be sent to another thread.
            let signal = SigevNotify::SigevSignal {
                signal: Signal::SIGKILL,
                si_value: 0,
            };
            match Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(signal)) {
                Ok(timer) => {
                    let _ = made.send(Ok(()));
                    keep(timer, &from_worker, grace);
                }
                Err(error) => {
                    let _ = made.send(Err(error.into()));
                }
            }
        })?;
        answer.recv().map_err(io::Error::other)??;
        Ok(Self(orders))
    }

    /// Ends the process once the grace after the time that `until` gave last is over, unless it is released before.
    pub(crate) fn watch(&self, until: impl Fn() -> Option<Instant> + Send + 'static) {
        // The thread lives as long as we do.
        let _ = self.0.send(Order::Watch(Box::new(until)));
    }

    /// Lets the process live: it has nothing any more that it may not write.
    pub(crate) fn release(&self) {
        let _ = self.0.send(Order::Release);
    }
}

fn keep(mut timer: Timer, orders: &Receiver<Order>, grace: Duration) {
    let mut watched: Option<Until> = None;
    loop {
        match orders.recv_timeout(EVERY) {
            Ok(Order::Watch(until)) => watched = Some(until),
            Ok(Order::Release) => {
                watched = None;
                set(&mut timer, Duration::ZERO);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // Where the time is over the timer stays as it was set before.
        if let Some(until) = watched.as_ref().and_then(|until| until()) {
            set(
                &mut timer,
                (until + grace).saturating_duration_since(Instant::now()),
            );
        }
    }
}

/// Zero is never.
fn set(timer: &mut Timer, after: Duration) {
    let expiration = Expiration::OneShot(TimeSpec::from_duration(after));
    if let Err(error) = timer.set(expiration, TimerSetTimeFlags::empty()) {
        tracing::error!(%error, "Could not set the timer that ends the process if it stands still");
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a process that tells that it stands still is what is tested"
)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, Stdio};

    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    use super::*;

    const ROLE: &str = "TIDEMARK_DEADMAN";
    const SET: &str = "the timer is set";
    const SECOND: Duration = Duration::from_secs(1);

    /// The same test in a process of its own, as the one that lives or dies.
    fn child(test: &str, role: &str) -> Child {
        let name = format!("cluster::deadman::tests::{test}");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &name, "--nocapture"]).env(ROLE, role);
        command.stdout(Stdio::piped()).spawn().unwrap()
    }

    fn role() -> Option<String> {
        std::env::var(ROLE).ok()
    }

    /// Has a right that isn't renewed.
    fn run_out(switch: &DeadMan) {
        let until = Instant::now() + SECOND;
        switch.watch(move || (Instant::now() < until).then_some(until));
    }

    #[test]
    fn a_stopped_process_is_killed_when_its_right_has_run_out() {
        if role().is_some() {
            let switch = DeadMan::start(SECOND).unwrap();
            run_out(&switch);
            thread::sleep(SECOND / 2);
            println!("{SET}");
            thread::sleep(600 * SECOND);
        }
        let mut child = child("a_stopped_process_is_killed_when_its_right_has_run_out", "dies");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == SET));
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGSTOP).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn a_renewed_right_and_a_release_keep_it_alive() {
        if role().is_some() {
            let switch = DeadMan::start(SECOND).unwrap();
            run_out(&switch);
            switch.watch(|| Some(Instant::now() + SECOND));
            thread::sleep(4 * SECOND);
            run_out(&switch);
            thread::sleep(SECOND / 2);
            switch.release();
            thread::sleep(3 * SECOND);
            return;
        }
        let mut child = child("a_renewed_right_and_a_release_keep_it_alive", "lives");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
