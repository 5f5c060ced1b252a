//! The Kubernetes of the tests answers, keeps its objects, runs pods and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidemark_harness::{
    ControlPlane, ControlPlaneOptions, Folder, KubernetesCluster, Process, Signal, eventually,
};

const SOON: Duration = Duration::from_secs(90);

/// Listens on port 8080, connects to the services of its environment until each answers, says so, and sleeps.
const PROGRAM: &str = r#"
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>
static void end(int signal) { _exit(0); }
static int answers(const char *host, int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &at.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    /* A service that isn't set up yet swallows what is sent to it, and goes on to for this connection. */
    struct timeval soon = {.tv_sec = 1};
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    int failed = connect(s, (struct sockaddr *)&at, sizeof at);
    close(s);
    return !failed;
}
int main(void) {
    signal(SIGTERM, end);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(s, (struct sockaddr *)&any, sizeof any) || listen(s, 100)) return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *names[] = {"KUBERNETES", "WEB", "HOST"};
    for (int i = 0; i < 3; i++) {
        char host[40], port[40];
        sprintf(host, "%s_SERVICE_HOST", names[i]);
        sprintf(port, "%s_SERVICE_PORT", names[i]);
        while (!answers(getenv(host), atoi(getenv(port)))) usleep(50000);
        printf("%s reached %s\n", getenv("HOSTNAME"), names[i]);
    }
    for (;;) close(accept(s, NULL, NULL));
}
"#;

const PODS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: pods, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: pods}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web, namespace: pods}
spec:
  replicas: 2
  podManagementPolicy: Parallel
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: main
        image: tidemark.local/hello:1
        imagePullPolicy: Never
        env: [{name: HOST_SERVICE_HOST, value: "$HOST"}, {name: HOST_SERVICE_PORT, value: "$PORT"}]
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL]}
        resources: {limits: {cpu: 100m, memory: 32Mi}}
"#;

#[tokio::test]
async fn a_control_plane_knows_its_users_and_keeps_its_objects_over_a_stop() -> Result<()> {
    let options = ControlPlaneOptions::default().user("reader", &["readers"]);
    let plane = ControlPlane::own(options).await?;
    let names = plane.kubectl(&["get", "ns", "-o", "name"]).await?;
    assert!(names.contains("namespace/kube-system"), "{names}");

    plane
        .kubectl(&[
            "create",
            "clusterrolebinding",
            "r",
            "--clusterrole=view",
            "--group=readers",
        ])
        .await?;
    let reader = plane.kubeconfig_for("reader")?;
    let reader = format!("--kubeconfig={}", reader.display());
    eventually(SOON, "right to read", || async {
        plane.kubectl(&[&reader, "get", "pods"]).await
    })
    .await?;
    let refused = plane.kubectl(&[&reader, "create", "ns", "x"]).await.unwrap_err();
    assert!(format!("{refused:#}").contains("orbidden"), "{refused:#}");
    assert!(plane.kubeconfig_for("nobody").is_err());

    plane.kubectl(&["create", "serviceaccount", "robot"]).await?;
    let robot = plane.kubeconfig_of_account("default", "robot").await?;
    let robot = format!("--kubeconfig={}", robot.display());
    let name = plane.kubectl(&[&robot, "auth", "whoami"]).await?;
    assert!(name.contains("system:serviceaccount:default:robot"), "{name}");

    let object = "{apiVersion: v1, kind: ConfigMap, metadata: {name: kept}, data: {a: b}}";
    plane.kubectl_with_input(&["apply", "-f", "-"], object).await?;
    plane.stop_api_server()?;
    assert!(plane.kubectl(&["get", "ns"]).await.is_err(), "nobody answers");
    plane.start_api_server().await?;
    let value = plane
        .kubectl(&["get", "cm", "kept", "-o", "jsonpath={.data.a}"])
        .await?;
    assert_eq!(value, "b");

    plane.pause_api_server()?;
    let late = plane.kubectl(&["--request-timeout=1s", "get", "ns"]).await;
    assert!(late.is_err(), "a paused server answers nobody");
    plane.resume_api_server()?;
    plane.kubectl(&["get", "ns"]).await?;
    Ok(())
}

/// A folder with a Containerfile for [`PROGRAM`].
fn image_context() -> Result<Folder> {
    let folder = Folder::new("hello")?;
    let path = folder.path();
    std::fs::write(path.join("hello.c"), PROGRAM)?;
    let status = Command::new("gcc")
        .args(["-static", "-O1", "-o", "hello", "hello.c"])
        .current_dir(path)
        .status()?;
    ensure!(status.success(), "gcc: {status}");
    std::fs::write(
        path.join("Containerfile"),
        "FROM scratch\nCOPY hello /hello\nUSER 65532:65532\nENTRYPOINT [\"/hello\"]\n",
    )?;
    Ok(folder)
}

async fn restarts(cluster: &KubernetesCluster, pod: &str) -> Result<String> {
    let path = "jsonpath={.status.containerStatuses[0].restartCount} {.status.phase}";
    cluster
        .kubectl(&["-n", "pods", "get", "pod", pod, "-o", path])
        .await
}

/// Command lines of processes with this text in them, and mount points.
fn traces(of: &str) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    mounts
        .lines()
        .map(str::to_owned)
        .chain(processes)
        .filter(|line| line.contains(of))
        .collect()
}

#[tokio::test]
async fn a_cluster_runs_restricted_pods_and_leaves_nothing_behind() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: a node needs root");
        return Ok(());
    }
    let cluster = KubernetesCluster::start(ControlPlaneOptions::default()).await?;
    let folder = cluster.control_plane().kubeconfig().parent().unwrap().to_owned();
    let image = image_context()?;
    cluster
        .build_image("tidemark.local/hello:1", image.path())
        .await?;

    let server = TcpListener::bind((cluster.host_ip_for_pods(), 0))?;
    let pods = PODS
        .replace("$HOST", &cluster.host_ip_for_pods().to_string())
        .replace("$PORT", &server.local_addr()?.port().to_string());

    let begun = Instant::now();
    cluster
        .control_plane()
        .kubectl_with_input(&["apply", "-f", "-"], &pods)
        .await?;
    for pod in ["web-0", "web-1"] {
        eventually(SOON, "running pod", || async {
            let seen = restarts(&cluster, pod).await?;
            let events = "custom-columns=:.reason,:.message";
            let events = cluster
                .kubectl(&["-n", "pods", "get", "events", "-o", events])
                .await?;
            ensure!(seen == "0 Running", "{seen}\n{events}");
            Ok(())
        })
        .await?;
        eventually(SOON, "way out of the pod", || async {
            let log = cluster.kubectl(&["-n", "pods", "logs", pod]).await?;
            for name in ["KUBERNETES", "WEB", "HOST"] {
                ensure!(log.contains(&format!("{pod} reached {name}\n")), "log: {log}");
            }
            Ok(())
        })
        .await?;
    }
    eprintln!("pods run after {:.1?}", begun.elapsed());

    let before = cluster.container_pid("pods", "web-0").await?;
    cluster.kill_container("pods", "web-1", Signal::STOP).await?;
    cluster.kill_container("pods", "web-1", Signal::CONT).await?;
    cluster.kill_container("pods", "web-0", Signal::KILL).await?;
    eventually(SOON, "restarted container", || async {
        let seen = restarts(&cluster, "web-0").await?;
        ensure!(seen == "1 Running", "{seen}");
        Ok(())
    })
    .await?;
    assert_ne!(before, cluster.container_pid("pods", "web-0").await?);
    assert_eq!(restarts(&cluster, "web-1").await?, "0 Running");

    let pid = cluster.container_pid("pods", "web-1").await?;
    let begun = Instant::now();
    cluster.stop().await?;
    eprintln!("stopped after {:.1?}", begun.elapsed());
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the container runs");
    let left = traces(&folder.display().to_string());
    assert!(left.is_empty(), "{left:#?}");
    assert!(!Path::new("/sys/class/net/tidemark0").exists());
    Ok(())
}

#[tokio::test]
async fn a_killed_owner_leaves_no_cluster_behind() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: a node needs root");
        return Ok(());
    }
    let folder = Folder::new("owner")?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark-kubernetes"));
    let log = folder.path().join("owner.log");
    let mut owner = Process::spawn("tidemark-kubernetes", &mut command, &log, None)?;
    let kubeconfig = eventually(2 * SOON, "cluster", || {
        let text = owner.log_text();
        let ended = owner.exited();
        async move {
            let found = text
                .lines()
                .find_map(|line| line.strip_prefix("export KUBECONFIG="));
            ensure!(found.is_some() || ended?.is_none(), "{text}");
            found.map(str::to_owned).context(text.clone())
        }
    })
    .await?;
    let left = Path::new(&kubeconfig).parent().unwrap();
    assert!(!traces(&left.display().to_string()).is_empty(), "it runs");
    owner.kill()?;
    eventually(SOON, "end of all that ran", || async {
        let traces = traces(&left.display().to_string());
        ensure!(traces.is_empty(), "{traces:#?}");
        ensure!(!left.exists(), "{} exists", left.display());
        Ok(())
    })
    .await
}
