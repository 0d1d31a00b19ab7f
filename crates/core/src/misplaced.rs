//! Containers that have something for want of their own: what they lack, what is in the way of it, and who is to be connected anew
//! for it.
//!
//! An engine to Docker 28 does not say whose address it asks for. A container whose name was not known when it started, or that
//! found its address held by such a one, has stand-ins until it is connected anew under its name.

use std::net::IpAddr;

use ashore_wire::Mac;
use serde::{Deserialize, Serialize};

use crate::endpoint::{Chosen, Endpoint, Source};
use crate::inventory::{Inventory, ListedContainer};
use crate::name::EndpointName;
use crate::network::Network;
use crate::state::State;
use crate::step::Family;

/// A container that is to be connected anew, for the addresses and the MAC that its name has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misplaced {
    /// The engine's id of the network.
    pub network: String,
    /// The engine's id of the container.
    pub container: String,
    /// The engine's id of the endpoint that it has now.
    pub endpoint: String,
    /// Its name on the network.
    pub name: EndpointName,
    /// The MAC that its user chose.
    pub mac: Option<Mac>,
}

/// What an endpoint does not have that its container should.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lack {
    /// Addresses of its name's.
    pub addresses: Vec<IpAddr>,
    /// The MAC of its name's.
    pub mac: Option<Mac>,
    /// An address or a MAC that no other name has: it has one that another name remembers.
    pub unshared: bool,
    /// A lease under the MAC that its user chose: its server knows it by this one.
    pub leased_by: Option<Mac>,
}

/// Who has what an endpoint lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle<'a> {
    /// Another endpoint.
    Endpoint(&'a Endpoint),
    /// Another machine on the LAN has this address.
    Lan(IpAddr),
}

/// A container on an engine's list whose endpoint lacks something.
type Lacking<'a> = (&'a ListedContainer, &'a Endpoint, Lack);

impl State {
    /// For whom an endpoint is chosen that has a name. It stands in where what that name has is held by an endpoint that has it for
    /// want of its own, and will be connected anew.
    pub fn chosen_beside(&self, network: &Network, endpoint: &Endpoint) -> Chosen {
        if endpoint.chosen != Chosen::ForName {
            return endpoint.chosen;
        }
        let lack = self.lack_of_own(network, endpoint);
        let addresses = lack.addresses.iter().filter_map(|ip| self.holder(*ip));
        let mut holders = addresses.chain(lack.mac.and_then(|mac| self.mac_holder(mac)));
        if holders.any(|holder| holder.chosen != Chosen::ForName) { Chosen::StandIn } else { Chosen::ForName }
    }

    /// What an engine's endpoint lacks; none if it is as it should be, or nobody knows yet how that is.
    pub fn lack(&self, endpoint: &Endpoint) -> Option<Lack> {
        let network = self.network_of(endpoint).filter(|network| !network.adopted)?;
        endpoint.engine_id()?;
        // Versions before this one left a named endpoint so, and a new daemon takes nobody off the LAN.
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
            // The engine's own IPAM chooses another one at each start.
            let has = endpoint.given_address(family).filter(|_| endpoint.source != Source::Engine)?;
            Some((has, own.and_then(|own| own.address(family)).filter(|ip| network.could_give(*ip))))
        });
        for (has, own) in v4.into_iter().chain(given).filter(|(has, _)| !endpoint.was_given(*has)) {
            lack.addresses.extend(own.filter(|own| *own != has));
            lack.unshared |= own.is_none() && self.is_another_names(network, name, has);
        }
        if let Some(has) = endpoint.mac.filter(|_| !endpoint.by_user.mac) {
            let own = own.and_then(|own| own.mac);
            lack.mac = own.filter(|own| *own != has);
            lack.unshared |= own.is_none() && self.is_another_names_mac(network, name, has);
        }
        lack
    }

    /// What is in the way of all that an endpoint lacks; none if it would get any of it. `is_free` tells of an address whether no
    /// other machine on the LAN has it.
    pub fn obstacles(&self, lack: &Lack, is_free: impl Fn(IpAddr) -> bool) -> Option<Vec<Obstacle<'_>>> {
        if lack.unshared || lack.leased_by.is_some() {
            return None;
        }
        let of_address = |ip: &IpAddr| {
            let on_lan = || (!is_free(*ip)).then_some(Obstacle::Lan(*ip));
            self.holder(*ip).map(Obstacle::Endpoint).or_else(on_lan)
        };
        let of_mac = |mac: Mac| self.mac_holder(mac).map(Obstacle::Endpoint);
        lack.addresses.iter().map(of_address).chain(lack.mac.map(of_mac)).collect()
    }

    /// Containers that are to be connected anew, of those that `may`. Those that have what others of them lack are to be
    /// disconnected together before any of them is connected: they may have changed places.
    pub fn misplaced(
        &self,
        inventory: &Inventory,
        is_free: impl Fn(IpAddr) -> bool,
        may: impl Fn(&Endpoint) -> bool,
    ) -> Vec<Vec<Misplaced>> {
        let lacking = inventory.endpoints().filter_map(|(container, _, id)| {
            let endpoint = self.endpoint_of_engine(id).filter(|endpoint| may(endpoint))?;
            Some((container, endpoint, self.lack(endpoint)?))
        });
        let mut lacking: Vec<Lacking<'_>> = lacking.collect();
        // What an endpoint has that stays cannot be had, and one that would get nothing stays.
        loop {
            let moves = |one: &Obstacle<'_>| matches!(one, Obstacle::Endpoint(holder) if lacking.iter().any(|(_, other, _)| std::ptr::eq(*other, *holder)));
            let gets = |(_, _, lack): &Lacking<'_>| {
                self.obstacles(lack, &is_free).is_none_or(|obstacles| obstacles.iter().any(moves))
            };
            let able: Vec<bool> = lacking.iter().map(gets).collect();
            if able.iter().all(|able| *able) {
                break;
            }
            let mut able = able.into_iter();
            lacking.retain(|_| able.next() == Some(true));
        }
        let misplaced = |(container, endpoint, _): &Lacking<'_>| {
            Some(Misplaced {
                network: self.network_of(endpoint)?.engine.as_ref()?.id.clone(),
                container: container.id.clone(),
                endpoint: endpoint.engine_id()?.to_owned(),
                name: endpoint.name.clone(),
                mac: endpoint.mac.filter(|_| endpoint.by_user.mac),
            })
        };
        let groups = groups(&lacking).into_iter();
        groups.map(|group| group.into_iter().filter_map(misplaced).collect()).collect()
    }
}

/// Those of whom one has what another lacks, directly or by others between.
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
    /// Whether an address of a name's can be had on this network, which may have been made anew since.
    fn could_give(&self, ip: IpAddr) -> bool {
        self.subnet_of(ip).is_some_and(|subnet| subnet.never(ip).is_none())
    }
}

#[cfg(test)]
mod tests;
