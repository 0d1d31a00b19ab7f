//! The reasons to refuse a network.

use std::net::{IpAddr, Ipv4Addr};

use ashore_wire::Mac;
use ipnet::IpNet;

use super::sources::{Ipv6Error, LeaseError};
use crate::model::ownership::EngineKind;
use crate::model::survey::PoolSeen;
use crate::net::kind::{LinkKind, PortOption};
use crate::net::name::{IfName, NetworkName};
use crate::net::option::NetworkOption;
use crate::net::range::Range;
use crate::net::remedy::Remedy;
use crate::net::vlan::{Vlan, VlanId, VlanIdError};

mod remedy;

pub(crate) use remedy::loose_reverse_path;

/// Why a network cannot be made. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// A network of that name exists.
    #[error("there is a network `{0}` already")]
    Exists(NetworkName),
    /// A network of that name exists, and has something else than was asked for.
    #[error("there is a network `{network}` already, with {has} where {asked} was asked for")]
    Differs {
        /// The network, under the name that users know.
        network: String,
        /// The option in which it differs.
        option: &'static NetworkOption,
        /// What was asked for.
        asked: String,
        /// What the network has.
        has: String,
    },
    /// There is no such interface.
    #[error("the parent `{parent}` does not exist; this host has {present}")]
    NoParent {
        /// The parent as given.
        parent: IfName,
        /// The host's possible parents.
        present: String,
    },
    /// No parent was given.
    #[error("the parent is not named")]
    ParentUnnamed,
    /// No parent was given, and without a default route it cannot be found.
    #[error(
        "this host has no default route, so the interface that faces the LAN is not known; candidates: {present}"
    )]
    NoDefaultRoute {
        /// The possible parents, with their addresses.
        present: String,
    },
    /// No parent was given, and no interface has an address in the subnets.
    #[error("no interface of this host has an address in {subnets}; candidates for the parent: {present}")]
    NobodyInSubnet {
        /// The subnets as given.
        subnets: String,
        /// The possible parents, with their addresses.
        present: String,
        /// The subnet of the LAN that has the default route, with its router, for the hint.
        lan: Option<(IpNet, IpAddr)>,
    },
    /// The same for an internal network. Some users expect such a network to be on no LAN.
    #[error(
        "no interface of this host has an address in {subnets}, and an internal network needs a LAN like any other; candidates for the parent: {present}"
    )]
    InternalOffLan {
        /// The subnets as given.
        subnets: String,
        /// The possible parents, with their addresses.
        present: String,
    },
    /// No parent was given, and several interfaces have an address in the subnets.
    #[error("{parents} all have an address in {subnets}, so it is not known which one faces the LAN")]
    SeveralParents {
        /// The subnets as given.
        subnets: String,
        /// The interfaces.
        parents: String,
    },
    /// No subnet was given, and the parent has no IPv4 subnet.
    #[error("the parent `{parent}` has no IPv4 address, so the LAN's subnet is not known")]
    NoAddress {
        /// The parent.
        parent: IfName,
        /// An IPv6 subnet of the parent, for the hint.
        ipv6: Option<IpNet>,
    },
    /// No range was given, and no block of addresses is free.
    #[error("no block of addresses in {0} is free for a range")]
    NoFreeRange(IpNet),
    /// The same, because a DHCP server assigns the remaining addresses.
    #[error("no block of addresses in {net} is free for a range: the DHCP server {pool}")]
    NoRangeBesidePool {
        /// The subnet.
        net: IpNet,
        /// What the DHCP server offered.
        pool: PoolSeen,
    },
    /// A DHCP server assigns addresses of the range.
    #[error("the range {range} overlaps the pool of the DHCP server {server}, which offers {offered}")]
    RangeInPool {
        /// The range.
        range: Range,
        /// The server.
        server: Ipv4Addr,
        /// An address of the range that the server offers.
        offered: Ipv4Addr,
        /// A range outside the server's pool, for the hint.
        beside: Option<Range>,
    },
    /// The parent is down.
    #[error("the parent `{0}` is down")]
    ParentDown(IfName),
    /// A veth's peer must be the port of a bridge.
    #[error("the parent `{0}` is not a bridge, so no veth can be a port of it")]
    ParentIsNoBridge(IfName),
    /// The parent is itself a port.
    #[error("the parent `{parent}` is a port of `{master}` and cannot carry {kind}")]
    ParentIsPort {
        /// The parent.
        parent: IfName,
        /// The bridge or bond that holds it.
        master: String,
        /// Whether the master is a bridge.
        bridge: bool,
        /// The link that can be the parent instead, if known.
        instead: Option<IfName>,
        /// The link kind of the new network.
        kind: LinkKind,
        /// The VLAN that was to be made on the parent.
        vlan: Option<VlanId>,
    },
    /// A Wi-Fi client passes only frames with its own MAC.
    #[error(
        "the parent `{0}` is Wi-Fi, and an access point drops frames from any MAC but the client's own, so {1} cannot work on it"
    )]
    ParentIsWifi(IfName, LinkKind),
    /// Wi-Fi carries no VLAN tags.
    #[error("the interface `{}` is Wi-Fi, which carries no VLAN tags, so there is no VLAN {} on it", .0.lower, .0.id)]
    VlanOnWifi(Vlan),
    /// The bridge drops the VLAN's frames.
    #[error("the bridge `{}` filters VLANs and does not let VLAN {} through", .vlan.lower, .vlan.id)]
    BridgeFilters {
        /// The VLAN.
        vlan: Vlan,
        /// The commands that let the VLAN through.
        missing: Vec<String>,
    },
    /// The bridge does not filter VLANs.
    #[error("the bridge `{}` does not filter VLANs, so it cannot keep endpoints in VLAN {}", .vlan.lower, .vlan.id)]
    BridgeMixes {
        /// The VLAN.
        vlan: Vlan,
        /// The commands that make it filter VLANs and let this one through.
        missing: Vec<String>,
    },
    /// GVRP was requested where no VLAN interface exists to speak it.
    #[error("GVRP needs a VLAN interface, and endpoints of kind bridge are in VLAN {} of `{}` without one", .0.id, .0.lower)]
    GvrpOnBridge(Vlan),
    /// Tagged ports were requested without a VLAN.
    #[error("tagged ports are for a VLAN of a bridge, and this network has no such VLAN")]
    TaggedWithoutVlan,
    /// The name of the parent looks like a VLAN's but has no valid VLAN ID, such as `eth0.4095`.
    #[error("the parent `{parent}` does not exist and names no VLAN: {error}")]
    NoVlan {
        /// The parent as given.
        parent: IfName,
        /// What is wrong with the VLAN ID.
        error: VlanIdError,
    },
    /// Another link has the name of the VLAN interface.
    #[error("there is a link `{name}` already, and it is not VLAN {} on `{}`", .vlan.id, .vlan.lower)]
    VlanNameTaken {
        /// The name.
        name: IfName,
        /// The VLAN that was asked for.
        vlan: Vlan,
    },
    /// GVRP was requested for a VLAN interface that Ashore does not make.
    #[error("GVRP is for a VLAN interface that Ashore makes, and `{0}` is not one")]
    GvrpOnForeign(IfName),
    /// The parent is loopback, one of Ashore's own links, or another link that cannot face a LAN.
    #[error("the parent `{0}` cannot face a LAN: it is {1}")]
    ParentUnfit(IfName, String),
    /// The parent carries a link that Ashore did not make, and the kernel allows no endpoints beside it.
    #[error(
        "the parent `{parent}` carries the {there} link `{child}`{}, and the kernel allows no {kind} beside it",
        .elsewhere.as_ref().map_or_else(String::new, |path| format!(" in {path}"))
    )]
    ParentHasChild {
        /// The parent.
        parent: IfName,
        /// The link on the parent.
        child: IfName,
        /// A path of the namespace that holds the link, if that is not the host's.
        elsewhere: Option<String>,
        /// The kind of that link.
        there: LinkKind,
        /// The link kind of the new network.
        kind: LinkKind,
    },
    /// Another network uses the parent with an incompatible link kind.
    #[error(
        "the parent `{parent}` carries {there} for network `{network}`, and the kernel allows no {kind} beside it"
    )]
    ParentTaken {
        /// The parent.
        parent: IfName,
        /// The link kind of the new network.
        kind: LinkKind,
        /// The link kind of the other network.
        there: LinkKind,
        /// The other network.
        network: String,
        /// The kind of the engine that has the other network, if one has it.
        engine: Option<EngineKind>,
    },
    /// No subnet was given.
    #[error("a network needs at least one subnet")]
    NoSubnet,
    /// The subnet has no room for an endpoint.
    #[error("the subnet {0} has no room for an endpoint")]
    SubnetTooSmall(IpNet),
    /// No machine can have an address in the subnet.
    #[error("the subnet {0} cannot be a LAN's: {1}")]
    SubnetUnfit(IpNet, &'static str),
    /// Another machine has the address that is reserved for the host.
    #[error("--aux-address host={ip} is in use on the LAN by {mac}")]
    HostAddressOnLan {
        /// The address.
        ip: IpAddr,
        /// The machine that has it.
        mac: Mac,
    },
    /// Two subnets of the network overlap.
    #[error("the subnets {0} and {1} overlap")]
    SubnetsOverlap(IpNet, IpNet),
    /// The host's addresses on the parent are in other subnets.
    #[error("the subnet {subnet} is not that of the parent `{parent}`, which has {present}")]
    ForeignSubnet {
        /// The subnet as given.
        subnet: IpNet,
        /// The parent.
        parent: IfName,
        /// The parent's addresses.
        present: String,
    },
    /// No address of the range can be assigned to an endpoint.
    #[error("no address of the range {range} can be an endpoint's: the first, {ip}, cannot because {why}")]
    RangeHoldsNothing {
        /// The range.
        range: Range,
        /// Its first address.
        ip: IpAddr,
        /// Why the first address cannot be assigned.
        why: String,
    },
    /// The range is not inside its subnet.
    #[error("the range {0} does not lie in the subnet {1}")]
    RangeOutside(Range, IpNet),
    /// The range overlaps another network's, and one of the two networks has a `host` address.
    #[error(
        "the range {range} overlaps {other}, the range of network `{network}`, and a `host` address needs a range of its own"
    )]
    RangesOverlap {
        /// The range as given.
        range: Range,
        /// The other range.
        other: Range,
        /// The network of the other range.
        network: String,
    },
    /// The address is not in the subnet.
    #[error("{what} {ip} does not lie in the subnet {subnet}")]
    AddressOutside {
        /// `the gateway`, or the option of the auxiliary address.
        what: String,
        /// The address.
        ip: IpAddr,
        /// The subnet.
        subnet: IpNet,
    },
    /// The address cannot be assigned to a machine.
    #[error("{what} {ip} cannot be a machine's: {why}")]
    AddressUnfit {
        /// `the gateway`, or the option of the auxiliary address.
        what: String,
        /// The address.
        ip: IpAddr,
        /// The reason.
        why: String,
    },
    /// One address was given for two purposes.
    #[error("{ip} is given twice: as {one} and as {other}")]
    AddressTwice {
        /// The address.
        ip: IpAddr,
        /// One purpose.
        one: String,
        /// The other.
        other: String,
    },
    /// An endpoint, or the host on another network, holds the address.
    #[error("{what} {held}")]
    AddressHeld {
        /// `the gateway`, or the option of the auxiliary address.
        what: String,
        /// The address, and who holds it.
        held: String,
        /// How to free it, or what else to do.
        remedy: Remedy,
    },
    /// The MTU is larger than the parent's.
    #[error("an MTU of {mtu} is more than the parent's: `{parent}` has {most}")]
    MtuTooLarge {
        /// The requested MTU in bytes.
        mtu: u32,
        /// The parent.
        parent: IfName,
        /// The parent's MTU in bytes.
        most: u32,
    },
    /// The MTU is too small for the address family.
    #[error("an MTU of {mtu} is too small: {family} needs at least {least}")]
    MtuTooSmall {
        /// The requested MTU in bytes.
        mtu: u32,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The minimum in bytes (RFC 791: 68, RFC 8200: 1280).
        least: u32,
    },
    /// passthru would take the interface away from the host.
    #[error(
        "macvlan:passthru gives all of `{parent}` to its one endpoint, and this host would lose {present} there"
    )]
    PassthruCutsHost {
        /// The parent.
        parent: IfName,
        /// The host's addresses on it.
        present: String,
    },
    /// passthru would give users other than root the interface's MAC.
    #[error(
        "macvlan:passthru gives its one endpoint the MAC of `{0}`, so that a user could change it; only root's containers are put on such a network"
    )]
    PassthruForUsers(IfName),
    /// The kernel gives the host no access to endpoints of this link kind.
    #[error("{0} leaves the host no way to reach its containers")]
    NoHostAccess(LinkKind),
    /// The host would drop the packets that its containers send to it.
    #[error(
        "rp_filter is 1 on `{0}`, so the host drops what ipvlan:l2 endpoints send to it: their packets arrive on `{0}`, but the host's route to them is through the shim"
    )]
    StrictReversePath(IfName),
    /// A child of the parent that was made by hand has the `host` address, so the shim cannot have it.
    #[error(
        "this host has the `host` address {ip} on `{link}`, which was made by hand; Ashore makes its own shim with that address"
    )]
    ShimByHand {
        /// The address.
        ip: IpAddr,
        /// The link.
        link: IfName,
    },
    /// A `host` address was given, but host access is forbidden.
    #[error("a `host` address asks for host access, which is switched off")]
    HostAddressWithoutAccess,
    /// Two ranges were given for one subnet.
    #[error("the subnet {2} has two ranges: {0} and {1}")]
    TwoRanges(Range, Range, IpNet),
    /// Two gateways were given for one subnet.
    #[error("the subnet {2} has two gateways: {0} and {1}")]
    TwoGateways(IpAddr, IpAddr, IpNet),
    /// Two auxiliary addresses of one name were given.
    #[error("--aux-address {0} is given twice: {1} and {2}")]
    TwoAux(String, IpAddr, IpAddr),
    /// A macvlan option was given for another link kind.
    #[error("the broadcast queue is macvlan's, and {0} has no such queue")]
    NoQueue(LinkKind, &'static NetworkOption),
    /// An option of bridge ports was given for another link kind.
    #[error("`{0}` is for ports of a bridge, and {1} has none")]
    NoPorts(PortOption, LinkKind),
    /// IPv4 addresses cannot be leased as requested.
    #[error(transparent)]
    Leases(#[from] LeaseError),
    /// IPv6 addresses cannot come from the requested source.
    #[error(transparent)]
    Ipv6(#[from] Ipv6Error),
}
