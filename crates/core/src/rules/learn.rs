//! What an endpoint takes from the LAN's router advertisements.

use std::net::{IpAddr, Ipv6Addr};

use ashore_wire::dhcp6::Held;
use ashore_wire::slaac::{Offer, is_reserved};
use ipnet::{IpNet, Ipv6Net};

use crate::model::endpoint::Endpoint;
use crate::model::identity::{Mark, Scope, Seed};
use crate::model::learned::{Learned, LearnedAddress, LearnedRouter};
use crate::model::moment::Moment;
use crate::model::network::Network;
use crate::model::resolv;
use crate::model::state::State;
use crate::net::name::EndpointName;
use crate::rules::addresses_in_use::AddressesInUse;

/// How many addresses of one prefix are tried: `IDGEN_RETRIES` of RFC 7217 and a few more. If all of them
/// belong to others, the fault is most likely elsewhere.
const TRIES: usize = 8;
/// How many generated addresses are remembered for a name.
const MOST_REMEMBERED: usize = 8;

impl Seed {
    /// The addresses of a name in a prefix, by RFC 7217. The seed is the secret key, the network is the
    /// `Network_ID`, and the name stands for the interface. Each further address is for the case that the one
    /// before belongs to another machine. So a name keeps its address when its container is made again. On
    /// another network it has a different address, from which nobody can tell that it is the same container.
    pub fn addresses(
        &self,
        scope: &Scope,
        name: &EndpointName,
        prefix: Ipv6Net,
    ) -> impl Iterator<Item = Ipv6Addr> {
        let network = u128::from(prefix.network()) & !u128::from(u64::MAX);
        let made = (0..=u8::MAX).map(move |counter| self.interface_id(scope, name, prefix, counter));
        made.filter(|id| !is_reserved(*id))
            .take(TRIES)
            .map(move |id| Ipv6Addr::from(network | u128::from(id)))
    }
}

impl State {
    /// Returns what an endpoint of a name takes from the advertisements on its link. Returns `None` if it
    /// takes no address, or if the network does not follow the routers. The endpoint keeps the addresses that
    /// it has. In a new prefix it gets the address that the name had there before, or else the first free
    /// one. In a deprecated prefix no new address is generated (RFC 4862, 5.5.4).
    pub fn learn(
        &self,
        network: &Network,
        name: &EndpointName,
        offer: &Offer,
        lease: Option<&Held>,
        known: &AddressesInUse<'_>,
        at: Moment,
    ) -> Option<Box<Learned>> {
        if !network.follows_routers() {
            return None;
        }
        let scope = State::scope(network);
        let key = (network.name.clone(), name.clone());
        let before = self.endpoints.get(&key);
        let has: Vec<&LearnedAddress> = before
            .and_then(|endpoint| endpoint.learned.as_ref())
            .into_iter()
            .flat_map(|learned| learned.addresses.iter().filter(|there| !there.leased))
            .collect();
        let remembered = self.identities.get(&(scope.clone(), name.clone()));
        let remembered = remembered.map_or(&[][..], |identity| &identity.made);
        let is_free = |ip: &Ipv6Addr| {
            let ip = IpAddr::V6(*ip);
            let others =
                self.holder(ip).is_some_and(|holder| (&holder.network, &holder.name) != (&key.0, &key.1));
            !others && !known.host.has_address(ip) && !known.answered.contains_key(&ip)
        };
        let of_prefixes = offer.prefixes.iter().filter(|_| network.makes_addresses());
        let addresses = of_prefixes.filter_map(|prefix| {
            let made: Vec<Ipv6Addr> = self.seed.addresses(&scope, name, prefix.net).collect();
            let preferred = prefix.preferred.holds(at.now);
            // The address is kept even if it was generated for another name, so a renamed container keeps its
            // address.
            let kept = has.iter().find(|there| there.prefix == prefix.net).map(|there| &there.ip);
            let known = || remembered.iter().find(|ip| prefix.net.contains(*ip) && is_free(ip));
            let next = || made.iter().find(|ip| is_free(ip) && !self.has_made(&scope, name, **ip));
            let new = || known().or_else(next).filter(|_| preferred);
            Some(LearnedAddress {
                ip: *kept.or_else(new)?,
                prefix: prefix.net,
                on_link: prefix.on_link,
                leased: false,
                deprecated: !preferred,
                preferred: at.written(prefix.preferred),
                valid: at.written(prefix.valid),
            })
        });
        let addresses: Vec<LearnedAddress> =
            addresses.chain(lease.and_then(|held| LearnedAddress::leased(held, offer, at))).collect();
        if addresses.is_empty() {
            return None;
        }
        let router = offer.routers.first();
        let router = router.map(|there| LearnedRouter { ip: there.ip, until: at.written(there.until) });
        let mut ways: Vec<(Ipv6Net, Ipv6Addr)> =
            offer.routes.iter().map(|route| (route.to, route.via)).collect();
        // The preferred route to a prefix comes first.
        ways.dedup_by_key(|(to, _)| *to);
        // A prefix that is on the link needs no route through a router, and neither does an own address.
        ways.retain(|(to, _)| !addresses.iter().any(|there| there.net().trunc() == IpNet::from(*to)));
        let (mtu, dns) = (offer.mtu, resolv::names(offer));
        Some(Box::new(Learned { addresses, router, routes: ways, mtu, dns }))
    }

    /// The addresses that a name will most likely generate from the advertised prefixes. They are probed
    /// ahead of time.
    pub fn likely<'a>(
        &'a self,
        network: &Network,
        name: &'a EndpointName,
        offer: &Offer,
        at: Moment,
    ) -> Vec<IpAddr> {
        let scope = State::scope(network);
        let remembered = self.identities.get(&(scope.clone(), name.clone()));
        let prefixes = offer
            .prefixes
            .iter()
            .filter(|prefix| network.makes_addresses() && prefix.preferred.holds(at.now));
        let likely = prefixes.filter_map(|prefix| {
            let made: Vec<Ipv6Addr> = self.seed.addresses(&scope, name, prefix.net).collect();
            let remembered = remembered.map_or(&[][..], |identity| &identity.made);
            let had = remembered.iter().find(|ip| prefix.net.contains(*ip));
            let next = || made.iter().find(|ip| !self.has_made(&scope, name, **ip));
            had.or_else(next).copied().map(IpAddr::V6)
        });
        likely.collect()
    }

    /// Whether another name has generated this address. A container that had that name gets the address again
    /// when it comes back.
    fn has_made(&self, scope: &Scope, name: &EndpointName, ip: Ipv6Addr) -> bool {
        self.identities.with(Mark::Made(ip)).any(|((of, other), _)| (of, other) != (scope, name))
    }

    /// The addresses that an endpoint's name has generated in prefixes, the latest first.
    pub(crate) fn made(endpoint: &Endpoint, before: &[Ipv6Addr]) -> Vec<Ipv6Addr> {
        let learned = endpoint.learned.iter().flat_map(|learned| &learned.addresses);
        let made = learned.filter(|there| !there.leased).map(|there| there.ip);
        let mut made: Vec<Ipv6Addr> = made.collect();
        let prefix = |ip: &Ipv6Addr| u128::from(*ip) >> 64;
        let others = before.iter().filter(|ip| !made.iter().any(|new| prefix(new) == prefix(ip)));
        let others: Vec<Ipv6Addr> = others.copied().collect();
        made.extend(others);
        made.truncate(MOST_REMEMBERED);
        made
    }
}

#[cfg(test)]
pub(crate) mod tests;
