//! What helps where a network is refused.

use std::net::IpAddr;

use ipnet::IpNet;

use super::NetworkError;
use crate::model::ownership::EngineKind;
use crate::net::family::Family;
use crate::net::kind::{LinkKind, PortOption};
use crate::net::name::IfName;
use crate::net::option::{
    AUX_ADDRESS, DHCP, GATEWAY, GVRP, HAIRPIN, HOST_ACCESS, IP_RANGE, IPAM_DRIVER, ISOLATED, KIND, PARENT,
    SUBNET, TAGGED, VLAN,
};
use crate::net::range::Range;
use crate::net::remedy::Remedy;
use crate::net::step::{Sysctl, SysctlKey};
use crate::net::text::Word;
use crate::net::vlan::VlanId;

impl NetworkError {
    /// The remedy: a command to run, or an option to give instead. Returns `None` if the message says enough.
    pub fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            NetworkError::Exists(name) => {
                Remedy::from("see it with: ").and_run(format!("ashore network inspect {name}"))
            }
            NetworkError::Differs { option, .. } => {
                Remedy::unset(option).and(" to join that network, or give the new one another name")
            }
            NetworkError::NoParent { .. } => {
                Remedy::from("name one that faces the LAN with ").and_give(&PARENT)
            }
            NetworkError::NobodyInSubnet { lan: Some((net, router)), .. } => lans_own(net, router),
            NetworkError::ParentUnnamed
            | NetworkError::NoDefaultRoute { .. }
            | NetworkError::NobodyInSubnet { lan: None, .. }
            | NetworkError::SeveralParents { .. } => named_parent(),
            NetworkError::InternalOffLan { .. } => Remedy::from("name the LAN's interface with ")
                .and_give(&PARENT)
                .and("; for a network on no LAN use an engine's own driver: ")
                .and_engine("network create --internal"),
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
            NetworkError::RangeOutside(_, net) => range_in(net),
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
            NetworkError::PassthruForUsers(_) => Remedy::from("make users a network with ")
                .and_set(&KIND, "macvlan")
                .and(" on another interface, which gives each container a MAC of its own"),
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
            NetworkError::ForeignSubnet { .. } => subnet_of_lan(),
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
            NetworkError::NoQueue(_, option) => Remedy::unset(option),
            NetworkError::NoVlan { .. }
            | NetworkError::SubnetTooSmall(_)
            | NetworkError::SubnetUnfit(..)
            | NetworkError::SubnetsOverlap(..)
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
                Remedy::from("name the NIC, bond, bridge or VLAN interface that faces the LAN with ")
                    .and_give(&PARENT)
            }
            NetworkError::ParentHasChild { child, there, elsewhere, .. } => {
                beside_child(child, *there, elsewhere.as_deref())
            }
            NetworkError::ParentTaken { there, network, engine, .. } => Remedy::from("use ")
                .and_set(&KIND, there)
                .and(", or remove the other first: ")
                .and_run(format!(
                    "{} network rm {}",
                    engine.map_or("ashore", EngineKind::program),
                    Word::of(network)
                )),
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

fn named_parent() -> Remedy {
    let elsewhere =
        Remedy::from(", and ").and_set_ipam(&PARENT, "eth0").and(" where the subnet is not named");
    Remedy::from("name it: ").and_set(&PARENT, "eth0").in_docker(elsewhere)
}

fn lans_own(net: &IpNet, router: &IpAddr) -> Remedy {
    Remedy::from("give the LAN's own: ")
        .and_set(&SUBNET, net)
        .and(" and ")
        .and_set(&GATEWAY, router)
        .and("; or, if another LAN is meant, name its interface with ")
        .and_give(&PARENT)
        .in_docker(chosen_by_engine())
}

fn chosen_by_engine() -> Remedy {
    Remedy::from("; if you named no subnet, the engine chose this one, as it does unless it is given ")
        .and_set(&IPAM_DRIVER, "ashore")
}

fn subnet_of_lan() -> Remedy {
    Remedy::from("give the subnet that `ip addr` shows on the parent with ")
        .and_give(&SUBNET)
        .and(", or for another one a VLAN interface with ")
        .and_give(&PARENT)
        .in_docker(chosen_by_engine())
}

fn range_in(net: &IpNet) -> Remedy {
    Remedy::from(format!("choose one in {net}, or ")).and_unset(&IP_RANGE).and(", to have one chosen")
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

/// The command for a link on which packets may come by another way than the one back.
pub(crate) fn loose_reverse_path(link: &IfName) -> String {
    let of_link = Sysctl { family: Family::Ipv4, link: link.clone(), key: SysctlKey::RpFilter };
    of_link.command(2)
}

fn check_loosely(parent: &IfName) -> Remedy {
    Remedy::from("use loose mode: ")
        .and_run(loose_reverse_path(parent))
        .and("; or give ")
        .and_set(&HOST_ACCESS, "no")
}

fn without(link: &IfName) -> Remedy {
    Remedy::run(format!("ip link del dev {}", link.word()))
        .and(", try again, and remove what creates that link at boot")
}
