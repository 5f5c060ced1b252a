use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tokio::time::{Instant, sleep};

use crate::Folder;

/// Kills `$1` and removes the folder `$3` when its standard input ends, which is when the process that holds the other
/// end is gone. `$2` is what the process's command line must hold, so that no other process of that number dies.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r word
[ "$word" = done ] && exit 0
if tr '\0' ' ' < "/proc/$1/cmdline" 2>/dev/null | grep -qF -- "$2"; then kill -KILL "$1"; fi
[ -n "$3" ] && sleep 0.2 && rm -rf -- "$3"
exit 0
"#;

/// A child process whose output goes to a file.
///
/// It is killed on drop, and by a watchdog if this process dies without dropping it: statics are never dropped, and
/// tests get SIGKILL too.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    watchdog: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the command with standard output and error appended to `log`. The watchdog removes `folder` too.
    pub fn spawn(name: &str, command: &mut Command, log: &Path, folder: Option<&Folder>) -> Result<Self> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {name}: {}", command.get_program().display()))?;
        let mark = command.get_args().last().unwrap_or(command.get_program());
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(child.id().to_string())
            .arg(mark)
            .arg(
                folder
                    .filter(|folder| folder.is_temporary())
                    .map_or(Path::new(""), Folder::path),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start the watchdog")?;
        Ok(Self {
            name: name.into(),
            child,
            watchdog,
            log: log.into(),
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, or none while it runs.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal: `Signal::TERM`, `STOP`, `CONT`, …; fails if the process has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.exited()? {
            bail!("{} has ended: {status}\n{}", self.name, self.log_tail());
        }
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("send {signal:?} to {}", self.name))
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                bail!(
                    "{} has not ended within {deadline:?}\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it to end (SIGTERM) and waits.
    pub async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.exited()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        self.wait(deadline).await
    }

    /// CPU time and memory so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid())
    }

    /// Where its output is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// All of its output so far.
    pub fn log_text(&self) -> String {
        fs::read(&self.log).map_or_else(
            |error| format!("(no log: {error})"),
            |text| String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// The last lines of its output, for error messages.
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing useful can be done about a failure here: the process is gone then.
        let _ = self.kill();
        if let Some(mut stdin) = self.watchdog.stdin.take() {
            let _ = stdin.write_all(b"done\n");
        }
        let _ = self.watchdog.wait();
    }
}

/// What a process has used, from `/proc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user and system mode, of all its threads, ended ones too; in steps of 10 ms.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub rss: u64,
    /// The most resident memory it ever had, in bytes.
    pub peak_rss: u64,
}

impl Usage {
    /// Of the process with this id.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("/proc/{pid}/{file}"))
        };
        let stat = read("stat")?;
        // The command in parentheses may hold spaces: fields are counted from the last parenthesis.
        let after = stat.rsplit_once(')').context("/proc stat has no parenthesis")?.1;
        let ticks = |field: usize| -> Result<u64> {
            Ok(after
                .split_whitespace()
                .nth(field)
                .context("/proc stat is short")?
                .parse()?)
        };
        let per_second = rustix::param::clock_ticks_per_second();
        let status = read("status")?;
        let kib = |name: &str| -> u64 {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
                .unwrap_or(0)
        };
        Ok(Self {
            cpu: Duration::from_millis((ticks(11)? + ticks(12)?) * 1000 / per_second),
            rss: kib("VmRSS:") * 1024,
            peak_rss: kib("VmHWM:") * 1024,
        })
    }

    /// Of this process.
    pub fn own() -> Result<Self> {
        Self::of(std::process::id())
    }
}
