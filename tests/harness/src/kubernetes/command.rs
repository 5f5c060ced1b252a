use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;

/// Variables that would send a program's requests to the cluster through a proxy.
const PROXIES: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

/// A command that uses no proxy.
pub(super) fn direct(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in PROXIES {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end and returns its standard output; fails with its standard error.
pub(super) async fn output(command: Command, input: Option<&str>) -> Result<String> {
    let text = {
        let words: Vec<_> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    };
    let mut command = tokio::process::Command::from(command);
    command
        .stdin(input.map_or_else(Stdio::null, |_| Stdio::piped()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("run {text}"))?;
    let pipe = child.stdin.take();
    let write = async {
        if let (Some(mut pipe), Some(input)) = (pipe, input) {
            // A program that ends before it has read everything tells why itself.
            let _ = pipe.write_all(input.as_bytes()).await;
        }
    };
    let (out, ()) = tokio::join!(child.wait_with_output(), write);
    let out = out.with_context(|| format!("run {text}"))?;
    if !out.status.success() {
        bail!(
            "{text}: {}: {}",
            out.status,
            String::from_utf8_lossy(&out.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
