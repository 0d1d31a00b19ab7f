//! ifupdown: a separate file beside `/etc/network/interfaces`, in which the NIC's stanzas are commented out.
//!
//! The bridge is created by `ip`, which ifupdown needs anyway, and not by bridge-utils, which may not be
//! installed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ashore_core::api::refusal::Refusal;
use ashore_core::net::text::Word;

use super::{Configuration, Site};

const INTERFACES: &str = "/etc/network/interfaces";
const DIRECTORY: &str = "/etc/network/interfaces.d";

/// A stanza that configures the NIC.
struct Stanza {
    /// For example `inet dhcp`.
    method: String,
    options: Vec<String>,
}

pub(super) fn configuration(site: &Site<'_>) -> Result<Option<Configuration>, Refusal> {
    let Some(main) = site.read(INTERFACES)? else { return Ok(None) };
    let mut files = vec![(PathBuf::from(INTERFACES), main.clone())];
    let mut finds_ours = false;
    for line in main.lines() {
        let Some((how, what)) = line.trim().split_once(char::is_whitespace) else { continue };
        let what = what.trim();
        let directory = match how {
            "source-directory" => what,
            "source" => what.strip_suffix("/*").unwrap_or_default(),
            _ => continue,
        };
        finds_ours |= directory == DIRECTORY;
        let sourced = if directory.is_empty() { vec![what.into()] } else { site.files_in(directory)? };
        for path in sourced {
            if let Some(text) = site.read(&path)? {
                files.push((path, text));
            }
        }
    }
    let mut stanzas = Vec::new();
    let mut edits = Vec::new();
    for (path, text) in &files {
        let out = lines_of_nic(site, text, &mut stanzas);
        if !out.is_empty() {
            edits.push(site.without_lines(path, text, &|at| out.contains(&at)));
        }
    }
    if stanzas.is_empty() {
        return Ok(None);
    }
    let ours = own_file(site);
    if !finds_ours {
        let (path, before) = (Path::new(INTERFACES), main);
        let at = edits.iter().position(|edit| edit.path == path);
        let mut edit =
            at.map_or_else(|| site.without_lines(path, &before, &|_| false), |at| edits.remove(at));
        edit.text = edit.text.map(|text| text + &source_line(site) + "\n");
        edits.push(edit);
    }
    let mut all = vec![site.new_file(ours, 0o644, &rendered(site, &stanzas))];
    all.extend(edits);
    Ok(Some(Configuration {
        system: "ifupdown",
        files: all,
        now: format!(
            "kill $(cat {}); ifup {}",
            Word(format!("/run/dhclient.{}.pid", site.nic).as_bytes()),
            site.bridge.word()
        ),
    }))
}

fn own_file(site: &Site<'_>) -> PathBuf {
    Path::new(DIRECTORY).join(format!("ashore-{}", site.bridge))
}

/// The line that makes ifupdown read the file, if it reads no directory.
pub(super) fn source_line(site: &Site<'_>) -> String {
    format!("source {}", own_file(site).display())
}

/// The line numbers of the NIC's stanzas. The stanzas are appended to `stanzas`.
fn lines_of_nic(site: &Site<'_>, text: &str, stanzas: &mut Vec<Stanza>) -> Vec<usize> {
    let (mut out, mut inside, mut continued) = (Vec::new(), false, false);
    for (at, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let first = words.first().copied().unwrap_or_default();
        let heads = ["iface", "mapping", "auto", "source", "source-directory", "rename", "template"];
        let head = heads.contains(&first) || first.starts_with("allow-") || first.starts_with("no-");
        if head && !continued {
            inside = first == "iface" && words.get(1) == Some(&site.nic.as_str());
            if inside {
                stanzas.push(Stanza { method: words[2..].join(" "), options: Vec::new() });
                out.push(at);
            }
        } else if inside && !first.is_empty() && !first.starts_with('#') {
            out.push(at);
            if let Some(stanza) = stanzas.last_mut() {
                stanza.options.push(line.trim().to_owned());
            }
        }
        continued = line.ends_with('\\');
    }
    out
}

fn rendered(site: &Site<'_>, stanzas: &[Stanza]) -> String {
    let (nic, bridge, mac) = (site.nic, site.bridge, site.mac);
    let mut text = format!("iface {nic} inet manual\n\nauto {bridge}\n");
    for (at, stanza) in stanzas.iter().enumerate() {
        let _ = writeln!(text, "iface {bridge} {}", stanza.method);
        if at == 0 {
            // A shell interprets what follows `pre-up`.
            let (nic, bridge) = (nic.word(), bridge.word());
            let _ = write!(
                text,
                "    pre-up ip link show dev {bridge} >/dev/null 2>&1 || ip link add name {bridge} address {mac} type bridge\n    \
                 pre-up ip link set dev {nic} up\n    \
                 pre-up ip link set dev {nic} master {bridge}\n    \
                 post-down ip link del dev {bridge}\n"
            );
        }
        for option in &stanza.options {
            let _ = writeln!(text, "    {option}");
        }
    }
    text
}
