//! Builds a plan for an existing network or for one that is not created yet, and refuses what makes no valid
//! plan.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;

use ashore_core::model::ipv6::Ipv6Mode;
use ashore_core::model::lease::{Addressing, LeaseOptions};
use ashore_core::model::network::{Network, Subnet};
use ashore_core::model::survey::PoolReport;
use ashore_core::model::users::Allowed;
use ashore_core::net::family::is_link_local;
use ashore_core::net::name::{IfName, NetworkName, PortName};
use ashore_core::net::range::Range;
use ashore_core::net::vlan::VlanId;
use ashore_core::rules::create::{NetworkError, NetworkSpec};
use ashore_wire::conflict::Profile;
use ipnet::IpNet;

use crate::error::RouterError;
use crate::plan::{Policy, Present, RouterPlan, RouterSubnet, in_vlan};

/// What the user asks for besides the network itself, and what is known of the present LAN.
#[derive(Debug, Clone, Default)]
pub struct RouterRequest {
    /// The VLAN's number, where the parent's name does not contain it.
    pub vlan: Option<VlanId>,
    /// The router's addresses, where the network does not have them.
    pub gateways: Vec<IpAddr>,
    /// What the router's DHCP server hands out now, or is to hand out in a new VLAN. The plan removes
    /// Ashore's addresses from it.
    pub pools: Vec<Range>,
    /// The router's interface that carries the LAN.
    pub lan_interface: Option<PortName>,
    /// The ports that lead to the NAS.
    pub ports: Vec<PortName>,
    /// What may pass between VLAN and LAN.
    pub policy: Option<Policy>,
    /// What the LAN's DHCP servers offered of the network's ranges when they were asked.
    pub seen: Vec<PoolReport>,
    /// The addresses of the machine that builds the plan, which is usually the NAS.
    pub host: Vec<HostAddress>,
    /// The gateways of that machine's default routes.
    pub routers: Vec<IpAddr>,
}

/// An address of the machine that builds the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAddress {
    /// Its interface.
    pub interface: IfName,
    /// The address and its subnet.
    pub net: IpNet,
    /// Whether the address was set by hand. An address from a DHCP server has to stay in that server's pool.
    pub steady: bool,
    /// Whether the interface has the default route.
    pub outward: bool,
}

/// How many of a subnet's first addresses a new pool leaves free for machines with a fixed address, where
/// there is room.
const LEFT_FREE: u128 = 10;
/// The number of addresses from which on a subnet has that room.
const ROOMY: u128 = 64;

impl RouterPlan {
    /// Builds the plan for an existing network.
    pub fn of_network(network: &Network, requested: RouterRequest) -> Result<Self, RouterError> {
        let mut network = network.clone();
        for subnet in &mut network.subnets {
            // A link-local gateway is another address of the same router. The router's interface needs one in
            // the subnet.
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
                // Ashore does not know that this address is taken.
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

    /// Builds the plan for a network that is not created yet, from its subnets and the ranges that Ashore is
    /// to hand out.
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
            // No interface has this name.
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
            mdns: false,
            internal: false,
            conflict: Profile::default(),
            mtu: None,
            bc_queue_len: None,
            bc_limit: None,
            port: BTreeSet::new(),
            tagged: false,
            allowed: Allowed::default(),
        };
        let mut network = spec.network()?;
        let mut guessed = BTreeSet::new();
        for subnet in network.subnets.iter_mut().filter(|subnet| subnet.gateway.is_none()) {
            subnet.gateway =
                Some(find_router(subnet, requested.vlan.is_some(), &requested.routers, &mut guessed));
        }
        Self::build(&network, &guessed, requested)
    }

    /// Builds the plan. Every subnet has a router by now; for the subnets in `guessed` it is a guess.
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
    // On the LAN itself, other machines need addresses too.
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

/// What is known of a subnet's pool. What the user says takes precedence over what DHCP servers offered.
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
    // No server answers in a VLAN that does not exist yet. On the LAN, perhaps no server was asked, or none
    // answered.
    if vlan.is_some() { Present::None } else { Present::Unknown }
}

/// The VLAN that Ashore creates, that a parent such as `eth0.200` names, or that was given. Returns `None`
/// without a VLAN.
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

/// Refuses a VLAN subnet that overlaps a subnet that this machine has on the LAN. The router would have it
/// twice.
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

/// The router of a subnet for which none was named. In a VLAN that is yet to be created, it is the usual
/// address. On the LAN, it is this machine's gateway in the subnet, or a guess, which is recorded in
/// `guessed`.
fn find_router(subnet: &Subnet, in_vlan: bool, known: &[IpAddr], guessed: &mut BTreeSet<IpNet>) -> IpAddr {
    if let Some(router) = known.iter().find(|ip| subnet.net.contains(*ip)) {
        return *router;
    }
    if !in_vlan {
        guessed.insert(subnet.net);
    }
    usual_router(subnet)
}

/// The usual address of a router: the first address that is not reserved for something else.
fn usual_router(subnet: &Subnet) -> IpAddr {
    let mut after_first = Range::of_net(&subnet.net).from_offset(1);
    let free = after_first.find(|ip| subnet.never(*ip).is_none());
    free.unwrap_or(subnet.net.addr())
}

/// Refuses a router address that the network does not know and would hand out.
fn not_handed_out(network: &NetworkName, subnet: &Subnet, router: IpAddr) -> Result<(), RouterError> {
    let range = subnet.pool();
    if range.contains(router) && !subnet.aux.values().any(|ip| *ip == router) {
        return Err(RouterError::RouterInRange { network: network.clone(), router, range });
    }
    Ok(())
}

/// A subnet's addresses without the first few, where it has enough. Returns `None` if nothing is left.
fn with_room(whole: &Range) -> Option<Range> {
    if whole.len() < ROOMY {
        return Some(*whole);
    }
    Range::between(whole.nth_around(LEFT_FREE), whole.last())
}

/// The parts of the pools that are not Ashore's, the router's, reserved, the subnet's first or last address,
/// or in `own`.
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
