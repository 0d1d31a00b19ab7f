//! The names of engines' containers as names of endpoints. Two containers never have the same one.

use std::collections::BTreeSet;
use std::hash::Hasher;
use std::net::{Ipv4Addr, Ipv6Addr};

use siphasher::sip::SipHasher24;

use crate::model::inventory::Inventory;
use crate::model::network::Network;
use crate::model::state::{Change, State};
use crate::net::name::{EndpointName, IfName, LONGEST};

/// How many characters of a name that does not fit are kept before its hash.
const KEPT: usize = 54;
impl EndpointName {
    /// The endpoint name of a container. An engine does not limit the length of names. A name that does not
    /// fit is cut and ends in a hash of the whole name. So does a name that Ashore itself gives to containers
    /// of unknown name.
    pub fn of_container(name: &str) -> Self {
        let name = own(name);
        match name.parse::<EndpointName>() {
            Ok(fits) if !is_placeholder(name) => fits,
            _ => hashed(name, &[name.as_bytes()]),
        }
    }

    /// The name of a container's further link on a network. A container may have the names of both as its own, so a
    /// hash of both follows them.
    pub fn of_link(container: &EndpointName, ifname: &IfName) -> Self {
        let beside = format!("{}-{}", container.own(), ifname.bytes().escape_ascii());
        let name = hashed(&beside, &[container.as_str().as_bytes(), &ifname.bytes()]);
        container.user().map_or_else(|| name.clone(), |uid| name.of_user(uid))
    }

    /// The name by which earlier versions knew a container with a long name: its first 63 characters, with
    /// which another container's name may begin too. `None` if the name is not too long.
    pub fn formerly_of_container(name: &str) -> Option<Self> {
        let name = own(name);
        if name.chars().count() <= LONGEST {
            return None;
        }
        name.chars().take(LONGEST).collect::<String>().parse().ok()
    }
}

/// Docker's API puts a slash before the name.
fn own(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

/// A name with a hash of these parts. Their bounds count.
fn hashed(name: &str, parts: &[&[u8]]) -> EndpointName {
    let mut hasher = SipHasher24::new_with_key(b"ashore long name");
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            hasher.write_u8(0);
        }
        hasher.write(part);
    }
    let fits = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
    let kept: String = name.chars().map(fits).take(KEPT).collect();
    // A name begins with a letter or a digit.
    let kept = kept.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let hash = hasher.finish() >> 32;
    let text = if kept.is_empty() { format!("unnamed-{hash:08x}") } else { format!("{kept}-{hash:08x}") };
    text.parse().expect("it has letters, digits, `_`, `.` and `-` alone, and at most 63 of them")
}

/// Whether a name is one that Ashore gives to a container of unknown name at some address.
pub(super) fn is_placeholder(name: &str) -> bool {
    name.strip_prefix("at-")
        .is_some_and(|ip| ip.parse::<Ipv4Addr>().is_ok() || ip.replace('-', ":").parse::<Ipv6Addr>().is_ok())
}

impl State {
    /// The changes that give containers with long names the identities that earlier versions kept under the
    /// cut names, if the cut name can be no other container's.
    pub fn inherited(&self, inventory: &Inventory) -> Vec<Change> {
        let long = inventory.containers.iter().filter_map(|one| Some((&one.name, one.formerly.as_ref()?)));
        let sole = long.filter(|(name, formerly)| inventory.is_sole(name, formerly));
        sole.flat_map(|(name, formerly)| {
            let scopes =
                self.identities.keys().filter(|(_, known)| known == formerly).map(|(scope, _)| scope);
            // An identity of a network that belongs to no engine is of an endpoint that a user has named.
            let own = self.networks.values().filter(|network| network.engine.is_none());
            let own: BTreeSet<_> = own.map(State::scope).collect();
            let of_engines = scopes.filter(move |scope| !own.contains(scope));
            of_engines.flat_map(|scope| self.renamed(scope, formerly, name)).collect::<Vec<_>>()
        })
        .collect()
    }

    /// The same for a container that comes to a network. The engine may not have listed it yet.
    pub fn inherits(
        &self,
        network: &Network,
        name: &EndpointName,
        formerly: &EndpointName,
        inventory: Option<&Inventory>,
    ) -> Vec<Change> {
        let in_use = self.endpoints.contains_key(&(network.name.clone(), formerly.clone()));
        if in_use || inventory.is_some_and(|inventory| !inventory.is_sole(name, formerly)) {
            return Vec::new();
        }
        self.renamed(&State::scope(network), formerly, name)
    }

    /// Moves an identity to another name, if that name has none.
    fn renamed(
        &self,
        scope: &crate::model::identity::Scope,
        from: &EndpointName,
        to: &EndpointName,
    ) -> Vec<Change> {
        let key = |name: &EndpointName| (scope.clone(), name.clone());
        match self.identities.get(&key(from)) {
            Some(identity) if !self.identities.contains_key(&key(to)) => vec![
                Change::DelIdentity(scope.clone(), from.clone()),
                Change::PutIdentity(scope.clone(), to.clone(), identity.clone()),
            ],
            _ => Vec::new(),
        }
    }
}

impl Inventory {
    /// Whether no other container was known by a name that earlier versions had cut.
    fn is_sole(&self, name: &EndpointName, formerly: &EndpointName) -> bool {
        let was = self.containers.iter().filter(|one| one.name != *name);
        !was.into_iter().any(|one| one.name == *formerly || one.formerly.as_ref() == Some(formerly))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::endpoint::{Endpoint, Placement};
    use crate::model::identity::{Identity, Scope, Seed};
    use crate::model::inventory::{ListedContainer, Membership};
    use crate::model::network::EngineNetwork;
    use crate::model::ownership::EngineKind;
    use crate::rules::learn::tests::{endpoint, network};

    fn of(name: &str) -> String {
        EndpointName::of_container(name).to_string()
    }

    fn listed(name: &str) -> ListedContainer {
        ListedContainer {
            id: name.to_owned(),
            name: EndpointName::of_container(name),
            formerly: EndpointName::formerly_of_container(name),
            memberships: Vec::new(),
            sandbox: None,
        }
    }

    #[test]
    fn every_container_has_a_name_of_its_own() {
        let long = |end: &str| format!("/{}{end}", "a".repeat(70));
        let long_names = [long("1"), long("2"), long(""), "a".repeat(64)];
        let odd =
            ["", "/", "/é", "/ü", "-x", "a/b", "a b", "unnamed", "at-192.168.88.193", "at-fd88--c0", "\n"];
        let plain = ["/web", "at-home", "at-1-2", "nas-home-1", &"b".repeat(63)];
        let all = long_names.iter().map(String::as_str).chain(odd).chain(plain);
        let names: Vec<String> = all.map(of).collect();
        let distinct: BTreeSet<&String> = names.iter().collect();
        // The two empty names are the same.
        assert_eq!(distinct.len(), names.len() - 1, "{names:?}");
        for name in plain {
            assert_eq!(of(name), own(name));
        }
    }

    #[test]
    fn the_name_of_a_long_one_never_changes() {
        // Fixed values: if this changes, such containers change their MACs and addresses at the next upgrade.
        let name = "project-with-a-very-long-name-of-its-own-and-a-service-called-so-too-1";
        assert_eq!(of(name), "project-with-a-very-long-name-of-its-own-and-a-service-b242c917");
        assert_eq!(of("at-192.168.88.193"), "at-192.168.88.193-a1c38ac9");
        let formerly = EndpointName::formerly_of_container(name).unwrap();
        assert_eq!(formerly.as_str(), &name[..63]);
        assert_eq!(EndpointName::formerly_of_container(&name[..63]), None);
    }

    #[test]
    fn what_a_long_name_had_is_its_own_where_it_is_no_others() {
        let lan = Network {
            engine: Some(EngineNetwork {
                kind: EngineKind::Docker,
                id: "1".into(),
                name: Some("lan".into()),
                of: None,
            }),
            ..network("range")
        };
        let (one, other) = (format!("{}-1", "a".repeat(70)), format!("{}-2", "a".repeat(70)));
        let cut: EndpointName = "a".repeat(63).parse().unwrap();
        let identity = Identity {
            mac: Some("02:00:00:00:88:01".parse().unwrap()),
            asked: Vec::new(),
            meanwhile: Vec::new(),
            addresses: vec!["192.168.88.192".parse().unwrap()],
            leased: None,
            made: Vec::new(),
            lease: None,
            lease6: None,
            last_used: 1,
            ..Identity::default()
        };
        let scope = Scope("lan".into());
        let mut state = State::new(Seed([7; 16]));
        state.apply(Change::PutNetwork(lan.clone()));
        state.apply(Change::PutIdentity(scope.clone(), cut.clone(), identity.clone()));
        let listed = |names: &[&str]| Inventory {
            kind: EngineKind::Docker,
            engine: "engine".into(),
            networks: Vec::new(),
            containers: names.iter().map(|name| listed(name)).collect(),
        };
        let name = EndpointName::of_container(&one);
        let inherits = |inventory: Option<&Inventory>| state.inherits(&lan, &name, &cut, inventory);
        for sole in [listed(&[&one]), listed(&[&one, "web"])] {
            let after = state.with(&state.inherited(&sole));
            assert_eq!(after.identities.get(&(scope.clone(), name.clone())), Some(&identity));
            assert!(!after.identities.contains_key(&(scope.clone(), cut.clone())));
            assert_eq!(after, state.with(&inherits(Some(&sole))));
            assert_eq!(after, state.with(&inherits(None)));
            assert_eq!(after.inherited(&sole), []);
        }
        for several in [listed(&[&one, &other]), listed(&[&one, cut.as_str()])] {
            assert_eq!((state.inherited(&several), inherits(Some(&several))), (Vec::new(), Vec::new()));
        }
    }

    #[test]
    fn one_that_runs_while_the_version_changes_keeps_its_place() {
        let mut state = State::new(Seed([7; 16]));
        let engine =
            EngineNetwork { kind: EngineKind::Docker, id: "1".into(), name: Some("lan".into()), of: None };
        state.apply(Change::PutNetwork(Network { engine: Some(engine), ..network("range") }));
        let long = "a".repeat(70);
        let cut: EndpointName = "a".repeat(63).parse().unwrap();
        let ifname = "ash0".parse().unwrap();
        let runs = Endpoint {
            mac: Some("02:00:00:00:88:01".parse().unwrap()),
            placement: Placement::Engine { id: Some("2".into()), ifname, sandbox: None, inside: None },
            ..endpoint(cut.as_str())
        };
        let state = state.with(&state.attached(&runs, 1));
        let identity = state.identities.values().next().unwrap().clone();
        let there = Membership {
            network: "1".into(),
            endpoint: Some("2".into()),
            addresses: runs.addresses.clone(),
            mac: runs.mac,
            chosen: Vec::new(),
        };
        let container = ListedContainer { memberships: vec![there], ..listed(&long) };
        let inventory = Inventory {
            kind: EngineKind::Docker,
            engine: "engine".into(),
            networks: Vec::new(),
            containers: vec![container],
        };
        let after = state.with(&state.learnt(&inventory, None, 2));
        let name = EndpointName::of_container(&long);
        let endpoint = after.endpoint_of_engine("2").unwrap();
        assert_eq!((&endpoint.name, &endpoint.tagged_as), (&name, &Some(cut)));
        let identities: Vec<_> = after.identities.iter().collect();
        let of_name = (Scope("lan".into()), name);
        assert_eq!(identities, [(&of_name, &Identity { last_used: 2, used: 2, ..identity })]);
    }
}
