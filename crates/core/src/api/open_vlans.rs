//! VLANs that the containers of users other than root can speak: whoever may send any frame on a parent may send one
//! with a tag.

use std::collections::BTreeSet;

use crate::api::about::About;
use crate::api::trouble::{Code, Trouble};
use crate::model::network::Network;
use crate::model::state::State;
use crate::net::kind::LinkKind;
use crate::net::link::Place;
use crate::net::name::{IfName, NetworkName};
use crate::net::observed::{Link, ObservedKind, View};
use crate::net::option::{PARENT, VLAN};
use crate::net::remedy::{Front, Remedy};
use crate::net::text::list;

/// How many VLANs a message names.
const NAMED: usize = 4;

impl State {
    /// That users are allowed a network whose parent carries VLANs.
    pub fn open_vlans(&self, network: &Network, host: &View) -> Option<Trouble> {
        if network.allowed.is_nobody() {
            return None;
        }
        let parent = host.link(&network.parent)?;
        let carried = self.carried(network, parent, host);
        let more = carried.len().saturating_sub(NAMED);
        let ids = carried.iter().take(NAMED).map(|id| format!("VLAN {id}"));
        let ids = list(ids.chain((more > 0).then(|| format!("{more} more"))));
        let message = format!(
            "users may put containers on network `{}`, and its parent `{}` carries {ids} as well: a user's container can send \
             and receive there, as on the network itself",
            network.label(),
            parent.name
        );
        let remedy = Remedy::from("allow them a network in one VLAN alone, with ")
            .and_give(&VLAN)
            .and(", or on an interface of its own, with ")
            .and_give(&PARENT)
            .and(", and this one no longer: ")
            .and_run(format!("ashore network allow {} --no-longer …", network.word()))
            .in_words_of(Front::CommandLine);
        let about = About { parent: Some(parent.name.clone()), ..About::network(network) };
        (!carried.is_empty()).then(|| Trouble::new(Code::VlansOpen, about, message, Some(remedy)))
    }

    /// The same of all networks that did not have it in an earlier state of this host: a network may bring VLANs to the
    /// parent of another one.
    pub fn newly_open_vlans(&self, host: &View, before: &BTreeSet<NetworkName>) -> Vec<Trouble> {
        let new = self.networks.values().filter(|network| !before.contains(&network.name));
        new.filter_map(|network| self.open_vlans(network, host)).collect()
    }

    /// The networks with VLANs that are open to users.
    pub fn with_open_vlans(&self, host: &View) -> BTreeSet<NetworkName> {
        let all = self.networks.values().filter(|network| self.open_vlans(network, host).is_some());
        all.map(|network| network.name.clone()).collect()
    }

    /// The VLANs in which an endpoint of a network can send, beside the one that the network is in.
    fn carried(&self, network: &Network, parent: &Link, host: &View) -> BTreeSet<u16> {
        let filters = parent.kind == ObservedKind::Bridge && parent.vlans.is_some();
        // A port of a bridge that filters is in its own VLAN and in no other.
        if network.bridge_vlan().is_some() || network.kind == LinkKind::Bridge && filters {
            return BTreeSet::new();
        }
        // Other links on such a bridge are in the VLANs that the bridge passes to this host.
        if filters {
            let vlans = parent.vlans.iter().flatten();
            return vlans.filter(|(_, there)| !there.untagged).map(|(id, _)| id.get()).collect();
        }
        // What a bridge passes has come in by one of its ports, and leaves by them.
        let is_port = |link: &&Link| parent.kind == ObservedKind::Bridge && link.master == Some(parent.index);
        let wires: Vec<&Link> = host.links.iter().filter(is_port).chain([parent]).collect();
        let on_wire = |link: &Link| wires.iter().any(|wire| link.is_child_of(wire, &Place::Host));
        let there = host.links.iter().filter_map(|link| match link.kind {
            ObservedKind::Vlan { id, .. } if on_wire(link) => Some(id),
            _ => None,
        });
        let is_wire = |name: &IfName| wires.iter().any(|wire| wire.name == *name);
        let own = self.networks.values().filter_map(|other| other.vlan.as_ref());
        let own = own.filter(|vlan| is_wire(&vlan.lower)).map(|vlan| vlan.id.get());
        there.chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::Seed;
    use crate::model::state::Change;
    use crate::net::observed::{Lower, Seat};
    use crate::rules::create::NetworkSpec;

    fn link(index: u32, name: &str, kind: ObservedKind) -> Link {
        Link {
            index,
            name: name.parse().unwrap(),
            kind,
            lower: None,
            master: None,
            port: BTreeSet::new(),
            vlans: None,
            default_pvid: None,
            mac: None,
            mtu: 1500,
            up: true,
            carrier: true,
            alias: None,
            wireless: false,
            arp_filter: None,
            rp_filter: None,
            arp_ignore: None,
            accept_ra: None,
            disable_ipv6: None,
            ipv6_mtu: None,
        }
    }

    fn vlan(index: u32, name: &str, lower: u32, id: u16) -> Link {
        let lower = Some(Lower { index: lower, seat: Seat::Here });
        Link { lower, ..link(index, name, ObservedKind::Vlan { id, gvrp: false }) }
    }

    fn put(state: &mut State, name: &str, json: &str) {
        let spec = format!(r#"{{"name":"{name}","subnets":["192.168.88.0/24"],{json}}}"#);
        let spec: NetworkSpec = serde_json::from_str(&spec).unwrap();
        state.apply(Change::PutNetwork(spec.network().unwrap()));
    }

    fn open(host: Vec<Link>, networks: &[(&str, &str)]) -> Vec<String> {
        let mut state = State::new(Seed([1; 16]));
        for (name, json) in networks {
            put(&mut state, name, json);
        }
        let host = View { links: host, ..View::default() };
        let troubles = state.newly_open_vlans(&host, &BTreeSet::new());
        assert_eq!(state.with_open_vlans(&host).len(), troubles.len());
        troubles.into_iter().map(|trouble| trouble.message).collect()
    }

    const USERS: &str = r#""allowed":{"users":[1000]}"#;

    #[test]
    fn users_on_a_parent_with_vlans_are_told_of() {
        let nic = || link(2, "eth0", ObservedKind::Physical);
        let lan = format!(r#""parent":"eth0",{USERS}"#);
        let none: [String; 0] = [];
        assert_eq!(open(vec![nic()], &[("lan", &lan)]), none);
        let said = "users may put containers on network `lan`, and its parent `eth0` carries VLAN 20 as well: a user's container \
                    can send and receive there, as on the network itself";
        assert_eq!(open(vec![nic(), vlan(3, "iot", 2, 20)], &[("lan", &lan)]), [said]);
        assert_eq!(open(vec![nic(), vlan(3, "iot", 2, 20)], &[("lan", r#""parent":"eth0""#)]), none);
        // Another network brings one.
        let iot = r#""parent":"eth0","vlan":20"#;
        assert_eq!(open(vec![nic()], &[("lan", &lan), ("iot", iot)]), [said]);
        // Whoever is in a VLAN is in that one alone.
        let iot = format!("{iot},{USERS}");
        assert_eq!(open(vec![nic(), vlan(3, "eth0.20", 2, 20)], &[("iot", &iot)]), none);
        let many = (0..6).map(|at| vlan(3 + at, &format!("v{at}"), 2, 20 + at as u16));
        let said = open(many.chain([nic()]).collect(), &[("lan", &lan)]);
        assert!(said[0].contains("VLAN 20, VLAN 21, VLAN 22, VLAN 23 and 2 more as well"), "{said:?}");
    }

    #[test]
    fn a_bridge_that_filters_is_a_border_for_its_ports() {
        let bridge = |vlans: Option<&[(u16, bool)]>| {
            let vlans = vlans.map(|all| {
                let one = |(id, untagged): &(u16, bool)| {
                    let membership = if *untagged {
                        crate::net::vlan::Membership::UNTAGGED
                    } else {
                        crate::net::vlan::Membership::TAGGED
                    };
                    ((*id).try_into().unwrap(), membership)
                };
                all.iter().map(one).collect()
            });
            Link { vlans, ..link(2, "br0", ObservedKind::Bridge) }
        };
        let nic = || Link { master: Some(2), ..link(3, "eth0", ObservedKind::Physical) };
        let port = format!(r#""parent":"br0","kind":"bridge",{USERS}"#);
        let macvlan = format!(r#""parent":"br0",{USERS}"#);
        let count = |links: Vec<Link>, network: &str| open(links, &[("lan", network)]).len();
        for network in [&port, &macvlan] {
            assert_eq!(count(vec![bridge(None), nic()], network), 0);
            assert_eq!(count(vec![bridge(None), nic(), vlan(4, "br0.20", 2, 20)], network), 1);
            assert_eq!(count(vec![bridge(None), nic(), vlan(4, "eth0.20", 3, 20)], network), 1);
        }
        let filters = bridge(Some(&[(1, true), (20, false)]));
        assert_eq!(count(vec![filters.clone(), nic(), vlan(4, "br0.20", 2, 20)], &port), 0);
        assert_eq!(count(vec![filters, nic(), vlan(4, "br0.20", 2, 20)], &macvlan), 1);
        assert_eq!(count(vec![bridge(Some(&[(1, true)])), nic()], &macvlan), 0);
        let in_vlan = format!(r#""parent":"br0","kind":"bridge","vlan":20,"tagged":true,{USERS}"#);
        assert_eq!(count(vec![bridge(Some(&[(1, true)])), nic()], &in_vlan), 0);
    }
}
