//! `NetworkManager`: one connection for the bridge and one for the NIC as its port, which take precedence
//! over the NIC's own.

use std::path::Path;

use ashore_core::api::refusal::Refusal;
use ashore_core::net::name::IfName;
use ashore_core::net::text::Word;

use super::{Configuration, Site, index_of, section, sections, value};

const DIRECTORIES: [&str; 3] = [
    "/etc/NetworkManager/system-connections",
    "/run/NetworkManager/system-connections",
    "/usr/lib/NetworkManager/system-connections",
];

/// The configuration for a move. The addressing of the NIC's connection becomes the bridge's.
pub(super) fn configuration(site: &Site<'_>) -> Result<Option<Configuration>, Refusal> {
    let Some(uuid) = connection_of(site.root, site.nic) else { return Ok(None) };
    let mut profile = None;
    for directory in DIRECTORIES {
        for path in site.files_in(directory)? {
            let text = site.read(&path)?.unwrap_or_default();
            if profile.is_none() && value(&text, "uuid") == Some(&uuid) {
                profile = Some((path, text));
            }
        }
    }
    let (nic, bridge) = (site.nic, site.bridge);
    let (path, text) = profile.unwrap_or_default();
    let (mut addressing, mut of_nic) = (String::new(), String::new());
    for (head, lines) in sections(&text) {
        match head {
            "ipv4" | "ipv6" | "proxy" => addressing.push_str(&section(head, &lines)),
            "ethernet" | "802-1x" => of_nic.push_str(&section(head, &lines)),
            _ => {}
        }
    }
    if addressing.is_empty() {
        // NetworkManager's default for a NIC without a connection.
        addressing = "\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n".into();
    }
    let of = if path.as_os_str().is_empty() {
        String::new()
    } else {
        format!("# the addressing of {}\n", path.display())
    };
    // NetworkManager activates the connection of the highest priority.
    let head = |name: &str, kind: &str| {
        let uuid = uuid_of(&format!("{nic} {bridge} {name} {uuid}"));
        format!(
            "[connection]\nid=ashore-{name}\nuuid={uuid}\ntype={kind}\ninterface-name={name}\nautoconnect-priority=999\n"
        )
    };
    let mac = site.mac;
    let the_bridge = format!(
        "{of}{}\n[ethernet]\ncloned-mac-address={mac}\n\n[bridge]\nstp=false\n{addressing}",
        head(bridge.as_str(), "bridge")
    );
    let port = format!("{}master={bridge}\nslave-type=bridge\n{of_nic}", head(nic.as_str(), "ethernet"));
    let at =
        |name: &dyn std::fmt::Display| Path::new(DIRECTORIES[0]).join(format!("ashore-{name}.nmconnection"));
    Ok(Some(Configuration {
        system: "NetworkManager",
        files: vec![
            // NetworkManager ignores a file that other users may read.
            site.new_file(at(bridge), 0o600, &the_bridge),
            site.new_file(at(nic), 0o600, &port),
        ],
        now: format!(
            "nmcli connection reload; nmcli connection up {}",
            Word(format!("ashore-{bridge}").as_bytes())
        ),
    }))
}

/// The connection by which `NetworkManager` manages a link, as recorded in its run-time files.
pub(super) fn connection_of(root: &Path, link: &IfName) -> Option<String> {
    let notes = root.join("run/NetworkManager/devices").join(index_of(root, link));
    let notes = std::fs::read_to_string(notes).ok()?;
    value(&notes, "connection-uuid").map(str::to_owned)
}

/// Whether `NetworkManager` manages the bridge by the connection that was written for it, and does not only
/// watch it.
pub(super) fn runs(root: &Path, bridge: &IfName) -> bool {
    let ours = root.join(format!("{}/ashore-{bridge}.nmconnection", &DIRECTORIES[0][1..]));
    let ours = std::fs::read_to_string(ours).unwrap_or_default();
    let ours = value(&ours, "uuid");
    ours.is_some() && connection_of(root, bridge).as_deref() == ours
}

/// A UUID that is the same for the same names: version 8 of RFC 9562, whose bits are free to use.
fn uuid_of(text: &str) -> String {
    // FNV-1a. Two connections need only have different values.
    let hash = |basis: u64| {
        text.bytes().fold(basis, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let (high, low) = (hash(0xcbf2_9ce4_8422_2325), hash(0x6c62_272e_07bb_0142));
    let high = high & 0xffff_ffff_ffff_0fff | 0x8000;
    let low = low & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}
