//! Every refusal that a network can meet, with what helps.

use std::net::{IpAddr, Ipv4Addr};

use ashore_wire::Mac;
use ipnet::IpNet;

use super::sources::{Ipv6Error, LeaseError};
use crate::model::survey::PoolSeen;
use crate::net::kind::{LinkKind, PortOption};
use crate::net::name::{IfName, NetworkName};
use crate::net::range::Range;
use crate::net::vlan::{Vlan, VlanId, VlanIdError};

/// Why a network cannot be made. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The name is taken.
    #[error("there is a network `{0}` already")]
    Exists(NetworkName),
    /// No such interface.
    #[error("the parent `{parent}` does not exist; this host has {present}")]
    NoParent {
        /// The parent as given.
        parent: IfName,
        /// What there is.
        present: String,
    },
    /// Nobody said which.
    #[error("the parent is not named")]
    ParentUnnamed,
    /// The parent was not named, and cannot be known.
    #[error(
        "this host has no default route, so the interface that faces the LAN is not known; there are {present}"
    )]
    NoDefaultRoute {
        /// What there is.
        present: String,
    },
    /// The parent was not named, and no interface has the subnet.
    #[error("no interface of this host has an address in {subnets}; there are {present}")]
    NobodyInSubnet {
        /// The subnets as given.
        subnets: String,
        /// What there is.
        present: String,
    },
    /// The same, of an internal network, which some take for one that is on no LAN.
    #[error(
        "no interface of this host has an address in {subnets}, and an internal network is on a LAN as any other; there are {present}"
    )]
    InternalOffLan {
        /// The subnets as given.
        subnets: String,
        /// What there is.
        present: String,
    },
    /// The parent was not named, and several interfaces have the subnet.
    #[error("{parents} all have an address in {subnets}, and which one faces the LAN is not known")]
    SeveralParents {
        /// The subnets as given.
        subnets: String,
        /// The interfaces.
        parents: String,
    },
    /// The subnet was not named, and the parent has none.
    #[error("the parent `{parent}` has no IPv4 address, so the LAN's subnet is not known")]
    NoAddress {
        /// The parent.
        parent: IfName,
        /// The IPv6 subnet that it has.
        ipv6: Option<IpNet>,
    },
    /// The range was not named, and no block of addresses is free.
    #[error("no block of addresses in {0} is free for a range")]
    NoFreeRange(IpNet),
    /// The same, because a DHCP server hands out the rest.
    #[error("no block of addresses in {net} is free for a range: the DHCP server {pool}")]
    NoRangeBesidePool {
        /// The subnet.
        net: IpNet,
        /// What its server offered.
        pool: PoolSeen,
    },
    /// A DHCP server hands out addresses of the range.
    #[error("the range {range} overlaps the pool of the DHCP server {server}, which offers {offered}")]
    RangeInPool {
        /// The range.
        range: Range,
        /// The server.
        server: Ipv4Addr,
        /// An address of both.
        offered: Ipv4Addr,
        /// A range beside the pool.
        beside: Option<Range>,
    },
    /// The interface is down.
    #[error("the parent `{0}` is down")]
    ParentDown(IfName),
    /// A veth needs a bridge.
    #[error("the parent `{0}` is no bridge, so no veth can be a port of it")]
    ParentIsNoBridge(IfName),
    /// The interface is itself a port.
    #[error("the parent `{parent}` is a port of `{master}` and can carry no {kind}")]
    ParentIsPort {
        /// The parent.
        parent: IfName,
        /// The bridge or bond that holds it.
        master: String,
        /// Whether that is a bridge.
        bridge: bool,
        /// What can be a parent in its place, as far as that is known.
        instead: Option<IfName>,
        /// What was asked for.
        kind: LinkKind,
        /// The VLAN that was to be made on it.
        vlan: Option<VlanId>,
    },
    /// Wi-Fi passes only frames of its own MAC.
    #[error(
        "the parent `{0}` is Wi-Fi, and an access point drops frames from any MAC but the client's own, so {1} cannot work on it"
    )]
    ParentIsWifi(IfName, LinkKind),
    /// Wi-Fi has no tags.
    #[error("the interface `{}` is Wi-Fi, which carries no VLAN tags, so there is no VLAN {} on it", .0.lower, .0.id)]
    VlanOnWifi(Vlan),
    /// A bridge that drops the VLAN's frames.
    #[error("the bridge `{}` filters VLANs and does not let VLAN {} through", .vlan.lower, .vlan.id)]
    BridgeFilters {
        /// The VLAN.
        vlan: Vlan,
        /// The commands by which it would.
        missing: Vec<String>,
    },
    /// A bridge that knows no VLANs.
    #[error("the bridge `{}` does not filter VLANs, so it cannot keep endpoints in VLAN {}", .vlan.lower, .vlan.id)]
    BridgeMixes {
        /// The VLAN.
        vlan: Vlan,
        /// The commands by which it would.
        missing: Vec<String>,
    },
    /// GVRP where no interface speaks it.
    #[error("--gvrp is for a VLAN's interface, and endpoints of kind bridge are in VLAN {} of `{}` without one", .0.id, .0.lower)]
    GvrpOnBridge(Vlan),
    /// Tagged ports of no VLAN.
    #[error("--tagged is for ports in a VLAN of a bridge, and there is none")]
    TaggedWithoutVlan,
    /// A parent such as `eth0.4095`.
    #[error("the parent `{parent}` does not exist and names no VLAN: {error}")]
    NoVlan {
        /// The parent as given.
        parent: IfName,
        /// What is wrong with its number.
        error: VlanIdError,
    },
    /// Another link has the VLAN's name.
    #[error("there is a link `{name}` already, and it is not VLAN {} on `{}`", .vlan.id, .vlan.lower)]
    VlanNameTaken {
        /// The name.
        name: IfName,
        /// The VLAN that was asked for.
        vlan: Vlan,
    },
    /// GVRP for what is not Ashore's VLAN.
    #[error("--gvrp is for a VLAN interface that Ashore makes, and `{0}` is none")]
    GvrpOnForeign(IfName),
    /// The parent is a child or a shim of Ashore's, or loopback.
    #[error("the parent `{0}` cannot face a LAN: it is {1}")]
    ParentUnfit(IfName, String),
    /// A link of somebody else's on the parent, beside which the kernel allows no endpoints.
    #[error(
        "the parent `{parent}` carries the {there} link `{child}`{}, and the kernel allows no {kind} beside it",
        .elsewhere.as_ref().map_or_else(String::new, |path| format!(" in {path}"))
    )]
    ParentHasChild {
        /// The parent.
        parent: IfName,
        /// What stands on it.
        child: IfName,
        /// A path of the namespace that it is in, if that is not the host's.
        elsewhere: Option<String>,
        /// Its kind.
        there: LinkKind,
        /// What was asked for.
        kind: LinkKind,
    },
    /// Another link kind holds the parent.
    #[error(
        "the parent `{parent}` carries {there} for network `{network}`, and the kernel allows no {kind} beside it"
    )]
    ParentTaken {
        /// The parent.
        parent: IfName,
        /// What was asked for.
        kind: LinkKind,
        /// What is on it.
        there: LinkKind,
        /// Whose that is.
        network: String,
    },
    /// No subnet.
    #[error("a network needs at least one --subnet")]
    NoSubnet,
    /// A subnet with no room for an endpoint.
    #[error("the subnet {0} has no room for an endpoint")]
    SubnetTooSmall(IpNet),
    /// A subnet of which no machine can have an address.
    #[error("the subnet {0} is no LAN's: {1}")]
    SubnetUnfit(IpNet, &'static str),
    /// The address that the host would have is another machine's.
    #[error("--aux-address host={ip} is in use on the LAN by {mac}")]
    HostAddressOnLan {
        /// The address.
        ip: IpAddr,
        /// The machine that has it.
        mac: Mac,
    },
    /// Two subnets of the network share addresses.
    #[error("the subnets {0} and {1} overlap")]
    SubnetsOverlap(IpNet, IpNet),
    /// The host is in another subnet on this parent.
    #[error("the subnet {subnet} is not that of the parent `{parent}`, which has {present}")]
    ForeignSubnet {
        /// The subnet as given.
        subnet: IpNet,
        /// The parent.
        parent: IfName,
        /// The parent's addresses.
        present: String,
    },
    /// A range of which nothing can be handed out.
    #[error("no address of the range {range} can be an endpoint's: {ip}, the first, cannot since {why}")]
    RangeHoldsNothing {
        /// The range.
        range: Range,
        /// Its first address.
        ip: IpAddr,
        /// Why that one cannot.
        why: String,
    },
    /// The range leaves its subnet.
    #[error("the range {0} does not lie in the subnet {1}")]
    RangeOutside(Range, IpNet),
    /// The range is another network's too, and one of the two has a `host` address.
    #[error(
        "the range {range} overlaps {other}, the range of network `{network}`, and a `host` address needs one of its own"
    )]
    RangesOverlap {
        /// The range as given.
        range: Range,
        /// The other range.
        other: Range,
        /// Whose that is.
        network: String,
    },
    /// An address outside its subnet.
    #[error("{what} {ip} does not lie in the subnet {subnet}")]
    AddressOutside {
        /// `the gateway`, or which auxiliary address.
        what: String,
        /// The address.
        ip: IpAddr,
        /// The subnet.
        subnet: IpNet,
    },
    /// An address that no machine can have.
    #[error("{what} {ip} cannot be a machine's: {why}")]
    AddressUnfit {
        /// `the gateway`, or which auxiliary address.
        what: String,
        /// The address.
        ip: IpAddr,
        /// The reason.
        why: String,
    },
    /// An address given for two purposes.
    #[error("{ip} is given twice: as {one} and as {other}")]
    AddressTwice {
        /// The address.
        ip: IpAddr,
        /// One purpose.
        one: String,
        /// The other.
        other: String,
    },
    /// An address in use by an endpoint.
    #[error("{what} {ip} is held by the endpoint `{endpoint}` of network `{network}`")]
    AddressHeld {
        /// `the gateway`, or which auxiliary address.
        what: String,
        /// The address.
        ip: IpAddr,
        /// Whose it is.
        endpoint: String,
        /// On which network.
        network: String,
    },
    /// Larger frames than the parent passes.
    #[error("an MTU of {mtu} is more than the parent's: `{parent}` has {most}")]
    MtuTooLarge {
        /// As given, in bytes.
        mtu: u32,
        /// The parent.
        parent: IfName,
        /// The parent's MTU in bytes.
        most: u32,
    },
    /// Smaller frames than the family allows.
    #[error("an MTU of {mtu} is too small: {family} needs at least {least}")]
    MtuTooSmall {
        /// As given, in bytes.
        mtu: u32,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The least, in bytes (RFC 791: 68, RFC 8200: 1280).
        least: u32,
    },
    /// passthru takes the interface away from the host.
    #[error(
        "macvlan:passthru hands all of `{parent}` to its one endpoint, and would cut the host off from its {present} there"
    )]
    PassthruCutsHost {
        /// The parent.
        parent: IfName,
        /// The host's addresses on it.
        present: String,
    },
    /// Host access that the kernel cannot give.
    #[error("{0} leaves the host no way to its containers")]
    NoHostAccess(LinkKind),
    /// The host would drop what its containers send it.
    #[error(
        "rp_filter is 1 on `{0}`, and with it the host drops what ipvlan:l2 endpoints send it: that comes in by `{0}`, and the way to them is by the shim"
    )]
    StrictReversePath(IfName),
    /// A child of the parent that somebody has made for the host, in the place of which the shim is to be.
    #[error(
        "this host has {ip}, the `host` address, on `{link}`, which was made by hand; Ashore makes a shim with that address"
    )]
    ShimByHand {
        /// The address.
        ip: IpAddr,
        /// The link.
        link: IfName,
    },
    /// A `host` address without host access.
    #[error("--aux-address host= asks for host access, and --host-access no forbids it")]
    HostAddressWithoutAccess,
    /// Two ranges for one subnet.
    #[error("the subnet {2} has two ranges: {0} and {1}")]
    TwoRanges(Range, Range, IpNet),
    /// Two gateways for one subnet.
    #[error("the subnet {2} has two gateways: {0} and {1}")]
    TwoGateways(IpAddr, IpAddr, IpNet),
    /// Two auxiliary addresses of one name.
    #[error("--aux-address {0} is given twice: {1} and {2}")]
    TwoAux(String, IpAddr, IpAddr),
    /// A macvlan option on another kind.
    #[error("--bc-queue-len is macvlan's, and {0} has no such queue")]
    NoQueue(LinkKind),
    /// An option of bridge ports on another kind.
    #[error("--{0} is for ports of a bridge, and {1} has none")]
    NoPorts(PortOption, LinkKind),
    /// Leases that cannot be.
    #[error(transparent)]
    Leases(#[from] LeaseError),
    /// IPv6 addresses that cannot come from there.
    #[error(transparent)]
    Ipv6(#[from] Ipv6Error),
}

impl NetworkError {
    /// What helps, as a command or an option to give instead.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            NetworkError::Exists(name) => format!("see it with: ashore network inspect {name}"),
            NetworkError::NoParent { .. } => {
                "name one that faces the LAN with --parent (-o parent= in Docker)".into()
            }
            NetworkError::ParentUnnamed
            | NetworkError::NoDefaultRoute { .. }
            | NetworkError::NobodyInSubnet { .. }
            | NetworkError::SeveralParents { .. } => {
                "name it: --parent eth0 (in Docker -o parent=eth0, and --ipam-opt parent=eth0 where the subnet is not named)"
                    .into()
            }
            NetworkError::InternalOffLan { .. } => {
                "name the LAN's interface with --parent (-o parent= in Docker); a network that no LAN sees is one of Docker's own: \
                 docker network create --internal"
                    .into()
            }
            NetworkError::NoAddress { ipv6, .. } => {
                let named = "name it: --subnet 192.168.88.0/24 --gateway 192.168.88.1, or whatever the LAN's are";
                match ipv6 {
                    Some(net) => format!("{named}; or, for IPv6 alone, --subnet {net}"),
                    None => named.into(),
                }
            }
            NetworkError::NoFreeRange(_) | NetworkError::RangeHoldsNothing { .. } => WITH_ROOM.into(),
            NetworkError::NoRangeBesidePool { net, .. } => no_range_beside(net),
            NetworkError::RangeInPool { range, beside, .. } => out_of_pool(range, beside.as_ref()),
            NetworkError::ParentDown(parent) => format!("bring it up first: ip link set dev {} up", parent.word()),
            NetworkError::ParentIsNoBridge(parent) => {
                format!("use --kind macvlan on `{parent}`, or name the bridge that holds it as the parent")
            }
            NetworkError::ParentIsPort { instead, bridge, vlan, .. } => {
                in_place_of_port(instead.as_ref(), *bridge, *vlan)
            }
            NetworkError::ParentIsWifi(..) => "use --kind ipvlan, which shares the client's MAC".into(),
            NetworkError::VlanOnWifi(_)
            | NetworkError::BridgeFilters { .. }
            | NetworkError::BridgeMixes { .. }
            | NetworkError::GvrpOnBridge(_)
            | NetworkError::GvrpOnForeign(_)
            | NetworkError::TaggedWithoutVlan
            | NetworkError::VlanNameTaken { .. } => return self.hint_of_vlan(),
            NetworkError::ParentUnfit(..) => {
                "name the NIC, bond, bridge or VLAN interface that faces the LAN".into()
            }
            NetworkError::ParentHasChild { child, there, elsewhere, .. } => beside_child(child, *there, elsewhere.as_deref()),
            NetworkError::ParentTaken { there, network, .. } => {
                format!("use --kind {there}, or remove the other first: ashore network rm {network}")
            }
            NetworkError::NoSubnet => "give the LAN's own, such as --subnet 192.168.88.0/24".into(),
            NetworkError::ForeignSubnet { .. } => {
                "give the subnet that `ip addr` shows on the parent, or a VLAN parent for another one; Docker chooses one of its \
                 own without --subnet, unless it is told --ipam-driver ashore"
                    .into()
            }
            NetworkError::RangesOverlap { .. } => BESIDE_OTHERS.into(),
            NetworkError::PassthruCutsHost { .. } => {
                "use --kind macvlan, or a NIC that the host itself does not use".into()
            }
            NetworkError::NoHostAccess(kind) => {
                format!("say --host-access no to go without it, or use another kind than {kind}")
            }
            NetworkError::StrictReversePath(parent) => check_loosely(parent),
            NetworkError::ShimByHand { link, .. } => without(link),
            NetworkError::HostAddressWithoutAccess => "drop one of the two".into(),
            NetworkError::MtuTooLarge { parent, mtu, .. } => {
                format!("raise the parent's first: ip link set dev {} mtu {mtu}", parent.word())
            }
            NetworkError::AddressHeld { network, endpoint, .. } => {
                format!("choose another, or free it: ashore detach {network} {endpoint}")
            }
            NetworkError::HostAddressOnLan { .. } => {
                "choose a free one, or leave it out: the host needs no address of its own".into()
            }
            NetworkError::NoPorts(PortOption::Isolated, LinkKind::Macvlan(_)) => {
                "use --kind macvlan:private, which keeps endpoints apart".into()
            }
            NetworkError::NoPorts(..) => "use --kind bridge on a bridge that holds the NIC".into(),
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
            | NetworkError::TwoAux(..)
            | NetworkError::NoQueue(_) => return None,
            NetworkError::Leases(error) => error.hint().into(),
            NetworkError::Ipv6(error) => error.hint().into(),
        })
    }

    fn hint_of_vlan(&self) -> Option<String> {
        Some(match self {
            NetworkError::VlanOnWifi(_) => {
                "use an interface with a cable, or have the access point put a network of its own into the VLAN".into()
            }
            NetworkError::BridgeFilters { missing, .. } => missing.join("; "),
            NetworkError::BridgeMixes { vlan, missing } => format!(
                "{} (from then on it drops tagged frames of VLANs that its ports are not in); or leave --kind bridge out, for \
                 macvlan on `{}`",
                missing.join("; "),
                vlan.name()
            ),
            NetworkError::GvrpOnBridge(_) => {
                "leave it out, and put the switch's port into the VLAN there".into()
            }
            NetworkError::TaggedWithoutVlan => "give --kind bridge and --vlan ID with it".into(),
            NetworkError::VlanNameTaken { name, .. } => {
                format!("rename it while it is down: ip link set dev {} name NEW", name.word())
            }
            NetworkError::GvrpOnForeign(parent) => {
                format!("give --vlan ID with it; on a VLAN of your own: ip link set dev {} type vlan gvrp on", parent.word())
            }
            _ => return None,
        })
    }
}

const BESIDE_OTHERS: &str =
    "choose a range beside it (ashore network ls shows those in use), or leave --aux-address host= out";

fn no_range_beside(net: &IpNet) -> String {
    format!(
        "take addresses out of its pool (ashore router-config --subnet {net} --ip-range RANGE --for SYSTEM prints how) and \
         name them with --ip-range; or leave all to that server with --dhcp"
    )
}

const WITH_ROOM: &str = "name one that has room: --ip-range FIRST-LAST";

fn beside_child(child: &IfName, there: LinkKind, elsewhere: Option<&str>) -> String {
    match elsewhere {
        None => format!("use --kind {there}, or remove that link first: ip link del dev {}", child.word()),
        Some(path) => format!("use --kind {there}, or end what has that link, in the namespace at {path}"),
    }
}

fn in_place_of_port(instead: Option<&IfName>, bridge: bool, vlan: Option<VlanId>) -> String {
    let Some(instead) = instead else {
        return "name the interface that has the host's address as the parent: ip address".into();
    };
    let more = match vlan {
        Some(id) => format!(" --vlan {id}"),
        None if bridge => " --kind bridge".to_owned(),
        None => String::new(),
    };
    format!("use --parent {}{more}", instead.word())
}

fn out_of_pool(range: &Range, beside: Option<&Range>) -> String {
    let other =
        beside.map_or_else(String::new, |beside| format!("--ip-range {beside}, which lies beside it; or "));
    format!(
        "{other}take {range} out of the pool, as ashore router-config prints, and look again: ashore pool-check --ip-range {range}"
    )
}

fn check_loosely(parent: &IfName) -> String {
    // sysctl(8) takes `/` for the dots that belong to an interface's own name.
    let link = parent.as_str().replace('.', "/");
    format!("check loosely: sysctl -w net.ipv4.conf.{link}.rp_filter=2; or --host-access no")
}

fn without(link: &IfName) -> String {
    format!("ip link del dev {}, ask again, and take out what makes it at each start", link.word())
}
