//! Which address an endpoint gets: the reasons to refuse an address, and the order in which addresses are
//! tried.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::net::IpAddr;
use std::time::Duration;

use ashore_wire::Mac;
use ipnet::IpNet;

use crate::model::endpoint::{self, Endpoint};
use crate::model::identity::{self, Identity, Scope};
use crate::model::network::{Network, Subnet};
use crate::model::ownership::EngineKind;
use crate::model::state::State;
use crate::net::family::Family;
use crate::net::name::EndpointName;
use crate::net::observed::{LinkAddress, View};
use crate::net::option::{CONFLICT, IP, IP_RANGE};
use crate::net::range::Range;
use crate::net::remedy::{Front, Remedy};
use crate::net::text::{Word, list};
use crate::rules::addresses_in_use::{AddressesInUse, Claimant, Hearsay, MOST_ANSWERS};

/// A range with more addresses than this is searched from an offset that follows from the name, not from its
/// first address. In an IPv6 subnet the search for the first free address would take too long.
pub const SMALL: u128 = 1 << 16;

/// How many addresses of a large range are tried. If all of them are taken, the fault is most likely
/// elsewhere.
const TRIES: usize = 1 << 12;

/// The number of answers after which a request no longer probes the addresses that machines were heard to
/// have, but takes them as in use. The ranges that Ashore chooses itself have this many addresses.
const DOUBTS: usize = 32;

/// How many of the machines that have addresses an error message lists.
const NAMED: usize = 3;

/// Why no address can be assigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The requested address is in none of the network's subnets.
    #[error("{ip} lies in no subnet of network `{network}`, which has {subnets}")]
    Outside {
        /// The requested address.
        ip: IpAddr,
        /// The network.
        network: String,
        /// Its subnets.
        subnets: String,
    },
    /// The requested address can never be assigned to an endpoint.
    #[error("{ip} cannot be handed out: {why}")]
    Unassignable {
        /// The requested address.
        ip: IpAddr,
        /// The reason.
        why: String,
    },
    /// An endpoint holds the requested address.
    #[error("{ip} is held by {}", called(endpoint.as_deref(), network))]
    Held {
        /// The requested address.
        ip: IpAddr,
        /// The endpoint, or `None` if the name of its container is not known yet.
        endpoint: Option<String>,
        /// The network's label.
        network: String,
        /// The kind of the engine that has the endpoint's container, if one has it.
        engine: Option<EngineKind>,
    },
    /// The requested address is the host's own.
    #[error("{0} is this host's own address")]
    Host(IpAddr),
    /// A machine on the LAN answers for the requested address.
    #[error("{ip} is in use on the LAN by {claimant}")]
    OnLan {
        /// The requested address.
        ip: IpAddr,
        /// The machine that has it.
        claimant: Claimant,
    },
    /// The LAN's DHCP server offers another address.
    #[error("the LAN's DHCP server gives it {got}, not {ip}")]
    NotLeased {
        /// The requested address.
        ip: IpAddr,
        /// The address that the server offers.
        got: IpAddr,
        /// The container's MAC.
        mac: Mac,
    },
    /// Another attach is about to take the address.
    #[error("{0} is being taken by another attach at this moment")]
    BeingTaken(IpAddr),
    /// Two addresses of one family.
    #[error("an endpoint has one address per family, and {0} and {1} are of the same family")]
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
        /// Who holds how many addresses.
        holders: String,
        /// The subnet, for the hint.
        subnet: IpNet,
        /// The kind of the engine that has the network, if one has it.
        engine: Option<EngineKind>,
        /// The machine that answers for most of the range, if there is one.
        answers_for_all: Option<Claimant>,
    },
}

fn called(endpoint: Option<&str>, network: &str) -> String {
    match endpoint {
        Some(endpoint) => format!("the endpoint `{endpoint}` of network `{network}`"),
        None => format!("a container on network `{network}` whose name is not known yet"),
    }
}

impl AddressError {
    /// The remedy, or `None` if the message says enough.
    pub fn remedy(&self) -> Option<Remedy> {
        let clear_of_range = |remedy: Remedy| {
            remedy
                .and("choose an address outside the network's ")
                .and_give(&IP_RANGE)
                .and(", which no other container is given")
        };
        Some(match self {
            AddressError::Held { endpoint: None, .. } => clear_of_range(
                "try again in a second, when it is known which container has it; or ".into(),
            ),
            AddressError::Held {
                endpoint: Some(endpoint), network, engine: None | Some(EngineKind::Cni), ..
            } => {
                let (network, endpoint) = (Word::of(network), Word::of(endpoint));
                Remedy::from("free it with: ").and_run(format!("ashore detach {network} {endpoint}"))
            }
            // The other container gets another address only while this one is in use.
            AddressError::Held { endpoint: Some(endpoint), network, engine: Some(engine), .. } => {
                let (engine, network, endpoint) = (engine.program(), Word::of(network), Word::of(endpoint));
                clear_of_range(Remedy::default())
                    .and("; or ")
                    .and_run(format!("{engine} network disconnect {network} {endpoint}"))
                    .and(", start this container, and ")
                    .and_run(format!("{engine} network connect {network} {endpoint}"))
            }
            AddressError::OnLan { claimant, .. } => match &claimant.known_as {
                Some(known_as) => Remedy::from(format!("remove the address from {known_as}")),
                None => "give that machine another address".into(),
            }
            .and(", or choose a free one with ")
            .and_give(&IP),
            AddressError::Exhausted { network, subnet, engine, answers_for_all, .. } => {
                let front = engine.map_or(Front::CommandLine, EngineKind::front);
                let program = engine.map_or("ashore", EngineKind::program);
                let remedy = if let Some(one) = answers_for_all {
                    Remedy::from(format!(
                        "{one} answers for every address, like a router with proxy ARP: switch proxy ARP off on its \
                         interface to this LAN; or create the network again with "
                    ))
                    .and_set(&CONFLICT, "off")
                    .and(", so that no address is probed: ")
                } else {
                    let off = if engine.is_some() { "disconnect containers" } else { "detach endpoints" };
                    Remedy::from(format!("{off} that are no longer needed ("))
                        .and_run("ashore status")
                        .and("), or create the network again with a larger ")
                        .and_give(&IP_RANGE)
                        .and(format!(" inside {subnet}: "))
                };
                // Whoever created the network creates it again.
                remedy.in_words_of(front).and_run(format!("{program} network rm {}", Word::of(network)))
            }
            AddressError::NotLeased { ip, mac, .. } => {
                format!(
                    "reserve {ip} for the MAC {mac} on the router, or create a network with a range of its own for fixed addresses"
                )
                .into()
            }
            AddressError::BeingTaken(_) => "try again in a second".into(),
            AddressError::Outside { .. } | AddressError::Unassignable { .. } | AddressError::Host(_) => {
                Remedy::from("choose another with ").and_give(&IP).and(", or leave it out")
            }
            AddressError::TwoOfFamily(..) => return None,
        })
    }
}

/// A subnet, and which of its addresses can be had.
#[derive(Clone)]
struct Open<'a> {
    state: &'a State,
    subnet: &'a Subnet,
    /// The addresses that something else than an endpoint keeps.
    kept: BTreeSet<IpAddr>,
    /// The ranges from which engines' own drivers assign addresses.
    of_engines: Vec<Range>,
}

impl Open<'_> {
    fn has(&self, ip: IpAddr) -> bool {
        self.has_besides_endpoints(ip) && self.state.holder(ip).is_none()
    }

    /// The same, if no endpoint has the address.
    fn has_besides_endpoints(&self, ip: IpAddr) -> bool {
        self.subnet.net.contains(&ip)
            && !self.kept.contains(&ip)
            && self.subnet.never(ip).is_none()
            && !self.of_engines.iter().any(|range| range.contains(ip))
    }
}

impl State {
    /// Checks an address that was requested with `--ip`. It may be outside the network's range.
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
            return Err(never("it is not the address of a single machine".into()));
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

    /// The error for a requested address that an endpoint holds.
    pub fn held(&self, ip: IpAddr, holder: &Endpoint) -> AddressError {
        let label = self.network_of(holder).map_or(holder.network.as_str(), Network::label);
        AddressError::Held {
            ip,
            endpoint: (!holder.is_unnamed()).then(|| holder.name.to_string()),
            network: label.to_owned(),
            // Root takes a user's container off by the command line.
            engine: holder.ownership.engine().filter(|_| holder.name.user().is_none()),
        }
    }

    /// A network that keeps an address from endpoints, and why. All networks are checked.
    fn never_elsewhere(&self, ip: IpAddr) -> Option<(&Network, String)> {
        let subnets =
            self.networks.values().flat_map(|network| network.subnets.iter().map(move |net| (network, net)));
        let never = |(network, subnet): (_, &Subnet)| Some((network, subnet.never(ip)?.to_string()));
        subnets.into_iter().find_map(never)
    }

    /// Whether an address is kept for something other than an endpoint, on any network: as a gateway, an
    /// auxiliary address, or a subnet's network or broadcast address (which a lease with a wider mask may
    /// contain). Addresses that an engine has reserved for a network it is about to make count too.
    pub fn is_set_aside(&self, ip: IpAddr) -> bool {
        self.never_elsewhere(ip).is_some() || self.pools.values().any(|pool| pool.reserved.contains(&ip))
    }

    /// Whether a DHCP server must not lease an address to an endpoint, whatever the LAN's probes show. That
    /// is so if the address is set aside, is the host's own or that of the other end of one, is that of a router
    /// in the host's routes, or is the subnet-router anycast address of a prefix in which the host has an
    /// address.
    /// `routers` pairs each router with the index of the link that leads to it. A router behind one of
    /// Ashore's own links does not count: such a route leads to an endpoint on purpose.
    pub fn is_never_leased(&self, ip: IpAddr, host: &View, routers: &[(IpAddr, u32)]) -> bool {
        let is_ours = |index| host.link_at(index).is_some_and(|link| link.tag().is_some());
        let is_router = || routers.iter().any(|(router, link)| *router == ip && !is_ours(*link));
        let is_anycast = |net: IpNet| net.addr().is_ipv6() && net.prefix_len() < 127 && net.network() == ip;
        let is_routers = || is_router() || host.addresses.iter().any(|there| is_anycast(there.net));
        let has = |there: &LinkAddress| there.net.addr() == ip || there.peer == Some(ip);
        self.is_set_aside(ip) || host.addresses.iter().any(has) || is_routers()
    }

    /// The addresses to try for a name in a subnet, best first: first those that the name had before; then
    /// those that no name ever had; then those that other names have released, the longest unused first.
    /// Within each of the last two groups, addresses that a machine was heard to have come last.
    ///
    /// What is not needed for the first of them is not looked at before they have all been refused.
    pub fn candidates<'a>(
        &'a self,
        network: &Network,
        subnet: &'a Subnet,
        name: Option<&EndpointName>,
        known: &AddressesInUse<'a>,
    ) -> impl Iterator<Item = IpAddr> + use<'a> {
        let scope = State::scope(network);
        let (pool, heard) = (subnet.pool(), known.heard);
        let open = Open {
            state: self,
            subnet,
            kept: self.kept(subnet, known),
            of_engines: of_engines(self).collect(),
        };
        let own = name.and_then(|name| self.identities.get(&(scope.clone(), name.clone())));
        let may_have = |ip: &IpAddr| own.is_some_and(|own| own.may_have_of(subnet, *ip)) && open.has(*ip);
        let before: Vec<IpAddr> = own.into_iter().flat_map(Identity::own_first).filter(may_have).collect();
        let asks = known.answered.len() < DOUBTS;

        let (free, fresh) = (open.clone(), self.unused(&pool, &scope, name));
        let fresh = fresh.filter(move |ip| free.has_besides_endpoints(*ip) && !heard.contains_key(ip));
        let had = before.clone();
        // What other names have released stays theirs if a user asks who is not root.
        let user = name.and_then(EndpointName::user);
        let handed_out = user.map(|_| (network.clone(), Family::of(subnet.net.addr())));
        let rest = iter::once_with(move || {
            // But of what other users' names keep, he has his share.
            let shares = handed_out.and_then(|(network, family)| self.shares(&network, family));
            let over = user.zip(shares).map(|(uid, shares)| shares.give_way_to(uid)).unwrap_or_default();
            let is_for_him = |ip: IpAddr| user.is_none_or(|uid| !self.is_kept_from_user(uid, &over, ip));
            let doubtful = if asks { open.doubtful(&pool, heard) } else { Vec::new() };
            let let_go = open.let_go(&pool, heard).into_iter();
            let let_go =
                let_go.filter(|(is_heard, ip)| (asks || !is_heard) && !had.contains(ip) && is_for_him(*ip));
            doubtful.into_iter().chain(let_go.map(|(_, ip)| ip)).collect::<Vec<_>>()
        });
        before.into_iter().chain(fresh).chain(rest.flatten())
    }

    /// The addresses of a range that no endpoint has and no name ever had, in the order in which they are
    /// tried for a name.
    fn unused<'a>(
        &'a self,
        pool: &Range,
        scope: &Scope,
        name: Option<&EndpointName>,
    ) -> Box<dyn Iterator<Item = IpAddr> + 'a> {
        if pool.len() > SMALL {
            let start = name.map_or(0, |name| self.seed.offset(scope, name) % pool.len());
            let order = pool.from_offset(start).take(TRIES);
            return Box::new(order.filter(|ip| self.holder(*ip).is_none() && !self.is_remembered(*ip)));
        }
        let Some(first) = pool.from_offset(0).next() else { return Box::new(iter::empty()) };
        // Both are in the order of the addresses, like the range.
        let mut held =
            self.endpoints.marks_from(&endpoint::Mark::Ip(first)).map_while(|(mark, _)| match mark {
                endpoint::Mark::Ip(ip) => Some(*ip),
                _ => None,
            });
        let mut had = self.remembered_from(first).map(|(ip, _)| ip);
        let (mut next_held, mut next_had) = (held.next(), had.next());
        let is_used = move |ip: IpAddr| {
            while next_held.is_some_and(|next| next < ip) {
                next_held = held.next();
            }
            while next_had.is_some_and(|next| next < ip) {
                next_had = had.next();
            }
            next_held == Some(ip) || next_had == Some(ip)
        };
        let mut is_used = is_used;
        Box::new(pool.from_offset(0).filter(move |ip| !is_used(*ip)))
    }

    /// Whether a name that is not a user's remembers an address. Those of users who have more than their share do not
    /// count.
    fn is_kept_from_user(&self, uid: u32, over: &BTreeSet<u32>, ip: IpAddr) -> bool {
        let is_kept_by =
            |other: Option<u32>| other.is_none_or(|other| other != uid && !over.contains(&other));
        self.identities.with(identity::Mark::Ip(ip)).any(|((_, name), _)| is_kept_by(name.user()))
    }

    /// Whether a name remembers an address.
    fn is_remembered(&self, ip: IpAddr) -> bool {
        self.identities.with(identity::Mark::Ip(ip)).next().is_some()
    }

    /// The addresses that names remember, from one on, each with a name. An address that several names
    /// remember comes several times.
    fn remembered_from(&self, first: IpAddr) -> impl Iterator<Item = (IpAddr, &(Scope, EndpointName))> {
        self.identities.marks_from(&identity::Mark::Ip(first)).map_while(|(mark, key)| match mark {
            identity::Mark::Ip(ip) => Some((*ip, key)),
            _ => None,
        })
    }

    /// Whether no other endpoint and no reservation keeps an address from a name, and its network can still
    /// assign it to that name.
    pub(crate) fn may_have_again(&self, network: &Network, name: &EndpointName, ip: IpAddr) -> bool {
        let others =
            self.holder(ip).is_some_and(|holder| (&holder.network, &holder.name) != (&network.name, name));
        let own = self.identity_of(network, name);
        let gives = |subnet: &Subnet| own.is_none_or(|own| own.may_have_of(subnet, ip));
        network.subnet_of(ip).is_some_and(gives) && self.never_elsewhere(ip).is_none() && !others
    }

    /// The addresses of a subnet that no endpoint can get at present although none has them: those reserved
    /// by any network or for one that an engine is about to make, the host's own, those that machines on the
    /// LAN answered for, and those that other attaches are about to take.
    fn kept(&self, subnet: &Subnet, known: &AddressesInUse<'_>) -> BTreeSet<IpAddr> {
        let reserved = self
            .networks
            .values()
            .flat_map(|network| &network.subnets)
            .flat_map(|other| other.aux.values().copied().chain(other.gateway));
        let promised = self.pools.values().flat_map(|pool| pool.reserved.iter().copied());
        let host = known.host.addresses.iter().map(|address| address.net.addr());
        reserved
            .chain(promised)
            .chain(host)
            .chain(known.answered.keys().copied())
            .chain(known.held.iter().copied())
            .filter(|ip| subnet.net.contains(ip))
            .collect()
    }

    /// The error for a range without a free address: its size, and who holds its addresses.
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
            engine: network.ownership().engine(),
            answers_for_all: most_of(&on_lan, range.len()).map(|mac| self.claimant(mac, known.host)),
        }
    }

    /// Says how many addresses are in use on the LAN, and names the first few of the machines that have them.
    fn in_use(&self, on_lan: &BTreeMap<IpAddr, Mac>, host: &View) -> String {
        let macs: BTreeSet<Mac> = on_lan.values().copied().collect();
        let more = (macs.len() > NAMED).then(|| format!("{} more", macs.len() - NAMED));
        let named = macs.iter().take(NAMED).map(|mac| self.claimant(*mac, host).to_string());
        format!("{} are in use on the LAN by {}", on_lan.len(), list(named.chain(more)))
    }

    /// The subnets from which an endpoint gets its addresses when it requests none, by family. An endpoint
    /// gets its address from the first subnet of a family that has one left, so a second IPv4 subnet is used
    /// when the first is full.
    pub fn subnets_by_family(network: &Network) -> BTreeMap<Family, Vec<&Subnet>> {
        let mut families: BTreeMap<Family, Vec<&Subnet>> = BTreeMap::new();
        for subnet in &network.subnets {
            families.entry(Family::of(subnet.net.addr())).or_default().push(subnet);
        }
        families
    }
}

impl Open<'_> {
    /// The addresses of a range that no name ever had and that machines were heard to have. A claim that was
    /// heard only once and long ago is the least likely to hold, and comes first.
    fn doubtful(&self, pool: &Range, heard: &BTreeMap<IpAddr, Hearsay>) -> Vec<IpAddr> {
        let is_new = |ip: IpAddr| pool.contains(ip) && self.has(ip) && !self.state.is_remembered(ip);
        let mut doubtful: Vec<(Reverse<Duration>, IpAddr)> = heard
            .iter()
            .filter(|(ip, _)| is_new(**ip))
            .map(|(ip, hearsay)| (Reverse(hearsay.age), *ip))
            .collect();
        doubtful.sort_unstable();
        doubtful.into_iter().map(|(_, ip)| ip).collect()
    }

    /// The addresses of a range that names have released, each with whether a machine was heard to have it.
    fn let_go(&self, pool: &Range, heard: &BTreeMap<IpAddr, Hearsay>) -> Vec<(bool, IpAddr)> {
        let Some(first) = pool.from_offset(0).next() else { return Vec::new() };
        let mut used: BTreeMap<IpAddr, (u64, u64)> = BTreeMap::new();
        let mut leased = BTreeSet::new();
        for (ip, key) in self.state.remembered_from(first).take_while(|(ip, _)| pool.contains(*ip)) {
            let Some(identity) = self.state.identities.get(key) else { continue };
            let last = used.entry(ip).or_default();
            *last = identity.last_use().max(*last);
            // An address that a DHCP server leased is left to that server.
            if identity.leased.map(IpAddr::V4) == Some(ip) {
                leased.insert(ip);
            }
        }
        let let_go = used.into_iter().filter(|(ip, _)| self.has(*ip) && !leased.contains(ip));
        let mut let_go: Vec<(bool, (u64, u64), IpAddr)> =
            let_go.map(|(ip, used)| (heard.contains_key(&ip), used, ip)).collect();
        let_go.sort_unstable();
        let_go.into_iter().map(|(is_heard, _, ip)| (is_heard, ip)).collect()
    }
}

/// Returns the machine that has most addresses of a range of this size, or `None`. A machine that has only a
/// few of them may have them by chance.
fn most_of(on_lan: &BTreeMap<IpAddr, Mac>, size: u128) -> Option<Mac> {
    const FEW: u128 = 3;
    let mut count: BTreeMap<Mac, u128> = BTreeMap::new();
    for mac in on_lan.values() {
        *count.entry(*mac).or_default() += 1;
    }
    // In a large range a request probes only some of the addresses.
    let least = (size.min(MOST_ANSWERS as u128) / 2).max(FEW);
    count.into_iter().find(|(_, has)| *has > least).map(|(mac, _)| mac)
}

/// The ranges of adopted networks, from which their engine assigns addresses. A range that is a whole subnet is
/// left out.
pub fn of_engines(state: &State) -> impl Iterator<Item = Range> {
    let adopted = state.networks.values().filter(|network| network.adopted);
    adopted.flat_map(|network| &network.subnets).filter_map(|subnet| {
        let whole = |range: &Range| *range == Range::of_net(&IpNet::trunc(&subnet.net));
        subnet.range.filter(|range| !whole(range))
    })
}

#[cfg(test)]
mod tests;
