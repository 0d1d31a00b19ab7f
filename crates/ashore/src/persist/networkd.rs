//! systemd-networkd: `.netdev` and `.network` files that sort before all others.

use std::path::Path;
use std::process::Command;

use ashore_core::api::refusal::Refusal;

use super::{Configuration, Site, section, sections, value};

/// The configuration for a move. The NIC's settings become the bridge's, except those that select a link.
pub(super) fn configuration(site: &Site<'_>) -> Result<Option<Configuration>, Refusal> {
    // networkd's state file names the file that it applied to the link (systemd 252 and 262).
    let Some(notes) = site.read(format!("/run/systemd/netif/links/{}", site.index))? else { return Ok(None) };
    let Some(file) =
        value(&notes, "NETWORK_FILE").filter(|_| value(&notes, "ADMIN_STATE") != Some("unmanaged"))
    else {
        return Ok(None);
    };
    let mut text = site.read(file)?.unwrap_or_default();
    for drop_in in value(&notes, "NETWORK_FILE_DROPINS").unwrap_or_default().split_whitespace() {
        text.push('\n');
        text.push_str(&site.read(Path::new(drop_in))?.unwrap_or_default());
    }
    let (nic, bridge) = (site.nic, site.bridge);
    let mut network = format!("# the settings of {file}\n[Match]\nName={bridge}\n");
    let mut port = format!("[Match]\nName={nic}\n\n[Network]\nBridge={bridge}\nLinkLocalAddressing=no\n");
    for (head, lines) in sections(&text) {
        match head {
            "Match" => {}
            // MTU and similar settings belong to the NIC, and the bridge follows.
            "Link" => port.push_str(&section(head, &lines)),
            _ => network.push_str(&section(head, &lines)),
        }
    }
    network.push_str(&same_client(site)?);
    let netdev = format!(
        "[NetDev]\nName={bridge}\nKind=bridge\nMACAddress={}\n\n[Bridge]\nSTP=no\nForwardDelaySec=0\n",
        site.mac
    );
    let directory = Path::new("/etc/systemd/network");
    let at = |name: String| directory.join(name);
    Ok(Some(Configuration {
        system: "systemd-networkd",
        files: vec![
            site.new_file(at(format!("05-ashore-{bridge}.netdev")), 0o644, &netdev),
            site.new_file(at(format!("05-ashore-{nic}.network")), 0o644, &port),
            site.new_file(at(format!("05-ashore-{bridge}.network")), 0o644, &network),
        ],
        now: "networkctl reload".into(),
    }))
}

/// A DHCP server recognises a client by its identifier. networkd derives the identifier from the link's name
/// and the machine id (RFC 4361), so the bridge would be a different client than the NIC. This gives it the
/// NIC's IAID.
pub(super) fn same_client(site: &Site<'_>) -> Result<String, Refusal> {
    let lease = site.read(format!("/run/systemd/netif/leases/{}", site.index))?.unwrap_or_default();
    let number = match value(&lease, "CLIENTID") {
        Some(id) => id.strip_prefix("ff").and_then(|id| u32::from_str_radix(id.get(..8)?, 16).ok()),
        None => number_told(site),
    };
    Ok(number.map_or_else(String::new, |number| format!("\n[DHCPv4]\nIAID={number}\n")))
}

/// Asks networkd itself for the IAID, because systemd 262 keeps no file of it.
fn number_told(site: &Site<'_>) -> Option<u32> {
    // networkctl reports on the host that it runs on.
    if site.root != Path::new("/") {
        return None;
    }
    let status =
        Command::new("networkctl").args(["--json=short", "status", site.nic.as_str()]).output().ok()?;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).ok()?;
    let id = status["DHCPv4Client"]["ClientIdentifier"].as_array()?;
    let bytes: Vec<u8> = id.iter().filter_map(|byte| byte.as_u64()?.try_into().ok()).collect();
    let [255, number @ .., _, _] = bytes.get(..7)? else { return None };
    Some(u32::from_be_bytes(number.try_into().ok()?))
}
