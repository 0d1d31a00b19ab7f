//! Stand-ins: what their containers lack, what is in the way, and which containers are to be reconnected.
//!
//! Docker up to 28 does not say for which container it requests an address. A container whose name was not
//! known when it started has a stand-in until it is reconnected under its name. So has a container whose own
//! address was held by a stand-in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ashore_wire::Mac;
use serde::{Deserialize, Serialize};

use crate::model::endpoint::{Chosen, Endpoint, Source};
use crate::model::identity::Identity;
use crate::model::inventory::{Inventory, ListedContainer};
use crate::model::network::Network;
use crate::model::state::State;
use crate::net::family::Family;
use crate::net::name::{EndpointName, IfName};

/// A container that is to be reconnected, to get the addresses and the MAC of its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongIdentity {
    /// The engine's id of the network.
    pub network: String,
    /// The engine's id of the container.
    pub container: String,
    /// The engine's id of the endpoint that it has now.
    pub endpoint: String,
    /// Its name on the network.
    pub name: EndpointName,
    /// The MAC that the user chose.
    pub mac: Option<Mac>,
}

/// What an endpoint should have but does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lack {
    /// Addresses that its name remembers.
    pub addresses: Vec<IpAddr>,
    /// The MAC that its name remembers.
    pub mac: Option<Mac>,
    /// Whether it occupies an address or a MAC that another name remembers, while its own name remembers
    /// none. It should get its own then.
    pub occupies: bool,
    /// The MAC under which the DHCP server knows it, if that is not the endpoint's MAC.
    pub leased_by: Option<Mac>,
}

/// What keeps an endpoint from getting an address or a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle<'a> {
    /// This endpoint has it.
    Endpoint(&'a Endpoint),
    /// Another machine on the LAN has the address.
    Lan(IpAddr),
}

/// A listed container, its endpoint, and what the endpoint lacks.
type Lacking<'a> = (&'a ListedContainer, &'a Endpoint, Lack);

impl State {
    /// Whether a named endpoint is a stand-in, because a stand-in or an unnamed endpoint holds what its name
    /// remembers. Once that endpoint is reconnected, this one can be reconnected too. It is also a stand-in
    /// while another request probes an address of the name: such addresses are in `held`.
    pub fn chosen_beside(&self, network: &Network, endpoint: &Endpoint, held: &BTreeSet<IpAddr>) -> Chosen {
        if endpoint.chosen != Chosen::ForName {
            return endpoint.chosen;
        }
        let lack = self.lack_of_own(network, endpoint);
        if lack.addresses.iter().any(|ip| held.contains(ip)) {
            return Chosen::StandIn;
        }
        let addresses = lack.addresses.iter().filter_map(|ip| self.holder(*ip));
        let mut holders = addresses.chain(lack.mac.and_then(|mac| self.mac_holder(mac)));
        if holders.any(|holder| holder.chosen != Chosen::ForName) { Chosen::StandIn } else { Chosen::ForName }
    }

    /// What an engine's endpoint lacks. `None` if it lacks nothing, or if its name is not known yet.
    pub fn lack(&self, endpoint: &Endpoint) -> Option<Lack> {
        let network = self.network_of(endpoint).filter(|network| !network.adopted)?;
        endpoint.engine_id()?;
        // Older versions did not record `by_user`. Their containers stay as they are when the daemon is
        // upgraded.
        let told = endpoint.by_user.mac || endpoint.chosen != Chosen::ForName;
        let asked_with = endpoint.lease.as_ref().map(|record| record.mac);
        let leased_by = asked_with.filter(|mac| told && endpoint.mac.is_some_and(|own| own != *mac));
        let lack = match endpoint.chosen {
            Chosen::ForName => Lack::default(),
            Chosen::StandIn => self.lack_of_own(network, endpoint),
            Chosen::Unnamed => return None,
        };
        Some(Lack { leased_by, ..lack }).filter(|lack| !lack.is_nothing())
    }

    fn lack_of_own(&self, network: &Network, endpoint: &Endpoint) -> Lack {
        let name = &endpoint.name;
        let own = self.identity_of(network, name);
        let mut lack = Lack::default();
        let leased = endpoint.leased_address().map(IpAddr::V4);
        let v4 = leased.map(|has| (has, own.and_then(|own| own.leased).map(IpAddr::V4)));
        let given = [Family::Ipv4, Family::Ipv6].into_iter().filter_map(|family| {
            // The engine's own IPAM may choose another address at each start.
            let has = endpoint.given_address(family).filter(|_| endpoint.source != Source::Engine)?;
            Some((has, own.and_then(|own| own.address(family).filter(|ip| network.could_give(own, *ip)))))
        });
        for (has, own) in v4.into_iter().chain(given).filter(|(has, _)| !endpoint.was_given(*has)) {
            lack.addresses.extend(own.filter(|own| *own != has));
            lack.occupies |= own.is_none() && self.is_another_names(network, name, has);
        }
        if let Some(has) = endpoint.mac.filter(|_| !endpoint.by_user.mac) {
            let own = own.and_then(|own| own.mac);
            lack.mac = own.filter(|own| *own != has);
            lack.occupies |= own.is_none() && self.is_another_names_mac(network, name, has);
        }
        lack
    }

    /// What is in the way, if an endpoint can get nothing of what it lacks. `None` if it can get something.
    /// `is_free` tells whether no other machine on the LAN of a parent uses an address.
    pub fn obstacles(
        &self,
        endpoint: &Endpoint,
        lack: &Lack,
        is_free: impl Fn(&IfName, IpAddr) -> bool,
    ) -> Option<Vec<Obstacle<'_>>> {
        if lack.occupies || lack.leased_by.is_some() {
            return None;
        }
        let parent = &self.network_of(endpoint)?.parent;
        let of_address = |ip: &IpAddr| {
            let on_lan = || (!is_free(parent, *ip)).then_some(Obstacle::Lan(*ip));
            self.holder(*ip).map(Obstacle::Endpoint).or_else(on_lan)
        };
        let of_mac = |mac: Mac| self.mac_holder(mac).map(Obstacle::Endpoint);
        lack.addresses.iter().map(of_address).chain(lack.mac.map(of_mac)).collect()
    }

    /// The containers to reconnect, in groups. In a group one container has what another one lacks, so all of
    /// a group are disconnected before the first is connected again. Endpoints for which `may` returns false
    /// stay as they are.
    pub fn wrong_identities(
        &self,
        inventory: &Inventory,
        is_free: impl Fn(&IfName, IpAddr) -> bool,
        may: impl Fn(&Endpoint) -> bool,
    ) -> Vec<Vec<WrongIdentity>> {
        let lacking = inventory.endpoints().filter_map(|(container, _, id)| {
            let endpoint = self.endpoint_of_engine(id).filter(|endpoint| may(endpoint))?;
            Some((container, endpoint, self.lack(endpoint)?))
        });
        let mut lacking: Vec<Lacking<'_>> = lacking.collect();
        // An endpoint that would get nothing stays, so no other endpoint can get what it has.
        loop {
            let moves = |one: &Obstacle<'_>| matches!(one, Obstacle::Endpoint(holder) if lacking.iter().any(|(_, other, _)| std::ptr::eq(*other, *holder)));
            let gets = |(_, endpoint, lack): &Lacking<'_>| {
                self.obstacles(endpoint, lack, &is_free).is_none_or(|obstacles| obstacles.iter().any(moves))
            };
            let able: Vec<bool> = lacking.iter().map(gets).collect();
            if able.iter().all(|able| *able) {
                break;
            }
            let mut able = able.into_iter();
            lacking.retain(|_| able.next() == Some(true));
        }
        let wrong_identities = |(container, endpoint, _): &Lacking<'_>| {
            Some(WrongIdentity {
                network: self.network_of(endpoint)?.engine.as_ref()?.id.clone(),
                container: container.id.clone(),
                endpoint: endpoint.engine_id()?.to_owned(),
                name: endpoint.name.clone(),
                mac: endpoint.mac.filter(|_| endpoint.by_user.mac),
            })
        };
        let groups = groups(&lacking).into_iter();
        groups.map(|group| group.into_iter().filter_map(wrong_identities).collect()).collect()
    }
}

/// Groups in which each container has something that another one lacks, or lacks something that another one
/// has.
fn groups<'a, 'b>(lacking: &'b [Lacking<'a>]) -> Vec<Vec<&'b Lacking<'a>>> {
    let mut groups: Vec<Vec<&Lacking<'_>>> = Vec::new();
    for one in lacking {
        let touches = |other: &&Lacking<'_>| one.2.is_had_by(other.1) || other.2.is_had_by(one.1);
        let (with, without): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(touches));
        groups = without;
        groups.push(with.into_iter().flatten().chain([one]).collect());
    }
    groups
}

impl Lack {
    fn is_nothing(&self) -> bool {
        *self == Lack::default()
    }

    fn is_had_by(&self, endpoint: &Endpoint) -> bool {
        self.addresses.iter().any(|ip| endpoint.holds(*ip)) || self.mac.is_some() && self.mac == endpoint.mac
    }
}

impl Network {
    /// Whether the network can assign an address that a name remembers. The network may have been made again
    /// with another subnet or range since.
    fn could_give(&self, own: &Identity, ip: IpAddr) -> bool {
        self.subnet_of(ip).is_some_and(|subnet| subnet.never(ip).is_none() && own.may_have_of(subnet, ip))
    }
}

#[cfg(test)]
mod tests;
