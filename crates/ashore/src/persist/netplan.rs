//! netplan: a separate file, in which the NIC's addressing becomes the bridge's. The NIC's own lines are
//! commented out, because netplan merges its files, and a later file can only add settings.
//!
//! The lines are moved unchanged, so they keep the user's wording. Only YAML in block style is understood.
//! Other styles are left to the user.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ashore_core::api::about::About;
use ashore_core::api::refusal::{Code, Refusal};

use super::{Configuration, Site, networkd};

/// The settings that stay with the NIC, whatever addresses it has.
const OF_THE_NIC: [&str; 9] = [
    "match",
    "set-name",
    "macaddress",
    "mtu",
    "wakeonlan",
    "emit-lldp",
    "receive-checksum-offload",
    "openvswitch",
    "virtual-function-count",
];

/// The NIC's lines in a file.
struct Block {
    /// netplan's name for the NIC.
    key: String,
    /// The line numbers.
    lines: std::ops::Range<usize>,
    /// The line `ethernets:`, if there is nothing else below it.
    alone_below: Option<usize>,
}

pub(super) fn configuration(site: &Site<'_>) -> Result<Option<Configuration>, Refusal> {
    let mut files = site.files_in("/etc/netplan")?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    if files.is_empty() {
        return Ok(None);
    }
    let mut found: Option<(PathBuf, String, Block)> = None;
    for path in files {
        let text = site.read(&path)?.unwrap_or_default();
        if let Some(block) = block_of(site, &text) {
            if found.is_some() {
                return Err(not_understood(site, "more than one file has settings for it"));
            }
            found = Some((path, text, block));
        }
    }
    let Some((path, text, block)) = found else {
        return Err(not_understood(site, "no file has settings for it in block style"));
    };
    let lines: Vec<&str> = text.lines().collect();
    let (of_nic, of_bridge) = parted(&lines[block.lines.start + 1..block.lines.end]);
    let (key, bridge) = (&block.key, site.bridge);
    let mut new =
        format!("network:\n  version: 2\n  ethernets:\n    {key}:\n      dhcp4: false\n      dhcp6: false\n");
    new.push_str(&of_nic);
    let _ = write!(
        new,
        "  bridges:\n    {bridge}:\n      interfaces: [{key}]\n      macaddress: {}\n      parameters:\n        stp: false\n        \
         forward-delay: 0\n",
        site.mac
    );
    new.push_str(&of_bridge);
    let mut all = vec![site.new_file(format!("/etc/netplan/90-ashore-{bridge}.yaml"), 0o600, &new)];
    let same_client = networkd::same_client(site)?;
    if !same_client.is_empty() {
        let drop_in = format!("/etc/systemd/network/10-netplan-{bridge}.network.d/ashore.conf");
        all.push(site.new_file(drop_in, 0o644, &same_client));
    }
    let out = |at| block.lines.contains(&at) || block.alone_below == Some(at);
    all.push(site.without_lines(Path::new(&path), &text, &out));
    Ok(Some(Configuration { system: "netplan", files: all, now: "netplan apply".into() }))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn says_something(line: &str) -> bool {
    !line.trim().is_empty() && !line.trim_start().starts_with('#')
}

/// The NIC's block below `ethernets:`, found by its key or by its `set-name`.
fn block_of(site: &Site<'_>, text: &str) -> Option<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let above = lines.iter().position(|line| line.trim_end().trim_start() == "ethernets:")?;
    let end_of = |start: usize| {
        let deeper = |line: &&str| !says_something(line) || indent(line) > indent(lines[start]);
        let length = lines[start + 1..].iter().take_while(|line| deeper(line)).count();
        // Trailing blank lines and comments belong to what follows.
        let last = (start + 1..start + 1 + length).rev().find(|at| says_something(lines[*at]));
        last.unwrap_or(start) + 1
    };
    let end = end_of(above);
    let first = (above + 1..end).find(|at| says_something(lines[*at]))?;
    let is_key = |at: &usize| says_something(lines[*at]) && indent(lines[*at]) == indent(lines[first]);
    let keys: Vec<usize> = (first..end).filter(is_key).collect();
    let name_of =
        |at: usize| lines[at].trim().strip_suffix(':').map(|key| key.trim_matches(['"', '\'']).to_owned());
    let is_nic = |at: &usize| {
        let set_name = (*at + 1..end_of(*at)).find_map(|at| lines[at].trim().strip_prefix("set-name:"));
        let set_name = set_name.map(|name| name.trim().trim_matches(['"', '\'']));
        let key = name_of(*at);
        set_name.map_or(key.as_deref() == Some(site.nic.as_str()), |name| name == site.nic.as_str())
    };
    let at = keys.iter().copied().find(is_nic)?;
    let alone_below = (keys.len() == 1).then_some(above);
    Some(Block { key: name_of(at)?, lines: at..end_of(at), alone_below })
}

/// Splits the settings into those that stay with the NIC and those that become the bridge's, indented by six
/// spaces.
fn parted(lines: &[&str]) -> (String, String) {
    let depth = lines.iter().find(|line| says_something(line)).map_or(0, |line| indent(line));
    let (mut of_nic, mut of_bridge, mut stays) = (String::new(), String::new(), false);
    for line in lines.iter().filter(|line| says_something(line)) {
        let key = line.trim().split(':').next().unwrap_or_default();
        if indent(line) == depth && !line.trim_start().starts_with("- ") {
            stays = OF_THE_NIC.contains(&key);
        }
        let moved = format!("      {}\n", line.get(depth..).unwrap_or(line.trim_start()));
        if stays { of_nic.push_str(&moved) } else { of_bridge.push_str(&moved) }
    }
    (of_nic, of_bridge)
}

fn not_understood(site: &Site<'_>, why: &str) -> Refusal {
    Refusal::new(
        Code::SettingsUnreadable,
        About::parent(site.nic),
        format!(
            "netplan manages this host's network, and its settings for `{}` are not understood: {why}; the bridge stays until \
             the next boot",
            site.nic
        ),
        Some(format!(
            "write it yourself: `{}` with dhcp4: false, and under bridges: `{}` with interfaces: [{}], macaddress: {} and the addresses",
            site.nic, site.bridge, site.nic, site.mac
        ).into()),
    )
}
