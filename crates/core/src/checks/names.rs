//! Whether a name has two addresses on one LAN.
//!
//! A network has a name once. Two containers have one name where two engines have a network of that name each, where two
//! engines share a network, or on two networks whose addresses are leased: what is remembered of the name, or what the
//! LAN's DNS has of it, is of one of them.

use std::collections::BTreeMap;

use crate::api::about::About;
use crate::api::trouble::{Code, Trouble};
use crate::model::endpoint::{Endpoint, Stage};
use crate::model::inventory::Inventory;
use crate::model::network::Network;
use crate::model::ownership::Ownership;
use crate::model::state::State;
use crate::net::name::{EndpointName, IfName};
use crate::net::remedy::Remedy;
use crate::net::text::list;

/// Who has a name on a LAN.
#[derive(Debug, Clone, Copy)]
struct Bearer<'a> {
    network: &'a Network,
    endpoint: &'a Endpoint,
}

/// The names that two containers have on one LAN. `listed` is what engines list: an endpoint whose name another one has is
/// known by its engine alone. `status` shows them too.
pub fn names<'a>(state: &State, listed: impl IntoIterator<Item = &'a Inventory>) -> Vec<Trouble> {
    let listed: BTreeMap<&str, &EndpointName> = listed
        .into_iter()
        .flat_map(|inventory| inventory.endpoints().map(|(container, _, id)| (id, &container.name)))
        .collect();
    let mut bearers: BTreeMap<(&IfName, &EndpointName), Vec<Bearer<'_>>> = BTreeMap::new();
    for network in state.networks.values().filter(|network| !network.adopted) {
        let there =
            state.endpoints_on(&network.name).filter(|one| one.stage == Stage::Attached && !one.leaves());
        for endpoint in there {
            let known = endpoint.engine_id().and_then(|id| listed.get(id).copied());
            let Some(name) = known.or((!endpoint.is_unnamed()).then_some(&endpoint.name)) else { continue };
            bearers.entry((&network.parent, name)).or_default().push(Bearer { network, endpoint });
        }
    }
    let twice = bearers.into_iter().filter_map(|((parent, name), bearers)| {
        let has_like = |at: usize| {
            let mut others = bearers.iter().enumerate().filter(|(other, _)| *other != at);
            others.any(|(_, other)| bearers[at].is_like(other))
        };
        let alike: Vec<Bearer<'_>> =
            (0..bearers.len()).filter(|at| has_like(*at)).map(|at| bearers[at]).collect();
        Some(told(state, parent, name, &alike, *alike.last()?))
    });
    twice.collect()
}

impl Bearer<'_> {
    /// Whether one name stands for both.
    fn is_like(&self, other: &Bearer<'_>) -> bool {
        let [netns, its_netns] = [self.endpoint.netns(), other.endpoint.netns()];
        let [sandbox, its_sandbox] = [self.endpoint.sandbox(), other.endpoint.sandbox()];
        let is_one_machine =
            netns.is_some() && netns == its_netns || sandbox.is_some() && sandbox == its_sandbox;
        !is_one_machine && (self.is_of_one_memory(other) || self.is_leased() && other.is_leased())
    }

    fn is_of_one_memory(&self, other: &Bearer<'_>) -> bool {
        State::scope(self.network) == State::scope(other.network)
    }

    /// Whether the LAN's DHCP server is told the name.
    fn is_leased(&self) -> bool {
        let told = self.endpoint.wishes.hostname.is_none() && self.network.leasing.hostname.is_none();
        self.endpoint.lease.is_some() && told
    }

    /// Its addresses, and whose it is.
    fn shown(&self) -> String {
        let addresses = list(self.endpoint.addresses.iter().map(ipnet::IpNet::addr));
        let owner = match self.endpoint.ownership.engine() {
            Some(engine) => format!("{engine}'s"),
            None => "the command line's".to_owned(),
        };
        format!("{addresses} ({owner}, on network `{}`)", self.network.label())
    }

    fn rename(&self, name: &EndpointName) -> Remedy {
        let remedy = Remedy::from("give one of them another name, as by ");
        match self.endpoint.ownership {
            Ownership::Docker => remedy.and_run(format!("docker rename {name} NEW")),
            Ownership::Podman => {
                remedy.and_run(format!("podman rename {name} NEW")).and(" and a restart of it")
            }
            _ => {
                let detach = format!("ashore detach {} {name}", self.network.name);
                remedy.and_run(detach).and(", and attach it again with ").and_give(&crate::net::option::NAME)
            }
        }
    }
}

fn told(
    state: &State,
    parent: &IfName,
    name: &EndpointName,
    all: &[Bearer<'_>],
    last: Bearer<'_>,
) -> Trouble {
    let why = if all.iter().all(|one| one.is_of_one_memory(&last)) {
        "the container that started first has the address of that name"
    } else {
        "both containers tell the DHCP server this name, and its DNS leads to one of them"
    };
    let message = format!(
        "the name `{name}` has two addresses on the LAN of `{parent}`: {}; {why}",
        list(all.iter().map(Bearer::shown))
    );
    let about = About { endpoint: Some(name.clone()), ..About::endpoint(last.endpoint, state) };
    Trouble::new(Code::NameTwice, about.on(parent), message, Some(last.rename(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::assigned::tests::record;
    use crate::model::endpoint::{Chosen, Placement};
    use crate::model::identity::Seed;
    use crate::model::inventory::{ListedContainer, Membership};
    use crate::model::lease::LeaseRecord;
    use crate::model::network::EngineNetwork;
    use crate::model::ownership::EngineKind;
    use crate::model::state::Change;
    use crate::rules::create::NetworkSpec;
    use crate::rules::learn::tests::endpoint;

    fn network(name: &str, called: &str, parent: &str) -> Network {
        let spec = format!(r#"{{"name":"{name}","parent":"{parent}","subnets":["192.168.88.0/24"]}}"#);
        let made = serde_json::from_str::<NetworkSpec>(&spec).unwrap().network().unwrap();
        let name = Some(called.to_owned());
        let engine = EngineNetwork { kind: EngineKind::Docker, id: "n1".into(), name, of: None };
        Network { engine: (called != made.name.as_str()).then_some(engine), ..made }
    }

    fn on(network: &str, name: &str, address: &str) -> Endpoint {
        let addresses = vec![format!("{address}/24").parse().unwrap()];
        Endpoint { network: network.parse().unwrap(), addresses, ..endpoint(name) }
    }

    fn state(networks: &[Network], endpoints: &[Endpoint]) -> State {
        let mut state = State::new(Seed([3; 16]));
        networks.iter().cloned().for_each(|network| state.apply(Change::PutNetwork(network)));
        endpoints.iter().cloned().for_each(|endpoint| state.apply(Change::PutEndpoint(endpoint)));
        state
    }

    fn two() -> [Network; 2] {
        [network("lan", "lan", "eth0"), network("docker-1", "lan", "eth0")]
    }

    #[test]
    fn one_name_on_two_networks_of_one_name_is_told_with_both_addresses() {
        let both = [on("lan", "web", "192.168.88.32"), on("docker-1", "web", "192.168.88.33")];
        let told = names(&state(&two(), &both), []);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].code, Code::NameTwice);
        for word in ["`web`", "192.168.88.32", "192.168.88.33", "LAN of `eth0`"] {
            assert!(told[0].message.contains(word), "{}", told[0].message);
        }
        assert!(told[0].to_string().ends_with("docker rename web NEW"), "{}", told[0]);
    }

    #[test]
    fn two_of_three_are_told_whichever_comes_first() {
        let iot = || network("iot", "iot", "eth0");
        let ends = [on("lan", "web", "192.168.88.32"), on("docker-1", "web", "192.168.88.33")];
        // `a` comes before both in the order of networks, and has nothing to do with them.
        let (a, z) = (
            Network { name: "a".parse().unwrap(), ..iot() },
            Network { name: "z".parse().unwrap(), ..iot() },
        );
        for third in [a, z] {
            let [one, two] = two();
            let other = on(third.name.as_str(), "web", "192.168.88.34");
            let told = names(&state(&[one, two, third], &[ends[0].clone(), ends[1].clone(), other]), []);
            assert_eq!(told.len(), 1, "{told:?}");
            let message = &told[0].message;
            assert!(
                message.contains("88.32") && message.contains("88.33") && !message.contains("88.34"),
                "{message}"
            );
        }
    }

    #[test]
    fn what_no_name_stands_for_twice_is_left_alone() {
        let web = || on("lan", "web", "192.168.88.32");
        let elsewhere = [network("lan", "lan", "eth0"), network("docker-1", "lan", "eth1")];
        let other = [network("lan", "lan", "eth0"), network("iot", "iot", "eth0")];
        let leaving = Endpoint { stage: Stage::Detaching, ..on("docker-1", "web", "192.168.88.33") };
        for (networks, second) in [
            (two(), on("docker-1", "db", "192.168.88.33")),
            (two(), leaving),
            (elsewhere, on("docker-1", "web", "192.168.88.33")),
            (other, on("iot", "web", "192.168.88.33")),
        ] {
            assert_eq!(names(&state(&networks, &[web(), second.clone()]), []), [], "{second:?}");
        }
    }

    #[test]
    fn a_container_that_could_not_get_its_name_is_known_by_its_engines_list() {
        let placement = Placement::Engine {
            id: Some("e2".into()),
            ifname: "ash1".parse().unwrap(),
            sandbox: None,
            inside: None,
        };
        let unnamed =
            Endpoint { chosen: Chosen::Unnamed, placement, ..on("lan", "at-192-168-88-33", "192.168.88.33") };
        let state = state(&two()[..1], &[on("lan", "web", "192.168.88.32"), unnamed]);
        assert_eq!(names(&state, []), []);
        let membership = Membership {
            network: "n1".into(),
            endpoint: Some("e2".into()),
            addresses: Vec::new(),
            mac: None,
            chosen: Vec::new(),
        };
        let container = ListedContainer {
            id: "c2".into(),
            name: "web".parse().unwrap(),
            formerly: None,
            memberships: vec![membership],
            sandbox: None,
        };
        let listed = Inventory {
            kind: EngineKind::Docker,
            engine: "one".into(),
            networks: Vec::new(),
            containers: vec![container],
        };
        assert_eq!(names(&state, [&listed]).len(), 1);
    }

    #[test]
    fn the_lans_dns_knows_one_of_two_that_lease_under_one_name() {
        let other = [network("lan", "lan", "eth0"), network("iot", "iot", "eth0")];
        let leased = |network, address| {
            let lease: LeaseRecord = record(&format!("{address}/24"));
            Endpoint { lease: Some(Box::new(lease)), ..on(network, "web", address) }
        };
        let [one, two] = [leased("lan", "192.168.88.100"), leased("iot", "192.168.88.101")];
        let told = names(&state(&other, &[one.clone(), two.clone()]), []);
        assert!(told.len() == 1 && told[0].message.contains("DNS"), "{told:?}");
        // One container of an engine on both.
        let inside = |endpoint: &Endpoint, sandbox: &str| {
            let placement = Placement::Engine {
                id: Some(endpoint.network.to_string()),
                ifname: format!("ash-{}", endpoint.network).parse().unwrap(),
                sandbox: Some(sandbox.into()),
                inside: None,
            };
            Endpoint { placement, ..endpoint.clone() }
        };
        let told = |of_two| {
            let both = [inside(&one, "/run/docker/netns/web"), inside(&two, of_two)];
            names(&state(&other, &both), []).len()
        };
        assert_eq!(told("/run/docker/netns/web"), 0);
        assert_eq!(told("/run/docker/netns/other"), 1);
        let mut named = two;
        named.wishes.hostname = Some("page".parse().unwrap());
        assert_eq!(names(&state(&other, &[one, named]), []), []);
    }
}
