//! A step: one change to the kernel's network state, as plain data.
//!
//! The same value is what `ashore plan` prints, what the log says, what the kernel crate applies, and whose inverse
//! undoes it. Each step prints as the one command that a person would type for it.

use std::net::IpAddr;

use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::net::family::Family;
use crate::net::kind::{LinkKind, PortOption};
use crate::net::link::{LinkSpec, Place, Tag};
use crate::net::name::IfName;
use crate::net::vlan::{Membership, VlanId};

mod command;
mod host;

pub use host::{HostAddress, HostRoute, Life};

/// The `rtm_protocol` of every route that Ashore makes: a number that no routing daemon in iproute2's
/// `rt_protos` has, so that `ip route show proto 65` lists exactly Ashore's.
pub const ROUTE_PROTOCOL: u8 = 65;

/// An address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The address with the length of its subnet's prefix.
    pub net: IpNet,
    /// IPv6: no duplicate address detection by the kernel (`IFA_F_NODAD`), because it was done before.
    pub nodad: bool,
}

/// A route of Ashore's, in the main table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads; a prefix of length 0 is the default route.
    pub to: IpNet,
    /// The next hop; without one the destination is on the link.
    pub via: Option<IpAddr>,
    /// The link that it leaves by.
    pub dev: IfName,
    /// The source address that the host prefers on it.
    pub src: Option<IpAddr>,
}

impl Route {
    /// Whether it leads to one address.
    pub fn is_single(&self) -> bool {
        self.to.prefix_len() == self.to.max_prefix_len()
    }

    /// Whether an endpoint is on the LAN without it: a route beside the default one, as a DHCP server or a router wishes it. Its way
    /// to the host is none.
    pub(crate) fn is_extra(&self) -> bool {
        self.to.prefix_len() > 0 && (self.to.addr().is_ipv4() || !self.is_single())
    }
}

/// A sysctl below `net.` that Ashore sets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sysctl {
    /// `ipv4` or `ipv6`.
    pub family: Family,
    /// The link that it is about.
    pub link: IfName,
    /// The last part of its name, such as `arp_filter`.
    pub key: SysctlKey,
}

/// The per-link sysctls that Ashore ever sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SysctlKey {
    /// Answer ARP only where the answer would leave by this link: keeps the shim silent towards the LAN.
    ArpFilter,
    /// Strict (1) or loose (2) reverse path check.
    RpFilter,
    /// Whether router advertisements are followed: a shim must not, or the host gets a second default route.
    AcceptRa,
    /// Whether the link has no IPv6 at all: a bridge's port needs none.
    DisableIpv6,
    /// The most bytes of an IPv6 packet. The kernel takes it back to the link's own whenever that changes or the link comes up.
    Mtu,
}

impl SysctlKey {
    /// The family that it is of.
    pub fn family(self) -> Family {
        match self {
            SysctlKey::ArpFilter | SysctlKey::RpFilter => Family::Ipv4,
            SysctlKey::AcceptRa | SysctlKey::DisableIpv6 | SysctlKey::Mtu => Family::Ipv6,
        }
    }

    /// The name below `/proc/sys/net/<family>/conf/<link>/`.
    pub fn as_str(self) -> &'static str {
        match self {
            SysctlKey::ArpFilter => "arp_filter",
            SysctlKey::RpFilter => "rp_filter",
            SysctlKey::AcceptRa => "accept_ra",
            SysctlKey::DisableIpv6 => "disable_ipv6",
            SysctlKey::Mtu => "mtu",
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Makes a link in its place, down.
    AddLink {
        /// Where.
        place: Place,
        /// What.
        link: LinkSpec,
    },
    /// Deletes a link, and with it its addresses and routes.
    DelLink {
        /// Where.
        place: Place,
        /// Which.
        link: IfName,
    },
    /// Writes the tag into the link's `ifalias`.
    SetAlias {
        /// Where.
        place: Place,
        /// Which link.
        link: IfName,
        /// The tag; none clears it.
        tag: Option<Tag>,
    },
    /// Keeps the kernel from giving a link an IPv6 link-local address of its own. It is a step by itself because the kernel
    /// refuses it while the link is being made (`EAFNOSUPPORT`, Linux 6.18), and for a link just made, so nothing is there
    /// to take back.
    SetNoLinkLocal {
        /// Where.
        place: Place,
        /// Which link.
        link: IfName,
    },
    /// Makes a link a port of a bridge, or takes it out.
    SetMaster {
        /// Where.
        place: Place,
        /// Which link.
        link: IfName,
        /// The bridge.
        master: Option<IfName>,
        /// The bridge that it was a port of.
        was: Option<IfName>,
    },
    /// Changes what a port of a bridge does.
    SetPort {
        /// Where.
        place: Place,
        /// Which port.
        link: IfName,
        /// What.
        option: PortOption,
        /// Whether it does so.
        on: bool,
    },
    /// Makes a port of a bridge a member of a VLAN, or another kind of member.
    SetPortVlan {
        /// Where.
        place: Place,
        /// Which port.
        link: IfName,
        /// The VLAN.
        vlan: VlanId,
        /// As what.
        membership: Membership,
        /// As what it was before, if it was.
        was: Option<Membership>,
    },
    /// Takes a port of a bridge out of a VLAN.
    DelPortVlan {
        /// Where.
        place: Place,
        /// Which port.
        link: IfName,
        /// The VLAN.
        vlan: VlanId,
        /// As what it was a member.
        was: Membership,
    },
    /// Changes the MTU.
    SetMtu {
        /// Where.
        place: Place,
        /// Which link.
        link: IfName,
        /// In bytes.
        mtu: u32,
        /// What it was.
        was: u32,
    },
    /// Changes the mode of a macvlan or ipvlan link. The kernel keeps one for all ipvlan children of a parent.
    SetMode {
        /// Where.
        place: Place,
        /// Which link.
        link: IfName,
        /// Its kind with the mode.
        kind: LinkKind,
        /// The same as it was; none of a mode that no network has.
        was: Option<LinkKind>,
    },
    /// Tells switches of a VLAN by GVRP, or no longer.
    SetGvrp {
        /// Where.
        place: Place,
        /// Which link.
        link: IfName,
        /// On, or off.
        on: bool,
    },
    /// Brings a link up or down.
    SetUp {
        /// Where.
        place: Place,
        /// Which link.
        link: IfName,
        /// Up, or down.
        up: bool,
    },
    /// Adds an address.
    AddAddress {
        /// Where.
        place: Place,
        /// To which link.
        link: IfName,
        /// Which.
        address: Address,
    },
    /// Removes an address.
    DelAddress {
        /// Where.
        place: Place,
        /// From which link.
        link: IfName,
        /// Which.
        address: Address,
    },
    /// Has nothing new begun from an IPv6 address that is there, or again (its preferred lifetime, RFC 4862, 5.5.4).
    SetDeprecated {
        /// Where.
        place: Place,
        /// On which link.
        link: IfName,
        /// The address with the length of its subnet's prefix.
        net: IpNet,
        /// Nothing new, or again.
        on: bool,
    },
    /// Adds a route, or puts it in the place of one to the same destination that is Ashore's as well.
    SetRoute {
        /// Where.
        place: Place,
        /// The route that shall be.
        route: Route,
        /// The route that it takes the place of, if there is one.
        instead_of: Option<Route>,
    },
    /// Removes a route.
    DelRoute {
        /// Where.
        place: Place,
        /// Which.
        route: Route,
    },
    /// Adds a permanent neighbour entry.
    AddNeighbour {
        /// Where.
        place: Place,
        /// On which link.
        link: IfName,
        /// The neighbour's address.
        ip: IpAddr,
        /// The neighbour's MAC.
        mac: Mac,
    },
    /// Removes a permanent neighbour entry.
    DelNeighbour {
        /// Where.
        place: Place,
        /// On which link.
        link: IfName,
        /// The neighbour's address.
        ip: IpAddr,
        /// The neighbour's MAC.
        mac: Mac,
    },
    /// Gives a link an address of the host's own, or makes the one that it has so.
    PutHostAddress {
        /// Where.
        place: Place,
        /// To which link.
        link: IfName,
        /// Which.
        address: HostAddress,
    },
    /// Takes an address of the host's own from a link.
    DelHostAddress {
        /// Where.
        place: Place,
        /// From which link.
        link: IfName,
        /// Which.
        address: HostAddress,
    },
    /// Has a route of the host's own lead by another link than before.
    Reroute {
        /// Where.
        place: Place,
        /// The route as it shall be.
        route: HostRoute,
        /// The link by which it led.
        was: IfName,
    },
    /// Sets a sysctl.
    SetSysctl {
        /// Where.
        place: Place,
        /// Which.
        sysctl: Sysctl,
        /// Its value.
        value: i32,
        /// What it was, if that is known.
        was: Option<i32>,
    },
}

impl Step {
    /// Where the change happens.
    pub fn place(&self) -> &Place {
        match self {
            Step::AddLink { place, .. }
            | Step::DelLink { place, .. }
            | Step::SetAlias { place, .. }
            | Step::SetNoLinkLocal { place, .. }
            | Step::SetMaster { place, .. }
            | Step::SetPort { place, .. }
            | Step::SetPortVlan { place, .. }
            | Step::DelPortVlan { place, .. }
            | Step::SetMtu { place, .. }
            | Step::SetMode { place, .. }
            | Step::SetGvrp { place, .. }
            | Step::SetUp { place, .. }
            | Step::AddAddress { place, .. }
            | Step::DelAddress { place, .. }
            | Step::SetDeprecated { place, .. }
            | Step::SetRoute { place, .. }
            | Step::DelRoute { place, .. }
            | Step::AddNeighbour { place, .. }
            | Step::DelNeighbour { place, .. }
            | Step::PutHostAddress { place, .. }
            | Step::DelHostAddress { place, .. }
            | Step::Reroute { place, .. }
            | Step::SetSysctl { place, .. } => place,
        }
    }

    /// The link that it is about.
    pub fn link(&self) -> &IfName {
        match self {
            Step::AddLink { link, .. } => &link.name,
            Step::DelLink { link, .. }
            | Step::SetAlias { link, .. }
            | Step::SetNoLinkLocal { link, .. }
            | Step::SetMaster { link, .. }
            | Step::SetPort { link, .. }
            | Step::SetPortVlan { link, .. }
            | Step::DelPortVlan { link, .. }
            | Step::SetMtu { link, .. }
            | Step::SetMode { link, .. }
            | Step::SetGvrp { link, .. }
            | Step::SetUp { link, .. }
            | Step::AddAddress { link, .. }
            | Step::DelAddress { link, .. }
            | Step::SetDeprecated { link, .. }
            | Step::AddNeighbour { link, .. }
            | Step::DelNeighbour { link, .. }
            | Step::PutHostAddress { link, .. }
            | Step::DelHostAddress { link, .. } => link,
            Step::SetRoute { route, .. } | Step::DelRoute { route, .. } => &route.dev,
            Step::Reroute { route, .. } => &route.route.dev,
            Step::SetSysctl { sysctl, .. } => &sysctl.link,
        }
    }

    /// Whether it makes a route in a container that an endpoint is on the LAN without.
    pub fn is_extra(&self) -> bool {
        matches!(self, Step::SetRoute { place: Place::Netns(_), route, .. } if route.is_extra())
    }

    /// The step that takes this one back. Nothing takes back the deletion of a link, which planning again makes anew, or a
    /// sysctl of unknown former value, or a mode that no network has.
    pub fn inverse(&self) -> Option<Step> {
        Some(match self.clone() {
            Step::AddLink { place, link } => Step::DelLink { place, link: link.name },
            Step::SetAlias { place, link, tag: Some(_) } => Step::SetAlias { place, link, tag: None },
            Step::DelLink { .. } | Step::SetNoLinkLocal { .. } | Step::SetAlias { tag: None, .. } => {
                return None;
            }
            Step::SetMaster { place, link, master, was } => {
                Step::SetMaster { place, link, master: was, was: master }
            }
            Step::SetPort { place, link, option, on } => Step::SetPort { place, link, option, on: !on },
            Step::SetPortVlan { place, link, vlan, membership, was: None } => {
                Step::DelPortVlan { place, link, vlan, was: membership }
            }
            Step::SetPortVlan { place, link, vlan, membership, was: Some(was) } => {
                Step::SetPortVlan { place, link, vlan, membership: was, was: Some(membership) }
            }
            Step::DelPortVlan { place, link, vlan, was } => {
                Step::SetPortVlan { place, link, vlan, membership: was, was: None }
            }
            Step::SetMtu { place, link, mtu, was } => Step::SetMtu { place, link, mtu: was, was: mtu },
            Step::SetMode { place, link, kind, was } => {
                Step::SetMode { place, link, kind: was?, was: Some(kind) }
            }
            Step::SetGvrp { place, link, on } => Step::SetGvrp { place, link, on: !on },
            Step::SetUp { place, link, up } => Step::SetUp { place, link, up: !up },
            Step::AddAddress { place, link, address } => Step::DelAddress { place, link, address },
            Step::DelAddress { place, link, address } => Step::AddAddress { place, link, address },
            Step::SetDeprecated { place, link, net, on } => Step::SetDeprecated { place, link, net, on: !on },
            Step::SetRoute { place, route, instead_of: None } => Step::DelRoute { place, route },
            Step::SetRoute { place, route, instead_of: Some(old) } => {
                Step::SetRoute { place, route: old, instead_of: Some(route) }
            }
            Step::DelRoute { place, route } => Step::SetRoute { place, route, instead_of: None },
            Step::AddNeighbour { place, link, ip, mac } => Step::DelNeighbour { place, link, ip, mac },
            Step::DelNeighbour { place, link, ip, mac } => Step::AddNeighbour { place, link, ip, mac },
            Step::PutHostAddress { place, link, address } => Step::DelHostAddress { place, link, address },
            Step::DelHostAddress { place, link, address } => Step::PutHostAddress { place, link, address },
            Step::Reroute { place, route, was } => {
                let now = route.route.dev.clone();
                let route = HostRoute { route: Route { dev: was, ..route.route }, ..route };
                Step::Reroute { place, route, was: now }
            }
            Step::SetSysctl { place, sysctl, value, was } => {
                Step::SetSysctl { place, sysctl, value: was?, was: Some(value) }
            }
        })
    }
}

impl Address {
    /// IPv4 subnets of more than two addresses have a broadcast address; programs that ask for it expect it set.
    pub fn has_broadcast(&self) -> bool {
        matches!(self.net, IpNet::V4(net) if net.prefix_len() < 31)
    }
}
