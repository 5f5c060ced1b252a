use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidemark_harness::{Folder, Process, Usage};

/// How long an actor may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// What some work took of the process that did it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Rows or messages.
    pub(crate) rows: u64,
    /// CPU time, user and system.
    pub(crate) cpu: Duration,
    /// From beginning to end.
    pub(crate) wall: Duration,
    /// Resident bytes at the end, and at most.
    pub(crate) rss: u64,
    pub(crate) peak_rss: u64,
}

impl Cost {
    /// The better of two rounds: what else the machine does only adds.
    pub(crate) fn best(self, other: Self) -> Self {
        Self {
            rows: self.rows,
            cpu: self.cpu.min(other.cpu),
            wall: self.wall.min(other.wall),
            rss: self.rss.min(other.rss),
            peak_rss: self.peak_rss.max(other.peak_rss),
        }
    }

    /// Microseconds of CPU time a row.
    pub(crate) fn cpu_per_row(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.rows.max(1) as f64
    }

    pub(crate) fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.wall.as_secs_f64().max(1e-9)
    }

    /// Share of one core, 1 being all of it.
    pub(crate) fn share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64().max(1e-9)
    }
}

/// Measures this process.
pub(crate) struct Meter {
    before: Usage,
    begun: Instant,
}

impl Meter {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self {
            before: Usage::own()?,
            begun: Instant::now(),
        })
    }

    pub(crate) fn stop(&self, rows: u64) -> Result<Cost> {
        let wall = self.begun.elapsed();
        let after = Usage::own()?;
        Ok(Cost {
            rows,
            cpu: after.cpu - self.before.cpu,
            wall,
            rss: after.rss,
            peak_rss: after.peak_rss,
        })
    }
}

/// A process of this binary in another role.
#[derive(Debug)]
pub(crate) struct Actor {
    name: &'static str,
    process: Process,
    folder: Folder,
}

impl Actor {
    /// Starts it.
    pub(crate) fn start(name: &'static str, arguments: &[(&str, String)]) -> Result<Self> {
        let folder = Folder::new(&format!("bench-{name}"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name);
        for (flag, value) in arguments {
            command.arg(format!("--{flag}")).arg(value);
        }
        if name == "drain" {
            command.arg("--ready").arg(folder.path().join("ready"));
        }
        command.arg("--report").arg(folder.path().join("report"));
        let process = Process::spawn(name, &mut command, &folder.path().join("log"), Some(&folder))?;
        Ok(Self {
            name,
            process,
            folder,
        })
    }

    /// Waits for its report.
    pub(crate) async fn report<T: DeserializeOwned>(&mut self) -> Result<T> {
        let path = self.folder.path().join("report");
        self.file(&path).await?;
        serde_json::from_slice(&std::fs::read(&path)?).with_context(|| format!("report of {}", self.name))
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let path = self.folder.path().join("ready");
        self.file(&path).await
    }

    /// What it has used until now.
    pub(crate) fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    async fn file(&mut self, path: &Path) -> Result<()> {
        let begun = Instant::now();
        while !path.is_file() {
            if let Some(status) = self.process.exited()? {
                // It may have written the file as its last deed.
                if path.is_file() {
                    return Ok(());
                }
                bail!("{} ended: {status}\n{}", self.name, self.process.log_tail());
            }
            if begun.elapsed() > PATIENCE {
                bail!(
                    "{} has not got there within {PATIENCE:?}\n{}",
                    self.name,
                    self.process.log_tail()
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// Writes a report, whole or not at all.
pub(crate) fn tell(path: &PathBuf, report: &impl Serialize) -> Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, serde_json::to_vec(report)?)?;
    Ok(std::fs::rename(&fresh, path)?)
}
