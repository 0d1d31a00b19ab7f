//! What becomes of a state when its machine changes: it is moved, copied, or its hardware is replaced.

use std::net::IpAddr;

use crate::model::identity::{Identity, Scope, Seed};
use crate::model::indexed::Indexed;
use crate::model::machine::Machine;
use crate::model::state::State;
use crate::net::name::EndpointName;
use crate::net::text::list;

/// Who has a MAC that does not follow from the seed: a name on a network.
pub type Named = (Scope, EndpointName);

impl State {
    /// In what a machine differs from the one that has the state, in words. `None` if it may be the same.
    pub fn is_of_another(&self, machine: &Machine) -> Option<String> {
        let differences = self.machine?.differences(&self.seed.fingerprint(machine));
        (!differences.is_empty()).then(|| list(differences.into_iter()))
    }

    /// This state as one of a machine to which it was moved. The containers of another machine are not here, so their
    /// endpoints go; what their names have stays.
    #[must_use]
    pub fn arrived_on(mut self, machine: &Machine) -> State {
        if self.is_of_another(machine).is_some() {
            self.endpoints = Indexed::new();
            self.returning.clear();
        }
        self.machine = Some(self.seed.fingerprint(machine));
        self
    }

    /// This state with another seed, as it has to be on a machine that is a copy of another. No endpoint may be there:
    /// it has the MAC that it has. Each name gets a new MAC and new addresses when it comes next, except for those that
    /// its user chose. Also returns the names whose MACs do not follow from the old seed, and which keep them.
    #[must_use]
    pub fn rekeyed(&self, seed: Seed, machine: &Machine) -> (State, Vec<Named>) {
        let mut state = State { seed, machine: Some(seed.fingerprint(machine)), ..self.clone() };
        let mut kept = Vec::new();
        state.identities = Indexed::new();
        for (named, identity) in self.identities.iter() {
            let (scope, name) = named;
            let left = self.chosen_part(scope, name, identity);
            if left.mac.is_some() {
                kept.push(named.clone());
            }
            if !left.is_bare(&seed, scope, name) {
                state.identities.insert(named.clone(), left);
            }
        }
        (state, kept)
    }

    /// What of an identity its user has chosen. Leases are the other machine's: a DHCP server knows them by identifiers
    /// that follow from the seed.
    fn chosen_part(&self, scope: &Scope, name: &EndpointName, identity: &Identity) -> Identity {
        let is_asked = |ip: &&IpAddr| identity.asked.contains(ip);
        // A container whose name was not known had the MAC of its address.
        let placeholders: Vec<EndpointName> =
            identity.all_addresses().map(EndpointName::of_unnamed).collect();
        let is_derived = |mac| {
            std::iter::once(name)
                .chain(&placeholders)
                .any(|name| (0..=u8::MAX).any(|attempt| self.seed.mac(scope, name, attempt) == mac))
        };
        Identity {
            mac: identity.mac.filter(|mac| !is_derived(*mac)),
            addresses: identity.addresses.iter().filter(is_asked).copied().collect(),
            asked: identity.asked.clone(),
            client_id: identity.client_id.clone(),
            last_used: identity.last_used,
            used: identity.used,
            bearer: identity.bearer,
            ..Identity::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lease::Addressing;
    use crate::rules::remember::tests::Words;

    fn machine(system: &str) -> Machine {
        Machine { system: Some(system.to_owned()), hardware: None }
    }

    #[test]
    fn a_state_that_is_moved_leaves_the_containers_behind_and_keeps_the_names() {
        let words = Words::new(Addressing::default(), &["web .200 m1"]).with(&["web for-name range .200 m1"]);
        let (here, elsewhere) = (machine("a"), machine("b"));
        let state = words.state.arrived_on(&here);
        assert_eq!((state.endpoints.len(), state.is_of_another(&here)), (1, None));
        assert_eq!(
            state.is_of_another(&elsewhere).as_deref(),
            Some("the id of the system (/etc/machine-id)")
        );
        // Again on the same machine, as after its state was lost.
        assert_eq!(state.clone().arrived_on(&here), state);
        let moved = state.clone().arrived_on(&elsewhere);
        assert_eq!((moved.endpoints.len(), &moved.identities), (0, &state.identities));
        assert_eq!((moved.is_of_another(&elsewhere), moved.seed), (None, state.seed));
    }

    #[test]
    fn a_copy_gives_every_name_another_mac_but_those_that_a_user_chose() {
        let words = Words::new(Addressing::default(), &["own .200 m1", "web .201", "db .202 s2001:db8::1"]);
        let mut state = words.state.arrived_on(&machine("a"));
        let scope = State::scope(words_network(&state));
        let (seed, new) = (state.seed, Seed([9; 16]));
        let set = |state: &mut State, name: &str, change: &dyn Fn(&mut Identity)| {
            let key = (scope.clone(), name.parse().unwrap());
            let mut identity = state.identities[&key].clone();
            change(&mut identity);
            state.identities.insert(key, identity);
        };
        let derived = |name: &str, attempt| Some(seed.mac(&scope, &name.parse().unwrap(), attempt));
        set(&mut state, "own", &|own| own.asked = own.addresses.clone());
        set(&mut state, "web", &|web| web.mac = derived("web", 1));
        set(&mut state, "db", &|db| db.mac = derived("at-192.168.88.202", 0));
        let (copy, kept) = state.rekeyed(new, &machine("b"));
        assert_eq!(kept.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["own"]);
        let left: Vec<_> = copy.identities.iter().map(|((_, name), one)| (name.as_str(), one)).collect();
        // What has nothing of its own is as if it had never been there.
        let [("own", own)] = left[..] else { panic!("{left:?}") };
        assert_eq!(
            (own.mac, own.addresses.len()),
            (state.identities[&(scope, "own".parse().unwrap())].mac, 1)
        );
        assert_eq!((copy.seed, copy.networks.len()), (new, state.networks.len()));
        assert_eq!(
            (copy.is_of_another(&machine("b")), copy.is_of_another(&machine("a")).is_some()),
            (None, true)
        );
    }

    fn words_network(state: &State) -> &crate::model::network::Network {
        state.networks.values().next().unwrap()
    }
}
