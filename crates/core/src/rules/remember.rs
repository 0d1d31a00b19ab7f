//! What a name keeps of its endpoint: its addresses, its MAC, and the leases that it requests first when it
//! comes back.
//!
//! Two rules hold here. At most one name remembers a given address, MAC or lease: an endpoint takes from all
//! other names what was chosen for its own. A stand-in takes nothing from any name and replaces nothing that
//! its own name remembers. What the user chose is the exception: it is always remembered, and always taken.
//!
//! An address that an endpoint has only because a machine on the LAN has the name's own does not replace the
//! name's own either.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ashore_wire::Mac;
use ashore_wire::dhcp4::ClientId;

use crate::model::endpoint::{Chosen, Endpoint, Source};
use crate::model::identity::{Bearer, Identity, Mark, Scope, Seed};
use crate::model::lease::{LeaseRecord, LeaseRecord6};
use crate::model::network::Network;
use crate::model::state::{Change, State};
use crate::net::family::Family;
use crate::net::name::EndpointName;
use crate::rules::spare::MOST_NAMES;

impl State {
    /// The changes to the identities when an endpoint comes or changes. Nothing is remembered of an unnamed
    /// endpoint.
    pub(crate) fn remember(&self, endpoint: &Endpoint, now: u64) -> Vec<Change> {
        self.remember_of(endpoint, Bearer::of(endpoint), now, MOST_NAMES)
    }

    /// The same when an endpoint goes.
    pub(crate) fn remember_gone(&self, endpoint: &Endpoint, now: u64) -> Vec<Change> {
        self.remember_of(endpoint, Bearer::of_gone(endpoint), now, MOST_NAMES)
    }

    /// The same. If more than `most` names are remembered then, others are forgotten.
    fn remember_of(&self, endpoint: &Endpoint, bearer: Bearer, now: u64, most: usize) -> Vec<Change> {
        let Some(network) = self.network_of(endpoint) else { return Vec::new() };
        // The engine's own driver chooses its addresses.
        if network.adopted || endpoint.is_unnamed() {
            return Vec::new();
        }
        let identity = self.kept_of(network, endpoint, bearer, now);
        let others = self.others_like(network, &endpoint.name, &identity).into_iter();
        let lost = others.filter_map(|((scope, name), other)| {
            let left = other.without(&identity)?;
            Some(if left.is_bare(&self.seed, scope, name) {
                Change::DelIdentity(scope.clone(), name.clone())
            } else {
                Change::PutIdentity(scope.clone(), name.clone(), left)
            })
        });
        let mut changes: Vec<Change> = lost.collect();
        changes.push(Change::PutIdentity(State::scope(network), endpoint.name.clone(), identity));
        changes.extend(self.forget_of_user(&changes, &endpoint.name));
        changes.extend(self.forget_for(&changes, now, most));
        changes
    }

    /// The identity of an endpoint's name from now on. What the endpoint has comes first, and what the name
    /// had before fills the gaps. For a stand-in it is the other way round.
    fn kept_of(&self, network: &Network, endpoint: &Endpoint, bearer: Bearer, now: u64) -> Identity {
        let before = self.identity_of(network, &endpoint.name);
        let stands_in = endpoint.chosen == Chosen::StandIn;
        let leased = self.leased_to_keep(network, endpoint);
        let families = [Family::Ipv4, Family::Ipv6];
        let address = |family| self.address_to_keep(network, endpoint, family);
        // An address that a DHCP server leased is left to that server.
        let addresses = families.into_iter().filter_map(address);
        let addresses = addresses.filter(|ip| leased.is_none_or(|leased| *ip != leased));
        let addresses: Vec<IpAddr> = addresses.collect();
        let asked_before = |ip: &IpAddr| before.is_some_and(|before| before.asked.contains(ip));
        let untold = endpoint.is_of_untold_choice();
        let is_asked = |ip: &&IpAddr| endpoint.was_given(**ip) || untold || asked_before(ip);
        let asked = addresses.iter().filter(is_asked).copied().collect();
        let (has, had) = (endpoint.mac, before.and_then(|before| before.mac));
        let mac = if stands_in && !endpoint.by_user.mac {
            had.or(has.filter(|mac| !self.is_another_names_mac(network, &endpoint.name, *mac)))
        } else {
            has.or(had)
        };
        Identity {
            mac,
            mac_by_user: mac.and_then(|mac| self.is_by_user(endpoint, mac)),
            meanwhile: self.meanwhile(network, endpoint, &addresses),
            addresses,
            asked,
            leased,
            made: State::made(endpoint, before.map_or(&[][..], |before| &before.made)),
            lease: self.lease_to_keep(network, endpoint),
            lease6: self.lease6_to_keep(network, endpoint),
            client_id: (endpoint.wishes.client_id.clone())
                .or_else(|| before.and_then(|before| before.client_id.clone())),
            last_used: now,
            used: self.next_use(),
            bearer,
        }
    }

    /// Whether a MAC that an endpoint's name keeps was chosen by a user, now or when it was chosen. A MAC of which
    /// nothing was remembered is new. `None` if an earlier version did not record it.
    fn is_by_user(&self, endpoint: &Endpoint, mac: Mac) -> Option<bool> {
        if endpoint.by_user.mac && endpoint.mac == Some(mac) {
            return Some(true);
        }
        let mut known = self.identities.with(Mark::Mac(mac)).peekable();
        if known.peek().is_none() { Some(false) } else { known.find_map(|(_, one)| one.mac_by_user) }
    }

    /// The address of a family that an endpoint's name keeps, apart from a lease. An endpoint may lack it for
    /// a while: an engine gives back one address at a time, and a lease takes the place of the fallback
    /// address.
    fn address_to_keep(&self, network: &Network, endpoint: &Endpoint, family: Family) -> Option<IpAddr> {
        let had = self.identity_of(network, &endpoint.name).and_then(|before| before.address(family));
        let Some(has) = endpoint.given_address(family) else { return had };
        match endpoint.chosen {
            // The engine's own IPAM may choose another address at each start.
            _ if endpoint.source == Source::Engine => had,
            Chosen::StandIn if !endpoint.was_given(has) => {
                had.or(Some(has).filter(|ip| !self.is_another_names(network, &endpoint.name, *ip)))
            }
            _ if endpoint.stand_ins.contains(&has) => {
                had.filter(|own| self.may_have_again(network, &endpoint.name, *own)).or(Some(has))
            }
            _ => Some(has),
        }
    }

    /// The addresses that an endpoint's name has while machines on the LAN have its own. These are the ones
    /// that the endpoint has now. Of a family of which the endpoint has no address, the name keeps what it
    /// had.
    fn meanwhile(&self, network: &Network, endpoint: &Endpoint, own: &[IpAddr]) -> Vec<IpAddr> {
        let has = endpoint.stand_ins.iter().copied().filter(|ip| endpoint.holds(*ip) && !own.contains(ip));
        let before =
            self.identity_of(network, &endpoint.name).into_iter().flat_map(|before| &before.meanwhile);
        let missing =
            |ip: &IpAddr| endpoint.given_address(Family::of(*ip)).is_none() && self.holder(*ip).is_none();
        has.chain(before.copied().filter(missing)).collect()
    }

    /// The own address of an endpoint's name, in place of which the endpoint has `stand_in`. `None` if there
    /// is no such address.
    pub fn own_beside_stand_in(&self, endpoint: &Endpoint, stand_in: IpAddr) -> Option<IpAddr> {
        let own =
            self.identity_of(self.network_of(endpoint)?, &endpoint.name)?.address(Family::of(stand_in))?;
        Some(own).filter(|own| *own != stand_in)
    }

    /// The leased address that an endpoint's name keeps.
    fn leased_to_keep(&self, network: &Network, endpoint: &Endpoint) -> Option<Ipv4Addr> {
        let had = self.identity_of(network, &endpoint.name).and_then(|before| before.leased);
        let Some(has) = endpoint.leased_address() else { return had };
        if self.asked_by_its_name(network, endpoint) || endpoint.was_given(has.into()) {
            return Some(has);
        }
        had.or(Some(has).filter(|ip| !self.is_another_names(network, &endpoint.name, (*ip).into())))
    }

    /// The lease that a name requests first when it comes back: the lease of its endpoint, or the previous
    /// one if no server answered this time.
    fn lease_to_keep(&self, network: &Network, endpoint: &Endpoint) -> Option<Box<LeaseRecord>> {
        let had = self.identity_of(network, &endpoint.name).and_then(|before| before.lease.clone());
        if endpoint.source != Source::Lease {
            return had.filter(|_| network.leases(Family::Ipv4));
        }
        if self.asked_by_its_name(network, endpoint) {
            return endpoint.lease.clone();
        }
        // The lease is kept only together with its address, because the name requests the address that it
        // had. If the lease is that of another name, the user has moved its address to this container.
        let kept = self.leased_to_keep(network, endpoint);
        had.or_else(|| endpoint.lease.clone().filter(|record| kept == Some(record.lease.address.addr())))
    }

    /// Whether an endpoint requested its lease under its own name, and not as a container of unknown name.
    fn asked_by_its_name(&self, network: &Network, endpoint: &Endpoint) -> bool {
        let own = self.identity_of(network, &endpoint.name).and_then(|before| before.lease.as_ref());
        let same = || own.zip(endpoint.lease.as_ref()).is_some_and(|(own, has)| own.id == has.id);
        endpoint.chosen != Chosen::StandIn || same()
    }

    /// The same for a lease from a DHCPv6 server. Such a server is asked only once the name is known. A lease
    /// that the endpoint had and has lost is not requested again.
    fn lease6_to_keep(&self, network: &Network, endpoint: &Endpoint) -> Option<Box<LeaseRecord6>> {
        let key = (endpoint.network.clone(), endpoint.name.clone());
        let had_one = self.endpoints.get(&key).is_some_and(|there| there.lease6.is_some());
        let before = self.identity_of(network, &endpoint.name).filter(|_| !had_one);
        let before = before.and_then(|before| before.lease6.clone());
        endpoint.lease6.clone().or(before).filter(|_| network.may_ask_dhcp6())
    }

    /// The address that a name had but no longer gets, although it is in a subnet of its network. The network
    /// was made again with another range.
    pub fn left_behind(&self, network: &Network, name: &EndpointName, family: Family) -> Option<IpAddr> {
        let identity = self.identity_of(network, name)?;
        let ip = identity.address(family)?;
        let subnet = network.subnet_of(ip)?;
        (!identity.may_have_of(subnet, ip)).then_some(ip)
    }

    /// The name that an unnamed endpoint most likely belongs to, if its user chose this address: the name
    /// that remembers it. This is a guess. The user may have moved the address to another container, so what
    /// follows from the guess is only a stand-in.
    pub fn name_for_chosen(&self, network: &Network, ip: IpAddr) -> Option<&EndpointName> {
        let scope = State::scope(network);
        let ((_, name), _) = self.identities.with(Mark::Ip(ip)).find(|((of, _), _)| *of == scope)?;
        let is_there = self.endpoints.contains_key(&(network.name.clone(), name.clone()));
        Some(name).filter(|_| !is_there)
    }

    /// Whether an unnamed endpoint may use a remembered MAC. It may not if a user may have chosen that MAC,
    /// because the container that the MAC is for would be refused at its start.
    pub fn may_lend(&self, mac: Mac) -> bool {
        let made = |scope: &Scope, name: &EndpointName| {
            (0..=u8::MAX).any(|attempt| self.seed.mac(scope, name, attempt) == mac)
        };
        self.identities.with(Mark::Mac(mac)).all(|((scope, name), identity)| {
            let placeholders = identity.all_addresses().map(EndpointName::of_unnamed);
            made(scope, name) || placeholders.into_iter().any(|name| made(scope, &name))
        })
    }

    /// The identities of other names that have something with this mark.
    fn others_with<'a>(
        &'a self,
        network: &Network,
        name: &'a EndpointName,
        mark: Mark,
    ) -> impl Iterator<Item = (&'a (Scope, EndpointName), &'a Identity)> + use<'a> {
        let scope = State::scope(network);
        self.identities.with(mark).filter(move |((of, other), _)| *of != scope || other != name)
    }

    /// The identities of other names that have something which this one has too.
    fn others_like<'a>(
        &'a self,
        network: &Network,
        name: &'a EndpointName,
        identity: &Identity,
    ) -> BTreeMap<&'a (Scope, EndpointName), &'a Identity> {
        let addresses = identity.all_addresses().flat_map(|ip| [Mark::Ip(ip), Mark::Named(ip)]);
        let made = identity.made.iter().copied().map(Mark::Made);
        let marks = addresses.chain(identity.mac.map(Mark::Mac)).chain(made);
        let marks = marks.chain(identity.client_ids().cloned().map(Mark::Client));
        marks.flat_map(|mark| self.others_with(network, name, mark)).collect()
    }

    /// Whether a name other than this one remembers an address.
    pub(crate) fn is_another_names(&self, network: &Network, name: &EndpointName, ip: IpAddr) -> bool {
        self.others_with(network, name, Mark::Ip(ip)).next().is_some()
    }

    /// Whether a name other than this one remembers a MAC.
    pub(crate) fn is_another_names_mac(&self, network: &Network, name: &EndpointName, mac: Mac) -> bool {
        self.others_with(network, name, Mark::Mac(mac)).next().is_some()
    }
}

impl Identity {
    /// What is left of this identity after another one has taken its own. `None` if nothing changes.
    fn without(&self, other: &Identity) -> Option<Identity> {
        let is_left = |ip: &IpAddr| !other.all_addresses().any(|its| its == *ip);
        let is_its = |id: &ClientId| other.client_ids().any(|its| its == id);
        let leased = |record: &LeaseRecord| IpAddr::V4(record.lease.address.addr());
        let mac = self.mac.filter(|mac| other.mac != Some(*mac));
        let left = Identity {
            mac,
            mac_by_user: self.mac_by_user.filter(|_| mac.is_some()),
            addresses: self.addresses.iter().copied().filter(is_left).collect(),
            asked: self.asked.iter().copied().filter(is_left).collect(),
            meanwhile: self.meanwhile.iter().copied().filter(is_left).collect(),
            leased: self.leased.filter(|ip| is_left(&IpAddr::V4(*ip))),
            made: self.made.iter().copied().filter(|ip| !other.made.contains(ip)).collect(),
            lease: self.lease.clone().filter(|record| !is_its(&record.id) && is_left(&leased(record))),
            lease6: self.lease6.clone().filter(|record| !is_its(&record.id)),
            client_id: self.client_id.clone().filter(|id| !is_its(id)),
            last_used: self.last_used,
            used: self.used,
            bearer: self.bearer,
        };
        (left != *self).then_some(left)
    }

    /// Whether the name would get the same MAC and addresses without this identity.
    pub(crate) fn is_bare(&self, seed: &Seed, scope: &Scope, name: &EndpointName) -> bool {
        let leases = self.lease.is_some() || self.lease6.is_some();
        let own_mac = self.mac.is_some_and(|mac| mac != seed.mac(scope, name, 0));
        let chosen = self.client_id.is_some() || !self.made.is_empty();
        self.all_addresses().next().is_none() && !chosen && !leases && !own_mac
    }
}

#[cfg(test)]
mod bounded;
#[cfg(test)]
pub(crate) mod tests;
