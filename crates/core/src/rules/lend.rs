//! Addresses for a link that another program makes: a CNI plugin that asks Ashore for addresses alone.

use ashore_wire::Mac;

use crate::model::endpoint::{ByUser, Chosen, Container, Endpoint, Placement, Source, Stage};
use crate::model::lease::LeaseWishes;
use crate::model::ownership::Ownership;
use crate::model::state::{Change, State};
use crate::net::link::{Netns, engine_link_name};
use crate::rules::addresses_in_use::AddressesInUse;
use crate::rules::attach::{AttachError, AttachSpec};
use crate::rules::leases::LeaseOutcome;

impl State {
    /// Returns the endpoint that holds addresses for a link of another program's, which has this MAC in this namespace.
    pub fn draft_lent(
        &self,
        spec: &AttachSpec,
        (netns, mac): (&Netns, Option<Mac>),
        known: &AddressesInUse<'_>,
        now: u64,
    ) -> Result<Endpoint, AttachError> {
        let network = self.usable_network(&spec.network, known.host)?;
        self.check_name_is_free(network, &spec.name)?;
        let requested = spec.requested(mac, LeaseOutcome::Instead);
        let addresses = self.choose_addresses(network, &requested, known)?;
        let container = spec.caller.as_ref().map(|caller| caller.container.clone()).unwrap_or_default();
        let endpoint = Endpoint {
            network: network.name.clone(),
            name: spec.name.clone(),
            stand_ins: self.stand_ins(network, &requested, &addresses, known),
            addresses,
            mac,
            source: if spec.ips.is_empty() { Source::Range } else { Source::Fixed },
            chosen: Chosen::ForName,
            by_user: ByUser { mac: true, addresses: spec.ips.clone(), ..ByUser::default() },
            lease: None,
            lease6: None,
            wishes: LeaseWishes::default(),
            learned: None,
            lost: Vec::new(),
            default_route: spec.default_route,
            own_routes: spec.own_routes.clone(),
            ownership: spec.caller.as_ref().map_or(Ownership::Cli, |caller| caller.engine.into()),
            placement: Placement::Engine {
                id: Some(format!("{container}/{}", spec.ifname)),
                ifname: engine_link_name(&network.name, &spec.name),
                sandbox: Some(spec.netns.clone()),
                inside: Some(spec.ifname.clone()),
            },
            stage: Stage::Reserved,
            since: now,
            tagged_as: None,
            seen: None,
            container: Some(Box::new(Container { id: container, leaves: false, netns: Some(netns.clone()) })),
        };
        Ok(Endpoint { chosen: self.chosen_beside(network, &endpoint, known.held), ..endpoint })
    }

    /// The changes to the state when an endpoint holds its lent addresses. Its name remembers them, and not the MAC,
    /// which is that program's choice.
    pub fn lent(&self, endpoint: &Endpoint, now: u64) -> Vec<Change> {
        let mut changes = self.remember(&Endpoint { mac: None, ..endpoint.clone() }, now);
        changes.push(Change::PutEndpoint(endpoint.clone()));
        changes
    }

    /// The changes to the state when they are given back.
    pub fn given_back(&self, endpoint: &Endpoint, now: u64) -> Vec<Change> {
        self.detached(&Endpoint { mac: None, ..endpoint.clone() }, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::Seed;
    use crate::rules::learn::tests::{endpoint, network};

    fn apply(state: &mut State, changes: Vec<Change>) {
        for change in changes {
            state.apply(change);
        }
    }

    #[test]
    fn a_name_keeps_its_own_mac_beside_the_one_of_another_programs_link() {
        let mut state = State::new(Seed([1; 16]));
        let lan = network("range");
        state.apply(Change::PutNetwork(lan.clone()));
        let (own, theirs) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let web = Endpoint { mac: Some(own), ..endpoint("web") };
        let ip = web.addresses[0].addr();
        let changes = state.attached(&web, 1);
        apply(&mut state, changes);
        let changes = state.detached(&web, 2);
        apply(&mut state, changes);

        let lent = Endpoint { mac: Some(theirs), stage: Stage::Reserved, ..endpoint("web") };
        let changes = state.lent(&lent, 3);
        apply(&mut state, changes);
        assert_eq!(state.holder(ip).and_then(|holder| holder.mac), Some(theirs), "the LAN is asked with it");
        let changes = state.given_back(&lent, 4);
        apply(&mut state, changes);
        assert!(state.holder(ip).is_none());
        let identity = &state.identities[&(State::scope(&lan), "web".parse().unwrap())];
        assert_eq!((identity.mac, &identity.addresses), (Some(own), &vec![ip]));
    }
}
