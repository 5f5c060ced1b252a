use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Folder for what is fetched or built once per machine: `$TIDEMARK_CACHE`, else `$XDG_CACHE_HOME/tidemark`,
/// else `~/.cache/tidemark`. It exists on return.
pub fn cache_dir() -> Result<PathBuf> {
    let dir = if let Some(dir) = std::env::var_os("TIDEMARK_CACHE") {
        PathBuf::from(dir)
    } else if let Some(dir) = std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        PathBuf::from(dir).join("tidemark")
    } else {
        let home = std::env::var_os("HOME").context("neither TIDEMARK_CACHE nor HOME is set")?;
        PathBuf::from(home).join(".cache/tidemark")
    };
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir)
}

/// The cache's folder `name`, made by `make` if it is not there: `make` gets an empty folder, which gets its name only
/// when it is complete. Other processes that want the same folder wait. Blocks.
pub fn once_per_machine(name: &str, make: impl FnOnce(&std::path::Path) -> Result<()>) -> Result<PathBuf> {
    let cache = cache_dir()?;
    let folder = cache.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    lock.lock()?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let fresh = cache.join(format!("{name}.new"));
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    make(&fresh).with_context(|| format!("make {}", folder.display()))?;
    fs::rename(&fresh, &folder)?;
    Ok(folder)
}
