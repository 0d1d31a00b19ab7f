//! The observed state: the kernel's network state as the kernel crate reads it, in the form that the plan
//! compares.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ashore_wire::Mac;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::net::family::Family;
use crate::net::kind::{IpvlanMode, LinkKind, MacvlanMode, PortOption};
use crate::net::link::{Netns, Place, Tag};
use crate::net::name::{EndpointKey, IfName};
use crate::net::step::{Life, ROUTE_PROTOCOL, Route, SysctlKey};
use crate::net::vlan::{Membership, Vlan, VlanId};

/// The host's namespace, and the requested namespaces of containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The namespace that holds the parents.
    pub host: View,
    /// The namespaces of containers. A namespace is absent if it is gone, or if its path now leads to another
    /// one.
    pub netns: BTreeMap<Netns, View>,
    /// The paths by which the namespaces were requested. Two paths may lead to the same namespace.
    pub paths: BTreeMap<PathBuf, Netns>,
    /// The namespaces of containers that could not be opened, entered or read, and why. They, and everything
    /// in them, may still exist.
    pub unreadable: BTreeMap<Netns, String>,
    /// The MACs of macvlan children that are up, in any namespace, by their parent. Only parents that were
    /// asked and that report their children are present.
    pub children: BTreeMap<IfName, BTreeSet<Mac>>,
    /// Endpoints of engines whose link was deleted together with an earlier parent, and whose container has
    /// had no link for long enough to be sure.
    pub unlinked: BTreeSet<EndpointKey>,
    /// The addresses of endpoints to which the host's routes were looked at. `None`: all of them. The routes to
    /// other endpoints are not in `host`, and nothing is planned about them.
    pub about: Option<BTreeSet<IpAddr>>,
}

/// What was observed in one namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// All links.
    pub links: Vec<Link>,
    /// Alternative names of links (`IFLA_ALT_IFNAME`) that fit in an interface name, with the indexes of the
    /// links.
    pub altnames: BTreeMap<IfName, u32>,
    /// How often each link has gained its carrier (`IFLA_CARRIER_UP_COUNT`), by the link's index.
    pub rises: BTreeMap<u32, u32>,
    /// How each bridge passes frames on, by the bridge's index.
    pub bridges: BTreeMap<u32, BridgeSettings>,
    /// All addresses, in the kernel's order: a link's first address in a subnet is the primary one.
    pub addresses: Vec<LinkAddress>,
    /// All routes of the main table, not only Ashore's.
    pub routes: Vec<ObservedRoute>,
    /// Permanent neighbour entries.
    pub neighbours: Vec<Neighbour>,
    /// `net.ipv4.conf.all.rp_filter`, read for the host only.
    pub rp_filter: Option<i32>,
    /// `net.ipv4.conf.all.arp_ignore`, read for the host only.
    pub arp_ignore: Option<i32>,
}

/// How a bridge passes frames on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BridgeSettings {
    /// Whether it takes part in spanning tree, in the kernel or by a program (`IFLA_BR_STP_STATE`).
    pub spanning_tree: bool,
    /// How long a port waits in each of two states before it forwards, in hundredths of a second
    /// (`IFLA_BR_FORWARD_DELAY`).
    pub forward_delay: u32,
}

/// An observed link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's index for it in its namespace.
    pub index: u32,
    /// Its name.
    pub name: IfName,
    /// Its kind.
    pub kind: ObservedKind,
    /// The lower link (`IFLA_LINK`): a macvlan's parent, a veth's peer.
    pub lower: Option<Lower>,
    /// The index of the bridge or bond of which it is a port.
    pub master: Option<u32>,
    /// Its optional behaviours as a bridge port.
    pub port: BTreeSet<PortOption>,
    /// On a bridge that filters VLANs: the VLANs that the bridge passes to this port, or, for the bridge
    /// itself, to the host.
    pub vlans: Option<BTreeMap<VlanId, Membership>>,
    /// On a bridge that filters VLANs: the VLAN of which a port becomes a member when it joins
    /// (`IFLA_BR_VLAN_DEFAULT_PVID`).
    pub default_pvid: Option<VlanId>,
    /// Its MAC. `None` for links without one (tunnels).
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is administratively up (`IFF_UP`).
    pub up: bool,
    /// Whether it can pass frames (`IFF_RUNNING` and `IFF_LOWER_UP`).
    pub carrier: bool,
    /// Its `ifalias`.
    pub alias: Option<String>,
    /// Whether nl80211 reports it as a Wi-Fi interface. Only known for links that could be a parent.
    pub wireless: bool,
    /// `net.ipv4.conf.<link>.arp_filter`, if the link has IPv4.
    pub arp_filter: Option<i32>,
    /// `net.ipv4.conf.<link>.rp_filter`, if the link has IPv4.
    pub rp_filter: Option<i32>,
    /// `net.ipv4.conf.<link>.arp_ignore`, if the link has IPv4.
    pub arp_ignore: Option<i32>,
    /// `net.ipv6.conf.<link>.accept_ra`, if the link has IPv6.
    pub accept_ra: Option<i32>,
    /// `net.ipv6.conf.<link>.disable_ipv6`, if the kernel has IPv6.
    pub disable_ipv6: Option<i32>,
    /// `net.ipv6.conf.<link>.mtu`, if the link has IPv6.
    pub ipv6_mtu: Option<i32>,
}

/// The link below another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lower {
    /// Its index in its own namespace.
    pub index: u32,
    /// The namespace that it is in.
    pub seat: Seat,
}

/// The namespace of a lower link, as seen from the upper link. An index has a meaning only together with its
/// namespace: a container that makes namespaces of its own can give a link there the same index that a parent
/// has on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// In the namespace of the upper link.
    Here,
    /// In the host's namespace, while the upper link is in a container's.
    Host,
    /// In any other namespace.
    Elsewhere,
}

/// The kind of an observed link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObservedKind {
    /// A macvlan child.
    Macvlan {
        /// How it treats its siblings. `None` for a mode that no network has, such as `source`. Such a child
        /// is on the LAN too.
        mode: Option<MacvlanMode>,
        /// The length of its broadcast queue in frames (`IFLA_MACVLAN_BC_QUEUE_LEN`, absent before Linux
        /// 5.11).
        bc_queue_len: Option<u32>,
    },
    /// An ipvlan child.
    Ipvlan {
        /// At which layer it switches.
        mode: IpvlanMode,
    },
    /// A macvtap or ipvtap child: a macvlan or ipvlan link that a program can also open as a file. Ashore
    /// makes none.
    Tap,
    /// One end of a veth pair.
    Veth,
    /// A bridge.
    Bridge,
    /// An 802.1Q sub-interface.
    Vlan {
        /// The VLAN ID.
        id: u16,
        /// Whether GVRP announces the VLAN to switches.
        gvrp: bool,
    },
    /// The loopback link.
    Loopback,
    /// An Ethernet interface for which the kernel reports no kind: a NIC.
    Physical,
    /// Any other kind, under the kernel's name for it.
    Other(String),
}

impl ObservedKind {
    /// The link kind with its mode. Returns `None` if no network can have this kind or mode.
    pub(crate) fn mode(&self) -> Option<LinkKind> {
        match self {
            ObservedKind::Macvlan { mode, .. } => mode.map(LinkKind::Macvlan),
            ObservedKind::Ipvlan { mode } => Some(LinkKind::Ipvlan(*mode)),
            _ => None,
        }
    }
}

/// An address on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAddress {
    /// The link's index.
    pub index: u32,
    /// The address with its prefix length.
    pub net: IpNet,
    /// IPv4: the broadcast address that belongs to it.
    pub broadcast: Option<Ipv4Addr>,
    /// Its remaining lifetimes. `None` if it is permanent (`IFA_F_PERMANENT`).
    pub life: Option<Life>,
    /// Whether the kernel made no route for its prefix (`IFA_F_NOPREFIXROUTE`).
    pub noprefixroute: bool,
    /// The address of the other end, if this is an address of a point-to-point link. The prefix belongs to
    /// that end.
    pub peer: Option<IpAddr>,
    /// Whether it is valid only on the link: `fe80::/10`, `169.254.0.0/16`.
    pub link_scope: bool,
    /// How reliable the address is.
    pub standing: Standing,
}

/// How reliable an address is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// It stays.
    #[default]
    Steady,
    /// IPv6: no new connections use it (`IFA_F_DEPRECATED`).
    Deprecated,
    /// IPv6: it is not yet usable or was found to be a duplicate (`IFA_F_TENTATIVE`, `IFA_F_DADFAILED`), or
    /// it is a temporary address that lasts a few hours (`IFA_F_TEMPORARY`).
    Unsteady,
}

/// A route, or one next hop of a multipath route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedRoute {
    /// The destination, the next hop and the link.
    pub route: Route,
    /// The origin of the route (`rtm_protocol`).
    pub protocol: u8,
    /// Its metric. The route with the lowest metric wins.
    pub metric: u32,
    /// Whether the next hop counts as on-link whatever its address (`RTNH_F_ONLINK`).
    pub onlink: bool,
    /// How many next hops the route has.
    pub ways: Ways,
}

/// How many next hops a route has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ways {
    /// One.
    #[default]
    One,
    /// Several, of which this is one. Or the route uses a next hop object that other routes share (`nhid`).
    /// Ashore makes no such route.
    Several,
    /// None: packets are dropped. The kernel reports `lo` as the link of such a route. The field is
    /// `blackhole`, `unreachable`, `prohibit` or `throw`.
    None(&'static str),
}

/// The kernel's kind for Open vSwitch links. All ports have one link of this kind as their master,
/// `ovs-system`. Each Open vSwitch bridge has one such link, which belongs to the host.
pub(crate) const OPEN_VSWITCH: &str = "openvswitch";

impl ObservedRoute {
    /// Whether the kernel made the route from a router advertisement that arrived on this link.
    pub(crate) fn is_heard_by(&self, link: &IfName) -> bool {
        /// `RTPROT_RA`.
        const BY_ADVERTISEMENT: u8 = 9;
        self.protocol == BY_ADVERTISEMENT && self.route.dev == *link
    }

    /// Whether the route can be Ashore's.
    pub fn is_ours(&self) -> bool {
        self.protocol == ROUTE_PROTOCOL && self.ways == Ways::One
    }

    /// The route as a user would type it for `ip route`, without its protocol.
    pub fn way(&self) -> String {
        let (to, way) = (self.route.destination(), self.route.way().to_string());
        match self.ways {
            Ways::One => way,
            Ways::Several => format!("{to} nexthop{}", way.strip_prefix(&to).unwrap_or_default()),
            Ways::None(how) => format!("{how} {to}"),
        }
    }
}

/// A permanent neighbour entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The link's index.
    pub index: u32,
    /// The neighbour's address.
    pub ip: IpAddr,
    /// The neighbour's MAC.
    pub mac: Mac,
    /// Whether its protocol says that it is Ashore's (`NDA_PROTOCOL`, since Linux 5.0).
    pub ours: bool,
}

impl Observed {
    /// Whether it was looked at what the host has for an address.
    pub(crate) fn is_about(&self, ip: IpAddr) -> bool {
        self.about.as_ref().is_none_or(|about| about.contains(&ip))
    }

    /// Returns the view of a place. Returns `None` for a namespace that is gone or was not requested.
    pub fn view(&self, place: &Place) -> Option<&View> {
        match place {
            Place::Host => Some(&self.host),
            Place::Netns(netns) => self.netns.get(netns),
        }
    }

    /// Returns the namespace that a path led to. Returns `None` if no namespace was requested by this path,
    /// or if it was not observed.
    pub fn at(&self, path: &Path) -> Option<(&Netns, &View)> {
        self.netns.get_key_value(self.paths.get(path)?)
    }
}

impl View {
    /// The link with this name.
    pub fn link(&self, name: &IfName) -> Option<&Link> {
        self.links.iter().find(|link| link.name == *name)
    }

    /// The link with this index.
    pub fn link_at(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// On the host: the link that has a tag and the name that belongs to the tag. A container can write any
    /// tag on its link before its engine gives the link back to the host, but the link comes back under the
    /// name that Ashore chose for it.
    pub fn tagged(&self, tag: &Tag) -> Option<&Link> {
        self.link(&tag.host_name()).filter(|link| link.tag().as_ref() == Some(tag))
    }

    /// Whether links, addresses and settings are the same in another view. An address whose time runs out is
    /// the same a moment later.
    pub fn has_same_links(&self, other: &View) -> bool {
        let is_same = |(one, other): (&LinkAddress, &LinkAddress)| {
            let life = one.life.and(other.life);
            one == other || (life.is_some() && LinkAddress { life: other.life, ..one.clone() } == *other)
        };
        let same_addresses = || self.addresses.iter().zip(&other.addresses).all(is_same);
        self.links == other.links
            && (&self.altnames, &self.rises) == (&other.altnames, &other.rises)
            && self.bridges == other.bridges
            && (self.rp_filter, self.arp_ignore) == (other.rp_filter, other.arp_ignore)
            && self.addresses.len() == other.addresses.len()
            && same_addresses()
    }

    /// The same view without routes and neighbours.
    #[must_use]
    pub fn without_routes(&self) -> View {
        View {
            links: self.links.clone(),
            altnames: self.altnames.clone(),
            rises: self.rises.clone(),
            bridges: self.bridges.clone(),
            addresses: self.addresses.clone(),
            routes: Vec::new(),
            neighbours: Vec::new(),
            rp_filter: self.rp_filter,
            arp_ignore: self.arp_ignore,
        }
    }

    /// The addresses of a link.
    pub fn addresses_of(&self, link: &Link) -> impl Iterator<Item = &LinkAddress> {
        let index = link.index;
        self.addresses.iter().filter(move |address| address.index == index)
    }

    /// The preferred address of the host on a link in a subnet.
    pub fn host_address(&self, link: &Link, subnet: &IpNet) -> Option<IpAddr> {
        self.host_addresses(link, subnet).first().copied()
    }

    /// The addresses by which the host can be reached on a link in a subnet. Permanent addresses come first,
    /// because the kernel lists the IPv6 address that was added last before all others (Linux 6.18).
    /// Deprecated addresses come last: existing connections may still use them.
    pub fn host_addresses(&self, link: &Link, subnet: &IpNet) -> Vec<IpAddr> {
        let steady = |there: &&LinkAddress| !there.link_scope && there.standing != Standing::Unsteady;
        let mut all: Vec<&LinkAddress> = self.addresses_of(link).filter(steady).collect();
        all.retain(|there| subnet.contains(&there.net.addr()));
        all.sort_by_key(|there| (there.standing == Standing::Deprecated, there.life.is_some()));
        all.into_iter().map(|there| there.net.addr()).collect()
    }

    /// The next hop of the host's own default route, if it is in the subnet.
    pub fn default_gateway(&self, subnet: &IpNet) -> Option<IpAddr> {
        let defaults = self.routes.iter().filter(|there| there.route.to.prefix_len() == 0);
        defaults.filter_map(|there| there.route.via).find(|via| subnet.contains(via))
    }

    /// The next hops of the host's own routes. Routes out of Ashore's links do not count: they lead to a
    /// container on purpose.
    pub fn next_hops(&self) -> BTreeSet<IpAddr> {
        let ours = |dev: &IfName| self.link(dev).is_some_and(|link| link.tag().is_some());
        let hops = self.routes.iter().filter_map(|there| Some((there.route.via?, &there.route.dev)));
        hops.filter(|(_, dev)| !ours(dev)).map(|(via, _)| via).collect()
    }

    /// Whether a link that is not Ashore's has this address.
    pub fn has_foreign_address(&self, ip: IpAddr) -> bool {
        let ours =
            |address: &LinkAddress| self.link_at(address.index).is_some_and(|link| link.tag().is_some());
        self.addresses.iter().any(|address| address.net.addr() == ip && !ours(address))
    }

    /// Whether the kernel accepts a packet on a link only if the route back to the sender leaves by the same
    /// link. The larger of the link's `rp_filter` and that of `all` is in force, and 2 is the loose check.
    pub fn is_strict(&self, link: &Link) -> bool {
        self.rp_filter.max(link.rp_filter) == Some(1)
    }

    /// The settings of a link here: its sysctls and its default routes, whoever set them.
    pub fn set_of(&self, link: &Link) -> Set {
        use SysctlKey::{AcceptRa, ArpFilter, DisableIpv6, RpFilter};
        let sysctls = [ArpFilter, RpFilter, AcceptRa, DisableIpv6].into_iter();
        let sysctls = sysctls.filter_map(|key| Some((key, link.sysctl(key)?))).collect();
        let leads = |family: &Family| {
            self.routes.iter().map(|there| &there.route).any(|route| {
                let is_default = route.to.prefix_len() == 0 && Family::of(route.to.addr()) == *family;
                is_default && route.dev == link.name
            })
        };
        Set { sysctls, defaults: [Family::Ipv4, Family::Ipv6].into_iter().filter(leads).collect() }
    }

    /// Whether any link has this address.
    pub fn has_address(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.net.addr() == ip)
    }

    /// Returns the name of the link that a user means: the link with this name, or the link that has it as an
    /// alternative name (`ip link property`).
    pub fn resolved(&self, name: &IfName) -> IfName {
        let index = self.altnames.get(name).filter(|_| self.link(name).is_none());
        index.and_then(|index| self.link_at(*index)).map_or_else(|| name.clone(), |link| link.name.clone())
    }

    /// The VLAN of a link, if the link is a VLAN interface of Ashore's.
    pub(crate) fn own_vlan(&self, link: &Link) -> Option<Vlan> {
        let ObservedKind::Vlan { id, gvrp } = link.kind else { return None };
        let lower = self.link_at(link.lower?.index)?.name.clone();
        let vlan = Vlan { lower, id: id.try_into().ok()?, gvrp };
        (link.tag() == Some(Tag::Vlan(link.name.clone()))).then_some(vlan)
    }
}

impl Link {
    /// The tag in its `ifalias`. The tag does not prove that the link is Ashore's, see
    /// [`crate::model::owner`].
    pub fn tag(&self) -> Option<Tag> {
        self.alias.as_deref()?.parse().ok()
    }

    /// Whether it is a child of a link on the host, or a VLAN on it. `place` is where this link itself was
    /// observed.
    pub fn is_child_of(&self, parent: &Link, place: &Place) -> bool {
        let seat = if *place == Place::Host { Seat::Here } else { Seat::Host };
        self.lower == Some(Lower { index: parent.index, seat })
    }

    /// The observed value of a sysctl of this link.
    pub fn sysctl(&self, key: SysctlKey) -> Option<i32> {
        match key {
            SysctlKey::ArpFilter => self.arp_filter,
            SysctlKey::RpFilter => self.rp_filter,
            SysctlKey::AcceptRa => self.accept_ra,
            SysctlKey::DisableIpv6 => self.disable_ipv6,
            SysctlKey::Mtu => self.ipv6_mtu,
        }
    }

    /// Whether it is an ipvlan child.
    pub fn is_ipvlan(&self) -> bool {
        matches!(self.kind, ObservedKind::Ipvlan { .. })
    }

    /// Whether it is a macvlan, ipvlan, macvtap or ipvtap child.
    pub fn is_child(&self) -> bool {
        matches!(self.kind, ObservedKind::Macvlan { .. } | ObservedKind::Ipvlan { .. } | ObservedKind::Tap)
    }
}

/// The settings that an engine made on a link in its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// The values of the sysctls that were observed.
    pub sysctls: Vec<(SysctlKey, i32)>,
    /// The families in which a default route of the container leaves by this link.
    pub defaults: Vec<Family>,
}

impl Vlan {
    /// Whether a link is this VLAN, whatever the link's name.
    pub fn is(&self, link: &Link, host: &View) -> bool {
        matches!(link.kind, ObservedKind::Vlan { id, .. } if id == self.id.get())
            && host.link(&self.lower).is_some_and(|lower| link.is_child_of(lower, &Place::Host))
    }
}
