//! What has happened between two states. So no request has to tell of what it does, and none can forget it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ashore_wire::Mac;

use crate::model::endpoint::{Endpoint, Stage};
use crate::model::event::{Happening, Kind};
use crate::model::network::Network;
use crate::model::state::State;
use crate::net::name::IfName;
use crate::net::text::list;

impl State {
    /// Returns what has happened since the state was another one. It looks only at what differs.
    pub fn happened_since(&self, before: &State) -> Vec<Happening> {
        let mut told = self.happened_to_networks(before);
        let differs = self.endpoints.differs_from(&before.endpoints);
        let had = |one: Option<&Endpoint>| one.is_some_and(is_on);
        let gone: Vec<&Endpoint> =
            differs.iter().filter(|(_, _, has)| !had(*has)).filter_map(|(_, had, _)| *had).collect();
        let mut renamed = BTreeSet::new();
        for (_, before_it, it) in &differs {
            let Some(it) = it.filter(|it| !before_it.is_some_and(is_on) && is_on(it)) else { continue };
            let Some(old) = gone.iter().find(|old| is_on(old) && is_renamed(old, it)) else { continue };
            renamed.insert(old.key());
            renamed.insert(it.key());
            let text =
                format!("`{}` on network `{}` was called `{}` before", it.name, self.label(it), old.name);
            told.push(self.about(it, Kind::Renamed, &text));
        }
        for (_, had, has) in differs {
            let (was, is) = (had.filter(|one| is_on(one)), has.filter(|one| is_on(one)));
            if let Some(it) = was.filter(|it| is.is_none() && !renamed.contains(&it.key())) {
                let text = format!(
                    "`{}` has left network `{}`{}",
                    it.name,
                    before.label(it),
                    addresses("; it had ", it)
                );
                told.push(before.about(it, Kind::Detached, &text));
            }
            if let Some(it) = has.filter(|it| !it.is_unnamed()) {
                self.happened_to_leases(had, it, &mut told);
            }
            match (was, is) {
                (None, Some(it)) if !renamed.contains(&it.key()) => {
                    let text = format!(
                        "`{}` is on network `{}`{}",
                        it.name,
                        self.label(it),
                        addresses(" with ", it)
                    );
                    told.push(self.about(it, Kind::Attached, &text));
                }
                (Some(old), Some(it)) => told.extend(self.happened_to_addresses(old, it)),
                _ => {}
            }
        }
        told
    }

    fn happened_to_networks(&self, before: &State) -> Vec<Happening> {
        let of = |network: &Network, kind, text: &str| Happening {
            network: Some(network.label().to_owned()),
            parent: Some(network.parent.clone()),
            ..Happening::new(kind, text)
        };
        let mut told = Vec::new();
        for network in before.networks.values().filter(|one| !self.networks.contains_key(&one.name)) {
            let text = format!("network `{}` was removed", network.label());
            told.push(of(network, Kind::NetworkRemoved, &text));
        }
        for network in self.networks.values() {
            let (label, parent) = (network.label(), &network.parent);
            match before.networks.get(&network.name) {
                None => {
                    let text = format!("network `{label}` was made on `{parent}`");
                    told.push(of(network, Kind::NetworkMade, &text));
                }
                Some(old) if old.parent != *parent => {
                    let text = format!("network `{label}` has moved from `{}` to `{parent}`", old.parent);
                    told.push(of(network, Kind::Moved, &text));
                }
                Some(_) => {}
            }
        }
        told
    }

    fn happened_to_leases(&self, had: Option<&Endpoint>, it: &Endpoint, told: &mut Vec<Happening>) {
        let label = self.label(it);
        let name = &it.name;
        let kinds = [
            (had.and_then(|had| leased(had)[0]), leased(it)[0], "DHCP"),
            (had.and_then(|had| leased(had)[1]), leased(it)[1], "DHCPv6"),
        ];
        for (before, now, of) in kinds {
            let (kind, text) = match (before, now) {
                (None, Some(ip)) => {
                    (Kind::LeaseGot, format!("`{name}` on network `{label}` has a {of} lease of {ip}"))
                }
                (Some(old), Some(ip)) if old != ip => (
                    Kind::LeaseChanged,
                    format!(
                        "`{name}` on network `{label}` has a {of} lease of {ip} now, and no longer of {old}"
                    ),
                ),
                (Some(old), None) if is_on(it) => (
                    Kind::LeaseLost,
                    format!("`{name}` on network `{label}` has lost its {of} lease of {old}"),
                ),
                _ => continue,
            };
            told.push(Happening { address: now.or(before), ..self.about(it, kind, &text) });
        }
    }

    /// Addresses that changed, other than leased ones.
    fn happened_to_addresses(&self, old: &Endpoint, it: &Endpoint) -> Option<Happening> {
        let leased: BTreeSet<IpAddr> = leased(old).into_iter().chain(leased(it)).flatten().collect();
        let of = |one: &Endpoint| -> BTreeSet<IpAddr> {
            one.addresses.iter().map(ipnet::IpNet::addr).filter(|ip| !leased.contains(ip)).collect()
        };
        let (before, now) = (of(old), of(it));
        let new: Vec<&IpAddr> = now.difference(&before).collect();
        let gone: Vec<&IpAddr> = before.difference(&now).collect();
        let (name, label) = (&it.name, self.label(it));
        let text = match (new.as_slice(), gone.as_slice()) {
            ([], []) => return None,
            (new, []) => format!("`{name}` on network `{label}` has {} now, too", list(new.iter())),
            ([], gone) => format!("`{name}` on network `{label}` no longer has {}", list(gone.iter())),
            (new, gone) => format!(
                "`{name}` on network `{label}` has {} now, and no longer {}",
                list(new.iter()),
                list(gone.iter())
            ),
        };
        let address = new.first().or(gone.first()).map(|ip| **ip);
        Some(Happening { address, ..self.about(it, Kind::Address, &text) })
    }

    /// A claim on an address by another machine on a parent's LAN.
    pub fn claim_on(&self, parent: &IfName, ip: IpAddr, mac: Mac) -> Happening {
        let is_on_it =
            |one: &&Endpoint| self.network_of(one).is_some_and(|network| network.parent == *parent);
        let holder = self.holder(ip).filter(is_on_it);
        let (whose, what) = match holder {
            Some(it) => {
                let whose = format!(", the address of `{}` on network `{}`", it.name, self.label(it));
                (whose, self.about(it, Kind::Conflict, ""))
            }
            None => (String::new(), Happening::new(Kind::Conflict, "")),
        };
        let text = format!("{mac} on the LAN of `{parent}` claims {ip}{whose}");
        let text = Happening::new(Kind::Conflict, &text).text;
        Happening { address: Some(ip), mac: Some(mac), parent: Some(parent.clone()), text, ..what }
    }

    fn label<'a>(&'a self, endpoint: &'a Endpoint) -> &'a str {
        self.network_of(endpoint).map_or(endpoint.network.as_str(), Network::label)
    }

    fn about(&self, endpoint: &Endpoint, kind: Kind, text: &str) -> Happening {
        Happening {
            network: Some(self.label(endpoint).to_owned()),
            name: Some(endpoint.name.clone()),
            address: endpoint.addresses.first().map(ipnet::IpNet::addr),
            mac: endpoint.mac_on_lan(),
            ..Happening::new(kind, text)
        }
    }
}

/// Whether an endpoint is on the LAN, under the name of its container. Of one whose name is not known yet, it is told once
/// it is.
fn is_on(endpoint: &Endpoint) -> bool {
    !endpoint.is_unnamed() && (endpoint.stage == Stage::Attached || endpoint.is_lent())
}

/// Whether an endpoint is another one under a new name.
fn is_renamed(old: &Endpoint, new: &Endpoint) -> bool {
    old.network == new.network && old.link() == new.link() && old.since == new.since
}

/// The leased addresses of both families.
fn leased(endpoint: &Endpoint) -> [Option<IpAddr>; 2] {
    let v4 = endpoint.leased_address().map(IpAddr::V4);
    [v4, endpoint.lease6.as_ref().map(|record| IpAddr::V6(record.lease.address))]
}

fn addresses(before: &str, endpoint: &Endpoint) -> String {
    if endpoint.addresses.is_empty() {
        return String::new();
    }
    format!("{before}{}", list(endpoint.addresses.iter().map(ipnet::IpNet::addr)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::assigned::tests::record;
    use crate::model::endpoint::Chosen;
    use crate::model::identity::Seed;
    use crate::model::lease::LeaseRecord;
    use crate::model::state::Change;
    use crate::rules::create::NetworkSpec;
    use crate::rules::learn::tests::endpoint;

    fn state() -> State {
        let mut state = State::new(Seed([3; 16]));
        let spec = r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"]}"#;
        let spec: NetworkSpec = serde_json::from_str(spec).unwrap();
        state.apply(Change::PutNetwork(spec.network().unwrap()));
        state
    }

    /// What happens when a state is changed, each as its kind and its text.
    fn told(state: &mut State, changes: Vec<Change>) -> Vec<(Kind, String)> {
        let before = state.clone();
        for change in changes {
            state.apply(change);
        }
        let told = state.happened_since(&before);
        assert!(state.happened_since(state).is_empty());
        told.into_iter().map(|what| (what.kind, what.text)).collect()
    }

    fn put(endpoint: Endpoint) -> Vec<Change> {
        vec![Change::PutEndpoint(endpoint)]
    }

    fn at(stage: Stage) -> Endpoint {
        Endpoint { stage, ..endpoint("web") }
    }

    #[test]
    fn a_container_comes_and_goes_once_whatever_its_stages() {
        let mut state = state();
        let came = (Kind::Attached, "`web` is on network `lan` with 192.168.88.32".to_owned());
        let went = (Kind::Detached, "`web` has left network `lan`; it had 192.168.88.32".to_owned());
        assert_eq!(told(&mut state, put(at(Stage::Reserved))), []);
        assert_eq!(told(&mut state, put(at(Stage::Attaching))), []);
        assert_eq!(told(&mut state, put(at(Stage::Attached))), [came]);
        assert_eq!(told(&mut state, put(Endpoint { seen: None, ..at(Stage::Attached) })), []);
        assert_eq!(told(&mut state, put(at(Stage::Detaching))), [went]);
        assert_eq!(told(&mut state, vec![Change::DelEndpoint(at(Stage::Detaching).key())]), []);
    }

    #[test]
    fn a_name_that_is_known_late_is_told_once_and_a_new_name_is_no_new_container() {
        let mut state = state();
        let unnamed = Endpoint { chosen: Chosen::Unnamed, ..endpoint("at-192-168-88-32") };
        assert_eq!(told(&mut state, put(unnamed.clone())), []);
        let named = vec![Change::DelEndpoint(unnamed.key()), Change::PutEndpoint(endpoint("web"))];
        assert_eq!(told(&mut state, named)[0].0, Kind::Attached);
        let renamed = vec![Change::DelEndpoint(endpoint("web").key()), Change::PutEndpoint(endpoint("site"))];
        let said = "`site` on network `lan` was called `web` before".to_owned();
        assert_eq!(told(&mut state, renamed), [(Kind::Renamed, said)]);
    }

    #[test]
    fn addresses_and_leases_are_told_apart() {
        let mut state = state();
        told(&mut state, put(endpoint("web")));
        let moved = Endpoint {
            addresses: vec!["192.168.88.33/24".parse().unwrap(), "fd88::5/64".parse().unwrap()],
            ..endpoint("web")
        };
        let said = "`web` on network `lan` has 192.168.88.33 and fd88::5 now, and no longer 192.168.88.32"
            .to_owned();
        assert_eq!(told(&mut state, put(moved)), [(Kind::Address, said)]);
        let leased = |record: Option<LeaseRecord>| {
            Endpoint { addresses: Vec::new(), ..endpoint("db") }.with_lease(record)
        };
        let kinds = |told: Vec<(Kind, String)>| told.into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
        let first = put(leased(Some(record("192.168.88.140/24"))));
        assert_eq!(kinds(told(&mut state, first)), [Kind::LeaseGot, Kind::Attached]);
        let again = put(leased(Some(LeaseRecord { since: 900, ..record("192.168.88.140/24") })));
        assert_eq!(kinds(told(&mut state, again)), [], "a renewal of the same address is nothing new");
        let other = put(leased(Some(record("192.168.88.141/24"))));
        assert_eq!(kinds(told(&mut state, other)), [Kind::LeaseChanged]);
        assert_eq!(kinds(told(&mut state, put(leased(None)))), [Kind::LeaseLost]);
    }

    #[test]
    fn networks_are_made_moved_and_removed() {
        let mut state = state();
        let lan = state.networks.values().next().unwrap().clone();
        let moved = Network { parent: "eth1".parse().unwrap(), ..lan.clone() };
        let said = "network `lan` has moved from `eth0` to `eth1`".to_owned();
        assert_eq!(told(&mut state, vec![Change::PutNetwork(moved)]), [(Kind::Moved, said)]);
        let said = "network `lan` was removed".to_owned();
        assert_eq!(
            told(&mut state, vec![Change::DelNetwork(lan.name.clone())]),
            [(Kind::NetworkRemoved, said)]
        );
        let said = "network `lan` was made on `eth0`".to_owned();
        assert_eq!(told(&mut state, vec![Change::PutNetwork(lan)]), [(Kind::NetworkMade, said)]);
    }

    #[test]
    fn a_claim_names_whose_address_it_is_on_that_parent() {
        let mut state = state();
        told(&mut state, put(endpoint("web")));
        let (ip, mac) = ("192.168.88.32".parse().unwrap(), Mac([2, 0, 0, 0, 0, 9]));
        let claim = state.claim_on(&"eth0".parse().unwrap(), ip, mac);
        assert_eq!(
            claim.text,
            "02:00:00:00:00:09 on the LAN of `eth0` claims 192.168.88.32, the address of `web` on network `lan`"
        );
        assert_eq!((claim.name, claim.mac), (Some("web".parse().unwrap()), Some(mac)));
        assert_eq!(state.claim_on(&"eth1".parse().unwrap(), ip, mac).name, None, "another LAN");
    }
}
