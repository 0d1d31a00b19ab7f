//! A plan for a network that is there, or for one that is yet to be made; and what makes none.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;

use ashore_core::model::ipv6::Ipv6Mode;
use ashore_core::model::lease::{Addressing, LeaseOptions};
use ashore_core::model::network::{Network, Subnet};
use ashore_core::model::survey::PoolReport;
use ashore_core::net::family::is_link_local;
use ashore_core::net::name::{IfName, NetworkName, PortName};
use ashore_core::net::range::Range;
use ashore_core::net::vlan::VlanId;
use ashore_core::rules::create::{NetworkError, NetworkSpec};
use ashore_wire::conflict::Profile;
use ipnet::IpNet;

use crate::error::RouterError;
use crate::plan::{Policy, Present, RouterPlan, RouterSubnet, in_vlan};

/// What is asked for beside the network itself, and what is known of the LAN as it is.
#[derive(Debug, Clone, Default)]
pub struct RouterRequest {
    /// The VLAN's number, where the parent's name does not tell it.
    pub vlan: Option<VlanId>,
    /// The router's addresses, where the network does not tell them.
    pub gateways: Vec<IpAddr>,
    /// What the router's DHCP server hands out now, or shall in a new VLAN. What is Ashore's is taken out of it.
    pub pools: Vec<Range>,
    /// The router's interface that carries the LAN.
    pub lan_interface: Option<PortName>,
    /// The ports that lead to the NAS.
    pub ports: Vec<PortName>,
    /// What may pass between VLAN and LAN.
    pub policy: Option<Policy>,
    /// What the LAN's DHCP servers offered of the network's ranges when they were asked.
    pub seen: Vec<PoolReport>,
    /// The addresses of the machine on which this is asked, which usually is the NAS.
    pub host: Vec<HostAddress>,
    /// The routers by which that machine sends what is for elsewhere.
    pub routers: Vec<IpAddr>,
}

/// An address of the machine on which a plan is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAddress {
    /// Its interface.
    pub interface: IfName,
    /// The address and its subnet.
    pub net: IpNet,
    /// Whether it was set by hand; what a DHCP server gave has to stay in that server's pool.
    pub steady: bool,
    /// Whether the way to the internet leads by this interface.
    pub outward: bool,
}

/// How many of a subnet's first addresses a new pool leaves to what has a fixed one, where there is room.
const LEFT_FREE: u128 = 10;
/// In a subnet of this many addresses there is.
const ROOMY: u128 = 64;

impl RouterPlan {
    /// For a network that is there.
    pub fn of_network(network: &Network, requested: RouterRequest) -> Result<Self, RouterError> {
        let mut network = network.clone();
        for subnet in &mut network.subnets {
            // A link-local router is the same machine by its other address: the interface needs one in the subnet.
            subnet.gateway = subnet.gateway.filter(|ip| !is_link_local(*ip));
        }
        for ip in &requested.gateways {
            let outside = NetworkError::AddressOutside {
                what: "the gateway".into(),
                ip: *ip,
                subnet: network.subnets[0].net,
            };
            let home = network.subnets.iter_mut().find(|subnet| subnet.net.contains(ip)).ok_or(outside)?;
            match home.gateway.replace(*ip) {
                Some(known) if known != *ip => {
                    return Err(RouterError::OtherGateway { network: network.name, known, given: *ip });
                }
                Some(_) => {}
                // Ashore does not know that it is taken.
                None => not_handed_out(&network.name, home, *ip)?,
            }
        }
        let in_vlan = vlan_of(&network, requested.vlan)?.is_some();
        let mut guessed = BTreeSet::new();
        for subnet in network.subnets.iter_mut().filter(|subnet| subnet.gateway.is_none()) {
            let router = find_router(subnet, in_vlan, &requested.routers, &mut guessed);
            not_handed_out(&network.name, subnet, router)?;
            subnet.gateway = Some(router);
        }
        let mut plan = Self::build(&network, &guessed, requested)?;
        plan.network = Some(network.name);
        Ok(plan)
    }

    /// For one that is yet to be made, of subnets and what Ashore shall hand out of them.
    pub fn of_subnets(
        subnets: &[IpNet],
        ranges: &[Range],
        requested: RouterRequest,
    ) -> Result<Self, RouterError> {
        if subnets.is_empty() {
            return Err(RouterError::NothingGiven);
        }
        let (gateways, link_local): (Vec<IpAddr>, Vec<IpAddr>) =
            requested.gateways.iter().partition(|ip| !is_link_local(**ip));
        if let Some(ip) = link_local.first() {
            return Err(RouterError::LinkLocalRouter(*ip));
        }
        let spec = NetworkSpec {
            name: "new".parse().expect("a name"),
            engine: None,
            // No interface is called so.
            parent: Some(IfName::from_str("to-be").expect("a name")),
            vlan: None,
            gvrp: false,
            kind: None,
            subnets: subnets.to_vec(),
            ranges: ranges.to_vec(),
            gateways,
            aux: Vec::new(),
            addressing: Addressing::default(),
            leasing: LeaseOptions::default(),
            ipv6: Ipv6Mode::default(),
            host_access: None,
            internal: false,
            conflict: Profile::default(),
            mtu: None,
            bc_queue_len: None,
            port: BTreeSet::new(),
            tagged: false,
        };
        let mut network = spec.network()?;
        let mut guessed = BTreeSet::new();
        for subnet in network.subnets.iter_mut().filter(|subnet| subnet.gateway.is_none()) {
            subnet.gateway =
                Some(find_router(subnet, requested.vlan.is_some(), &requested.routers, &mut guessed));
        }
        Self::build(&network, &guessed, requested)
    }

    /// Every subnet has its router by now, those of some being guessed.
    fn build(
        network: &Network,
        guessed: &BTreeSet<IpNet>,
        requested: RouterRequest,
    ) -> Result<Self, RouterError> {
        network.check_subnets()?;
        let vlan = vlan_of(network, requested.vlan)?;
        if vlan.is_some_and(|id| id.get() == 1) {
            return Err(RouterError::VlanOne);
        }
        if vlan.is_none() && requested.policy.is_some() {
            return Err(RouterError::NothingBetween);
        }
        if let Some(id) = vlan {
            not_the_lans(network, id, &requested.host)?;
            let own = requested
                .lan_interface
                .as_ref()
                .filter(|lan| in_vlan(lan.as_str()).is_some_and(|lans| lans.1 == id));
            if let Some(lan) = own {
                return Err(RouterError::LansOwnVlan { lan: lan.clone(), vlan: id });
            }
        }
        for (at, pool) in requested.pools.iter().enumerate() {
            check_pool(network, pool, &requested.pools[..at])?;
        }
        let subnets = network.subnets.iter().map(|subnet| {
            let planned = planned(subnet, network.addressing, vlan, &requested)?;
            Ok(RouterSubnet { router_guessed: guessed.contains(&subnet.net), ..planned })
        });
        let subnets: Vec<RouterSubnet> = subnets.collect::<Result<_, RouterError>>()?;
        Ok(RouterPlan {
            name: vlan.map_or_else(|| "lan".to_owned(), |id| format!("vlan{id}")),
            network: None,
            vlan,
            subnets,
            lan_interface: requested.lan_interface,
            ports: requested.ports,
            policy: vlan.map(|_| requested.policy.unwrap_or_default()),
        })
    }
}

fn planned(
    subnet: &Subnet,
    addressing: Addressing,
    vlan: Option<VlanId>,
    requested: &RouterRequest,
) -> Result<RouterSubnet, RouterError> {
    let v4 = subnet.net.addr().is_ipv4();
    let range = subnet.pool();
    let leased = v4 && addressing == Addressing::Dhcp;
    let present = present(subnet, vlan, requested);
    let handed_out = Some(range).filter(|_| !leased);
    let own = requested.host.iter().filter(|own| own.steady).map(|own| own.net.addr());
    let pools = match &present {
        _ if !v4 => Vec::new(),
        Present::Told(told) => clear_of_range(subnet, handed_out, told.clone(), own),
        Present::None => {
            let whole = with_room(&Range::of_net(&subnet.net));
            clear_of_range(subnet, handed_out, whole.into_iter().collect(), own)
        }
        Present::Unknown | Present::Clear(_) | Present::Offers { .. } => Vec::new(),
    };
    if let (Present::Told(told), true) = (&present, pools.is_empty()) {
        return Err(RouterError::PoolInside { pool: told[0], range });
    }
    // On the LAN itself others need addresses too.
    if v4 && vlan.is_none() && !leased && range == Range::of_net(&subnet.net) {
        return Err(RouterError::NothingClear(subnet.net));
    }
    Ok(RouterSubnet {
        net: subnet.net,
        router: subnet.gateway.expect("it was chosen"),
        router_guessed: false,
        range,
        leased,
        present,
        pools,
        reserved: subnet.aux.clone(),
    })
}

/// What is known of a subnet's pool. What somebody says counts for more than what was offered.
fn present(subnet: &Subnet, vlan: Option<VlanId>, requested: &RouterRequest) -> Present {
    let told: Vec<Range> = requested.pools.iter().filter(|pool| pool.lies_in(&subnet.net)).copied().collect();
    if !told.is_empty() {
        return Present::Told(told);
    }
    let range = subnet.pool();
    let answered = requested.seen.iter().find(|report| report.range == range && !report.servers.is_empty());
    if let Some(report) = answered {
        let offering = report.servers.iter().find(|server| server.hands_out_of(&range).is_some());
        return match offering.and_then(|server| Some((server.server, server.span()?))) {
            Some((server, seen)) => Present::Offers { server, seen },
            None => Present::Clear(report.servers.iter().map(|server| server.server).collect()),
        };
    }
    // Nobody answers in a VLAN that there is not yet; on the LAN it may be that nobody was asked, or in vain.
    if vlan.is_some() { Present::None } else { Present::Unknown }
}

/// The VLAN that Ashore makes, or that a parent such as `eth0.200` is, or that was given.
fn vlan_of(network: &Network, given: Option<VlanId>) -> Result<Option<VlanId>, RouterError> {
    let parent = &network.parent;
    let named = parent.as_str().rsplit_once('.').and_then(|(_, id)| id.parse::<VlanId>().ok());
    let known = network.vlan.as_ref().map(|vlan| vlan.id).or(named);
    match given {
        Some(given) if known.is_some_and(|known| known != given) => {
            Err(RouterError::OtherVlan { parent: parent.clone(), given })
        }
        _ => Ok(given.or(known)),
    }
}

/// A subnet is in one place: where this machine has it on the LAN, a router would have it twice.
fn not_the_lans(network: &Network, id: VlanId, host: &[HostAddress]) -> Result<(), RouterError> {
    let in_vlan = |own: &&HostAddress| {
        own.interface == network.parent || own.interface.as_str().ends_with(&format!(".{id}"))
    };
    let lans = host.iter().filter(|own| own.outward && !in_vlan(own));
    for own in lans {
        let meets = |subnet: &&Subnet| {
            subnet.net.contains(&own.net.network()) || own.net.contains(&subnet.net.network())
        };
        if let Some(subnet) = network.subnets.iter().find(meets) {
            return Err(RouterError::LanInVlan {
                net: subnet.net,
                vlan: id,
                lan: own.net.trunc(),
                interface: own.interface.clone(),
            });
        }
    }
    Ok(())
}

/// A subnet's router where nobody has named it. In a VLAN that is yet to be made it is where it will be; the LAN's is somewhere by now:
/// where this machine sends what is for elsewhere, or that is guessed.
fn find_router(subnet: &Subnet, in_vlan: bool, known: &[IpAddr], guessed: &mut BTreeSet<IpNet>) -> IpAddr {
    if let Some(router) = known.iter().find(|ip| subnet.net.contains(*ip)) {
        return *router;
    }
    if !in_vlan {
        guessed.insert(subnet.net);
    }
    usual_router(subnet)
}

/// Where a router usually is: the first address that is not reserved for something else.
fn usual_router(subnet: &Subnet) -> IpAddr {
    let mut after_first = Range::of_net(&subnet.net).from_offset(1);
    let free = after_first.find(|ip| subnet.never(*ip).is_none());
    free.unwrap_or(subnet.net.addr())
}

/// A router's address that the network does not know must not be one that it hands out.
fn not_handed_out(network: &NetworkName, subnet: &Subnet, router: IpAddr) -> Result<(), RouterError> {
    let range = subnet.pool();
    if range.contains(router) && !subnet.aux.values().any(|ip| *ip == router) {
        return Err(RouterError::RouterInRange { network: network.clone(), router, range });
    }
    Ok(())
}

/// A subnet's addresses without the first few, where it has enough.
fn with_room(whole: &Range) -> Option<Range> {
    if whole.len() < ROOMY {
        return Some(*whole);
    }
    Range::between(whole.nth_around(LEFT_FREE), whole.last())
}

/// What of pools is neither Ashore's nor the router's nor reserved, nor one of these.
fn clear_of_range(
    subnet: &Subnet,
    handed_out: Option<Range>,
    pools: Vec<Range>,
    own: impl Iterator<Item = IpAddr>,
) -> Vec<Range> {
    let ends = [subnet.net.network().into(), subnet.net.broadcast().into()];
    let taken = handed_out.into_iter().chain(ends);
    let single = subnet.gateway.into_iter().chain(subnet.aux.values().copied()).chain(own).map(Range::from);
    taken
        .chain(single)
        .fold(pools, |left, taken| left.iter().flat_map(|range| range.without(&taken)).collect())
}

fn check_pool(network: &Network, pool: &Range, earlier: &[Range]) -> Result<(), RouterError> {
    if pool.first().is_ipv6() {
        return Err(RouterError::PoolOfV6(*pool));
    }
    if !network.subnets.iter().any(|subnet| pool.lies_in(&subnet.net)) {
        return Err(RouterError::PoolOutside(*pool));
    }
    match earlier.iter().find(|other| other.overlaps(pool)) {
        Some(other) => Err(RouterError::PoolsOverlap(*pool, *other)),
        None => Ok(()),
    }
}
