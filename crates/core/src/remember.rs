//! What a name keeps of its endpoint: its addresses, its MAC, and the leases that it asks for first when it comes back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::endpoint::{Endpoint, Source};
use crate::identity::Identity;
use crate::inventory::keeps_its_own;
use crate::lease::{LeaseRecord, LeaseRecord6, Release};
use crate::network::Network;
use crate::state::{Change, State};
use crate::step::Family;

impl State {
    /// An identity keeps the last address of each family that it had.
    pub(crate) fn remember(&self, endpoint: &Endpoint, now: u64) -> Vec<Change> {
        let Some(network) = self.network_of(endpoint) else { return Vec::new() };
        // The engine's own driver chooses its addresses.
        if network.adopted {
            return Vec::new();
        }
        let scope = State::scope(network);
        let before = self.identities.get(&(scope.clone(), endpoint.name.clone()));
        if let Some(before) = before.filter(|before| keeps_its_own(endpoint, before)) {
            let identity = Identity { last_used: now, ..before.clone() };
            return vec![Change::PutIdentity(scope, endpoint.name.clone(), identity)];
        }
        let mut addresses: BTreeSet<IpAddr> = endpoint.given().map(IpNet::addr).collect();
        // An engine gives back one address after the other.
        let kept = before.into_iter().flat_map(|before| &before.addresses).filter(|ip| {
            !endpoint.given().any(|net| net.addr().is_ipv4() == ip.is_ipv4()) && self.holder(**ip).is_none()
        });
        addresses.extend(kept);
        let mut changes = Vec::new();
        for ((other_scope, name), identity) in &self.identities {
            let own = *other_scope == scope && *name == endpoint.name;
            if own || !identity.addresses.iter().any(|ip| addresses.contains(ip)) {
                continue;
            }
            let left: Vec<IpAddr> =
                identity.addresses.iter().filter(|ip| !addresses.contains(ip)).copied().collect();
            changes.push(if left.is_empty() {
                Change::DelIdentity(other_scope.clone(), name.clone())
            } else {
                Change::PutIdentity(
                    other_scope.clone(),
                    name.clone(),
                    Identity { addresses: left, ..identity.clone() },
                )
            });
        }
        let kept =
            before.and_then(|before| before.mac).filter(|_| self.has_placeholders_mac(network, endpoint));
        let identity = Identity {
            mac: kept.or(endpoint.mac),
            addresses: addresses.into_iter().collect(),
            made: State::made(endpoint, before.map_or(&[][..], |before| &before.made)),
            lease: self.lease_to_remember(endpoint, before),
            lease6: self.lease6_to_remember(endpoint, before),
            last_used: now,
        };
        changes.push(Change::PutIdentity(scope, endpoint.name.clone(), identity));
        changes
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
        // What is given back when the container stops is its endpoint's alone.
        record.filter(|record| !endpoint.is_unnamed() && record.release != Release::OnStop)
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
        let record = endpoint.lease6.clone().or(before).filter(|_| asks);
        record.filter(|record| !endpoint.is_unnamed() && record.release != Release::OnStop)
    }
}
