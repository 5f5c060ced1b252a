use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::once_per_machine;

/// What Maven is to fetch.
const POM: &str = include_str!("../../kafka/pom.xml");

/// The folder with Kafka's jars; fetched with Maven on first use. Blocks.
pub(super) fn jars() -> Result<PathBuf> {
    once_per_machine("kafka-4.1.0", |folder| {
        eprintln!("kafka: fetching its jars with Maven (once, 60 MB)");
        let pom = folder.with_extension("pom.xml");
        std::fs::write(&pom, POM)?;
        let mut output = std::ffi::OsString::from("-DoutputDirectory=");
        output.push(folder);
        let out = Command::new("mvn")
            .args(["-B", "-q", "-f"])
            .arg(&pom)
            .arg("dependency:copy-dependencies")
            .arg(output)
            .output()
            .context("run mvn (Debian package maven)")?;
        std::fs::remove_file(&pom)?;
        if !out.status.success() {
            bail!(
                "mvn dependency:copy-dependencies: {}{}",
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            );
        }
        Ok(())
    })
}
