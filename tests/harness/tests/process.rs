//! Child processes end with their owner, and their use of the machine can be read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tidemark_harness::{Folder, Process, Signal, Usage, cache_dir, eventually, free_port, once_per_machine};

const SOON: Duration = Duration::from_secs(60);

/// Whether the process still runs: neither gone nor a zombie.
fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}

fn sleeper(folder: &Folder) -> Process {
    let log = folder.path().join("log");
    Process::spawn("sleeper", Command::new("sleep").arg("1000"), &log, None).unwrap()
}

#[tokio::test]
async fn a_dropped_process_is_gone() {
    let folder = Folder::new("process").unwrap();
    let process = sleeper(&folder);
    let pid = process.pid();
    assert!(runs(pid));
    drop(process);
    assert!(!runs(pid));
}

#[tokio::test]
async fn a_forgotten_process_dies_with_its_owner_and_its_folder_goes() -> Result<()> {
    // The owner is this test binary run again: it starts a child, prints its pid, and is killed.
    let folder = Folder::new("process")?;
    let out = folder.path().join("owner.log");
    let mut command = Command::new(std::env::current_exe()?);
    command.args([
        "--exact",
        "owner_of_a_forgotten_process",
        "--ignored",
        "--nocapture",
    ]);
    let mut owner = Process::spawn("owner", &mut command, &out, None)?;
    let (pid, left) = eventually(SOON, "line of the owner", || async {
        let text = owner.log_text();
        let line = text
            .lines()
            .find_map(|line| line.split_once("started "))
            .map(|(_, rest)| rest.to_owned());
        let line = line.ok_or_else(|| anyhow::anyhow!("{text}"))?;
        let (pid, path) = line.split_once(' ').unwrap();
        Ok((pid.parse::<u32>()?, path.to_owned()))
    })
    .await?;
    assert!(runs(pid) && Path::new(&left).is_dir());
    owner.kill()?;
    eventually(SOON, "end of the orphan and its folder", || async {
        ensure!(!runs(pid), "pid {pid} runs");
        ensure!(!Path::new(&left).exists(), "{left} exists");
        Ok(())
    })
    .await
}

/// Not a test: the owner that the test above kills.
#[test]
#[ignore = "run by a_forgotten_process_dies_with_its_owner_and_its_folder_goes"]
fn owner_of_a_forgotten_process() {
    let folder = Folder::new("orphan").unwrap();
    let log = folder.path().join("log");
    let process = Process::spawn("sleeper", Command::new("sleep").arg("1000"), &log, Some(&folder)).unwrap();
    eprintln!("started {} {}", process.pid(), folder.path().display());
    std::thread::park_timeout(SOON);
}

#[tokio::test]
async fn signals_reach_the_process_and_its_end_is_seen() -> Result<()> {
    let folder = Folder::new("process")?;
    let mut process = sleeper(&folder);
    assert!(process.exited()?.is_none());
    assert!(
        process.wait(Duration::from_millis(50)).await.is_err(),
        "it runs on"
    );
    process.signal(Signal::STOP)?;
    let pid = process.pid();
    eventually(SOON, "stopped state", || async {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        ensure!(stat.contains(") T "), "{stat}");
        Ok(())
    })
    .await?;
    process.signal(Signal::CONT)?;
    assert!(!process.terminate(SOON).await?.success());
    assert!(process.signal(Signal::TERM).is_err(), "nobody is there to get it");
    Ok(())
}

#[test]
fn own_usage_counts_spent_cpu() {
    let before = Usage::own().unwrap();
    let mut sum = 0u64;
    while Usage::own().unwrap().cpu < before.cpu + Duration::from_millis(50) {
        sum = (0..100_000u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
    }
    assert!(
        before.rss > 1 << 20 && before.peak_rss >= before.rss,
        "{before:?}"
    );
}

#[tokio::test]
async fn a_condition_that_stays_false_tells_its_last_reason() {
    let error = eventually(Duration::from_millis(100), "miracle", || async {
        ensure!(free_port()? == 0, "port is not 0");
        Ok(())
    })
    .await
    .unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("miracle") && text.contains("port is not 0"),
        "{text}"
    );
}

#[test]
fn what_is_made_once_is_complete_or_not_there() {
    let name = format!("test-{}", std::process::id());
    assert!(once_per_machine(&name, |_| anyhow::bail!("half way")).is_err());
    let made = once_per_machine(&name, |dir| Ok(std::fs::write(dir.join("file"), "x")?)).unwrap();
    let again = once_per_machine(&name, |_| panic!("made twice")).unwrap();
    assert_eq!(made, again);
    assert_eq!(std::fs::read(made.join("file")).unwrap(), b"x");
    std::fs::remove_dir_all(made).unwrap();
    let _ = std::fs::remove_file(cache_dir().unwrap().join(format!("{name}.lock")));
}
