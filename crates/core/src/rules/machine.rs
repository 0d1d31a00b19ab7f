//! What becomes of a state when its machine changes: it is moved, copied, or its hardware is replaced.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use ashore_wire::Mac;

use crate::model::identity::{Identity, Scope, Seed};
use crate::model::indexed::Indexed;
use crate::model::machine::Machine;
use crate::model::state::State;
use crate::net::name::EndpointName;
use crate::net::text::list;

/// A name on a network.
pub type Named = (Scope, EndpointName);

/// A name, and in words what it keeps under another seed. The machine that this one is a copy of has the same.
pub type Kept = (Named, String);

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
    /// its user chose. Also returns what is kept.
    #[must_use]
    pub fn rekeyed(&self, seed: Seed, machine: &Machine) -> (State, Vec<Kept>) {
        let mut state = State { seed, machine: Some(seed.fingerprint(machine)), ..self.clone() };
        let mut kept = Vec::new();
        let derived = self.derived_macs();
        state.identities = Indexed::new();
        for (named, identity) in self.identities.iter() {
            let (scope, name) = named;
            let left = identity.chosen_part(|mac| !derived.contains(mac));
            kept.extend(left.in_words().map(|words| (named.clone(), words)));
            if !left.is_bare(&seed, scope, name) {
                state.identities.insert(named.clone(), left);
            }
        }
        (state, kept)
    }

    /// The MACs that follow from the seed for any name that is known. A container that is renamed takes its MAC along,
    /// and one whose name was not known had the MAC of its address.
    fn derived_macs(&self) -> HashSet<Mac> {
        let is_untold = |one: &Identity| one.mac.is_some() && one.mac_by_user.is_none();
        if !self.identities.values().any(is_untold) {
            return HashSet::new();
        }
        let mut names: BTreeSet<(&Scope, EndpointName)> = BTreeSet::new();
        for ((scope, name), identity) in self.identities.iter() {
            names.insert((scope, name.clone()));
            names.extend(identity.all_addresses().map(|ip| (scope, EndpointName::of_unnamed(ip))));
        }
        let of = |(scope, name): (&Scope, EndpointName)| {
            (0..=u8::MAX).map(|attempt| self.seed.mac(scope, &name, attempt)).collect::<Vec<_>>()
        };
        names.into_iter().flat_map(of).collect()
    }
}

impl Identity {
    /// What there is of it, in words. `None` if there is nothing that a user may choose.
    fn in_words(&self) -> Option<String> {
        let mac = self.mac.map(|mac| match self.mac_by_user {
            Some(_) => format!("MAC {mac}"),
            None => format!("MAC {mac} (an earlier version did not record who chose it)"),
        });
        let addresses = self.addresses.iter().map(|ip| format!("address {ip}"));
        let client_id = self.client_id.iter().map(|id| format!("client id {id}"));
        let all: Vec<String> = mac.into_iter().chain(addresses).chain(client_id).collect();
        (!all.is_empty()).then(|| list(all.into_iter()))
    }

    /// What its user has chosen of it. `may_be` says whether a MAC of which that is not recorded may be a user's. Leases
    /// are the other machine's: a DHCP server knows them by identifiers that follow from the seed.
    fn chosen_part(&self, may_be: impl Fn(&Mac) -> bool) -> Identity {
        let mac = self.mac.filter(|mac| self.mac_by_user.unwrap_or_else(|| may_be(mac)));
        let is_asked = |ip: &&IpAddr| self.asked.contains(ip);
        Identity {
            mac,
            mac_by_user: self.mac_by_user.filter(|_| mac.is_some()),
            addresses: self.addresses.iter().filter(is_asked).copied().collect(),
            asked: self.asked.clone(),
            client_id: self.client_id.clone(),
            last_used: self.last_used,
            used: self.used,
            bearer: self.bearer,
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
        let words = Words::new(
            Addressing::default(),
            &["own .200 m1", "web .201", "db .202 s2001:db8::1", "www .203", "new .204"],
        );
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
        set(&mut state, "own", &|own| {
            own.asked = own.addresses.clone();
            own.client_id = Some(vec![1, 0x77].try_into().unwrap());
        });
        set(&mut state, "web", &|web| web.mac = derived("web", 1));
        set(&mut state, "db", &|db| db.mac = derived("at-192.168.88.202", 0));
        // An earlier version did not record who chose a MAC. `www` was `db` before somebody renamed it.
        for name in ["own", "web", "db", "www"] {
            set(&mut state, name, &|one| one.mac_by_user = None);
        }
        set(&mut state, "www", &|www| www.mac = derived("db", 0));
        set(&mut state, "new", &|new| (new.mac, new.mac_by_user) = (derived("gone", 0), Some(false)));
        let (copy, kept) = state.rekeyed(new, &machine("b"));
        let [((_, name), what)] = &kept[..] else { panic!("{kept:?}") };
        let untold = " (an earlier version did not record who chose it)";
        let mac = state.identities[&(scope.clone(), name.clone())].mac.unwrap();
        let words = format!("MAC {mac}{untold}, address 192.168.88.200 and client id 01:77");
        assert_eq!((name.as_str(), what), ("own", &words));
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

    #[test]
    fn who_chose_a_mac_is_remembered_and_what_users_chose_is_named() {
        let words = Words::new(Addressing::default(), &["web .200 m1"]);
        let there = |mac: u8, by_user| {
            let mut endpoint = crate::rules::learn::tests::endpoint("web");
            endpoint.mac = Some(Mac([2, 0, 0, 0, 0, mac]));
            endpoint.by_user.mac = by_user;
            endpoint
        };
        let remembered = |state: &State| {
            let one =
                state.identities.iter().find(|((_, name), _)| name.as_str() == "web").unwrap().1.clone();
            (one.mac, one.mac_by_user)
        };
        let mut state = words.state;
        // A new MAC of Ashore's own, one that the user chose, the same again without a word, and another of Ashore's.
        for (mac, by_user, is) in
            [(0x70, false, false), (0x77, true, true), (0x77, false, true), (0x78, false, false)]
        {
            let endpoint = there(mac, by_user);
            state = state.with(&state.remember(&endpoint, 5));
            assert_eq!(remembered(&state), (endpoint.mac, Some(is)));
        }
        state = state.with(&state.remember(&there(0x77, true), 6));
        let (copy, kept) = state.rekeyed(Seed([9; 16]), &machine("b"));
        assert_eq!(remembered(&copy), (Some(Mac([2, 0, 0, 0, 0, 0x77])), Some(true)));
        assert_eq!(kept[0].1, "MAC 02:00:00:00:00:77");
    }

    fn words_network(state: &State) -> &crate::model::network::Network {
        state.networks.values().next().unwrap()
    }
}
