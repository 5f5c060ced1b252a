use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, kill_process};

use super::command::{direct, output};
use super::{images, network};
use crate::{Folder, Process, Signal, eventually};

/// containerd with the images and containers of the kubelet.
#[derive(Debug)]
pub(super) struct Containers {
    process: Process,
    socket: PathBuf,
}

impl Containers {
    /// Starts it with its files and its socket in the folder.
    pub(super) async fn start(folder: &Path) -> Result<Self> {
        let home = folder.join("containerd");
        std::fs::create_dir_all(&home)?;
        let plugins = network::write_cni(folder)?;
        let socket = folder.join("containerd.sock");
        let file = home.join("config.toml");
        std::fs::write(&file, settings(folder, &home, &socket, &plugins))?;
        let pause = tokio::task::spawn_blocking(images::pause).await??;
        let mut command = direct("containerd");
        command.arg("--config").arg(&file);
        let log = folder.join("containerd.log");
        let process = Process::spawn("containerd", &mut command, &log, None)
            .context("Debian packages containerd and runc")?;
        let mut containers = Self { process, socket };
        containers.ready().await?;
        containers.import(&pause).await?;
        Ok(containers)
    }

    async fn ready(&mut self) -> Result<()> {
        let command = || self.ctr(&["version"]);
        let up = eventually(Duration::from_secs(60), "answer of containerd", || async {
            output(command(), None).await
        })
        .await;
        up.map(drop).with_context(|| self.process.log_tail())
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Takes an image from an archive of docker or OCI.
    pub(super) async fn import(&self, archive: &Path) -> Result<()> {
        let mut command = self.ctr(&["images", "import"]);
        command.arg(archive);
        output(command, None).await?;
        Ok(())
    }

    /// Names an image anew.
    pub(super) async fn tag(&self, name: &str, other: &str) -> Result<()> {
        output(self.ctr(&["images", "tag", "--force", name, other]), None).await?;
        Ok(())
    }

    /// Builds an image and takes it.
    pub(super) async fn build(&self, name: &str, context: &Path) -> Result<()> {
        let folder = Folder::new("image")?;
        let archive = folder.path().join("image.tar");
        images::build_image_archive(name, context, &archive).await?;
        self.import(&archive).await
    }

    /// The process id of the main process of a pod's only running container.
    pub(super) async fn pid(&self, namespace: &str, pod: &str) -> Result<u32> {
        let filter = format!(
            "labels.\"io.kubernetes.pod.namespace\"=={namespace},labels.\"io.kubernetes.pod.name\"=={pod},\
             labels.\"io.cri-containerd.kind\"==container"
        );
        let ids = output(self.ctr(&["containers", "ls", "-q", &filter]), None).await?;
        let tasks = output(self.ctr(&["tasks", "ls"]), None).await?;
        let pids: Vec<&str> = tasks
            .lines()
            .filter_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let &[id, pid, "RUNNING"] = words.as_slice() else {
                    return None;
                };
                ids.lines().any(|known| known == id).then_some(pid)
            })
            .collect();
        match pids.as_slice() {
            [pid] => Ok(pid.parse()?),
            [] => bail!("pod {namespace}/{pod} has no running container"),
            _ => bail!(
                "pod {namespace}/{pod} has {} running containers, not one",
                pids.len()
            ),
        }
    }

    /// Sends a signal to the main process of a pod's only running container.
    pub(super) async fn signal(&self, namespace: &str, pod: &str, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid(namespace, pod).await?)?;
        ensure!(pid > 1, "pod {namespace}/{pod} has process {pid}");
        let pid = Pid::from_raw(pid).context("a process id is not 0")?;
        kill_process(pid, signal).with_context(|| format!("send {signal:?} to pod {namespace}/{pod}"))
    }

    fn ctr(&self, args: &[&str]) -> Command {
        let mut command = direct("ctr");
        command
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", "k8s.io"])
            .args(args);
        command
    }
}

fn settings(folder: &Path, home: &Path, socket: &Path, plugins: &Path) -> String {
    let (root, state, runc) = (home.join("root"), home.join("state"), home.join("runc"));
    let [root, state, runc, socket, plugins] = [&root, &state, &runc, socket, plugins].map(Path::display);
    let conf = folder.join("cni");
    // Where nothing may lower its oom score (no CAP_SYS_RESOURCE), pods fail unless scores are restricted.
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{conf}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{runc}"
SystemdCgroup = false
"#,
        pause = images::PAUSE,
        conf = conf.display(),
    )
}
