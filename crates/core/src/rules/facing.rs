//! Which links face the LAN for a network at present.

use crate::model::network::Network;
use crate::net::observed::{Link, OPEN_VSWITCH, ObservedKind, View};

impl Network {
    /// The link that can be the parent now that a bridge or a bond receives all frames of the parent. A child
    /// of the parent receives nothing then.
    pub(crate) fn took_parent<'a>(&self, parent: &Link, host: &'a View) -> Option<&'a Link> {
        let master = host.link_at(parent.master.filter(|_| self.vlan.is_none() && !self.adopted)?)?;
        let takes_all = match &master.kind {
            ObservedKind::Bridge => true,
            ObservedKind::Other(kind) => ["bond", "team", OPEN_VSWITCH].contains(&kind.as_str()),
            _ => false,
        };
        host.in_place_of(parent, master).filter(|_| takes_all)
    }
}

impl View {
    /// The link that faces the LAN in place of a port. It is the master. With Open vSwitch it is the bridge's
    /// own link, which has the MAC of one of the bridge's ports unless the user has set another.
    pub(crate) fn in_place_of<'a>(&'a self, port: &Link, master: &'a Link) -> Option<&'a Link> {
        if master.kind != ObservedKind::Other(OPEN_VSWITCH.into()) {
            return Some(master);
        }
        let is_bridges_own =
            |link: &&Link| link.kind == master.kind && link.index != master.index && link.mac == port.mac;
        self.links.iter().find(is_bridges_own)
    }

    /// The links that connect a parent to the wire: the ports of a bridge that lead out of this host, the
    /// members of a bond, or the parent itself.
    pub fn facing<'a>(&'a self, parent: &'a Link) -> Vec<&'a Link> {
        let members = || self.links.iter().filter(|port| port.master == Some(parent.index));
        if parent.kind != ObservedKind::Bridge {
            let members: Vec<&Link> = members().collect();
            return if members.is_empty() { vec![parent] } else { members };
        }
        // The links of containers and virtual machines are up whatever state the LAN is in.
        let is_guests =
            |port: &&Link| port.tag().is_some() || port.kind == ObservedKind::Veth || is_tap(port);
        let facing: Vec<&Link> = members().filter(|port| !is_guests(port)).collect();
        if facing.is_empty() { members().filter(|port| port.tag().is_none()).collect() } else { facing }
    }
}

fn is_tap(link: &Link) -> bool {
    matches!(&link.kind, ObservedKind::Other(kind) if kind == "tun")
}
