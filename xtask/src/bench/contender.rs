//! Programs that attach and detach one container.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ashore_lab::Machine;
use serde_json::{Value, json};

use super::feed;

/// A program that attaches and detaches a container.
pub(super) trait Contender {
    fn name(&self) -> &'static str;
    fn attach(&mut self, container: &Machine) -> anyhow::Result<()>;
    fn detach(&mut self, container: &Machine) -> anyhow::Result<()>;
}

/// Checks that the container is on the LAN. Otherwise a contender's time is not worth comparing.
pub(super) fn check(laptop: &Machine, container: &Machine, name: &str) -> anyhow::Result<()> {
    let addresses = container.kernel().observe(&[])?.host.addresses;
    let ip = addresses.iter().map(|address| address.net.addr()).find(|ip| ip.is_ipv4() && !ip.is_loopback());
    let ip = ip.with_context(|| format!("{name} assigned no address"))?;
    laptop.ping(ip).with_context(|| format!("{name}: {ip} does not answer"))?;
    Ok(())
}

/// A CNI plugin, called as a runtime calls it.
pub(super) struct Plugin<'a> {
    pub(super) name: &'static str,
    pub(super) nas: &'a Machine,
    /// The plugin. Those to which it hands over are beside it.
    pub(super) path: PathBuf,
    /// The daemon's socket, for Ashore's.
    pub(super) socket: PathBuf,
    /// The id of all containers, each of which comes back. `None`: each is new, and has its own name.
    pub(super) id: Option<&'static str>,
    pub(super) config: Value,
}

impl Plugin<'_> {
    fn call(&self, what: &str, container: &Machine) -> anyhow::Result<()> {
        let mut command = self.nas.command(&self.path)?;
        command.env("CNI_COMMAND", what).env("CNI_CONTAINERID", self.id.unwrap_or(container.name()));
        command.env("CNI_NETNS", container.namespace().path()).env("CNI_IFNAME", "eth0");
        command.env("CNI_PATH", self.path.parent().unwrap_or(Path::new("/")));
        feed(command.env("ASHORE_PLUG_SOCKET", &self.socket), &self.config.to_string())
    }
}

impl Contender for Plugin<'_> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn attach(&mut self, container: &Machine) -> anyhow::Result<()> {
        self.call("ADD", container)
    }

    fn detach(&mut self, container: &Machine) -> anyhow::Result<()> {
        self.call("DEL", container)
    }
}

/// The configuration of the reference plugins macvlan and host-local, which notes its addresses in a directory.
pub(super) fn host_local(version: &str, directory: &Path) -> Value {
    json!({
        "cniVersion": version, "name": "lan", "type": "macvlan", "master": "eth0",
        "ipam": {
            "type": "host-local",
            "ranges": [[{ "subnet": "192.168.88.0/24", "rangeStart": "192.168.88.10",
                          "rangeEnd": "192.168.88.40", "gateway": "192.168.88.1" }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
            "dataDir": directory,
        },
    })
}
