//! The checks of a new network against the existing ones.

use super::error::NetworkError;
use crate::model::endpoint::Endpoint;
use crate::model::network::{HOST_AUX, Network, Subnet};
use crate::model::ownership::EngineKind;
use crate::model::state::State;
use crate::net::remedy::Remedy;
use crate::net::text::Word;

impl State {
    /// Checks a new network against the existing ones.
    pub fn check_beside_others(&self, new: &Network) -> Result<(), NetworkError> {
        if self.networks.contains_key(&new.name) {
            return Err(NetworkError::Exists(new.name.clone()));
        }
        for other in self.networks.values() {
            if other.parent == new.parent && !new.kind.compatible_with(other.kind) {
                return Err(NetworkError::ParentTaken {
                    parent: new.parent.clone(),
                    kind: new.kind,
                    there: other.kind,
                    network: other.label().to_owned(),
                    engine: other.ownership().engine(),
                });
            }
            for (mine, theirs) in pairs(&new.subnets, &other.subnets) {
                check_ranges(mine, theirs, other)?;
                check_host_address(new, mine, theirs, other)?;
            }
        }
        self.check_given_addresses_are_free(new)
    }

    fn check_given_addresses_are_free(&self, new: &Network) -> Result<(), NetworkError> {
        for subnet in &new.subnets {
            let given = subnet.aux.iter().map(|(name, ip)| (format!("--aux-address {name}"), *ip));
            for (what, ip) in given.chain(subnet.gateway.map(|ip| ("the gateway".to_owned(), ip))) {
                if let Some(holder) = self.holder(ip) {
                    let held = self.held(ip, holder).to_string();
                    return Err(NetworkError::AddressHeld { what, held, remedy: self.freeing(holder) });
                }
            }
        }
        Ok(())
    }

    /// How the address of an endpoint becomes free.
    fn freeing(&self, holder: &Endpoint) -> Remedy {
        if holder.is_unnamed() {
            return "choose another, or try again in a second, when it is known which container has it"
                .into();
        }
        let network = self.network_of(holder).map_or(holder.network.as_str(), Network::label);
        let network = Word::of(network);
        let off = holder.ownership.engine().filter(|_| holder.name.user().is_none());
        let off = off.map_or("ashore detach", EngineKind::takes_off);
        Remedy::from("choose another, or free it: ").and_run(format!("{off} {network} {}", holder.name))
    }
}

fn pairs<'a>(mine: &'a [Subnet], theirs: &'a [Subnet]) -> impl Iterator<Item = (&'a Subnet, &'a Subnet)> {
    mine.iter().flat_map(move |a| theirs.iter().map(move |b| (a, b)))
}

/// The host can have an address on one shim only. The networks on a parent share that parent's shim.
fn check_host_address(
    new: &Network,
    mine: &Subnet,
    theirs: &Subnet,
    other: &Network,
) -> Result<(), NetworkError> {
    match (mine.aux.get(HOST_AUX), theirs.aux.get(HOST_AUX)) {
        (Some(ip), Some(taken)) if ip == taken && new.parent != other.parent => {
            Err(NetworkError::AddressHeld {
                what: "--aux-address host".into(),
                held: format!("{ip} is held by this host on network `{}`", other.label()),
                remedy: "choose another".into(),
            })
        }
        _ => Ok(()),
    }
}

/// Ranges may overlap, since no address is assigned twice. With a `host` address, the host has one route for
/// the whole range, so no other network's endpoints may be in that range.
fn check_ranges(mine: &Subnet, theirs: &Subnet, other: &Network) -> Result<(), NetworkError> {
    let numbered = [mine, theirs].iter().any(|subnet| subnet.aux.contains_key(HOST_AUX));
    match (mine.range, theirs.range) {
        (Some(range), Some(taken)) if numbered && range.overlaps(&taken) => {
            Err(NetworkError::RangesOverlap { range, other: taken, network: other.label().to_owned() })
        }
        _ => Ok(()),
    }
}
