//! What a name keeps of its endpoint: its addresses, its MAC, and the leases that it asks for first when it comes back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ashore_wire::dhcp4::ClientId;
use ipnet::IpNet;

use crate::endpoint::{Endpoint, Source};
use crate::identity::Identity;
use crate::lease::{LeaseRecord, LeaseRecord6};
use crate::network::Network;
use crate::state::{Change, State};
use crate::step::Family;

impl State {
    /// An identity keeps the last address of each family that it had. Whoever had something of that before has lost it: that was
    /// this container under another name, or one that has been gone for long. An address that was chosen because a machine on
    /// the LAN had the name's own does not take its place.
    pub(crate) fn remember(&self, endpoint: &Endpoint, now: u64) -> Vec<Change> {
        let Some(network) = self.network_of(endpoint) else { return Vec::new() };
        // The engine's own driver chooses its addresses.
        if network.adopted {
            return Vec::new();
        }
        let scope = State::scope(network);
        let before = self.identities.get(&(scope.clone(), endpoint.name.clone()));
        if let Some(before) = before.filter(|before| before.is_kept_beside(endpoint)) {
            let identity = Identity { last_used: now, ..before.clone() };
            return vec![Change::PutIdentity(scope, endpoint.name.clone(), identity)];
        }
        let is_free = |ip: IpAddr| self.holder(ip).is_none();
        let leased = endpoint.lease.as_ref().map(|record| record.lease.address.addr());
        let had = before.and_then(|before| before.leased);
        let leased = leased.or(had.filter(|ip| is_free((*ip).into())));
        let is_chosen = |ip: &IpAddr| leased.is_none_or(|leased| *ip != leased);
        let given: Vec<IpAddr> = endpoint.given().map(IpNet::addr).filter(is_chosen).collect();
        let of_family = |all: &[IpAddr], ip: &IpAddr| all.iter().any(|one| one.is_ipv4() == ip.is_ipv4());
        let had = before.into_iter().flat_map(|before| &before.addresses).copied().filter(is_chosen);
        // An engine gives back one address after the other, and one of a range does again where no server gives any.
        let is_kept = |ip: &IpAddr| {
            if !of_family(&given, ip) {
                return is_free(*ip);
            }
            of_family(&endpoint.stand_ins, ip) && self.may_have_again(network, &endpoint.name, *ip)
        };
        let own: Vec<IpAddr> = had.filter(is_kept).filter(|ip| !given.contains(ip)).collect();
        let (stand_ins, given): (Vec<IpAddr>, Vec<IpAddr>) =
            given.iter().partition(|ip| endpoint.stand_ins.contains(ip) && of_family(&own, ip));
        let addresses: BTreeSet<IpAddr> = given.into_iter().chain(own).collect();
        let had = before.into_iter().flat_map(|before| &before.meanwhile).copied();
        let had = had.filter(|ip| endpoint.given().all(|net| net.addr().is_ipv4() != ip.is_ipv4()));
        let meanwhile = had.filter(|ip| is_free(*ip)).chain(stand_ins);
        let kept =
            before.and_then(|before| before.mac).filter(|_| self.has_placeholders_mac(network, endpoint));
        let identity = Identity {
            mac: kept.or(endpoint.mac),
            meanwhile: meanwhile.collect(),
            addresses: addresses.into_iter().collect(),
            leased,
            made: State::made(endpoint, before.map_or(&[][..], |before| &before.made)),
            lease: self.lease_to_remember(endpoint, before),
            lease6: self.lease6_to_remember(endpoint, before),
            last_used: now,
        };
        let key = (scope, endpoint.name.clone());
        let others = self.identities.iter().filter(|(other, _)| **other != key);
        // One whose name is not known yet may be the very one whose MAC its user chose.
        let shown = Identity { mac: identity.mac.filter(|_| !endpoint.is_unnamed()), ..identity.clone() };
        let lost = others.filter_map(|((scope, name), other)| {
            let left = other.without(&shown)?;
            Some(if left.is_bare() {
                Change::DelIdentity(scope.clone(), name.clone())
            } else {
                Change::PutIdentity(scope.clone(), name.clone(), left)
            })
        });
        let mut changes: Vec<Change> = lost.collect();
        let (scope, name) = key;
        changes.push(Change::PutIdentity(scope, name, identity));
        changes
    }

    /// The address of its name's own that an endpoint would have instead of a stand-in.
    pub fn own_beside_stand_in(&self, endpoint: &Endpoint, stand_in: IpAddr) -> Option<IpAddr> {
        let identity =
            self.identities.get(&(State::scope(self.network_of(endpoint)?), endpoint.name.clone()))?;
        let is_own = |ip: &&IpAddr| ip.is_ipv4() == stand_in.is_ipv4() && **ip != stand_in;
        identity.addresses.iter().find(is_own).copied()
    }

    /// The lease that a name asks for first when it comes back: that of its endpoint, or the one from before, if there was
    /// no server to give it this time.
    fn lease_to_remember(&self, endpoint: &Endpoint, before: Option<&Identity>) -> Option<Box<LeaseRecord>> {
        let leases = self.network_of(endpoint).is_some_and(|network| network.leases(Family::Ipv4));
        let record = match endpoint.source {
            Source::Lease => endpoint.lease.clone(),
            _ if leases => before?.lease.clone(),
            _ => None,
        };
        record.filter(|_| !endpoint.is_unnamed())
    }

    /// The same of a DHCPv6 server's. One that its endpoint had and has lost is not asked for again.
    fn lease6_to_remember(
        &self,
        endpoint: &Endpoint,
        before: Option<&Identity>,
    ) -> Option<Box<LeaseRecord6>> {
        let asks = self.network_of(endpoint).is_some_and(Network::may_ask_dhcp6);
        let key = (endpoint.network.clone(), endpoint.name.clone());
        let had = self.endpoints.get(&key).is_some_and(|there| there.lease6.is_some());
        let before = before.filter(|_| !had).and_then(|before| before.lease6.clone());
        endpoint.lease6.clone().or(before).filter(|_| asks && !endpoint.is_unnamed())
    }
}

impl Identity {
    /// The addresses that are kept for a name, whoever gave them.
    pub fn all_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.own_first().chain(self.leased.map(IpAddr::V4))
    }

    /// The addresses that were chosen for a name: its own first, then those that stood in for them.
    pub(crate) fn own_first(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().chain(&self.meanwhile).copied()
    }

    /// The addresses that a name would have instead of those of its endpoint, if that had been made under it.
    pub(crate) fn own_beside(&self, endpoint: &Endpoint) -> Vec<IpAddr> {
        let leased = endpoint.source == Source::Lease;
        let chosen = self.addresses.iter().copied().filter(|ip| !leased || ip.is_ipv6());
        chosen.chain(self.leased.filter(|_| leased).map(IpAddr::V4)).collect()
    }

    /// Whether a name keeps the address that it had, because its container got this one only for not being known.
    fn is_kept_beside(&self, endpoint: &Endpoint) -> bool {
        endpoint.was_unnamed() && endpoint.source.is_choosing() && !self.own_beside(endpoint).is_empty()
    }

    /// What is left of a name's once another has become who it was, in part or in all; none if that has nothing of its.
    fn without(&self, other: &Identity) -> Option<Identity> {
        let is_left = |ip: &IpAddr| !other.all_addresses().any(|its| its == *ip);
        let ids = || {
            let id = other.lease.as_ref().map(|record| &record.id);
            id.into_iter().chain(other.lease6.as_ref().map(|record| &record.id))
        };
        let is_its = |id: &ClientId| ids().any(|its| its == id);
        let has_of_its = other.mac.is_some() && self.mac == other.mac
            || !self.all_addresses().all(|ip| is_left(&ip))
            || self.made.iter().any(|ip| other.made.contains(ip))
            || self.lease.as_ref().is_some_and(|record| is_its(&record.id))
            || self.lease6.as_ref().is_some_and(|record| is_its(&record.id));
        has_of_its.then(|| {
            let leased = |record: &LeaseRecord| IpAddr::V4(record.lease.address.addr());
            Identity {
                mac: self.mac.filter(|mac| other.mac != Some(*mac)),
                addresses: self.addresses.iter().copied().filter(is_left).collect(),
                meanwhile: self.meanwhile.iter().copied().filter(is_left).collect(),
                leased: self.leased.filter(|ip| is_left(&IpAddr::V4(*ip))),
                made: self.made.iter().copied().filter(|ip| !other.made.contains(ip)).collect(),
                lease: self.lease.clone().filter(|record| !is_its(&record.id) && is_left(&leased(record))),
                lease6: self.lease6.clone().filter(|record| !is_its(&record.id)),
                last_used: self.last_used,
            }
        })
    }

    /// Whether a name would have the same without it, but for a MAC that its user chose.
    fn is_bare(&self) -> bool {
        let leases = self.lease.is_some() || self.lease6.is_some();
        self.all_addresses().next().is_none() && self.made.is_empty() && !leases
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Scope, Seed};
    use crate::ipv6::tests::{endpoint, network};
    use crate::name::EndpointName;

    #[test]
    fn a_container_whose_name_is_not_known_yet_takes_no_names_mac() {
        let mut state = State::new(Seed([7; 16]));
        state.apply(Change::PutNetwork(network("range")));
        let named = |name: &str, address: &str| Endpoint {
            mac: Some("02:00:00:00:88:01".parse().unwrap()),
            addresses: vec![address.parse().unwrap()],
            ..endpoint(name)
        };
        let files = named("files", "192.168.88.192/24");
        let key = (Scope("lan".into()), files.name.clone());
        let all =
            |state: &mut State, changes: Vec<Change>| changes.into_iter().for_each(|one| state.apply(one));
        let changes = state.remember(&files, 1);
        all(&mut state, changes);
        // The very container, started again together with others: its user's MAC is the same.
        let ip: IpAddr = "192.168.88.194".parse().unwrap();
        let unnamed = named(EndpointName::of_unnamed(ip).as_str(), "192.168.88.194/24");
        let changes = state.remember(&unnamed, 2);
        all(&mut state, changes);
        assert_eq!(state.identities[&key].mac, files.mac);
        // A known one with that MAC is who it was.
        let other = named("other", "192.168.88.195/24");
        let changes = state.remember(&other, 3);
        all(&mut state, changes);
        assert_eq!(state.identities[&key].mac, None);
    }
}
