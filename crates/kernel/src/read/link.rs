//! Links (`linux/if_link.h`).

use std::collections::{BTreeMap, BTreeSet};

use ashore_core::net::kind::{IpvlanMode, MacvlanMode, PortOption};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{BridgeSettings, Link, Lower, ObservedKind, Seat};
use ashore_core::net::text::Shown;
use ashore_core::net::vlan::{Membership, VlanId};
use nix::libc;

use super::mac;
use crate::bytes::{Attributes, i32_at, text, u8_at, u16_at, u32_at};

/// `struct ifinfomsg`.
const HEADER: usize = 16;

const IFLA_AF_SPEC: u16 = 26;

/// Parses a link. Returns `None` if it has no index or no name, which the kernel gives to every link. The
/// second value is the nsid of the namespace of the lower link, if that is another namespace. The nsid must
/// be resolved separately.
pub(super) fn link(body: &[u8]) -> Option<(Link, Option<i32>)> {
    /// `IFLA_ADDRESS`, `_IFNAME`, `_MTU`, `_LINK`, `_MASTER`, `_LINKINFO`, `_IFALIAS`, `_AF_SPEC`,
    /// `_LINK_NETNSID`.
    const NEEDED: [u16; 9] = [1, 3, 4, 5, 10, 18, 20, IFLA_AF_SPEC, 37];
    let (layer, index, flags) = (u16_at(body, 2)?, u32_at(body, 4)?, u32_at(body, 8)?);
    let [address, name, mtu, lower, master, info, alias, specs, netnsid] =
        Attributes::after(HEADER, body).pick(NEEDED);
    let number = |value: Option<&[u8]>| value.and_then(|value| u32_at(value, 0));
    let seat = if netnsid.is_some() { Seat::Elsewhere } else { Seat::Here };
    // A link without a lower link names itself.
    let lower = number(lower).filter(|lower| seat != Seat::Here || *lower != index);
    let info = Info::of(info.unwrap_or_default());
    let bridge = info.filtering_bridge();
    let [ipv4, ipv6] = sysctls(specs.unwrap_or_default());
    let link = Link {
        index,
        name: IfName::seen(text(name?))?,
        kind: info.kind().unwrap_or_else(|| kind_of_layer(layer)),
        lower: lower.map(|index| Lower { index, seat }),
        master: number(master),
        port: info.port_options(),
        vlans: bridge.as_ref().map(|_| BTreeMap::new()),
        default_pvid: bridge.and_then(default_pvid),
        mac: address.and_then(mac),
        mtu: number(mtu).unwrap_or_default(),
        up: is_set(flags, libc::IFF_UP),
        // IFF_RUNNING alone follows an unplugged cable up to a second late.
        carrier: is_set(flags, libc::IFF_RUNNING) && is_set(flags, libc::IFF_LOWER_UP),
        alias: alias.map(|value| Shown(text(value)).to_string()),
        wireless: false,
        arp_filter: ipv4.get(IPV4_ARP_FILTER),
        rp_filter: ipv4.get(IPV4_RP_FILTER),
        arp_ignore: ipv4.get(IPV4_ARP_IGNORE),
        accept_ra: ipv6.get(IPV6_ACCEPT_RA),
        disable_ipv6: ipv6.get(IPV6_DISABLE),
        ipv6_mtu: ipv6.get(IPV6_MTU),
    };
    Some((link, netnsid.and_then(|number| i32_at(number, 0))))
}

/// The alternative names of a link that are short enough to be interface names.
pub(super) fn altnames(body: &[u8]) -> impl Iterator<Item = IfName> {
    const IFLA_PROP_LIST: u16 = 52;
    const IFLA_ALT_IFNAME: u16 = 53;
    let list = Attributes::after(HEADER, body).within(IFLA_PROP_LIST);
    let names = list.filter(|(kind, _)| *kind == IFLA_ALT_IFNAME).map(|(_, value)| text(value));
    names.filter_map(|name| std::str::from_utf8(name).ok()?.parse().ok())
}

/// How often a link has gained its carrier.
pub(super) fn rises(body: &[u8]) -> Option<u32> {
    const IFLA_CARRIER_UP_COUNT: u16 = 47;
    u32_at(Attributes::after(HEADER, body).get(IFLA_CARRIER_UP_COUNT)?, 0)
}

/// How a bridge passes frames on. Returns `None` for any other link.
pub(super) fn bridge(body: &[u8]) -> Option<BridgeSettings> {
    const IFLA_BR_FORWARD_DELAY: u16 = 1;
    const IFLA_BR_STP_STATE: u16 = 5;
    const IFLA_LINKINFO: u16 = 18;
    let Info { kind, data, .. } = Info::of(Attributes::after(HEADER, body).get(IFLA_LINKINFO)?);
    let number = |attribute| data.get(attribute).and_then(|value| u32_at(value, 0));
    if kind != Some(b"bridge") {
        return None;
    }
    let spanning_tree = number(IFLA_BR_STP_STATE)? != 0;
    Some(BridgeSettings { spanning_tree, forward_delay: number(IFLA_BR_FORWARD_DELAY)? })
}

fn is_set(flags: u32, flag: i32) -> bool {
    flags & flag.cast_unsigned() != 0
}

/// A link's kind, and its settings as a bridge port.
struct Info<'a> {
    kind: Option<&'a [u8]>,
    data: Attributes<'a>,
    port_kind: Option<&'a [u8]>,
    port_data: Attributes<'a>,
}

impl<'a> Info<'a> {
    fn of(value: &'a [u8]) -> Self {
        /// `IFLA_INFO_KIND`, `_DATA`, `_SLAVE_KIND`, `_SLAVE_DATA`.
        const NEEDED: [u16; 4] = [1, 2, 4, 5];
        let [kind, data, port_kind, port_data] = Attributes::of(value).pick(NEEDED);
        let attributes = |value: Option<&'a [u8]>| Attributes::of(value.unwrap_or_default());
        Info {
            kind: kind.map(text),
            data: attributes(data),
            port_kind: port_kind.map(text),
            port_data: attributes(port_data),
        }
    }

    /// The kind that the link was created with. Returns `None` for a NIC, which was not created.
    fn kind(&self) -> Option<ObservedKind> {
        let name = self.kind?;
        let known = match name {
            b"macvlan" => Some(macvlan(&self.data)),
            b"macvtap" | b"ipvtap" => Some(ObservedKind::Tap),
            b"ipvlan" => ipvlan(&self.data),
            b"vlan" => vlan(&self.data),
            b"veth" => Some(ObservedKind::Veth),
            b"bridge" => Some(ObservedKind::Bridge),
            _ => None,
        };
        Some(known.unwrap_or_else(|| ObservedKind::Other(Shown(name).to_string())))
    }

    fn port_options(&self) -> BTreeSet<PortOption> {
        const IFLA_BRPORT_MODE: u16 = 4;
        const IFLA_BRPORT_LEARNING: u16 = 8;
        const IFLA_BRPORT_ISOLATED: u16 = 33;
        if self.port_kind != Some(b"bridge") {
            return BTreeSet::new();
        }
        let is = |kind, wanted| {
            let said = self.port_data.get(kind).and_then(|value| u8_at(value, 0));
            said.is_some_and(|said| (said != 0) == wanted)
        };
        let mut on = BTreeSet::new();
        on.extend(is(IFLA_BRPORT_ISOLATED, true).then_some(PortOption::Isolated));
        on.extend(is(IFLA_BRPORT_MODE, true).then_some(PortOption::Hairpin));
        on.extend(is(IFLA_BRPORT_LEARNING, false).then_some(PortOption::Unlearning));
        on
    }

    /// The attributes of a bridge that filters VLANs. Returns `None` for any other link.
    fn filtering_bridge(&self) -> Option<&Attributes<'a>> {
        const IFLA_BR_VLAN_FILTERING: u16 = 7;
        let filters = || u8_at(self.data.get(IFLA_BR_VLAN_FILTERING)?, 0);
        (self.kind == Some(b"bridge") && filters().is_some_and(|on| on != 0)).then_some(&self.data)
    }
}

/// Maps `ARPHRD_…` of `linux/if_arp.h`.
fn kind_of_layer(layer: u16) -> ObservedKind {
    match layer {
        libc::ARPHRD_LOOPBACK => ObservedKind::Loopback,
        libc::ARPHRD_ETHER => ObservedKind::Physical,
        other => ObservedKind::Other(format!("link of type {other}")),
    }
}

/// A macvlan child. The mode is `None` if no network uses it: a container may set its link to a mode such as
/// `source` (16).
fn macvlan(data: &Attributes<'_>) -> ObservedKind {
    const IFLA_MACVLAN_MODE: u16 = 1;
    const IFLA_MACVLAN_BC_QUEUE_LEN: u16 = 7;
    let number = |kind| data.get(kind).and_then(|value| u32_at(value, 0));
    let mode = match number(IFLA_MACVLAN_MODE) {
        Some(1) => Some(MacvlanMode::Private),
        Some(2) => Some(MacvlanMode::Vepa),
        Some(4) => Some(MacvlanMode::Bridge),
        Some(8) => Some(MacvlanMode::Passthru),
        _ => None,
    };
    ObservedKind::Macvlan { mode, bc_queue_len: number(IFLA_MACVLAN_BC_QUEUE_LEN) }
}

fn ipvlan(data: &Attributes<'_>) -> Option<ObservedKind> {
    const IFLA_IPVLAN_MODE: u16 = 1;
    let mode = match u16_at(data.get(IFLA_IPVLAN_MODE)?, 0)? {
        0 => IpvlanMode::L2,
        1 => IpvlanMode::L3,
        2 => IpvlanMode::L3s,
        _ => return None,
    };
    Some(ObservedKind::Ipvlan { mode })
}

/// A VLAN of 802.1Q. VLANs of 802.1ad have the same IDs but are different VLANs.
fn vlan(data: &Attributes<'_>) -> Option<ObservedKind> {
    const IFLA_VLAN_ID: u16 = 1;
    const IFLA_VLAN_FLAGS: u16 = 2;
    const IFLA_VLAN_PROTOCOL: u16 = 5;
    const VLAN_FLAG_GVRP: u32 = 2;
    const ETH_P_8021AD: [u8; 2] = [0x88, 0xa8];
    if data.get(IFLA_VLAN_PROTOCOL) == Some(&ETH_P_8021AD) {
        return Some(ObservedKind::Other("vlan of 802.1ad".into()));
    }
    let flags = data.get(IFLA_VLAN_FLAGS).and_then(|value| u32_at(value, 0)).unwrap_or_default();
    let id = u16_at(data.get(IFLA_VLAN_ID)?, 0)?;
    Some(ObservedKind::Vlan { id, gvrp: flags & VLAN_FLAG_GVRP != 0 })
}

/// The default PVID of a bridge. Returns `None` if it is 0, which means that there is none.
fn default_pvid(bridge: &Attributes<'_>) -> Option<VlanId> {
    const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;
    u16_at(bridge.get(IFLA_BR_VLAN_DEFAULT_PVID)?, 0)?.try_into().ok()
}

/// The VLANs that a bridge forwards to a port, with the port's index, or the bridge's own. From a dump of
/// `AF_BRIDGE`.
pub(super) fn vlans(body: &[u8]) -> Option<(u32, BTreeMap<VlanId, Membership>)> {
    const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
    const BRIDGE_VLAN_INFO_PVID: u16 = 2;
    const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 4;
    let specs = Attributes::after(HEADER, body).within(IFLA_AF_SPEC);
    let vlan = |(kind, value): (u16, &[u8])| {
        let (flags, id) = (u16_at(value, 0)?, u16_at(value, 2)?);
        let membership = Membership {
            pvid: flags & BRIDGE_VLAN_INFO_PVID != 0,
            untagged: flags & BRIDGE_VLAN_INFO_UNTAGGED != 0,
        };
        (kind == IFLA_BRIDGE_VLAN_INFO).then_some((id.try_into().ok()?, membership))
    };
    Some((u32_at(body, 4)?, specs.filter_map(vlan).collect()))
}

/// The sysctls of one family that come with the link: an array in the order of `linux/ip.h` or
/// `linux/ipv6.h`.
struct Sysctls<'a>(&'a [u8]);

/// `IPV4_DEVCONF_…` counts from one, `DEVCONF_…` from zero.
const IPV4_RP_FILTER: usize = 8 - 1;
const IPV4_ARP_FILTER: usize = 13 - 1;
const IPV4_ARP_IGNORE: usize = 19 - 1;
const IPV6_MTU: usize = 2;
const IPV6_ACCEPT_RA: usize = 3;
const IPV6_DISABLE: usize = 26;

impl Sysctls<'_> {
    fn get(&self, at: usize) -> Option<i32> {
        i32_at(self.0, at * size_of::<i32>())
    }
}

fn sysctls(specs: &[u8]) -> [Sysctls<'_>; 2] {
    const IFLA_INET_CONF: u16 = 1;
    const IFLA_INET6_CONF: u16 = 2;
    let [ipv4, ipv6] = Attributes::of(specs).pick([super::AF_INET, super::AF_INET6].map(u16::from));
    [(ipv4, IFLA_INET_CONF), (ipv6, IFLA_INET6_CONF)]
        .map(|(spec, conf)| Sysctls(spec.and_then(|spec| Attributes::of(spec).get(conf)).unwrap_or_default()))
}
