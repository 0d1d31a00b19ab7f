//! Which address an endpoint gets: the rules by which one is refused, and the order in which they are tried.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ashore_wire::Mac;
use ipnet::IpNet;

use crate::model::endpoint::Endpoint;
use crate::model::identity::{Identity, Scope};
use crate::model::network::{Network, Subnet};
use crate::model::state::State;
use crate::net::family::Family;
use crate::net::name::EndpointName;
use crate::net::observed::View;
use crate::net::range::Range;
use crate::net::text::list;
use crate::rules::addresses_in_use::{AddressesInUse, Claimant, MOST_ANSWERS};

/// Addresses in a range larger than this are looked for from a place that follows from the name, not from the first:
/// an IPv6 subnet has no "first free" worth the search.
const SMALL: u128 = 1 << 16;

/// How many addresses of a large range are tried. That all of them are taken is a sign of a fault elsewhere.
const TRIES: usize = 1 << 12;

/// After so many answers a request believes what was heard of the other addresses, and does not look for them. That many addresses
/// have the ranges that Ashore chooses itself.
const DOUBTS: usize = 32;

/// How many of the machines that have addresses an error names.
const NAMED: usize = 3;

/// Why no address can be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The address asked for is in none of the network's subnets.
    #[error("{ip} lies in no subnet of network `{network}`, which has {subnets}")]
    Outside {
        /// As asked for.
        ip: IpAddr,
        /// The network.
        network: String,
        /// Its subnets.
        subnets: String,
    },
    /// The address asked for is nobody's to have.
    #[error("{ip} cannot be handed out: {why}")]
    Unassignable {
        /// As asked for.
        ip: IpAddr,
        /// The reason.
        why: String,
    },
    /// The address asked for is an endpoint's.
    #[error("{ip} is held by {}", called(endpoint.as_deref(), network))]
    Held {
        /// As asked for.
        ip: IpAddr,
        /// The endpoint; none while its engine has not told whose it is.
        endpoint: Option<String>,
        /// The network, as its user calls it.
        network: String,
        /// It is a container of an engine's.
        of_engine: bool,
    },
    /// The address asked for is the host's own.
    #[error("{0} is this host's own address")]
    Host(IpAddr),
    /// A machine on the LAN answers for it.
    #[error("{ip} is in use on the LAN by {claimant}")]
    OnLan {
        /// As asked for.
        ip: IpAddr,
        /// The machine that has it.
        claimant: Claimant,
    },
    /// The LAN's server gives out another one.
    #[error("the LAN's DHCP server gives it {got} and not {ip}")]
    NotLeased {
        /// As asked for.
        ip: IpAddr,
        /// What it offers.
        got: IpAddr,
        /// The container's MAC.
        mac: Mac,
    },
    /// Another attach is about to take it.
    #[error("{0} is being taken by another attach at this moment")]
    BeingTaken(IpAddr),
    /// Two addresses of one family.
    #[error("an endpoint has one address of each family, and {0} and {1} are of the same")]
    TwoOfFamily(IpAddr, IpAddr),
    /// Every address of the range is taken.
    #[error("the range {range} of network `{network}` is used up: of its {size} addresses, {holders}")]
    Exhausted {
        /// The range.
        range: Range,
        /// The network.
        network: String,
        /// How many addresses the range has.
        size: u128,
        /// Who holds how many.
        holders: String,
        /// The subnet, for the hint.
        subnet: IpNet,
        /// It is an engine's network.
        of_engine: bool,
        /// One machine answers for most of them.
        answers_for_all: Option<Claimant>,
    },
}

const CLEAR_OF_RANGE: &str =
    "an address outside of the network's --ip-range, which other containers are never given";

fn called(endpoint: Option<&str>, network: &str) -> String {
    match endpoint {
        Some(endpoint) => format!("the endpoint `{endpoint}` of network `{network}`"),
        None => format!("a container on network `{network}` whose name is not known yet"),
    }
}

impl AddressError {
    /// What helps.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            AddressError::Held { endpoint: None, .. } => {
                format!(
                    "ask again in a second, when it is known which container has it; or choose {CLEAR_OF_RANGE}"
                )
            }
            AddressError::Held { endpoint: Some(endpoint), network, of_engine: false, .. } => {
                format!("free it with: ashore detach {network} {endpoint}")
            }
            // The other one is given another address only while somebody has this one.
            AddressError::Held { endpoint: Some(endpoint), network, of_engine: true, .. } => format!(
                "choose {CLEAR_OF_RANGE}; or docker network disconnect {network} {endpoint}, start this container, \
                 and docker network connect {network} {endpoint}"
            ),
            AddressError::OnLan { claimant, .. } => match &claimant.known_as {
                Some(known_as) => format!("take the address off {known_as}, or choose a free one"),
                None => "give that machine another address, or choose a free one".into(),
            },
            AddressError::Exhausted { network, answers_for_all: Some(one), of_engine, .. } => {
                let (off, anew) = match of_engine {
                    true => ("-o conflict=off", format!("docker network rm {network}")),
                    false => ("--conflict off", format!("ashore network rm {network}")),
                };
                format!(
                    "{one} answers for every address, as a router does that has proxy ARP on: switch it off there on the interface \
                     to this LAN; or make the network anew with {off}, and nobody is asked: {anew}"
                )
            }
            AddressError::Exhausted { network, subnet, of_engine: true, .. } => format!(
                "disconnect containers that are no longer needed (ashore status), or make the network anew with a larger --ip-range \
                 inside {subnet}: docker network rm {network}"
            ),
            AddressError::Exhausted { network, subnet, of_engine: false, .. } => format!(
                "detach what is no longer needed (ashore status), or make the network anew with a larger --ip-range inside {subnet}: \
                 ashore network rm {network}"
            ),
            AddressError::NotLeased { ip, mac, .. } => {
                format!(
                    "on the router reserve {ip} for the MAC {mac}, or make a network with a range of its own for fixed addresses"
                )
            }
            AddressError::BeingTaken(_) => "try again in a second".into(),
            AddressError::Outside { .. }
            | AddressError::Unassignable { .. }
            | AddressError::Host(_)
            | AddressError::TwoOfFamily(..) => return None,
        })
    }
}

/// A subnet and what is taken of it.
struct Open {
    subnet: Subnet,
    taken: BTreeSet<IpAddr>,
    /// Ranges from which an engine's own driver hands out.
    of_engines: Vec<Range>,
}

impl Open {
    fn has(&self, ip: IpAddr) -> bool {
        self.subnet.net.contains(&ip)
            && !self.taken.contains(&ip)
            && self.subnet.never(ip).is_none()
            && !self.of_engines.iter().any(|range| range.contains(ip))
    }
}

impl State {
    /// Checks an address that was asked for by name (`--ip`). It may lie outside the range.
    pub fn check_address<'a>(
        &self,
        network: &'a Network,
        name: Option<&EndpointName>,
        ip: IpAddr,
        known: &AddressesInUse<'_>,
    ) -> Result<&'a Subnet, AddressError> {
        let Some(subnet) = network.subnet_of(ip) else {
            return Err(AddressError::Outside {
                ip,
                network: network.label().to_owned(),
                subnets: list(network.subnets.iter().map(|subnet| subnet.net)),
            });
        };
        let never = |why: String| AddressError::Unassignable { ip, why };
        if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() {
            return Err(never("it is no single machine's address".into()));
        }
        if let Some(why) = subnet.never(ip) {
            return Err(never(why.to_string()));
        }
        if let Some((other, why)) = self.never_elsewhere(ip) {
            return Err(never(format!("on network `{}` {why}", other.label())));
        }
        if known.host.has_address(ip) {
            return Err(AddressError::Host(ip));
        }
        if let Some(mac) = known.answered.get(&ip) {
            return Err(AddressError::OnLan { ip, claimant: self.claimant(*mac, known.host) });
        }
        if known.held.contains(&ip) {
            return Err(AddressError::BeingTaken(ip));
        }
        match self.holder(ip) {
            Some(holder) if holder.network != network.name || Some(&holder.name) != name => {
                Err(self.held(ip, holder))
            }
            _ => Ok(subnet),
        }
    }

    /// That an endpoint has an address that was asked for.
    pub fn held(&self, ip: IpAddr, holder: &Endpoint) -> AddressError {
        let label = self.network_of(holder).map_or(holder.network.as_str(), Network::label);
        AddressError::Held {
            ip,
            endpoint: (!holder.is_unnamed()).then(|| holder.name.to_string()),
            network: label.to_owned(),
            of_engine: holder.netns().is_none(),
        }
    }

    /// Another network on the same subnet that has reserved an address.
    fn never_elsewhere(&self, ip: IpAddr) -> Option<(&Network, String)> {
        let subnets =
            self.networks.values().flat_map(|network| network.subnets.iter().map(move |net| (network, net)));
        let never = |(network, subnet): (_, &Subnet)| Some((network, subnet.never(ip)?.to_string()));
        subnets.into_iter().find_map(never)
    }

    /// Whether an address is kept for something else than an endpoint, on whatever network: a gateway or an auxiliary address, also of
    /// one that is being made, or that of the subnet or of all machines in it, which a lease with a wider mask may have.
    pub fn is_set_aside(&self, ip: IpAddr) -> bool {
        self.never_elsewhere(ip).is_some() || self.pools.values().any(|pool| pool.reserved.contains(&ip))
    }

    /// Whether a server may not give an address to an endpoint, whatever the LAN says to it: it is kept for something else, or the host's
    /// own, or that of one of the `routers` by which the host's routes lead, each with the number of its link. By a link of Ashore's one
    /// leads to an endpoint on purpose.
    pub fn is_never_leased(&self, ip: IpAddr, host: &View, routers: &[(IpAddr, u32)]) -> bool {
        let is_ours = |index| host.link_at(index).is_some_and(|link| link.tag().is_some());
        let is_router = || routers.iter().any(|(router, link)| *router == ip && !is_ours(*link));
        self.is_set_aside(ip) || host.has_address(ip) || is_router()
    }

    /// The addresses to try for a name in a subnet, best first: those that it had before; then those that no name ever had;
    /// then those that were let go, the one longest unused first. Within each of the last two, addresses that a machine was heard
    /// to have come last.
    pub fn candidates(
        &self,
        network: &Network,
        subnet: &Subnet,
        name: Option<&EndpointName>,
        known: &AddressesInUse<'_>,
    ) -> impl Iterator<Item = IpAddr> + use<> {
        let scope = State::scope(network);
        let pool = subnet.pool();
        let of_engines = of_engines(self).collect();
        let open = Open { subnet: subnet.clone(), taken: self.taken(subnet, known), of_engines };
        let remembered = self.remembered(&pool);

        let own = name.and_then(|name| self.identities.get(&(scope.clone(), name.clone())));
        let may_have = |ip: &IpAddr| own.is_some_and(|own| own.may_have_of(subnet, *ip)) && open.has(*ip);
        let before: Vec<IpAddr> = own.into_iter().flat_map(Identity::own_first).filter(may_have).collect();
        // What a server gave is that server's to give again.
        let leased: BTreeSet<IpAddr> =
            self.identities.values().filter_map(|identity| identity.leased.map(IpAddr::V4)).collect();
        let mut let_go: Vec<(bool, u64, IpAddr)> = remembered
            .iter()
            .filter(|(ip, _)| open.has(**ip) && !before.contains(ip) && !leased.contains(ip))
            .map(|(ip, used)| (known.heard.contains_key(ip), *used, *ip))
            .collect();
        let_go.sort_unstable();
        let asks = known.answered.len() < DOUBTS;
        let let_go = let_go.into_iter().filter(move |(heard, ..)| asks || !heard).map(|(_, _, ip)| ip);

        // A claim that was heard once and long ago is the least likely to hold.
        let mut doubtful: Vec<(Reverse<Duration>, IpAddr)> = known
            .heard
            .iter()
            .filter(|(ip, _)| asks && pool.contains(**ip) && open.has(**ip) && !remembered.contains_key(ip))
            .map(|(ip, hearsay)| (Reverse(hearsay.age), *ip))
            .collect();
        doubtful.sort_unstable();
        let heard: BTreeSet<IpAddr> = known.heard.keys().copied().collect();
        let fresh = self
            .search_order(&pool, &scope, name)
            .filter(move |ip| open.has(*ip) && !remembered.contains_key(ip) && !heard.contains(ip));
        before.into_iter().chain(fresh).chain(doubtful.into_iter().map(|(_, ip)| ip)).chain(let_go)
    }

    fn search_order(
        &self,
        pool: &Range,
        scope: &Scope,
        name: Option<&EndpointName>,
    ) -> impl Iterator<Item = IpAddr> + use<> {
        let small = pool.len() <= SMALL;
        let start = match name {
            Some(name) if !small => self.seed.offset(scope, name) % pool.len(),
            _ => 0,
        };
        let most = if small { usize::try_from(pool.len()).unwrap_or(TRIES) } else { TRIES };
        pool.from_offset(start).take(most)
    }

    /// Whether networks and endpoints leave an address to a name.
    pub(crate) fn may_have_again(&self, network: &Network, name: &EndpointName, ip: IpAddr) -> bool {
        let others =
            self.holder(ip).is_some_and(|holder| (&holder.network, &holder.name) != (&network.name, name));
        let own = self.identity_of(network, name);
        let gives = |subnet: &Subnet| own.is_none_or(|own| own.may_have_of(subnet, ip));
        network.subnet_of(ip).is_some_and(gives) && self.never_elsewhere(ip).is_none() && !others
    }

    /// All that can be no endpoint's at present: endpoints' addresses and the reserved ones of every network on the
    /// subnet, the host's own, and those that machines on the LAN answered for.
    fn taken(&self, subnet: &Subnet, known: &AddressesInUse<'_>) -> BTreeSet<IpAddr> {
        let endpoints =
            self.endpoints.values().flat_map(|endpoint| endpoint.addresses.iter().map(IpNet::addr));
        let reserved = self
            .networks
            .values()
            .flat_map(|network| &network.subnets)
            .flat_map(|other| other.aux.values().copied().chain(other.gateway));
        let promised = self.pools.values().flat_map(|pool| pool.reserved.iter().copied());
        let host = known.host.addresses.iter().map(|address| address.net.addr());
        endpoints
            .chain(reserved)
            .chain(promised)
            .chain(host)
            .chain(known.answered.keys().copied())
            .chain(known.held.iter().copied())
            .filter(|ip| subnet.net.contains(ip))
            .collect()
    }

    /// Addresses that identities had, and when they were last used.
    fn remembered(&self, pool: &Range) -> BTreeMap<IpAddr, u64> {
        let mut remembered = BTreeMap::new();
        for identity in self.identities.values() {
            for ip in identity.all_addresses().filter(|ip| pool.contains(*ip)) {
                let used = remembered.entry(ip).or_insert(identity.last_used);
                *used = identity.last_used.max(*used);
            }
        }
        remembered
    }

    /// Why there is no address: the size of the range and who holds it.
    pub fn exhausted(&self, network: &Network, subnet: &Subnet, known: &AddressesInUse<'_>) -> AddressError {
        let range = subnet.pool();
        let mut holders: BTreeMap<String, usize> = BTreeMap::new();
        for endpoint in self
            .endpoints
            .values()
            .filter(|endpoint| endpoint.addresses.iter().any(|a| range.contains(a.addr())))
        {
            let label = self.network_of(endpoint).map_or(endpoint.network.as_str(), Network::label);
            *holders.entry(format!("network `{label}`")).or_default() += 1;
        }
        let reserved = range
            .from_offset(0)
            .take(SMALL as usize)
            .filter(|ip| subnet.never(*ip).is_some() || known.host.has_address(*ip))
            .count();
        let heard = known.heard.iter().map(|(ip, hearsay)| (*ip, hearsay.mac));
        let on_lan: BTreeMap<IpAddr, Mac> = heard
            .chain(known.answered.iter().map(|(ip, mac)| (*ip, *mac)))
            .filter(|(ip, _)| range.contains(*ip))
            .collect();
        let parts = holders
            .into_iter()
            .map(|(who, count)| format!("{count} are held by endpoints of {who}"))
            .chain((reserved > 0).then(|| format!("{reserved} are reserved")))
            .chain((!on_lan.is_empty()).then(|| self.in_use(&on_lan, known.host)));
        AddressError::Exhausted {
            range,
            network: network.label().to_owned(),
            size: range.len(),
            holders: list(parts),
            subnet: subnet.net,
            of_engine: network.engine.is_some(),
            answers_for_all: most_of(&on_lan, range.len()).map(|mac| self.claimant(mac, known.host)),
        }
    }

    /// How many addresses are in use on the LAN, and by which machines: the first few of them.
    fn in_use(&self, on_lan: &BTreeMap<IpAddr, Mac>, host: &View) -> String {
        let macs: BTreeSet<Mac> = on_lan.values().copied().collect();
        let more = (macs.len() > NAMED).then(|| format!("{} more", macs.len() - NAMED));
        let named = macs.iter().take(NAMED).map(|mac| self.claimant(*mac, host).to_string());
        format!("{} are in use on the LAN by {}", on_lan.len(), list(named.chain(more)))
    }

    /// The subnets from which an endpoint gets an address when it asks for none: the first of each family that has one
    /// left is taken, so a second IPv4 subnet is there for when the first is full.
    pub fn subnets_by_family(network: &Network) -> BTreeMap<Family, Vec<&Subnet>> {
        let mut families: BTreeMap<Family, Vec<&Subnet>> = BTreeMap::new();
        for subnet in &network.subnets {
            families.entry(Family::of(subnet.net.addr())).or_default().push(subnet);
        }
        families
    }
}

/// The machine that has most addresses of a range of this size, if there is one. A few have some machine for themselves by chance.
fn most_of(on_lan: &BTreeMap<IpAddr, Mac>, size: u128) -> Option<Mac> {
    const FEW: u128 = 3;
    let mut count: BTreeMap<Mac, u128> = BTreeMap::new();
    for mac in on_lan.values() {
        *count.entry(*mac).or_default() += 1;
    }
    // Of a large range a request asks for some addresses only.
    let least = (size.min(MOST_ANSWERS as u128) / 2).max(FEW);
    count.into_iter().find(|(_, has)| *has > least).map(|(mac, _)| mac)
}

/// The addresses of an adopted network that its engine may hand out.
pub fn of_engines(state: &State) -> impl Iterator<Item = Range> {
    let adopted = state.networks.values().filter(|network| network.adopted);
    adopted.flat_map(|network| &network.subnets).filter_map(|subnet| {
        let whole = |range: &Range| *range == Range::of_net(&IpNet::trunc(&subnet.net));
        subnet.range.filter(|range| !whole(range))
    })
}

#[cfg(test)]
mod tests;
