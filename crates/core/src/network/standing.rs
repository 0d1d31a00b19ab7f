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

/// Why no frame leaves by a link that is up.
fn no_carrier(link: &Link, host: &View) -> Option<String> {
    let name = &link.name;
    let members: Vec<&Link> = host.links.iter().filter(|port| port.master == Some(link.index)).collect();
    if link.kind == ObservedKind::Bridge {
        // Those of containers and virtual machines have a link whatever the LAN has.
        let is_guests =
            |port: &&Link| port.tag().is_some() || port.kind == ObservedKind::Veth || is_tap(port);
        let mut facing: Vec<&Link> = members.iter().copied().filter(|port| !is_guests(port)).collect();
        if facing.is_empty() {
            facing = members.into_iter().filter(|port| port.tag().is_none()).collect();
        }
        let cut = !facing.is_empty() && facing.iter().all(|port| !port.carrier);
        let names = list(facing.iter().map(|port| format!("`{}`", port.name)));
        return cut.then(|| format!("no link of the bridge `{name}` to the LAN has a carrier, of {names}"));
    }
    if link.carrier {
        return None;
    }
    if members.is_empty() {
        return Some(format!(
            "its parent `{name}` has no carrier: the cable is out, or its other end is off"
        ));
    }
    let names = list(members.iter().map(|port| format!("`{}`", port.name)));
    Some(format!(
        "its parent `{name}` has no carrier: the cables of {names} are out, or their other ends are off"
    ))
}

fn is_tap(link: &Link) -> bool {
    matches!(&link.kind, ObservedKind::Other(kind) if kind == "tun")
}
