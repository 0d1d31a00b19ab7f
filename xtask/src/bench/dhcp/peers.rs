//! CNI's macvlan plugin with the dhcp daemon, and netavark with its DHCP proxy.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::ensure;
use ashore_lab::{Engines, Machine};
use serde_json::json;

use super::{Call, Contender, Running};

const PATIENCE: Duration = Duration::from_secs(10);

/// The CNI reference plugins, called as a runtime calls them. Their daemon keeps the leases in memory only.
pub(super) struct Cni<'a> {
    engines: &'a Engines,
    nas: &'a Machine,
    socket: PathBuf,
    daemon: Running,
}

impl<'a> Cni<'a> {
    pub(super) fn start(engines: &'a Engines, nas: &'a Machine, directory: &Path) -> anyhow::Result<Self> {
        let socket = directory.join("cni-dhcp.sock");
        let mut command = nas.command(engines.path("usr/lib/cni/dhcp"))?;
        command.arg("daemon").arg("-socketpath").arg(&socket);
        let daemon = Running(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?);
        wait_for(&socket)?;
        Ok(Cni { engines, nas, socket, daemon })
    }

    fn call(&self, what: &str, container: &Machine) -> anyhow::Result<Call> {
        let plugins = self.engines.path("usr/lib/cni");
        let mut command = self.nas.command(plugins.join("macvlan"))?;
        command.env("CNI_COMMAND", what).env("CNI_CONTAINERID", container.name());
        command.env("CNI_IFNAME", "eth0").env("CNI_PATH", &plugins);
        command.env("CNI_NETNS", container.namespace().path());
        let config = json!({
            "cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "eth0",
            "ipam": { "type": "dhcp", "daemonSocketPath": self.socket },
        });
        Ok(Call { command, input: config.to_string() })
    }
}

impl Contender for Cni<'_> {
    fn name(&self) -> String {
        "CNI macvlan + dhcp".into()
    }

    fn keeper(&self) -> u32 {
        self.daemon.0.id()
    }

    fn attach(&self, container: &Machine) -> anyhow::Result<Call> {
        self.call("ADD", container)
    }

    fn detach(&self, container: &Machine) -> anyhow::Result<Call> {
        self.call("DEL", container)
    }
}

/// netavark, called as Podman calls it. It is in a tree of its own, because it looks for its proxy in one
/// place only.
pub(super) struct Netavark<'a> {
    nas: &'a Machine,
    tree: PathBuf,
    proxy: Running,
}

/// Mounts the kernel's filesystems in the tree and starts the proxy, in a mount namespace of their own.
const PROXY: &str = r#"
    mount --bind "$1" "$1"
    for kernels in proc sys dev; do mount --rbind /$kernels "$1/$kernels"; done
    mount -t tmpfs tmpfs "$1/run"
    mount -t tmpfs tmpfs "$1/tmp"
    mkdir -p "$1/run/podman" "$1/run/lock" "$1/run/netavark"
    exec chroot "$1" /usr/lib/podman/netavark dhcp-proxy --activity-timeout 0"#;

impl<'a> Netavark<'a> {
    pub(super) fn start(tree: &Path, nas: &'a Machine) -> anyhow::Result<Self> {
        let mut command = nas.command("unshare")?;
        command.args(["--mount", "--", "sh", "-ec", PROXY, "sh"]).arg(tree);
        let proxy = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let netavark = Netavark { nas, tree: tree.to_owned(), proxy: Running(proxy) };
        wait_for(
            &Path::new("/proc").join(netavark.keeper().to_string()).join("root/run/podman/nv-proxy.sock"),
        )?;
        Ok(netavark)
    }

    fn call(&self, what: &str, container: &Machine) -> anyhow::Result<Call> {
        // Container IDs are long hexadecimal numbers.
        let mut id = String::new();
        for byte in container.name().bytes().cycle().take(32) {
            write!(id, "{byte:02x}")?;
        }
        let mut command = self.nas.command("nsenter")?;
        command.args(["--mount", "--target", &self.keeper().to_string(), "--", "chroot"]).arg(&self.tree);
        command.env("NETAVARK_FW", "none");
        command
            .args(["/usr/lib/podman/netavark", "--config", "/run/netavark", what])
            .arg(container.namespace().path());
        let options = json!({
            "container_id": id, "container_name": container.name(),
            "networks": { "lan": { "interface_name": "eth0" } },
            "network_info": { "lan": {
                "name": "lan", "id": "6c".repeat(32), "driver": "macvlan", "network_interface": "eth0",
                "ipv6_enabled": false, "internal": false, "dns_enabled": false,
                "ipam_options": { "driver": "dhcp" },
            } },
        });
        Ok(Call { command, input: options.to_string() })
    }
}

impl Contender for Netavark<'_> {
    fn name(&self) -> String {
        "netavark macvlan + dhcp-proxy".into()
    }

    fn keeper(&self) -> u32 {
        self.proxy.0.id()
    }

    fn attach(&self, container: &Machine) -> anyhow::Result<Call> {
        self.call("setup", container)
    }

    fn detach(&self, container: &Machine) -> anyhow::Result<Call> {
        self.call("teardown", container)
    }
}

pub(in crate::bench) fn wait_for(socket: &Path) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !socket.exists() {
        ensure!(Instant::now() < end, "{} does not appear", socket.display());
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
