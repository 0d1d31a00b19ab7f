//! The pools of the LAN's DHCP servers. A network stays clear of them, and `ashore pool-check` shows where
//! they are.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ashore_core::api::about::About;
use ashore_core::api::refusal::{self as refused, Refusal};
use ashore_core::api::reply::Reply;
use ashore_core::api::trouble::{Code, Trouble};
use ashore_core::model::lease::{Addressing, Fallback};
use ashore_core::model::network::{Network, Subnet};
use ashore_core::model::pool::{ANY_SUBNET, Pool, PoolKey};
use ashore_core::model::survey::{PoolReport, PoolSeen, samples};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::View;
use ashore_core::net::option;
use ashore_core::net::range::Range;
use ashore_core::net::remedy::{Remedy, with_remedy};
use ashore_core::rules::create::{NetworkError, PoolQuestion};
use ashore_core::rules::pools::PoolRequest;
use ashore_wire::Mac;
use ashore_wire::conflict::Profile;
use ipnet::IpNet;

use super::foreign_drivers::not_own;
use super::{Controller, Inner};
use crate::daemon::lan::{Patience, Sought};
use crate::daemon::refusal;
use crate::unlocked::Unlocked;

/// What a question comes down to: by which interface it is asked, about which ranges, and of which subnets
/// these are.
struct Asked {
    parent: IfName,
    ranges: Vec<(Range, Option<Subnet>)>,
}

impl Controller {
    /// Promises a subnet to a network that an engine is about to create.
    pub(super) fn open_pool(
        &self,
        unlocked: &mut Unlocked,
        requested: &PoolRequest,
    ) -> Result<Reply, Refusal> {
        let mut inner = self.lock(unlocked);
        let requested =
            &PoolRequest { parent: inner.resolved(requested.parent.as_ref())?, ..requested.clone() };
        if let Some(reply) = inner.opened_before(requested) {
            return Ok(reply);
        }
        if requested.others {
            return Err(not_own());
        }
        let addressing = requested.addressing;
        let (key, chosen, told) = match (requested.net, requested.range) {
            (Some(net), None) => {
                if let Some(key) = inner.take_unconfirmed_pool(&net, requested.parent.as_ref()) {
                    (key, true, net)
                } else {
                    let whole = PoolKey { net, range: None, addressing };
                    let is_known = inner.state().networks_of(&whole).next().is_some();
                    let host = inner.observe(&[])?.host;
                    drop(inner);
                    let range =
                        if is_known { None } else { self.range_of_named(unlocked, requested, net, &host) };
                    inner = self.lock(unlocked);
                    (PoolKey { range, ..whole }, range.is_some(), net)
                }
            }
            (Some(net), Some(range)) if range.lies_in(&net) => {
                (PoolKey { net, range: Some(range), addressing }, false, net)
            }
            (Some(net), Some(range)) => {
                return Err(refusal::network(&NetworkError::RangeOutside(range, net)));
            }
            (None, _) => {
                // An engine that asks again, and keeps the pool that it got first, has rejected the subnet.
                let turned_down = inner.state().has_chosen_pool();
                let observed = inner.observe(&[])?;
                drop(inner);
                let key = self.find_pool(unlocked, requested, turned_down, &observed.host)?;
                inner = self.lock(unlocked);
                (key, true, if turned_down { ANY_SUBNET } else { key.net })
            }
        };
        let opened = inner.state().opened(key, requested, chosen);
        inner.strangers.opens(key);
        inner.commit(vec![opened])?;
        Ok(Reply::Pool { key, told })
    }

    /// For a subnet that was named without a range: returns a range beside the pools of the LAN's DHCP
    /// servers. Returns `None` if they have no pools in the subnet.
    fn range_of_named(
        &self,
        unlocked: &mut Unlocked,
        requested: &PoolRequest,
        net: IpNet,
        host: &View,
    ) -> Option<Range> {
        if requested.addressing == Addressing::Dhcp && requested.leasing.fallback == Fallback::None {
            return None;
        }
        let parent = requested.parent.clone().or_else(|| host.lan_parent(&[net]).ok())?;
        self.range_for_want_of_one(unlocked, &parent, &Subnet::whole(net, host.default_gateway(&net)), host)
    }

    /// Returns the LAN's subnet, and a range of it that no machine uses.
    fn find_pool(
        &self,
        unlocked: &mut Unlocked,
        requested: &PoolRequest,
        turned_down: bool,
        host: &View,
    ) -> Result<PoolKey, Refusal> {
        let found = requested.parent.clone().map_or_else(|| host.lan_parent(&[]), Ok);
        let found = found.and_then(|parent| host.lan_subnet(&parent, None).map(|net| (parent, net)));
        let (parent, net) = found.map_err(|error| refusal::network(&error))?;
        if requested.addressing == Addressing::Dhcp && requested.leasing.fallback == Fallback::None {
            tracing::info!(%parent, subnet = %net, "found on this host; its DHCP server hands out the addresses");
            // The engine gives the rejected pool back by its id, which must differ from this one's.
            let range = turned_down.then(|| Range::of_net(&net));
            return Ok(PoolKey { net, range, addressing: requested.addressing });
        }
        let chosen = self.choose_range(unlocked, &parent, net, host.default_gateway(&net), host, Vec::new());
        // If there is no other range, the one that was rejected together with the subnet is as free as
        // before.
        let mut again = || self.lock(unlocked).state().chosen_range_again(&net).filter(|_| turned_down);
        let range = chosen.or_else(|refusal| again().ok_or(refusal))?;
        tracing::info!(%parent, subnet = %net, %range, "found on this host, and chosen");
        Ok(PoolKey { net, range: Some(range), addressing: requested.addressing })
    }

    /// Answers `ashore pool-check`.
    pub(super) fn check_pool(
        &self,
        unlocked: &mut Unlocked,
        question: &PoolQuestion,
    ) -> Result<Reply, Refusal> {
        let (host, asked) = {
            let inner = self.lock(unlocked);
            let host = inner.observe(&[])?.host;
            let asked = inner.asked(question, &host)?;
            (host, asked)
        };
        check_carrier(&asked.parent, &host)?;
        let _listening = self.lan.listen(&asked.parent, &host);
        let reports = asked.ranges.into_iter().map(|(range, subnet)| {
            let wanted = self.samples(unlocked, &asked.parent, &range, subnet.as_ref(), &host);
            let answers = self.lan.survey(&asked.parent, &range, &wanted).answers(unlocked, Patience::LONG);
            let (asked_for, servers) = answers.map_err(|unreachable| {
                let ends = [range.first(), range.last()];
                refusal::unreachable(&ends, &unreachable, "`ashore status` shows what else is wrong".into())
            })?;
            let beside = subnet.filter(|_| !servers.is_empty()).and_then(|subnet| {
                self.range_beside(unlocked, &asked.parent, &subnet, &host, servers.clone())
            });
            Ok(PoolReport { parent: asked.parent.clone(), range, asked: asked_for, servers, beside })
        });
        Ok(Reply::Pools(reports.collect::<Result<_, Refusal>>()?))
    }

    /// Checks whether a DHCP server hands out addresses of a network that is about to be created. Refuses a
    /// range that was named. For a whole subnet it only warns, since that says nothing about a range: with
    /// Docker's own IPAM a driver is told no more than the subnet.
    pub(super) fn clear_of_pools(
        &self,
        unlocked: &mut Unlocked,
        network: &Network,
        host: &View,
    ) -> Result<Vec<String>, Refusal> {
        if network.conflict == Profile::Off || check_carrier(&network.parent, host).is_err() {
            return Ok(Vec::new());
        }
        let _listening = self.lan.listen(&network.parent, host);
        let mut warnings = Vec::new();
        // A range that Ashore chose was checked when it was chosen.
        for subnet in network.handed_out().filter(|subnet| !subnet.chosen && subnet.net.addr().is_ipv4()) {
            let (parent, range) = (network.parent.clone(), subnet.pool());
            let wanted = self.samples(unlocked, &parent, &range, Some(subnet), host);
            // A server that cannot be asked now cannot hand out addresses either.
            let answers = self.lan.survey(&parent, &range, &wanted).answers(unlocked, Patience::SHORT);
            let (asked, servers) = answers.unwrap_or_default();
            let mut report = PoolReport { parent, range, asked, servers, beside: None };
            if report.check().is_err() {
                report.beside =
                    self.range_beside(unlocked, &network.parent, subnet, host, report.servers.clone());
            }
            match report.check() {
                Err(error) if subnet.range.is_some() => return Err(refusal::network(&error)),
                Err(error) => warnings.push(with_remedy(&error, error.remedy().as_ref(), network.front())),
                Ok(()) => {}
            }
        }
        warnings.extend(self.several_servers(&network.parent).map(|trouble| trouble.to_string()));
        Ok(warnings)
    }

    /// For a subnet that was named without a range: returns a range beside the pools of DHCP servers that
    /// hand out addresses of the subnet. Returns `None` if no server does, or if nothing is left.
    pub(super) fn range_for_want_of_one(
        &self,
        unlocked: &mut Unlocked,
        parent: &IfName,
        subnet: &Subnet,
        host: &View,
    ) -> Option<Range> {
        if !subnet.net.addr().is_ipv4() || check_carrier(parent, host).is_err() {
            return None;
        }
        let _listening = self.lan.listen(parent, host);
        let whole = subnet.pool();
        let wanted = self.samples(unlocked, parent, &whole, Some(subnet), host);
        let answers = self.lan.survey(parent, &whole, &wanted).answers(unlocked, Patience::CERTAIN);
        let (_, servers) = answers.unwrap_or_default();
        let overlaps = servers.iter().any(|seen| seen.hands_out_of(&whole).is_some());
        let range = self.range_beside(unlocked, parent, subnet, host, servers).filter(|_| overlaps)?;
        tracing::info!(%parent, subnet = %subnet.net, %range, "chosen beside the pool of the LAN's DHCP server");
        Some(range)
    }

    /// Returns a range in which no machine answers, and of which no DHCP server was seen to hand out
    /// addresses.
    pub(super) fn choose_range(
        &self,
        unlocked: &mut Unlocked,
        parent: &IfName,
        net: IpNet,
        gateway: Option<IpAddr>,
        host: &View,
        mut pools: Vec<PoolSeen>,
    ) -> Result<Range, Refusal> {
        /// Each look takes a third of a second, or ten seconds if the server pings first, and the user waits.
        const LOOKS: usize = 8;
        let (mut candidates, engines) = {
            let inner = self.lock(unlocked);
            (inner.state().ranges_to_try(net, gateway, host), inner.engines_ranges())
        };
        candidates.retain(|range| !engines.iter().any(|engines| engines.overlaps(range)));
        // A machine that was heard and does not answer may be asleep.
        let heard = self.lan.hearsay(parent);
        candidates.sort_by_key(|range| heard.keys().any(|ip| range.contains(*ip)));
        let _listening = self.lan.listen(parent, host);
        let (subnet, mut looks) = (Subnet::whole(net, gateway), 0);
        // The addresses that are offered instead of wanted ones from all over the subnet show best where the
        // pools are. A server that pings first is waited for: if none has answered by then, there is none.
        if pools.is_empty() && net.addr().is_ipv4() {
            let whole = subnet.pool();
            let wanted = self.samples(unlocked, parent, &whole, Some(&subnet), host);
            let answers = self.lan.survey(parent, &whole, &wanted).answers(unlocked, Patience::CERTAIN);
            pools = answers.unwrap_or_default().1;
        }
        let patience = if pools.is_empty() { Patience::SHORT } else { Patience::CERTAIN };
        for range in candidates {
            let within = |pool: &PoolSeen| pool.span().is_some_and(|span| span.overlaps(&range));
            if pools.iter().any(within) {
                continue;
            }
            if looks == LOOKS {
                break;
            }
            looks += 1;
            let ips: Vec<IpAddr> = range.from_offset(0).collect();
            let wanted = self.samples(unlocked, parent, &range, Some(&subnet), host);
            let asked = self.lan.survey(parent, &range, &wanted);
            let sought: Vec<Sought> = ips.iter().map(|ip| (*ip, None)).collect();
            let probed = self.lan.probe(unlocked, parent, &sought, Profile::Quick);
            let without = || {
                let given =
                    Remedy::from("with ").and_give(&option::SUBNET).and(" and ").and_give(&option::IP_RANGE);
                given.and(" no address is probed")
            };
            let answered = probed.map_err(|why| refusal::unreachable(&ips, &why, without()))?;
            let taken = |pools: &[PoolSeen]| pools.iter().any(|pool| pool.hands_out_of(&range).is_some());
            let (_, servers) = asked.answers_until(unlocked, patience, taken).unwrap_or_default();
            PoolSeen::gather(&mut pools, servers);
            if !taken(&pools) && answered.is_empty() {
                return Ok(range);
            }
        }
        Err(refusal::network(&match pools.into_iter().next() {
            Some(pool) => NetworkError::NoRangeBesidePool { net, pool },
            None => NetworkError::NoFreeRange(net),
        }))
    }

    fn range_beside(
        &self,
        unlocked: &mut Unlocked,
        parent: &IfName,
        subnet: &Subnet,
        host: &View,
        pools: Vec<PoolSeen>,
    ) -> Option<Range> {
        let gateway = subnet.gateway.or_else(|| host.default_gateway(&subnet.net));
        self.choose_range(unlocked, parent, subnet.net, gateway, host, pools).ok()
    }

    /// Returns the addresses of a range to ask DHCP servers for. Addresses in use are left out, because
    /// servers do not offer them.
    fn samples(
        &self,
        unlocked: &mut Unlocked,
        parent: &IfName,
        range: &Range,
        subnet: Option<&Subnet>,
        host: &View,
    ) -> Vec<Ipv4Addr> {
        let heard = self.lan.hearsay(parent);
        let inner = self.lock(unlocked);
        let endpoints = inner.state().endpoints.values().flat_map(|endpoint| &endpoint.addresses);
        let held: BTreeSet<IpAddr> = endpoints.map(IpNet::addr).collect();
        samples(range, |ip| {
            held.contains(&ip)
                || heard.contains_key(&ip)
                || host.has_address(ip)
                || subnet.is_some_and(|subnet| subnet.never(ip).is_some())
        })
    }

    /// Reports what DHCP servers were seen to offer wrongly: addresses of a network's range, or two servers
    /// on one LAN.
    pub(super) fn pool_troubles(&self, inner: &Inner) -> Vec<Trouble> {
        let (state, mut troubles) = (inner.state(), Vec::new());
        for network in state.networks.values().filter(|network| network.conflict != Profile::Off) {
            let servers = self.lan.dhcp_servers(&network.parent);
            for range in network.handed_out().map(|subnet| inner.handed_out_of(network, subnet)) {
                let found = servers.iter().find_map(|seen| Some((seen.server, seen.hands_out_of(&range)?)));
                troubles.extend(found.map(|(server, offered)| {
                    let name = network.label();
                    let message = format!(
                        "network `{name}` hands out {range}, and the DHCP server {server} offers {offered} of it"
                    );
                    let remedy = Remedy::run(format!("ashore pool-check {}", network.word()));
                    Trouble::new(Code::RangeInPool, About::network(network), message, Some(remedy))
                }));
            }
        }
        let parents: BTreeSet<&IfName> = state.networks.values().map(|network| &network.parent).collect();
        troubles.extend(parents.into_iter().filter_map(|parent| self.several_servers(parent)));
        troubles
    }

    fn several_servers(&self, parent: &IfName) -> Option<Trouble> {
        let servers: Vec<String> =
            self.lan.dhcp_servers(parent).iter().map(|seen| seen.server.to_string()).collect();
        (servers.len() > 1).then(|| {
            let message = format!(
                "{} DHCP servers answer on the LAN of `{parent}`: {}",
                servers.len(),
                servers.join(", ")
            );
            let remedy = "unless they share their leases, turn off all but one".into();
            Trouble::new(Code::SeveralServers, About::parent(parent), message, Some(remedy))
        })
    }
}

impl Inner {
    /// The range that an engine's own IPAM hands out. A driver is not told of it, but the engine's list has
    /// it.
    fn engines_range(&self, network: &Network, subnet: &Subnet) -> Option<Range> {
        let (inventory, engine) = (self.engines.inventory_of(network)?, network.engine.as_ref()?);
        let listed = inventory.networks.iter().find(|listed| listed.id == engine.id)?;
        let of_subnet = listed.subnets.iter().find(|there| there.net.trunc() == subnet.net)?;
        of_subnet.range.as_ref().map(Range::of_net)
    }

    /// The addresses among which Ashore, or the engine, chooses for a network.
    fn handed_out_of(&self, network: &Network, subnet: &Subnet) -> Range {
        let engines = || self.engines_range(network, subnet);
        subnet.range.or_else(engines).unwrap_or_else(|| subnet.pool())
    }

    /// All ranges that engines hand out themselves.
    fn engines_ranges(&self) -> Vec<Range> {
        let subnets = |network| move |subnet| self.engines_range(network, subnet);
        let networks = self.state().networks.values();
        networks.flat_map(|network| network.subnets.iter().filter_map(subnets(network))).collect()
    }

    /// Answers a repeated call with the pool that the first call opened. If the engine had rejected a pool
    /// before, it is told no subnet.
    fn opened_before(&self, requested: &PoolRequest) -> Option<Reply> {
        if !requested.repeated || requested.net.is_some() {
            return None;
        }
        let waiting = |pool: &&Pool| pool.chosen && self.state().networks_of(&pool.key).next().is_none();
        let waiting: Vec<&Pool> = self.state().pools.values().filter(waiting).collect();
        let key = waiting.iter().max_by_key(|pool| pool.opened)?.key;
        Some(Reply::Pool { key, told: if waiting.len() > 1 { ANY_SUBNET } else { key.net } })
    }

    fn asked(&self, question: &PoolQuestion, host: &View) -> Result<Asked, Refusal> {
        let Some(name) = &question.network else { return asked_of_host(question, host) };
        let Some(network) = self.state().networks.get(name) else {
            return Err(super::network::no_network(name));
        };
        let subnets = network.handed_out().filter(|subnet| subnet.net.addr().is_ipv4());
        let range_of = |subnet: &Subnet| self.handed_out_of(network, subnet);
        let ranges: Vec<_> = subnets.map(|subnet| (range_of(subnet), Some(subnet.clone()))).collect();
        if ranges.is_empty() {
            return Err(Refusal::new(
                refused::Code::NoPoolToCheck,
                About::network(network),
                format!("network `{}` hands out no IPv4 addresses of its own", network.label()),
                Some(Remedy::from("to find the pool of the LAN itself: ").and_run("ashore pool-check")),
            ));
        }
        Ok(Asked { parent: network.parent.clone(), ranges })
    }
}

fn asked_of_host(question: &PoolQuestion, host: &View) -> Result<Asked, Refusal> {
    if question.range.is_some_and(|range| range.first().is_ipv6()) {
        return Err(Refusal::new(
            refused::Code::NoPoolToCheck,
            About::default(),
            "an IPv6 range is in no DHCPv4 pool, and IPv6 hosts choose their own addresses",
            None,
        ));
    }
    let (parent, range, subnet) = question.completed(host).map_err(|error| refusal::network(&error))?;
    Ok(Asked { parent, ranges: vec![(range, subnet)] })
}

/// Refuses an interface by which no DHCP server can be asked.
fn check_carrier(parent: &IfName, host: &View) -> Result<(), Refusal> {
    let refusal = |code, message: String, remedy: Option<Remedy>| {
        Err(Refusal::new(code, About::parent(parent), message, remedy))
    };
    match host.link(parent) {
        None => refusal(
            refused::Code::ParentMissing,
            format!("`{parent}` does not exist, so no DHCP server can be asked by it"),
            Some(
                "`ip link` lists the interfaces; a VLAN that Ashore makes is checked when its network is made"
                    .into(),
            ),
        ),
        Some(link) if !link.up => refusal(
            refused::Code::ParentDown,
            format!("`{parent}` is down"),
            Some(Remedy::run(format!("ip link set dev {} up", parent.word()))),
        ),
        Some(link) if !link.carrier => {
            refusal(refused::Code::NoCarrier, format!("`{parent}` has no carrier: its cable is out"), None)
        }
        Some(link) if !link.mac.is_some_and(Mac::is_station) => Err(refusal::no_mac(parent)),
        Some(_) => Ok(()),
    }
}
