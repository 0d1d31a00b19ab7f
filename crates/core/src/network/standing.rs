//! What keeps the parent of a network that there is from the LAN at present.

use super::{Network, NetworkError, list};
use crate::observed::{Link, ObservedKind, View};

impl Network {
    /// What is wrong with its parent as it is now, and what helps. A parent that is not there is another matter.
    pub fn trouble_of_parent(&self, host: &View) -> Option<String> {
        let parent = host.link(self.lowest(host))?;
        let error = self.check_parent(host).err().filter(|error| {
            use NetworkError::{BridgeFilters, ParentDown, ParentIsPort};
            matches!(error, ParentDown(_) | ParentIsPort { .. } | BridgeFilters { .. })
        });
        let label = self.label();
        if let Some(error) = error {
            let hint = error.hint().map_or_else(String::new, |hint| format!("; try: {hint}"));
            return Some(format!("network `{label}` is off the LAN: {error}{hint}"));
        }
        let why = no_carrier(parent, host)?;
        Some(format!("network `{label}` is off the LAN: {why}"))
    }
}

impl View {
    /// The links by which a parent is on the wire: the ports of a bridge that lead out of this host, the members of a bond, or the
    /// parent itself.
    pub fn facing<'a>(&'a self, parent: &'a Link) -> Vec<&'a Link> {
        let members = || self.links.iter().filter(|port| port.master == Some(parent.index));
        if parent.kind != ObservedKind::Bridge {
            let members: Vec<&Link> = members().collect();
            return if members.is_empty() { vec![parent] } else { members };
        }
        // Those of containers and virtual machines have a link whatever the LAN has.
        let is_guests =
            |port: &&Link| port.tag().is_some() || port.kind == ObservedKind::Veth || is_tap(port);
        let facing: Vec<&Link> = members().filter(|port| !is_guests(port)).collect();
        if facing.is_empty() { members().filter(|port| port.tag().is_none()).collect() } else { facing }
    }
}

/// Why no frame leaves by a link that is up.
fn no_carrier(link: &Link, host: &View) -> Option<String> {
    let (name, facing) = (&link.name, host.facing(link));
    if link.kind == ObservedKind::Bridge {
        let cut = !facing.is_empty() && facing.iter().all(|port| !port.carrier);
        let names = list(facing.iter().map(|port| format!("`{}`", port.name)));
        return cut.then(|| format!("no link of the bridge `{name}` to the LAN has a carrier, of {names}"));
    }
    if link.carrier {
        return None;
    }
    if facing.iter().any(|one| one.index == link.index) {
        return Some(format!(
            "its parent `{name}` has no carrier: the cable is out, or its other end is off"
        ));
    }
    let names = list(facing.iter().map(|port| format!("`{}`", port.name)));
    Some(format!(
        "its parent `{name}` has no carrier: the cables of {names} are out, or their other ends are off"
    ))
}

fn is_tap(link: &Link) -> bool {
    matches!(&link.kind, ObservedKind::Other(kind) if kind == "tun")
}
