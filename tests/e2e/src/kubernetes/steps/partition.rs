use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidemark_harness::eventually;
use tokio::process::Command;

use super::super::line::PATIENCE;
use super::super::stage::Stage;

const STEP: &str = "partition";
/// Addresses of pods and services; the host's servers are outside the one and inside the other.
const PODS: &str = "10.244.77.0/24";
const SERVICES: &str = "10.96.77.0/24";
/// In the pod's own network, with which they go away: a chain for each way, the option for its address and for its device.
const WAYS: [(&str, &str, &str, &str); 2] = [
    ("OUTPUT", "TIDEMARK-OUT", "-d", "-o"),
    ("INPUT", "TIDEMARK-IN", "-s", "-i"),
];

/// A worker that reaches sources and sinks, but neither the API server nor other workers: its spans move, and it writes
/// nothing any more.
pub(super) async fn run(stage: &Stage) -> Result<()> {
    let (site, line) = (&stage.site, &stage.orders);
    let owner = line.feed.owner(site).await?;
    let pods = line.feed.pods(site).await?;
    let member = pods.iter().find(|pod| pod.name != owner);
    let member = &member.context("a feed with one worker can't be parted")?.name;
    let pid = site.cluster().container_pid(&line.feed.namespace, member).await?;
    // Held open, so that it is there even if the process ends.
    let network = File::open(format!("/proc/{pid}/ns/net"))?;
    let host = site.cluster().host_ip_for_pods().to_string();

    let moment = stage.now();
    let parted = part(&network, &host).await;
    stage.say(&format!("{member} (member) is parted"));
    let moved = line.watch.reached(moment.ts, PATIENCE).await;
    let given_up = eventually(
        Duration::from_secs(30),
        "status without the parted worker",
        || async {
            let feed = line.feed.get(site).await?;
            let members = feed["status"]["members"].as_array().cloned().unwrap_or_default();
            let streams = members
                .iter()
                .any(|entry| entry["name"] == member.as_str() && entry["spans"] != 0);
            ensure!(!streams, "{members:?}");
            Ok(())
        },
    )
    .await;
    let healed = heal(&network).await;
    parted?;
    let moved = moment.until(moved?);
    stage.time(STEP, "watermark past the partition after", moved, Some(18));
    given_up?;
    healed?;
    stage.say(&format!("{member} is connected again"));
    Ok(())
}

async fn part(network: &File, host: &str) -> Result<()> {
    for (side, chain, address, device) in WAYS {
        iptables(network, &["-N", chain]).await?;
        iptables(network, &["-A", chain, address, host, "-j", "RETURN"]).await?;
        for range in [PODS, SERVICES] {
            // The pod's own address is in the range, too.
            let rule = ["-A", chain, address, range, "!", device, "lo", "-j", "DROP"];
            iptables(network, &rule).await?;
        }
        iptables(network, &["-I", side, "-j", chain]).await?;
    }
    Ok(())
}

async fn heal(network: &File) -> Result<()> {
    for (side, chain, ..) in WAYS {
        iptables(network, &["-D", side, "-j", chain]).await?;
        iptables(network, &["-F", chain]).await?;
        iptables(network, &["-X", chain]).await?;
    }
    Ok(())
}

async fn iptables(network: &File, args: &[&str]) -> Result<()> {
    let path = format!("/proc/{}/fd/{}", std::process::id(), network.as_raw_fd());
    let out = Command::new("nsenter")
        .arg(format!("--net={path}"))
        .args(["iptables", "-w"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .await
        .context("run nsenter (Debian package util-linux)")?;
    let error = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "iptables {}: {error}", args.join(" "));
    Ok(())
}
