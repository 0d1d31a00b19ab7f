//! What keeps an existing network off the LAN at present.

use crate::model::network::{HOST_AUX, Network, Subnet};
use crate::net::family::Family;
use crate::net::kind::LinkKind;
use crate::net::link::Tag;
use crate::net::observed::{Link, OPEN_VSWITCH, ObservedKind, View};
use crate::net::text::list;
use crate::rules::create::NetworkError;

impl Network {
    /// Describes what is wrong with the parent as it is now, and the remedy. A missing parent is reported
    /// elsewhere.
    pub fn trouble_of_parent(&self, host: &View) -> Option<String> {
        let parent = host.link(self.lower_device(host))?;
        let error = self.check_parent(host).err().filter(|error| {
            use NetworkError::{BridgeFilters, ParentDown, ParentIsPort};
            matches!(error, ParentDown(_) | ParentIsPort { .. } | BridgeFilters { .. })
        });
        let label = self.label();
        if let Some(error) = error {
            let there = self.took_parent(parent, host);
            let there =
                there.map(|instead| format!("ashore network move {label} --parent {}", instead.name.word()));
            let hint = there
                .or_else(|| Some(error.remedy()?.spelled(self.front())))
                .map_or_else(String::new, |hint| format!("; try: {hint}"));
            return Some(format!("network `{label}` is off the LAN: {error}{hint}"));
        }
        let why = no_carrier(parent, host)?;
        Some(format!("network `{label}` is off the LAN: {why}"))
    }

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

    /// Describes that the network's addresses are of another LAN than the one its parent is on now, and the
    /// remedy. If the host has no address on the parent, nothing can be said.
    pub fn trouble_of_subnets(&self, host: &View) -> Option<String> {
        let parent = self.hosts_own(host).filter(|parent| parent.up)?;
        // The addresses that a DHCP server leases are not checked.
        let handed_out = Network { subnets: self.handed_out().cloned().collect(), ..self.clone() };
        let mut families = [Family::Ipv4, Family::Ipv6].into_iter();
        let error =
            families.find_map(|family| handed_out.check_subnets_of_parent(host, parent, family).err())?;
        let (label, program) = (self.label(), if self.engine.is_some() { "docker" } else { "ashore" });
        Some(format!(
            "network `{label}` hands out addresses that nothing on the LAN can reach: {error}; if the LAN has other addresses now, \
             create the network again with that subnet: {program} network rm {label}, {program} network create …"
        ))
    }

    /// Describes that the host does not answer endpoints' ARP requests for its address through the shim,
    /// which does not have that address, and the remedy.
    pub fn trouble_of_arp(&self, host: &View) -> Option<String> {
        /// Values of `arp_ignore` (Linux, `ip-sysctl`). 1: answer only for addresses of the receiving link.
        /// 2: the same, and only to askers in the same subnet. 8: answer nothing.
        const NOT_FOR_OTHERS: [i32; 3] = [1, 2, 8];
        let parent = self.hosts_own(host).filter(|_| self.uses_shim())?;
        let shim = host.tagged(&Tag::Shim(parent.name.clone())).and_then(|shim| shim.arp_ignore);
        let value = host.arp_ignore.max(shim).filter(|value| NOT_FOR_OTHERS.contains(value))?;
        let by_shim = |subnet: &&Subnet| {
            subnet.net.addr().is_ipv4()
                && !subnet.aux.contains_key(HOST_AUX)
                && host.host_address(parent, &subnet.net).is_some()
        };
        // An ipvlan endpoint sends no such request.
        self.subnets.iter().find(by_shim).filter(|_| matches!(self.kind, LinkKind::Macvlan(_)))?;
        Some(format!(
            "endpoints of network `{}` do not reach this host: net.ipv4.conf.all.arp_ignore is {value}, so the host does not answer \
             through the shim for the address of `{}`; try: sysctl -w net.ipv4.conf.all.arp_ignore=0 (and =1 for single interfaces), \
             or create the network again with --aux-address host=",
            self.label(),
            parent.name
        ))
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

/// Why no frame can leave through a link that is up. Returns `None` if frames can.
fn no_carrier(link: &Link, host: &View) -> Option<String> {
    let (name, facing) = (&link.name, host.facing(link));
    if link.kind == ObservedKind::Bridge {
        let cut = !facing.is_empty() && facing.iter().all(|port| !port.carrier);
        let names = list(facing.iter().map(|port| format!("`{}`", port.name)));
        return cut.then(|| format!("no link of the bridge `{name}` to the LAN has a carrier: {names}"));
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
