//! What is: the kernel's network state as the kernel crate reads it, in the words in which the plan compares it.

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

/// The host's namespace, and those containers' namespaces that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The namespace that holds the parents.
    pub host: View,
    /// Containers' namespaces; one that is gone, or whose path leads to another by now, is absent.
    pub netns: BTreeMap<Netns, View>,
    /// The paths by which those were asked for: two may lead to one namespace.
    pub paths: BTreeMap<PathBuf, Netns>,
    /// Containers' namespaces that could not be opened, entered or read, and why. They may be there, with all that is in them.
    pub unreadable: BTreeMap<Netns, String>,
    /// The MACs of macvlan children that are up, by their parent, wherever they are; only of the parents that were asked, and that
    /// tell.
    pub children: BTreeMap<IfName, BTreeSet<Mac>>,
    /// Engines' endpoints whose links have gone with their parents, as was seen for long enough.
    pub unlinked: BTreeSet<EndpointKey>,
}

/// One namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// All links.
    pub links: Vec<Link>,
    /// Alternative names of links (`IFLA_ALT_IFNAME`), as far as they fit where a name goes, and the numbers of the links.
    pub altnames: BTreeMap<IfName, u32>,
    /// How often each link has got its carrier (`IFLA_CARRIER_UP_COUNT`), by the links' numbers.
    pub rises: BTreeMap<u32, u32>,
    /// All addresses, in the kernel's order: the first of a link's addresses in a subnet is its primary one.
    pub addresses: Vec<LinkAddress>,
    /// Routes of the main table, whoever made them.
    pub routes: Vec<ObservedRoute>,
    /// Permanent neighbour entries.
    pub neighbours: Vec<Neighbour>,
    /// `net.ipv4.conf.all.rp_filter`; read for the host alone.
    pub rp_filter: Option<i32>,
    /// `net.ipv4.conf.all.arp_ignore`; read for the host alone.
    pub arp_ignore: Option<i32>,
}

/// A link as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it in its namespace.
    pub index: u32,
    /// Its name.
    pub name: IfName,
    /// What it is.
    pub kind: ObservedKind,
    /// The link below it (`IFLA_LINK`): a macvlan's parent, a veth's peer.
    pub lower: Option<Lower>,
    /// The index of the bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// What it does as a port of a bridge, of what not every port does.
    pub port: BTreeSet<PortOption>,
    /// On a bridge that filters VLANs: those that it lets through to a port, or to the host by the bridge itself.
    pub vlans: Option<BTreeMap<VlanId, Membership>>,
    /// On a bridge that filters VLANs: the one that a port is put into when it joins (`IFLA_BR_VLAN_DEFAULT_PVID`).
    pub default_pvid: Option<VlanId>,
    /// Its MAC; none for links without one (tunnels).
    pub mac: Option<Mac>,
    /// In bytes.
    pub mtu: u32,
    /// Whether it is administratively up (`IFF_UP`).
    pub up: bool,
    /// Whether it can pass frames (`IFF_RUNNING` and `IFF_LOWER_UP`).
    pub carrier: bool,
    /// Its `ifalias`.
    pub alias: Option<String>,
    /// Whether it is a Wi-Fi interface, as nl80211 says; only known for links that could be a parent.
    pub wireless: bool,
    /// `net.ipv4.conf.<link>.arp_filter`, where the link has IPv4.
    pub arp_filter: Option<i32>,
    /// `net.ipv4.conf.<link>.rp_filter`, where the link has IPv4.
    pub rp_filter: Option<i32>,
    /// `net.ipv4.conf.<link>.arp_ignore`, where the link has IPv4.
    pub arp_ignore: Option<i32>,
    /// `net.ipv6.conf.<link>.accept_ra`, where the link has IPv6.
    pub accept_ra: Option<i32>,
    /// `net.ipv6.conf.<link>.disable_ipv6`, where the kernel has IPv6.
    pub disable_ipv6: Option<i32>,
    /// `net.ipv6.conf.<link>.mtu`, where the link has IPv6.
    pub ipv6_mtu: Option<i32>,
}

/// The link below another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lower {
    /// Its index, in its own namespace.
    pub index: u32,
    /// Which namespace that is.
    pub seat: Seat,
}

/// In which namespace the link below another is. An index means something only together with it: a container that makes
/// namespaces of its own can give a link there the very index that a parent has on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// In that of the upper link.
    Here,
    /// In the host's, and the upper link is in a container's.
    Host,
    /// In some other.
    Elsewhere,
}

/// What a link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObservedKind {
    /// A macvlan child.
    Macvlan {
        /// How it treats its siblings; none of a mode that no network has, such as `source`. It is on the LAN in that too.
        mode: Option<MacvlanMode>,
        /// Broadcasts that may wait, in frames (`IFLA_MACVLAN_BC_QUEUE_LEN`, absent before Linux 5.11).
        bc_queue_len: Option<u32>,
    },
    /// An ipvlan child.
    Ipvlan {
        /// What it switches on.
        mode: IpvlanMode,
    },
    /// A macvtap or ipvtap child: a macvlan or ipvlan link that a program may also open as a file. Ashore makes none.
    Tap,
    /// One end of a veth pair.
    Veth,
    /// A bridge.
    Bridge,
    /// An 802.1Q sub-interface.
    Vlan {
        /// The VLAN's number.
        id: u16,
        /// Whether switches are told of it by GVRP.
        gvrp: bool,
    },
    /// The loopback link.
    Loopback,
    /// An Ethernet interface without a kind of its own: a NIC.
    Physical,
    /// Anything else, by the kernel's name for its kind.
    Other(String),
}

impl ObservedKind {
    /// The kind with its mode, if networks can have it.
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
    /// The address with the length of its prefix.
    pub net: IpNet,
    /// IPv4: the broadcast address that goes with it.
    pub broadcast: Option<Ipv4Addr>,
    /// How long it stays; for ever without (`IFA_F_PERMANENT`).
    pub life: Option<Life>,
    /// Whether the kernel made no route of its prefix (`IFA_F_NOPREFIXROUTE`).
    pub noprefixroute: bool,
    /// The other end, where it is one of a line between two machines; the prefix is that one's.
    pub peer: Option<IpAddr>,
    /// Whether it is valid on the link only: `fe80::/10`, `169.254.0.0/16`.
    pub link_scope: bool,
    /// Whether somebody can be named by it.
    pub standing: Standing,
}

/// How far an address is to be counted upon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is there to stay.
    #[default]
    Steady,
    /// IPv6: nothing new is begun from it (`IFA_F_DEPRECATED`).
    Deprecated,
    /// IPv6: it is not yet usable, or found to be a duplicate (`IFA_F_TENTATIVE`, `IFA_F_DADFAILED`), or one of a few hours
    /// (`IFA_F_TEMPORARY`).
    Unsteady,
}

/// A route, or one of the ways of a route that has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedRoute {
    /// Where it leads and how.
    pub route: Route,
    /// Who made it (`rtm_protocol`).
    pub protocol: u8,
    /// Its priority; the lowest wins.
    pub metric: u32,
    /// Whether the next hop is taken to be on the link, whatever its address (`RTNH_F_ONLINK`).
    pub onlink: bool,
    /// How many ways the route has.
    pub ways: Ways,
}

/// How many ways a route has, by each of which packets may leave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ways {
    /// One.
    #[default]
    One,
    /// Several, of which this is one, or those of a next hop that other routes share (`nhid`). Ashore makes no such route.
    Several,
    /// None, which is said to be by `lo`: packets are dropped. The word for it is `blackhole`, `unreachable`, `prohibit` or
    /// `throw`.
    None(&'static str),
}

/// The metric of an IPv6 route that was made without one (Linux 6.18, `IP6_RT_PRIO_USER`).
pub(crate) const IPV6_METRIC: u32 = 1024;

/// The kind of Open vSwitch's links, of which all ports have one of its own as their master, `ovs-system`, and each bridge has one that is
/// the host's.
pub(crate) const OPEN_VSWITCH: &str = "openvswitch";

impl ObservedRoute {
    /// Whether the kernel has made it of a router's advertisement that came by a link.
    pub(crate) fn is_heard_by(&self, link: &IfName) -> bool {
        /// `RTPROT_RA`.
        const BY_ADVERTISEMENT: u8 = 9;
        self.protocol == BY_ADVERTISEMENT && self.route.dev == *link
    }

    /// Whether it can be one of Ashore's.
    pub fn is_ours(&self) -> bool {
        self.protocol == ROUTE_PROTOCOL && self.ways == Ways::One
    }

    /// The route as a person would type it, without a word of whose it is.
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
    /// Whether it is Ashore's, by its protocol (`NDA_PROTOCOL`, since Linux 5.0).
    pub ours: bool,
}

impl Observed {
    /// The view of a place; none for a namespace that is gone or was not asked for.
    pub fn view(&self, place: &Place) -> Option<&View> {
        match place {
            Place::Host => Some(&self.host),
            Place::Netns(netns) => self.netns.get(netns),
        }
    }

    /// The namespace that a path led to, if it was asked for by it.
    pub fn at(&self, path: &Path) -> Option<(&Netns, &View)> {
        self.netns.get_key_value(self.paths.get(path)?)
    }
}

impl View {
    /// The link of a name.
    pub fn link(&self, name: &IfName) -> Option<&Link> {
        self.links.iter().find(|link| link.name == *name)
    }

    /// The link of an index.
    pub fn link_at(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// On the host: the link that carries a tag, under the name that goes with it. A container may write any tag on its link,
    /// and its engine gives that link back to the host, but under the name that Ashore chose for it.
    pub fn tagged(&self, tag: &Tag) -> Option<&Link> {
        self.link(&tag.host_name()).filter(|link| link.tag().as_ref() == Some(tag))
    }

    /// The addresses of a link.
    pub fn addresses_of(&self, link: &Link) -> impl Iterator<Item = &LinkAddress> {
        let index = link.index;
        self.addresses.iter().filter(move |address| address.index == index)
    }

    /// The address by which the host is known on a link in a subnet.
    pub fn host_address(&self, link: &Link, subnet: &IpNet) -> Option<IpAddr> {
        self.host_addresses(link, subnet).first().copied()
    }

    /// The addresses that the host has on a link in a subnet and is to be reached by: first those that are for ever, since of IPv6 the
    /// kernel lists the one that was made last before all others (Linux 6.18); at the end what is deprecated, from which connections
    /// may live on.
    pub fn host_addresses(&self, link: &Link, subnet: &IpNet) -> Vec<IpAddr> {
        let steady = |there: &&LinkAddress| !there.link_scope && there.standing != Standing::Unsteady;
        let mut all: Vec<&LinkAddress> = self.addresses_of(link).filter(steady).collect();
        all.retain(|there| subnet.contains(&there.net.addr()));
        all.sort_by_key(|there| (there.standing == Standing::Deprecated, there.life.is_some()));
        all.into_iter().map(|there| there.net.addr()).collect()
    }

    /// The router of the host's own default route, if it lies in a subnet.
    pub fn default_gateway(&self, subnet: &IpNet) -> Option<IpAddr> {
        let defaults = self.routes.iter().filter(|there| there.route.to.prefix_len() == 0);
        defaults.filter_map(|there| there.route.via).find(|via| subnet.contains(via))
    }

    /// Whether the host's own routes lead by this address. Those by a link of Ashore's lead to a container on purpose.
    pub fn is_next_hop(&self, ip: IpAddr) -> bool {
        let ours = |dev: &IfName| self.link(dev).is_some_and(|link| link.tag().is_some());
        self.routes.iter().any(|there| there.route.via == Some(ip) && !ours(&there.route.dev))
    }

    /// Whether a link that is not Ashore's has this address.
    pub fn has_foreign_address(&self, ip: IpAddr) -> bool {
        let ours =
            |address: &LinkAddress| self.link_at(address.index).is_some_and(|link| link.tag().is_some());
        self.addresses.iter().any(|address| address.net.addr() == ip && !ours(address))
    }

    /// Whether the kernel takes a packet by a link only if the way back leads by the same one: the larger of the link's own
    /// `rp_filter` and that of all links is in force, and 2 is the loose check.
    pub fn is_strict(&self, link: &Link) -> bool {
        self.rp_filter.max(link.rp_filter) == Some(1)
    }

    /// What was set of a link here by whoever made it.
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

    /// The name of the link that a user means: its own, or that of the link which has it as an alternative one (`ip link property`).
    pub fn resolved(&self, name: &IfName) -> IfName {
        let index = self.altnames.get(name).filter(|_| self.link(name).is_none());
        index.and_then(|index| self.link_at(*index)).map_or_else(|| name.clone(), |link| link.name.clone())
    }

    /// The VLAN that a link of Ashore's is.
    pub(crate) fn own_vlan(&self, link: &Link) -> Option<Vlan> {
        let ObservedKind::Vlan { id, gvrp } = link.kind else { return None };
        let lower = self.link_at(link.lower?.index)?.name.clone();
        let vlan = Vlan { lower, id: id.try_into().ok()?, gvrp };
        (link.tag() == Some(Tag::Vlan(link.name.clone()))).then_some(vlan)
    }
}

impl Link {
    /// The tag that it bears. Whether it is the link of that tag is another matter, see [`crate::model::owner`].
    pub fn tag(&self) -> Option<Tag> {
        self.alias.as_deref()?.parse().ok()
    }

    /// Whether it is a child of a link on the host, or a VLAN on it, as seen from where it is itself.
    pub fn is_child_of(&self, parent: &Link, place: &Place) -> bool {
        let seat = if *place == Place::Host { Seat::Here } else { Seat::Host };
        self.lower == Some(Lower { index: parent.index, seat })
    }

    /// The value of a sysctl that [`Link`] carries.
    pub fn sysctl(&self, key: SysctlKey) -> Option<i32> {
        match key {
            SysctlKey::ArpFilter => self.arp_filter,
            SysctlKey::RpFilter => self.rp_filter,
            SysctlKey::AcceptRa => self.accept_ra,
            SysctlKey::DisableIpv6 => self.disable_ipv6,
            SysctlKey::Mtu => self.ipv6_mtu,
        }
    }

    /// Whether it is of a kind that is a child of its parent.
    pub fn is_child(&self) -> bool {
        matches!(self.kind, ObservedKind::Macvlan { .. } | ObservedKind::Ipvlan { .. } | ObservedKind::Tap)
    }
}

/// What an engine has set of a link in its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// Its sysctls, of those that are seen.
    pub sysctls: Vec<(SysctlKey, i32)>,
    /// The families whose default route leads by it, and not by another of the container's.
    pub defaults: Vec<Family>,
}

impl Vlan {
    /// Whether a link is this VLAN, whatever its name.
    pub fn is(&self, link: &Link, host: &View) -> bool {
        matches!(link.kind, ObservedKind::Vlan { id, .. } if id == self.id.get())
            && host.link(&self.lower).is_some_and(|lower| link.is_child_of(lower, &Place::Host))
    }
}
