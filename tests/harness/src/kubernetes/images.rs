use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::command::{direct, output};
use crate::{Folder, once_per_machine};

/// The image of the process that holds a pod's network namespace. `.local` names no registry.
pub(super) const PAUSE: &str = "tidemark.local/pause:1";

const PAUSE_PROGRAM: &str = r#"package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
}
"#;

/// Builds the image `name` (with a tag) from a folder with a `Containerfile`, which begins `FROM scratch` since no
/// registry is asked, and writes it to the new file `archive` in docker's format. Needs buildah, but no daemon.
pub async fn build_image_archive(name: &str, context: &Path, archive: &Path) -> Result<()> {
    let scratch = Folder::new("buildah")?;
    for command in build_commands(name, context, archive, scratch.path()) {
        output(command, None).await.context("Debian package buildah")?;
    }
    Ok(())
}

fn build_commands(name: &str, context: &Path, archive: &Path, scratch: &Path) -> [Command; 2] {
    let buildah = || {
        let mut command = direct("buildah");
        command
            .args(["--storage-driver", "vfs", "--root"])
            .arg(scratch.join("root"))
            .arg("--runroot")
            .arg(scratch.join("run"));
        command
    };
    let mut build = buildah();
    build
        .args(["bud", "--isolation", "chroot", "--quiet", "--tag", name])
        .arg(context);
    let mut push = buildah();
    push.args(["push", "--quiet", name])
        .arg(format!("docker-archive:{}:{name}", archive.display()));
    [build, push]
}

/// The archive of [`PAUSE`]; made on first use. Blocks.
pub(super) fn pause() -> Result<PathBuf> {
    let folder = once_per_machine("kubernetes-pause-1", |folder| {
        let context = Folder::new("pause")?;
        let dir = context.path();
        std::fs::write(dir.join("main.go"), PAUSE_PROGRAM)?;
        std::fs::write(
            dir.join("Containerfile"),
            "FROM scratch\nCOPY pause /pause\nUSER 65535:65535\nENTRYPOINT [\"/pause\"]\n",
        )?;
        let mut go = Command::new("go");
        go.args([
            "build",
            "-trimpath",
            "-ldflags",
            "-s -w",
            "-o",
            "pause",
            "main.go",
        ])
        .current_dir(dir)
        .env("CGO_ENABLED", "0");
        let scratch = Folder::new("buildah")?;
        let image = build_commands(PAUSE, dir, &folder.join("pause.tar"), scratch.path());
        for mut command in std::iter::once(go).chain(image) {
            let out = command
                .output()
                .with_context(|| format!("run {}", command.get_program().display()))?;
            ensure!(
                out.status.success(),
                "{}: {}",
                command.get_program().display(),
                String::from_utf8_lossy(&out.stderr)
            );
        }
        Ok(())
    })?;
    Ok(folder.join("pause.tar"))
}
