//! A step: one change to the kernel's network state, as plain data.
//!
//! `ashore plan` prints it, the log records it, the kernel crate applies it, and its inverse undoes it. Each
//! step prints as the single command that a user would type for it.

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

/// The `rtm_protocol` of every route that Ashore makes. No routing daemon in iproute2's `rt_protos` has this
/// number, so `ip route show proto 65` lists exactly Ashore's routes.
pub const ROUTE_PROTOCOL: u8 = 65;

/// The metric of an IPv6 route that was made without a metric (Linux 6.18, `IP6_RT_PRIO_USER`).
pub(crate) const IPV6_METRIC: u32 = 1024;

/// The metric of a route to this address that was made without a metric.
pub fn metric_of_kernel(to: IpAddr) -> u32 {
    if to.is_ipv4() { 0 } else { IPV6_METRIC }
}

/// A metric that a user chose for a route to this address. `None` if it is the one that the kernel chooses, which is not
/// seen as chosen: the kernel takes 0 for its own.
pub fn chosen_metric(metric: Option<u32>, to: IpAddr) -> Option<u32> {
    metric.filter(|metric| ![0, metric_of_kernel(to)].contains(metric))
}

/// An address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The address with its subnet's prefix length.
    pub net: IpNet,
    /// IPv6: the kernel does no duplicate address detection (`IFA_F_NODAD`), because it was done before.
    pub nodad: bool,
}

/// A route in the main table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// The destination. A prefix of length 0 is the default route.
    pub to: IpNet,
    /// The next hop. Without one, the destination is on the link.
    pub via: Option<IpAddr>,
    /// The link by which packets leave.
    pub dev: IfName,
    /// The preferred source address of the host.
    pub src: Option<IpAddr>,
    /// Its metric. `None`: the kernel's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

impl Route {
    /// Whether the destination is a single address.
    pub fn is_single(&self) -> bool {
        self.to.prefix_len() == self.to.max_prefix_len()
    }

    /// The metric that the kernel gives it.
    pub(crate) fn has_metric(&self) -> u32 {
        self.metric.unwrap_or(metric_of_kernel(self.to.addr()))
    }

    /// Whether an endpoint is on the LAN without this route: it is a route beside the default route, which a
    /// DHCP server or a router announced. The endpoint's IPv6 route to the host is not extra.
    pub(crate) fn is_extra(&self) -> bool {
        self.to.prefix_len() > 0 && (self.to.addr().is_ipv4() || !self.is_single())
    }
}

/// A sysctl below `net.` that Ashore sets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sysctl {
    /// `ipv4` or `ipv6`.
    pub family: Family,
    /// The link that it belongs to.
    pub link: IfName,
    /// The last part of its name, such as `arp_filter`.
    pub key: SysctlKey,
}

/// The per-link sysctls that Ashore sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SysctlKey {
    /// Answers ARP only on the link by which the answer would leave. This keeps the shim silent towards the
    /// LAN.
    ArpFilter,
    /// The reverse path check: strict (1) or loose (2).
    RpFilter,
    /// Whether the kernel follows router advertisements. A shim must not, or the host gets a second default
    /// route.
    AcceptRa,
    /// Whether IPv6 is off on the link. A bridge port needs none.
    DisableIpv6,
    /// The IPv6 MTU in bytes. The kernel resets it to the link's MTU whenever that changes or the link comes
    /// up.
    Mtu,
}

impl SysctlKey {
    /// The family of the sysctl.
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

/// One change to the kernel's network state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Makes a link in its place. The link is down.
    AddLink {
        /// The place.
        place: Place,
        /// The link to make.
        link: LinkSpec,
    },
    /// Deletes a link, together with its addresses and routes.
    DelLink {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
    },
    /// Writes the tag into the link's `ifalias`.
    SetAlias {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// The tag. `None` clears it.
        tag: Option<Tag>,
    },
    /// Keeps the kernel from assigning an IPv6 link-local address to a link. This is a separate step because
    /// the kernel refuses it while the link is being made (`EAFNOSUPPORT`, Linux 6.18). It has no inverse,
    /// because it is only used for a link that was just made.
    SetNoLinkLocal {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
    },
    /// Makes a link a port of a bridge, or removes it from its bridge.
    SetMaster {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// The bridge. `None` removes the link from its bridge.
        master: Option<IfName>,
        /// The bridge of which it was a port before.
        was: Option<IfName>,
    },
    /// Sets an option of a bridge port.
    SetPort {
        /// The place.
        place: Place,
        /// The port.
        link: IfName,
        /// The option.
        option: PortOption,
        /// Whether the port has the option.
        on: bool,
    },
    /// Makes a bridge port a member of a VLAN, or changes its membership.
    SetPortVlan {
        /// The place.
        place: Place,
        /// The port.
        link: IfName,
        /// The VLAN.
        vlan: VlanId,
        /// The new membership.
        membership: Membership,
        /// The membership before, if there was one.
        was: Option<Membership>,
    },
    /// Removes a bridge port from a VLAN.
    DelPortVlan {
        /// The place.
        place: Place,
        /// The port.
        link: IfName,
        /// The VLAN.
        vlan: VlanId,
        /// The membership before.
        was: Membership,
    },
    /// Changes a link's MTU.
    SetMtu {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// The new MTU in bytes.
        mtu: u32,
        /// The MTU before.
        was: u32,
    },
    /// Changes the mode of a macvlan or ipvlan link. The kernel keeps one mode for all ipvlan children of a
    /// parent.
    SetMode {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// Its kind with the new mode.
        kind: LinkKind,
        /// Its kind with the mode before. `None` if no network has that mode.
        was: Option<LinkKind>,
    },
    /// Turns the announcement of a VLAN by GVRP on or off.
    SetGvrp {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// Whether GVRP is on.
        on: bool,
    },
    /// Brings a link up or down.
    SetUp {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// Whether the link is up afterwards.
        up: bool,
    },
    /// Adds an address.
    AddAddress {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// The address.
        address: Address,
    },
    /// Removes an address.
    DelAddress {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// The address.
        address: Address,
    },
    /// Deprecates an existing IPv6 address, so that no new connections use it, or makes it preferred again
    /// (its preferred lifetime, RFC 4862, 5.5.4).
    SetDeprecated {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// The address with its subnet's prefix length.
        net: IpNet,
        /// Whether the address is deprecated.
        on: bool,
    },
    /// Adds a route, or replaces another route of Ashore's to the same destination.
    SetRoute {
        /// The place.
        place: Place,
        /// The new route.
        route: Route,
        /// The route that it replaces, if there is one.
        instead_of: Option<Route>,
    },
    /// Removes a route.
    DelRoute {
        /// The place.
        place: Place,
        /// The route.
        route: Route,
    },
    /// Adds a permanent neighbour entry.
    AddNeighbour {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// The neighbour's address.
        ip: IpAddr,
        /// The neighbour's MAC.
        mac: Mac,
    },
    /// Removes a permanent neighbour entry.
    DelNeighbour {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// The neighbour's address.
        ip: IpAddr,
        /// The neighbour's MAC.
        mac: Mac,
    },
    /// Adds an address of the host's own to a link, or changes the existing one to match.
    PutHostAddress {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// The address.
        address: HostAddress,
    },
    /// Removes an address of the host's own from a link.
    DelHostAddress {
        /// The place.
        place: Place,
        /// The link.
        link: IfName,
        /// The address.
        address: HostAddress,
    },
    /// Moves a route of the host's own to another link.
    Reroute {
        /// The place.
        place: Place,
        /// The new route.
        route: HostRoute,
        /// The link by which it left before.
        was: IfName,
    },
    /// Sets a sysctl.
    SetSysctl {
        /// The place.
        place: Place,
        /// The sysctl.
        sysctl: Sysctl,
        /// Its new value.
        value: i32,
        /// Its value before, if known.
        was: Option<i32>,
    },
}

impl Step {
    /// The place where the change happens.
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

    /// The link that the step changes.
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

    /// Whether it makes a route in a container without which the endpoint is still on the LAN.
    pub fn is_extra(&self) -> bool {
        matches!(self, Step::SetRoute { place: Place::Netns(_), route, .. } if route.is_extra())
    }

    /// Whether it makes the same change as another step, whatever was there before.
    pub fn makes_the_same(&self, other: &Step) -> bool {
        fn bare(mut step: Step) -> Step {
            match &mut step {
                Step::SetMaster { was, .. } => *was = None,
                Step::SetPortVlan { was, .. } => *was = None,
                Step::DelPortVlan { was, .. } => *was = Membership::UNTAGGED,
                Step::SetMtu { mtu, was, .. } => *was = *mtu,
                Step::SetMode { was, .. } => *was = None,
                Step::SetRoute { instead_of, .. } => *instead_of = None,
                Step::SetSysctl { was, .. } => *was = None,
                _ => {}
            }
            step
        }
        bare(self.clone()) == bare(other.clone())
    }

    /// Returns the step that undoes this one. Returns `None` for the deletion of a link or of a tag, for
    /// [`Step::SetNoLinkLocal`], for a sysctl whose former value is unknown, and for a former mode that no
    /// network has. The next plan makes a deleted link again.
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
    /// Whether the address gets a broadcast address: IPv4 subnets of more than two addresses have one, and
    /// programs that ask for it expect it to be set.
    pub fn has_broadcast(&self) -> bool {
        matches!(self.net, IpNet::V4(net) if net.prefix_len() < 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_makes_the_same_whatever_was_there_before() {
        let (place, link): (Place, IfName) = (Place::Host, "ashore0".parse().unwrap());
        let route = |dev: &str| Route {
            to: "fd88::2/128".parse().unwrap(),
            via: None,
            dev: dev.parse().unwrap(),
            src: None,
            metric: None,
        };
        let sysctl = Sysctl { family: Family::Ipv4, link: link.clone(), key: SysctlKey::ArpFilter };
        let vlan: VlanId = 20.try_into().unwrap();
        let set_route =
            |dev, instead_of| Step::SetRoute { place: Place::Host, route: route(dev), instead_of };
        let set_sysctl =
            |value, was| Step::SetSysctl { place: Place::Host, sysctl: sysctl.clone(), value, was };
        let set_mtu = |mtu, was| Step::SetMtu { place: Place::Host, link: link.clone(), mtu, was };
        let set_master = |master: &str, was: Option<&str>| {
            let [master, was] = [Some(master), was].map(|name| name.map(|name| name.parse().unwrap()));
            Step::SetMaster { place: Place::Host, link: link.clone(), master, was }
        };
        let set_vlan = |was| {
            let (place, link, membership) = (Place::Host, link.clone(), Membership::UNTAGGED);
            Step::SetPortVlan { place, link, vlan, membership, was }
        };
        for (one, other) in [
            (set_route("eth0", None), set_route("eth0", Some(route("eth1")))),
            (set_sysctl(1, None), set_sysctl(1, Some(0))),
            (set_mtu(1400, 1500), set_mtu(1400, 9000)),
            (set_master("br0", None), set_master("br0", Some("br1"))),
            (set_vlan(None), set_vlan(Some(Membership::UNTAGGED))),
        ] {
            assert!(one != other && one.makes_the_same(&other) && other.makes_the_same(&one), "{one}");
        }
        let up = |up| Step::SetUp { place: place.clone(), link: link.clone(), up };
        for (one, other) in [
            (set_route("eth0", None), set_route("eth1", None)),
            (set_sysctl(1, None), set_sysctl(2, None)),
            (set_mtu(1400, 1500), set_mtu(1500, 1400)),
            (set_master("br0", None), set_master("br1", None)),
            (up(true), up(false)),
            (set_route("eth0", None), Step::DelRoute { place: place.clone(), route: route("eth0") }),
        ] {
            assert!(!one.makes_the_same(&other) && one.makes_the_same(&one), "{one}");
        }
    }
}
