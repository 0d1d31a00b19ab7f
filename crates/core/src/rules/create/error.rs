//! The reasons to refuse a network, each with a remedy.

use std::net::{IpAddr, Ipv4Addr};

use ashore_wire::Mac;
use ipnet::IpNet;

use super::sources::{Ipv6Error, LeaseError};
use crate::model::survey::PoolSeen;
use crate::net::kind::{LinkKind, PortOption};
use crate::net::name::{IfName, NetworkName};
use crate::net::option::{
    AUX_ADDRESS, BC_QUEUE_LEN, DHCP, GATEWAY, GVRP, HAIRPIN, HOST_ACCESS, IP_RANGE, ISOLATED, KIND, PARENT,
    SUBNET, TAGGED, VLAN,
};
use crate::net::range::Range;
use crate::net::remedy::{Front, Remedy};
use crate::net::vlan::{Vlan, VlanId, VlanIdError};

/// Why a network cannot be made. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// A network of that name exists.
    #[error("there is a network `{0}` already")]
    Exists(NetworkName),
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
    NoQueue(LinkKind),
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

impl NetworkError {
    /// The remedy: a command to run, or an option to give instead. Returns `None` if the message says enough.
    pub fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            NetworkError::Exists(name) => {
                Remedy::from("see it with: ").and_run(format!("ashore network inspect {name}"))
            }
            NetworkError::NoParent { .. } => Remedy::from("name one that faces the LAN with ").and_give(&PARENT),
            NetworkError::ParentUnnamed
            | NetworkError::NoDefaultRoute { .. }
            | NetworkError::NobodyInSubnet { .. }
            | NetworkError::SeveralParents { .. } => Remedy::from("name it: ")
                .and_set(&PARENT, "eth0")
                .only(Front::Docker, ", and --ipam-opt parent=eth0 where the subnet is not named"),
            NetworkError::InternalOffLan { .. } => Remedy::from("name the LAN's interface with ")
                .and_give(&PARENT)
                .and("; for a network on no LAN use Docker's own driver: ")
                .and_run("docker network create --internal"),
            NetworkError::NoAddress { ipv6, .. } => {
                let named = Remedy::from("name it: ").and_set(&SUBNET, "192.168.88.0/24").and(" ");
                let named = named.and_set(&GATEWAY, "192.168.88.1").and(", or what your LAN has");
                match ipv6 {
                    Some(net) => named.and("; or, for IPv6 alone, ").and_set(&SUBNET, net),
                    None => named,
                }
            }
            NetworkError::NoFreeRange(_) | NetworkError::RangeHoldsNothing { .. } => {
                Remedy::from("name one that has room: ").and_set(&IP_RANGE, "FIRST-LAST")
            }
            NetworkError::NoRangeBesidePool { net, .. } => no_range_beside(net),
            NetworkError::RangeInPool { range, beside, .. } => out_of_pool(range, beside.as_ref()),
            NetworkError::ParentDown(_)
            | NetworkError::ParentIsNoBridge(_)
            | NetworkError::ParentIsPort { .. }
            | NetworkError::ParentIsWifi(..)
            | NetworkError::ParentUnfit(..)
            | NetworkError::ParentHasChild { .. }
            | NetworkError::ParentTaken { .. }
            | NetworkError::PassthruCutsHost { .. } => return self.remedy_of_parent(),
            NetworkError::VlanOnWifi(_)
            | NetworkError::BridgeFilters { .. }
            | NetworkError::BridgeMixes { .. }
            | NetworkError::GvrpOnBridge(_)
            | NetworkError::GvrpOnForeign(_)
            | NetworkError::TaggedWithoutVlan
            | NetworkError::VlanNameTaken { .. } => return self.remedy_of_vlan(),
            NetworkError::NoSubnet => {
                Remedy::from("give the LAN's own, such as ").and_set(&SUBNET, "192.168.88.0/24")
            }
            NetworkError::ForeignSubnet { .. } => Remedy::from(
                "give the subnet that `ip addr` shows on the parent, or a VLAN parent for another one",
            )
            .only(
                Front::Docker,
                "; without --subnet, Docker chooses a subnet of its own unless it is given --ipam-driver ashore",
            ),
            NetworkError::RangesOverlap { .. } => Remedy::from("choose a range beside it (")
                .and_run("ashore network ls")
                .and(" shows those in use), or leave ")
                .and_set(&AUX_ADDRESS, "host=")
                .and(" out"),
            NetworkError::NoHostAccess(kind) => Remedy::from("give ")
                .and_set(&HOST_ACCESS, "no")
                .and(format!(" to do without host access, or use a kind other than {kind}")),
            NetworkError::StrictReversePath(parent) => check_loosely(parent),
            NetworkError::ShimByHand { link, .. } => without(link),
            NetworkError::HostAddressWithoutAccess => Remedy::from("leave ")
                .and_set(&AUX_ADDRESS, "host=")
                .and(" or ")
                .and_set(&HOST_ACCESS, "no")
                .and(" out"),
            NetworkError::MtuTooLarge { parent, mtu, .. } => Remedy::from("raise the parent's first: ")
                .and_run(format!("ip link set dev {} mtu {mtu}", parent.word())),
            NetworkError::AddressHeld { remedy, .. } => remedy.clone(),
            NetworkError::HostAddressOnLan { .. } => {
                "choose a free one, or leave it out: the host needs no address of its own".into()
            }
            NetworkError::NoPorts(PortOption::Isolated, LinkKind::Macvlan(_)) => Remedy::from("use ")
                .and_set(&KIND, "macvlan:private")
                .and(", which keeps endpoints apart, in place of ")
                .and_give(&ISOLATED),
            NetworkError::NoPorts(port, _) => Remedy::from("use ")
                .and_set(&KIND, "bridge")
                .and(" on a bridge that holds the NIC, or ")
                .and_unset(if *port == PortOption::Hairpin { &HAIRPIN } else { &ISOLATED }),
            NetworkError::NoQueue(_) => Remedy::unset(&BC_QUEUE_LEN),
            NetworkError::NoVlan { .. }
            | NetworkError::SubnetTooSmall(_)
            | NetworkError::SubnetUnfit(..)
            | NetworkError::SubnetsOverlap(..)
            | NetworkError::RangeOutside(..)
            | NetworkError::AddressOutside { .. }
            | NetworkError::AddressUnfit { .. }
            | NetworkError::AddressTwice { .. }
            | NetworkError::MtuTooSmall { .. }
            | NetworkError::TwoRanges(..)
            | NetworkError::TwoGateways(..)
            | NetworkError::TwoAux(..) => return None,
            NetworkError::Leases(error) => error.remedy(),
            NetworkError::Ipv6(error) => error.remedy(),
        })
    }

    fn remedy_of_parent(&self) -> Option<Remedy> {
        Some(match self {
            NetworkError::ParentDown(parent) => {
                Remedy::from("bring it up first: ").and_run(format!("ip link set dev {} up", parent.word()))
            }
            NetworkError::ParentIsNoBridge(parent) => Remedy::from("use ")
                .and_set(&KIND, "macvlan")
                .and(format!(" on `{parent}`, or name the bridge that holds it as the parent")),
            NetworkError::ParentIsPort { instead, bridge, vlan, .. } => {
                in_place_of_port(instead.as_ref(), *bridge, *vlan)
            }
            NetworkError::ParentIsWifi(..) => {
                Remedy::from("use ").and_set(&KIND, "ipvlan").and(", which shares the client's MAC")
            }
            NetworkError::ParentUnfit(..) => {
                "name the NIC, bond, bridge or VLAN interface that faces the LAN".into()
            }
            NetworkError::ParentHasChild { child, there, elsewhere, .. } => {
                beside_child(child, *there, elsewhere.as_deref())
            }
            NetworkError::ParentTaken { there, network, .. } => Remedy::from("use ")
                .and_set(&KIND, there)
                .and(", or remove the other first: ")
                .and_run(format!("ashore network rm {network}")),
            NetworkError::PassthruCutsHost { .. } => Remedy::from("use ")
                .and_set(&KIND, "macvlan")
                .and(", or a NIC that the host itself does not use"),
            _ => return None,
        })
    }

    fn remedy_of_vlan(&self) -> Option<Remedy> {
        Some(match self {
            NetworkError::VlanOnWifi(_) => {
                "use a wired interface, or let the access point put a wireless network of its own into the VLAN".into()
            }
            NetworkError::BridgeFilters { missing, .. } => Remedy::run(missing.join("; ")),
            NetworkError::BridgeMixes { vlan, missing } => Remedy::run(missing.join("; "))
                .and(" (the bridge then drops tagged frames of VLANs that its ports are not in); or leave ")
                .and_set(&KIND, "bridge")
                .and(format!(" out, to use macvlan on `{}`", vlan.name())),
            NetworkError::GvrpOnBridge(_) => {
                Remedy::unset(&GVRP).and(", and put the switch port into the VLAN on the switch")
            }
            NetworkError::TaggedWithoutVlan => Remedy::from("give ")
                .and_set(&KIND, "bridge")
                .and(" and ")
                .and_set(&VLAN, "ID")
                .and(" with ")
                .and_give(&TAGGED),
            NetworkError::VlanNameTaken { name, .. } => Remedy::from("rename it while it is down: ")
                .and_run(format!("ip link set dev {} name NEW", name.word())),
            NetworkError::GvrpOnForeign(parent) => Remedy::from("give ")
                .and_set(&VLAN, "ID")
                .and(" with ")
                .and_give(&GVRP)
                .and("; on a VLAN of your own: ")
                .and_run(format!("ip link set dev {} type vlan gvrp on", parent.word())),
            _ => return None,
        })
    }
}

fn no_range_beside(net: &IpNet) -> Remedy {
    Remedy::from("take addresses out of its pool (")
        .and_run(format!("ashore router-config --subnet {net} --ip-range RANGE --for SYSTEM"))
        .and(" prints how) and name them with ")
        .and_give(&IP_RANGE)
        .and("; or lease all addresses from that server with ")
        .and_give(&DHCP)
}

fn beside_child(child: &IfName, there: LinkKind, elsewhere: Option<&str>) -> Remedy {
    let remedy = Remedy::from("use ").and_set(&KIND, &there);
    match elsewhere {
        None => {
            remedy.and(", or remove that link first: ").and_run(format!("ip link del dev {}", child.word()))
        }
        Some(path) => remedy.and(format!(", or end what uses that link in the namespace at {path}")),
    }
}

fn in_place_of_port(instead: Option<&IfName>, bridge: bool, vlan: Option<VlanId>) -> Remedy {
    let Some(instead) = instead else {
        return Remedy::from("as the parent, name the interface that has the host's address; see: ")
            .and_run("ip address");
    };
    let remedy = Remedy::from("use ").and_set(&PARENT, &instead.word());
    match vlan {
        Some(id) => remedy.and(" ").and_set(&VLAN, &id),
        None if bridge => remedy.and(" ").and_set(&KIND, "bridge"),
        None => remedy,
    }
}

fn out_of_pool(range: &Range, beside: Option<&Range>) -> Remedy {
    let other = beside.map(|beside| Remedy::set(&IP_RANGE, beside).and(", which lies beside it; or "));
    other
        .unwrap_or_default()
        .and(format!("take {range} out of the pool, as "))
        .and_run("ashore router-config")
        .and(" prints, and check again: ")
        .and_run(format!("ashore pool-check --ip-range {range}"))
}

fn check_loosely(parent: &IfName) -> Remedy {
    // sysctl(8) takes `/` for a dot inside an interface name.
    let link = parent.as_str().replace('.', "/");
    Remedy::from("use loose mode: ")
        .and_run(format!("sysctl -w net.ipv4.conf.{link}.rp_filter=2"))
        .and("; or give ")
        .and_set(&HOST_ACCESS, "no")
}

fn without(link: &IfName) -> Remedy {
    Remedy::run(format!("ip link del dev {}", link.word()))
        .and(", try again, and remove what creates that link at boot")
}
