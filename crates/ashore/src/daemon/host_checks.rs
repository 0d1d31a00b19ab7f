//! What `ashore doctor` finds on the host, without asking the LAN: kinds of links, who else manages Ashore's links, and
//! the socket by which Docker finds Ashore's driver.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ashore_core::api::about::About;
use ashore_core::api::diagnosis::Finding;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::network::Network;
use ashore_core::model::ownership::EngineKind;
use ashore_core::net::kind::LinkKind;
use ashore_core::net::name::IfName;
use ashore_core::net::observed::View;
use ashore_core::net::option;
use ashore_core::net::remedy::Remedy;

use crate::kinds::{self, Kinds};
use crate::unlocked::Unlocked;

/// Where systemd-networkd writes what it does with each link, by the link's index.
const NETWORKD: &str = "/run/systemd/netif/links";

/// Whether the kernel has the kinds of links that networks are of.
pub(super) fn kinds_of(_: &Unlocked, networks: &[Network]) -> Vec<Finding> {
    const CHECK: &str = "kernel";
    // Each kind with one of its networks.
    let mut wanted: BTreeMap<&'static str, &Network> = BTreeMap::new();
    for network in networks.iter().filter(|network| !network.adopted) {
        wanted.entry(kind_of(network)).or_insert(network);
        if network.vlan.is_some() && network.bridge_vlan().is_none() {
            wanted.entry(kinds::VLAN).or_insert(network);
        }
    }
    if wanted.is_empty() {
        return Vec::new();
    }
    let tried = kinds::tried(&wanted.keys().copied().collect::<Vec<_>>());
    let said = |(kind, network): (&'static str, &Network)| {
        let about = About::network(network);
        match tried.as_ref().map(|kinds: &Kinds| kinds.get(kind).copied().flatten()) {
            Ok(Some(true)) => Finding::fine(CHECK, About::default(), format!("the kernel has {kind}")),
            Ok(Some(false)) => Finding::trouble(CHECK, missing(kind, network)),
            Ok(None) => {
                Finding::unknown(CHECK, about, format!("whether the kernel has {kind} cannot be tried"))
            }
            Err(error) => {
                let why = format!("whether the kernel has {kind} could not be found out: {error:#}");
                Finding::unknown(CHECK, about, why)
            }
        }
    };
    wanted.into_iter().map(said).collect()
}

fn kind_of(network: &Network) -> &'static str {
    match network.kind {
        LinkKind::Macvlan(_) => kinds::MACVLAN,
        LinkKind::Ipvlan(_) => kinds::IPVLAN,
        LinkKind::Bridge => kinds::VETH,
    }
}

fn missing(kind: &str, network: &Network) -> Trouble {
    let message = format!(
        "network `{}` needs {kind}, which this kernel does not have, or may not load: nothing can be attached to it",
        network.label()
    );
    let remedy =
        Remedy::from("if the kernel was upgraded since this host started, start it again; otherwise ")
            .then(network.anew(Remedy::give(&option::KIND)));
    Trouble::new(Code::KindMissing, About::network(network), message, Some(remedy))
}

/// Links of Ashore's that systemd-networkd manages. Of other managers no sign is known that they harm such a link.
pub(super) fn managed_elsewhere(_: &Unlocked, host: &View) -> Vec<Finding> {
    const CHECK: &str = "manager";
    let mut found = Vec::new();
    let mut managed_links = Vec::new();
    for link in host.links.iter().filter(|link| link.tag().is_some()) {
        let path = Path::new(NETWORKD).join(link.index.to_string());
        match short_file(&path) {
            Ok(text) => managed_links.extend(managed(&text).map(|file| (&link.name, file))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let why = format!(
                    "whether systemd-networkd manages `{}` could not be found out: {error}",
                    link.name
                );
                found.push(Finding::unknown(CHECK, About::parent(&link.name), why));
            }
        }
    }
    if !managed_links.is_empty() {
        found.push(Finding::trouble(CHECK, by_networkd(&managed_links)));
    }
    found
}

/// The file of networkd's that is in force for a link, if networkd manages the link (`sd-network`).
fn managed(state: &str) -> Option<String> {
    let value = |key: &str| state.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let is_managed = matches!(value("ADMIN_STATE")?, "configuring" | "configured" | "failed");
    value("NETWORK_FILE").filter(|_| is_managed).map(str::to_owned)
}

/// One trouble for all of them, because one file helps.
fn by_networkd(managed: &[(&IfName, String)]) -> Trouble {
    let each: Vec<String> = managed.iter().map(|(name, file)| format!("`{name}` by {file}")).collect();
    let names: Vec<&str> = managed.iter().map(|(name, _)| name.as_str()).collect();
    let message = format!(
        "systemd-networkd manages links of Ashore's, {}, and may give them addresses and a default route",
        each.join(", ")
    );
    let remedy = Remedy::from(format!(
        "a file /etc/systemd/network/05-ashore.network with the lines [Match], Name={}, [Link] and Unmanaged=yes; then ",
        names.join(" ")
    ))
    .and_run("networkctl reload");
    let about = match managed {
        [(name, _)] => About::parent(name),
        _ => About::default(),
    };
    Trouble::new(Code::ManagedElsewhere, about, message, Some(remedy))
}

/// Whether Docker finds the plugin's socket, where there is a network of Docker's.
pub(super) fn plugin_socket(_: &Unlocked, networks: &[Network], socket: Option<&PathBuf>) -> Option<Finding> {
    const CHECK: &str = "plugin";
    let network = networks.iter().find(|one| one.ownership().engine() == Some(EngineKind::Docker))?;
    let (socket, about) = (socket?, About { engine: Some(EngineKind::Docker), ..About::network(network) });
    let shown = socket.display();
    Some(match UnixStream::connect(socket) {
        Ok(_) => {
            Finding::fine(CHECK, About::default(), format!("the socket for Docker's calls answers: {shown}"))
        }
        Err(error) if [ErrorKind::NotFound, ErrorKind::ConnectionRefused].contains(&error.kind()) => {
            let message = format!(
                "Docker finds Ashore's driver by the socket {shown}, which is gone: it starts no container on `{}`",
                network.label()
            );
            let remedy = Remedy::from("start the daemon again, which makes it anew: ")
                .and_run("systemctl restart ashore.socket ashore");
            Finding::trouble(CHECK, Trouble::new(Code::PluginSocketGone, about, message, Some(remedy)))
        }
        Err(error) => {
            let why =
                format!("whether Docker finds Ashore's driver at {shown} could not be found out: {error}");
            Finding::unknown(CHECK, about, why)
        }
    })
}

fn short_file(path: &Path) -> io::Result<String> {
    const LONGEST: u64 = 64 * 1024;
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networkd_says_itself_what_it_manages() {
        let by = |admin: &str| {
            format!("# private\nADMIN_STATE={admin}\nOPER_STATE=routable\nNETWORK_FILE=/etc/x.network\n")
        };
        assert_eq!(managed(&by("configured")).as_deref(), Some("/etc/x.network"));
        assert_eq!(managed(&by("unmanaged")), None);
        assert_eq!(managed("ADMIN_STATE=configured\n"), None, "no file is in force");
        assert_eq!(managed(""), None);
    }
}
