//! The checks of a network before it is made.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ipnet::IpNet;

use super::error::NetworkError;
use crate::model::network::{HOST_AUX, Network, Subnet};
use crate::net::family::{Family, is_link_local};
use crate::net::kind::{IpvlanMode, LinkKind, MacvlanMode};
use crate::net::link::Place;
use crate::net::name::IfName;
use crate::net::observed::{Link, OPEN_VSWITCH, ObservedKind, View};
use crate::net::option::{BC_LIMIT, BC_QUEUE_LEN};
use crate::net::text::{Shown, list};
use crate::net::vlan::Vlan;

impl Network {
    /// Runs all checks that need no other network.
    pub fn check(&self, host: &View) -> Result<(), NetworkError> {
        let lowest = self.check_parent(host)?;
        self.check_mtu(host.link(&self.parent).unwrap_or(lowest))?;
        let parent = self.hosts_own(host);
        self.check_subnets()?;
        if let Some(parent) = parent {
            for family in [Family::Ipv4, Family::Ipv6] {
                self.check_subnets_of_parent(host, parent, family)?;
            }
        }
        self.check_ranges_hold_something(host)?;
        self.check_beside_foreign_children(host)?;
        self.check_host_is_not_cut(host)?;
        self.check_host_address(host)?;
        if let Some(parent) = parent {
            self.check_answers_pass(host, parent)?;
        }
        self.check_options()
    }

    /// Checks that a range from which Ashore assigns addresses holds at least one that can be assigned.
    fn check_ranges_hold_something(&self, host: &View) -> Result<(), NetworkError> {
        /// A larger range holds more addresses than can be kept from endpoints.
        const SMALL: u128 = 256;
        for subnet in self.handed_out().filter(|_| !self.adopted) {
            let pool = subnet.pool();
            if pool.len() > SMALL {
                continue;
            }
            let kept = |ip: IpAddr| {
                let own = || host.has_foreign_address(ip).then(|| "it is this host's own".to_owned());
                subnet.never(ip).map(|never| never.to_string()).or_else(own)
            };
            let mut all = pool.from_offset(0).take(pool.len() as usize).map(kept);
            if let Some(Some(why)) = all.next()
                && all.all(|why| why.is_some())
            {
                return Err(NetworkError::RangeHoldsNothing { range: pool, ip: pool.first(), why });
            }
        }
        Ok(())
    }

    /// Checks the links on the parent that Ashore did not make, for example by hand or for a virtual machine.
    /// The kernel would refuse the first endpoint's link beside them, or switch an ipvlan link to the mode
    /// set last.
    fn check_beside_foreign_children(&self, host: &View) -> Result<(), NetworkError> {
        let Some(parent) = host.link(&self.parent) else { return Ok(()) };
        let children = host.links.iter().filter(|link| link.tag().is_none());
        self.check_beside_children(children.filter(|link| link.is_child_of(parent, &Place::Host)), None)
    }

    /// The same check for children of the parent in another namespace, of which `elsewhere` is a path. The
    /// host does not see those.
    pub fn check_beside_children<'a>(
        &self,
        children: impl Iterator<Item = &'a Link>,
        elsewhere: Option<&Path>,
    ) -> Result<(), NetworkError> {
        let mut foreign =
            children.filter(|link| link.is_child()).filter_map(|link| Some((link, link.kind.mode()?)));
        match foreign.find(|(_, there)| !self.kind.compatible_with(*there)) {
            None => Ok(()),
            Some((child, there)) => Err(NetworkError::ParentHasChild {
                parent: self.parent.clone(),
                child: child.name.clone(),
                elsewhere: elsewhere.map(|path| Shown(path.as_os_str().as_bytes()).to_string()),
                there,
                kind: self.kind,
            }),
        }
    }

    /// Checks that the host keeps its addresses. In passthru mode the kernel hands every frame that the
    /// parent receives to the child (Linux 6.18, `macvlan.c`).
    pub fn check_host_is_not_cut(&self, host: &View) -> Result<(), NetworkError> {
        if self.kind != LinkKind::Macvlan(MacvlanMode::Passthru) {
            return Ok(());
        }
        let Some(parent) = host.link(&self.parent) else { return Ok(()) };
        let addresses = || host.addresses_of(parent).filter(|address| !address.link_scope);
        if addresses().next().is_none() {
            return Ok(());
        }
        let (parent, present) = (self.parent.clone(), list(addresses().map(|address| address.net.addr())));
        Err(NetworkError::PassthruCutsHost { parent, present })
    }

    /// Checks that the parent, or the interface on which Ashore makes it, can carry the network. Returns that
    /// link.
    pub(crate) fn check_parent<'a>(&self, host: &'a View) -> Result<&'a Link, NetworkError> {
        let name = self.lower_device(host);
        let parent = host.link(name).ok_or_else(|| NetworkError::NoParent {
            parent: name.clone(),
            present: list(host.links.iter().filter(|l| could_be_parent(l)).map(|l| l.name.as_str())),
        })?;
        if !name.is_plain() {
            return Err(unfit(name, "an interface whose name is not plain text; rename it while it is down"));
        }
        let vlan = self.vlan.as_ref().filter(|vlan| vlan.lower == *name);
        match vlan {
            Some(vlan) if self.kind == LinkKind::Bridge => vlan.check_takes_ports(host, parent)?,
            Some(vlan) => {
                check_can_have_vlan(parent, vlan)?;
                vlan.check_reaches_host(host, parent)?;
            }
            None => {
                // An engine may have put its network on an interface that Ashore made.
                let shares = self.adopted && host.own_vlan(parent).is_some();
                if parent.tag().is_some() && !shares {
                    return Err(of_ashore(name));
                }
                self.check_can_have_children(parent)?;
                host.check_not_deaf(parent)?;
            }
        }
        if let Some(master) = parent.master {
            let master = host.link_at(master);
            let vrf = master.filter(|master| master.kind == ObservedKind::Other("vrf".into()));
            if let Some(vrf) = vrf {
                let what = format!("in the VRF `{}`, whose routes are not the host's", vrf.name);
                return Err(unfit(name, &what));
            }
            return Err(NetworkError::ParentIsPort {
                parent: name.clone(),
                bridge: master.is_some_and(|master| master.kind == ObservedKind::Bridge),
                master: master.map_or_else(|| "another link".into(), |master| master.name.to_string()),
                instead: master
                    .and_then(|master| host.in_place_of(parent, master))
                    .map(|link| link.name.clone()),
                kind: self.kind,
                vlan: vlan.map(|vlan| vlan.id),
            });
        }
        if parent.up { Ok(parent) } else { Err(NetworkError::ParentDown(name.clone())) }
    }

    fn check_can_have_children(&self, parent: &Link) -> Result<(), NetworkError> {
        let name = &parent.name;
        if parent.wireless && !matches!(self.kind, LinkKind::Ipvlan(_)) {
            return Err(NetworkError::ParentIsWifi(name.clone(), self.kind));
        }
        match (&parent.kind, self.kind) {
            // A bridge's children are on the LAN like those of a NIC: for their MACs the bridge receives all
            // frames (Linux 6.18, `__dev_set_rx_mode`).
            (ObservedKind::Bridge, _) => {}
            (_, LinkKind::Bridge) => return Err(NetworkError::ParentIsNoBridge(name.clone())),
            _ => check_faces_a_lan(parent)?,
        }
        Ok(())
    }

    fn check_mtu(&self, parent: &Link) -> Result<(), NetworkError> {
        let Some(mtu) = self.mtu else { return Ok(()) };
        if mtu > parent.mtu {
            return Err(NetworkError::MtuTooLarge { mtu, parent: parent.name.clone(), most: parent.mtu });
        }
        let v6 = self.has_ipv6();
        let (family, least) = if v6 { ("IPv6", 1280) } else { ("IPv4", 68) };
        if mtu < least { Err(NetworkError::MtuTooSmall { mtu, family, least }) } else { Ok(()) }
    }

    /// Checks the subnets by themselves, without the host.
    pub fn check_subnets(&self) -> Result<(), NetworkError> {
        if self.subnets.is_empty() {
            return Err(NetworkError::NoSubnet);
        }
        for (at, subnet) in self.subnets.iter().enumerate() {
            if subnet.net.prefix_len() == subnet.net.max_prefix_len() {
                return Err(NetworkError::SubnetTooSmall(subnet.net));
            }
            if let Some(other) = self.subnets[..at].iter().find(|other| overlap(&other.net, &subnet.net)) {
                return Err(NetworkError::SubnetsOverlap(other.net, subnet.net));
            }
            if let Some(range) = subnet.range.filter(|range| !range.lies_in(&subnet.net)) {
                return Err(NetworkError::RangeOutside(range, subnet.net));
            }
            if let Some(why) = unfit_subnet(&subnet.net) {
                return Err(NetworkError::SubnetUnfit(subnet.net, why));
            }
            check_given_addresses(subnet)?;
        }
        Ok(())
    }

    /// Checks the subnets against the host's addresses on the parent. If the host has an address of the
    /// family there, one of the subnets must contain it; the others are further subnets on the same wire. If
    /// the host has no such address, it is not part of that LAN (a VLAN, for example), and there is nothing
    /// to compare.
    pub(crate) fn check_subnets_of_parent(
        &self,
        host: &View,
        parent: &Link,
        family: Family,
    ) -> Result<(), NetworkError> {
        let subnets = || self.subnets.iter().filter(|subnet| Family::of(subnet.net.addr()) == family);
        let present: Vec<IpNet> = host
            .addresses_of(parent)
            .filter(|address| !address.link_scope && Family::of(address.net.addr()) == family)
            .map(|address| address.net)
            .collect();
        // An address with a full-length prefix says nothing about the subnet. DHCPv6 (RFC 8415) and
        // point-to-point links assign such addresses.
        let is_hosts_own = |subnet: &Subnet| {
            present.iter().any(|net| {
                net.trunc() == subnet.net
                    || (net.prefix_len() == net.max_prefix_len() && subnet.net.contains(net))
            })
        };
        match subnets().next() {
            Some(foreign) if !present.is_empty() && !subnets().any(is_hosts_own) => {
                Err(NetworkError::ForeignSubnet {
                    subnet: foreign.net,
                    parent: parent.name.clone(),
                    present: list(present.iter().map(ToString::to_string)),
                })
            }
            _ => Ok(()),
        }
    }

    /// Checks the `host` address: it must be an additional address, not one that the host has already.
    fn check_host_address(&self, host: &View) -> Result<(), NetworkError> {
        let reserved = self.subnets.iter().filter_map(|subnet| subnet.aux.get(HOST_AUX));
        let Some(ip) = reserved.copied().find(|ip| host.has_foreign_address(*ip)) else { return Ok(()) };
        // Guides to Docker's macvlan have the user make such a link.
        let has_it =
            |link: &&Link| link.is_child() && host.addresses_of(link).any(|there| there.net.addr() == ip);
        match host.links.iter().find(|link| link.tag().is_none() && has_it(link)) {
            Some(link) => Err(NetworkError::ShimByHand { ip, link: link.name.clone() }),
            None => Err(NetworkError::AddressUnfit {
                what: "--aux-address host".into(),
                ip,
                why: "this host has it already, and without a `host` address the shim uses that one".into(),
            }),
        }
    }

    /// Checks that the host accepts what endpoints send to it. Packets of an ipvlan endpoint in l2 mode
    /// arrive on the parent, while the host's route to the endpoint is through the shim (Linux 6.1,
    /// `ipvlan_core.c`). A `host` address is on the shim itself, so packets to it arrive there.
    pub(crate) fn check_answers_pass(&self, host: &View, parent: &Link) -> Result<(), NetworkError> {
        let l2 = self.kind == LinkKind::Ipvlan(IpvlanMode::L2) && self.host_access;
        let by_parent = |subnet: &Subnet| {
            subnet.net.addr().is_ipv4()
                && !subnet.aux.contains_key(HOST_AUX)
                && host.host_address(parent, &subnet.net).is_some()
        };
        if l2 && host.is_strict(parent) && self.subnets.iter().any(by_parent) {
            return Err(NetworkError::StrictReversePath(parent.name.clone()));
        }
        Ok(())
    }

    /// Checks whether users other than root may be allowed the network. The kernel gives a passthru child the parent's
    /// MAC, and the parent the MAC that the child's owner sets (Linux 6.18, `macvlan_set_mac_address`).
    pub fn check_users(&self) -> Result<(), NetworkError> {
        if self.is_for_root_alone() && !self.allowed.is_nobody() {
            return Err(NetworkError::PassthruForUsers(self.parent.clone()));
        }
        Ok(())
    }

    fn check_options(&self) -> Result<(), NetworkError> {
        self.check_users()?;
        self.check_addressing()?;
        self.check_ipv6()?;
        let given = [(&BC_QUEUE_LEN, self.bc_queue_len.is_some()), (&BC_LIMIT, self.bc_limit.is_some())];
        let given = given.into_iter().find(|(_, is_given)| *is_given);
        if let Some((option, _)) = given.filter(|_| !matches!(self.kind, LinkKind::Macvlan(_))) {
            return Err(NetworkError::NoQueue(self.kind, option));
        }
        if let Some(option) = self.port.first().filter(|_| self.kind != LinkKind::Bridge) {
            return Err(NetworkError::NoPorts(*option, self.kind));
        }
        let host_address = self.subnets.iter().any(|subnet| subnet.aux.contains_key(HOST_AUX));
        if host_address && !self.host_access {
            return Err(NetworkError::HostAddressWithoutAccess);
        }
        if self.host_access && self.kind.hides_from_host() {
            Err(NetworkError::NoHostAccess(self.kind))
        } else {
            Ok(())
        }
    }
}

fn check_given_addresses(subnet: &Subnet) -> Result<(), NetworkError> {
    let mut given: Vec<(String, IpAddr)> =
        subnet.aux.iter().map(|(name, ip)| (format!("--aux-address {name}"), *ip)).collect();
    given.extend(subnet.gateway.map(|ip| ("the gateway".to_owned(), ip)));
    // These addresses are reserved themselves, so they are checked against a subnet without reservations.
    let bare = Subnet { gateway: None, aux: BTreeMap::new(), ..subnet.clone() };
    for (at, (what, ip)) in given.iter().enumerate() {
        // A router's link-local IPv6 address is a valid next hop, and the usual one in home networks.
        let next_hop = is_link_local(*ip) && subnet.gateway == Some(*ip);
        if !subnet.net.contains(ip) && !next_hop {
            return Err(NetworkError::AddressOutside { what: what.clone(), ip: *ip, subnet: subnet.net });
        }
        if let Some(why) = bare.never(*ip) {
            return Err(NetworkError::AddressUnfit { what: what.clone(), ip: *ip, why: why.to_string() });
        }
        if let Some((other, _)) = given[..at].iter().find(|(_, earlier)| earlier == ip) {
            return Err(NetworkError::AddressTwice { ip: *ip, one: other.clone(), other: what.clone() });
        }
    }
    Ok(())
}

pub(super) fn could_be_parent(link: &Link) -> bool {
    link.tag().is_none()
        && link.name.is_plain()
        && link.master.is_none()
        && match &link.kind {
            ObservedKind::Physical
            | ObservedKind::Bridge
            | ObservedKind::Vlan { .. }
            | ObservedKind::Veth => true,
            ObservedKind::Other(kind) => ["bond", "team", OPEN_VSWITCH].contains(&kind.as_str()),
            ObservedKind::Macvlan { .. }
            | ObservedKind::Ipvlan { .. }
            | ObservedKind::Tap
            | ObservedKind::Loopback => false,
        }
}

/// Why no machine of a LAN can have an address in a subnet (RFC 6890, RFC 4291).
fn unfit_subnet(net: &IpNet) -> Option<&'static str> {
    let ip = net.addr();
    if net.prefix_len() == 0 {
        return Some("it covers all addresses");
    }
    if ip.is_multicast() {
        return Some("its addresses are multicast");
    }
    if ip.is_loopback() {
        return Some("its addresses are loopback, and never leave a host");
    }
    match ip {
        IpAddr::V4(ip) if ip.octets()[0] == 0 => Some("its addresses identify no machine"),
        IpAddr::V4(ip) if ip.octets()[0] >= 240 => Some("its addresses are reserved"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("it is link-local, and every link has it"),
        _ => None,
    }
}

fn check_can_have_vlan(lower: &Link, vlan: &Vlan) -> Result<(), NetworkError> {
    check_faces_a_lan(lower)?;
    if lower.tag().is_some() {
        return Err(of_ashore(&lower.name));
    }
    if lower.wireless { Err(NetworkError::VlanOnWifi(vlan.clone())) } else { Ok(()) }
}

fn check_faces_a_lan(link: &Link) -> Result<(), NetworkError> {
    match &link.kind {
        ObservedKind::Loopback => Err(unfit(&link.name, "the loopback interface")),
        ObservedKind::Macvlan { .. } | ObservedKind::Ipvlan { .. } | ObservedKind::Tap => {
            Err(unfit(&link.name, "itself a macvlan or ipvlan child"))
        }
        ObservedKind::Other(kind) if kind == OPEN_VSWITCH && link.name.as_str() == "ovs-system" => {
            Err(unfit(&link.name, "Open vSwitch's datapath device, which sends nothing itself"))
        }
        ObservedKind::Other(kind) if leads_nowhere(kind).is_some() => {
            Err(unfit(&link.name, leads_nowhere(kind).unwrap_or_default()))
        }
        _ if link.mac.is_none() => Err(unfit(&link.name, "a tunnel without Ethernet addresses")),
        _ => Ok(()),
    }
}

/// Describes a link that has a MAC but never sends a frame to a LAN. Returns `None` for other kinds.
fn leads_nowhere(kind: &str) -> Option<&'static str> {
    match kind {
        "dummy" => Some("a dummy, which leads nowhere"),
        "ifb" => Some("a link for traffic control only (ifb)"),
        "vrf" => Some("a VRF, which is a routing table and not a wire"),
        "nlmon" => Some("a link for listening to netlink (nlmon)"),
        _ => None,
    }
}

fn of_ashore(name: &IfName) -> NetworkError {
    unfit(name, "an interface that Ashore made, which is removed with its last network")
}

fn unfit(name: &IfName, what: &str) -> NetworkError {
    NetworkError::ParentUnfit(name.clone(), what.to_owned())
}

/// Whether two subnets have an address in common.
fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}
