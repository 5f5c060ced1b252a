//! Starts a Kubernetes cluster for trying things out, and stops it at Ctrl-C.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use tidemark_harness::{ControlPlane, ControlPlaneOptions, KubernetesCluster, KubernetesPrograms};
use tokio::signal::unix::{SignalKind, signal};

/// Starts a Kubernetes cluster, prints how to use it, and runs until Ctrl-C.
#[derive(Parser)]
#[command(name = "tidemark-kubernetes")]
struct Arguments {
    /// Only etcd, the API server and the controller manager: no root needed, and no pod runs.
    #[arg(long, conflicts_with = "image")]
    control_plane: bool,

    /// Starts nothing: prints the folder of etcd, kube-apiserver, kubectl, helm and the like, once they are there.
    #[arg(long)]
    programs: bool,

    /// An image archive (docker's or OCI's format) for pods to use; may be repeated.
    #[arg(long, value_name = "TAR")]
    image: Vec<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let programs = KubernetesPrograms::get().await?;
    if arguments.programs {
        let folder = programs.program("");
        std::io::stdout().write_all(folder.as_os_str().as_encoded_bytes())?;
        return Ok(());
    }
    if arguments.control_plane {
        let plane = ControlPlane::own(ControlPlaneOptions::default()).await?;
        tell(&programs, plane.kubeconfig());
        return interrupted().await;
    }
    let cluster = KubernetesCluster::start(ControlPlaneOptions::default()).await?;
    for image in &arguments.image {
        cluster.import_image(image).await?;
        eprintln!("imported {}", image.display());
    }
    tell(&programs, cluster.control_plane().kubeconfig());
    eprintln!(
        "# pods reach this machine's servers at {}",
        cluster.host_ip_for_pods()
    );
    interrupted().await?;
    eprintln!("stopping");
    cluster.stop().await
}

fn tell(programs: &KubernetesPrograms, kubeconfig: &Path) {
    let folder = programs.program("");
    eprintln!("\nexport KUBECONFIG={}", kubeconfig.display());
    eprintln!("export PATH={}:$PATH  # kubectl and helm", folder.display());
    eprintln!("# Ctrl-C stops the cluster");
}

async fn interrupted() -> Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt?,
        _ = term.recv() => {}
    }
    Ok(())
}
