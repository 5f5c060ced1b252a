use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::command::{direct, output};

/// The bridge that pods hang on. `cleanup.sh` names it too.
const BRIDGE: &str = "tidemark0";

/// The host on the bridge: what listens here, pods reach.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(10, 244, 77, 1);

const PODS: &str = "10.244.77.0/24";

/// Addresses of services.
pub(super) const SERVICES: &str = "10.96.77.0/24";

/// Where distributions have the CNI plugins.
const PLUGINS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// Kernel settings that the kubelet, the CNI plugins or this crate change; `cleanup.sh` puts them back.
const SETTINGS: [&str; 8] = [
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Makes the bridge and lets packets of pods through.
pub(super) async fn set_up(folder: &Path) -> Result<()> {
    let mut lines = String::new();
    for setting in SETTINGS {
        let file = Path::new("/proc/sys").join(setting);
        if let Ok(value) = std::fs::read_to_string(&file) {
            lines.push_str(&format!("{} {}\n", file.display(), value.trim()));
        }
    }
    std::fs::write(folder.join("settings"), lines)?;
    let address = format!("{HOST}/24");
    for args in [
        // Without a fixed hardware address the bridge's changes with every pod, and neighbours' caches go stale.
        &[
            "link",
            "add",
            BRIDGE,
            "address",
            "02:00:0a:f4:4d:01",
            "type",
            "bridge",
        ][..],
        &["addr", "add", &address, "dev", BRIDGE],
        &["link", "set", BRIDGE, "up"],
    ] {
        let mut command = direct("ip");
        command.args(args);
        output(command, None)
            .await
            .context("make the pods' bridge (needs root and Debian package iproute2)")?;
    }
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    for side in ["-i", "-o"] {
        let mut command = direct("iptables");
        command.args(["-w", "-I", "FORWARD", side, BRIDGE, "-j", "ACCEPT"]);
        output(command, None).await.context("Debian package iptables")?;
    }
    Ok(())
}

/// Writes the CNI configuration to `folder/cni` and returns where the plugins are.
pub(super) fn write_cni(folder: &Path) -> Result<PathBuf> {
    let conf = folder.join("cni");
    std::fs::create_dir_all(&conf)?;
    let text = format!(
        r#"{{
  "cniVersion": "0.4.0",
  "name": "tidemark-pods",
  "plugins": [{{
    "type": "bridge",
    "bridge": "{BRIDGE}",
    "isGateway": true,
    "hairpinMode": true,
    "ipam": {{
      "type": "host-local",
      "dataDir": "{}",
      "ranges": [[{{"subnet": "{PODS}", "gateway": "{HOST}"}}]],
      "routes": [{{"dst": "0.0.0.0/0"}}]
    }}
  }}]
}}
"#,
        folder.join("addresses").display()
    );
    std::fs::write(conf.join("10-pods.conflist"), text)?;
    PLUGINS
        .iter()
        .map(PathBuf::from)
        .find(|dir| dir.join("bridge").exists())
        .with_context(|| {
            format!("no CNI plugins in {PLUGINS:?}: install Debian package containernetworking-plugins")
        })
}
