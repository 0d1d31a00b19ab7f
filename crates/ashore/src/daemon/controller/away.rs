//! The names that are remembered and not attached now. They are kept from one publication to the next, so that
//! only names of which something has changed are looked at.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ashore_core::model::identity::Identity;
use ashore_core::model::network::Network;
use ashore_core::model::state::State;
use ashore_core::net::name::{EndpointName, NetworkName};

/// The names that are away from each network.
#[derive(Debug, Default)]
pub(super) struct Away {
    /// The state that they are of.
    of: Option<Arc<State>>,
    /// By network, with when each was last used. The name that left last comes first.
    names: BTreeMap<NetworkName, BTreeSet<(LastUse, EndpointName)>>,
}

/// When a name was last used. The latest comes first.
type LastUse = Reverse<(u64, u64)>;

impl Away {
    /// Takes over what has changed.
    pub(super) fn follow(&mut self, state: &Arc<State>) {
        let before = self.of.replace(state.clone());
        let Some(before) = before.filter(|before| before.networks == state.networks) else {
            let away = |network: &Network| {
                let names = state.left_last(network).map(|name| (used(state, network, name), name.clone()));
                (network.name.clone(), names.collect())
            };
            self.names = state.networks.values().map(away).collect();
            return;
        };
        let endpoints = state.endpoints.differs_from(&before.endpoints).into_iter();
        let identities = state.identities.differs_from(&before.identities).into_iter();
        let changed = endpoints.map(|((_, name), ..)| name).chain(identities.map(|((_, name), ..)| name));
        let changed: BTreeSet<&EndpointName> = changed.collect();
        for network in state.networks.values() {
            let names = self.names.entry(network.name.clone()).or_default();
            for name in &changed {
                names.remove(&(used(&before, network, name), (*name).clone()));
                let key = (network.name.clone(), (*name).clone());
                let is_away =
                    state.identity_of(network, name).is_some() && !state.endpoints.contains_key(&key);
                if is_away {
                    names.insert((used(state, network, name), key.1));
                }
            }
        }
    }

    /// The names that are away from a network. The name that left last comes first.
    pub(super) fn from<'a>(&'a self, network: &Network) -> impl Iterator<Item = &'a EndpointName> + use<'a> {
        self.names.get(&network.name).into_iter().flatten().map(|(_, name)| name)
    }
}

/// When a name was last used.
fn used(state: &State, network: &Network, name: &EndpointName) -> LastUse {
    Reverse(state.identity_of(network, name).map(Identity::last_use).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use ashore_core::model::endpoint::{ByUser, Chosen, Endpoint, Placement, Source, Stage};
    use ashore_core::model::identity::Seed;
    use ashore_core::model::lease::LeaseWishes;
    use ashore_core::model::own_routes::OwnRoutes;
    use ashore_core::model::ownership::Ownership;
    use ashore_core::model::state::Change;
    use ashore_core::net::link::Netns;
    use ashore_core::rules::create::NetworkSpec;

    use super::*;

    fn endpoint(name: &str, last: u8) -> Endpoint {
        let netns = Netns::new(format!("/run/netns/{name}").into(), 4, last.into());
        Endpoint {
            network: "lan".parse().unwrap(),
            name: name.parse().unwrap(),
            mac: None,
            addresses: vec![format!("192.168.88.{last}/24").parse().unwrap()],
            stand_ins: Vec::new(),
            source: Source::Range,
            chosen: Chosen::ForName,
            by_user: ByUser::default(),
            lease: None,
            lease6: None,
            wishes: LeaseWishes::default(),
            learned: None,
            lost: Vec::new(),
            default_route: true,
            own_routes: OwnRoutes::default(),
            ownership: Ownership::Cli,
            placement: Placement::Netns { netns, ifname: "eth0".parse().unwrap() },
            stage: Stage::Attached,
            since: 1,
            tagged_as: None,
            seen: None,
            container: None,
        }
    }

    #[test]
    fn what_is_kept_is_what_a_look_at_all_would_find() {
        let mut state = State::new(Seed([3; 16]));
        let spec = r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"]}"#;
        let network = serde_json::from_str::<NetworkSpec>(spec).unwrap().network().unwrap();
        state.apply(Change::PutNetwork(network.clone()));
        let (mut away, mut now) = (Away::default(), 1);
        for (comes, name, last) in [
            (true, "web", 10),
            (true, "db", 11),
            (false, "web", 10),
            (true, "files", 12),
            (false, "files", 12),
            (false, "db", 11),
            (true, "web", 10),
            // It takes the address that another name had.
            (true, "mail", 12),
            (false, "mail", 12),
        ] {
            now += 1;
            let endpoint = endpoint(name, last);
            let changes = if comes { state.attached(&endpoint, now) } else { state.detached(&endpoint, now) };
            for change in changes {
                state.apply(change);
            }
            away.follow(&Arc::new(state.clone()));
            let all: Vec<&EndpointName> = state.left_last(&network).collect();
            assert_eq!(away.from(&network).collect::<Vec<_>>(), all, "{now}");
        }
        assert_eq!(away.from(&network).count(), 2);
    }
}
