//! What conflict detection takes over from the state and the host. If only endpoints have changed, the others
//! are not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ashore_core::model::endpoint::Endpoint;
use ashore_core::model::network::{HOST_AUX, Network};
use ashore_core::model::state::State;
use ashore_core::net::link::Tag;
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Link, ObservedKind, View};
use ashore_kernel::boottime;
use ashore_wire::Mac;
use ipnet::IpNet;

use super::own::{Differs, mac_on_lan};
use super::probes::Clearance;
use super::{Announcement, Defended, Lan, OnLan, Table, Tap};
use crate::daemon::follower::{Follower, Published};

impl Follower for Lan {
    /// Updates the parents, MACs and addresses that Ashore has now.
    fn follow(&self, published: &Published) {
        let (state, host) = (&*published.state, &*published.host);
        let mut table = self.table();
        let now = Instant::now();
        let before = table.followed.replace(published.clone());
        let taps = std::mem::replace(&mut table.parents, taps(state, host));
        let temporary_taps = table.temporary_taps.clone();
        for (parent, (tap, _)) in temporary_taps {
            table.parents.entry(parent).or_insert(tap);
        }
        // The change may have removed the cause.
        table.unreachable.clear();
        // What was found through another link does not count for the new one.
        let Table { parents, clear, probes, surveys, forwarding, own, .. } = &mut *table;
        clear.retain(|(parent, _), _| taps.get(parent) == parents.get(parent));
        probes.retain(|(parent, _), _| taps.get(parent) == parents.get(parent));
        surveys.follow(parents);
        forwarding.follow(state, host, boottime());
        own.follow_host(state, host, parents);
        let changed = before.as_ref().and_then(|before| changes(before, published));
        match (&before, &changed) {
            (Some(before), Some(changed)) => table.follow_some(changed, &before.state, state, host, now),
            _ => table.follow_all(state, host, now),
        }
        let Table { own, hearsay, defended, announcements, conflicts, clear, .. } = &mut *table;
        // An endpoint may have sent its first frames before this call.
        hearsay.retain(|_, there| there.forget(|ip, mac| own.may_have(ip, mac, now), now));
        clear.retain(|key, _| !defended.contains_key(key));
        // A second announcement of an address that has left would take it from its new owner.
        let is_so = |due: &Announcement| {
            let there: Option<&Defended> = defended.get(&(due.parent.clone(), due.ip));
            there.is_some_and(|there| there.defence.owner() == due.mac)
        };
        announcements.retain(is_so);
        conflicts.retain(|key, claims| {
            claims.retain(|mac, _| !own.has(key.1, *mac, now));
            defended.contains_key(key) && !claims.is_empty()
        });
        table.leases.follow_leased(state, host);
        table.routers.follow(state, host);
        table.names.follow(state, host);
        let Table { parents, leases, leases6, inquiries, routers, .. } = &mut *table;
        leases6.follow_asking(state, host, |parent| routers.offer(parent));
        inquiries.follow(state, host, parents, |parent| routers.offer(parent));
        // A lease may still have to be released through a parent that has no network any more.
        for parent in leases.parting().chain(leases6.parting()) {
            if let Some((link, mac)) = host.link(parent).and_then(|link| Some((link.index, link.mac?))) {
                let tap = Tap { parent: link, mac, shim: None, own: mac };
                parents.entry(parent.clone()).or_insert(tap);
            }
        }
        drop(table);
        self.shared.ended.notify_all();
        self.shared.waker.wake();
    }
}

impl Table {
    /// Takes over everything anew.
    fn follow_all(&mut self, state: &State, host: &View, now: Instant) {
        self.own.follow_all(state, host, now);
        self.gateways.follow_all(state, host, now);
        let mut defended = BTreeMap::new();
        for endpoint in state.endpoints.values() {
            for (key, mac) in defended_of(state, endpoint, host) {
                let by_list = state.network_of(endpoint).is_some_and(|network| network.adopted);
                let defence = self.defence(&key, mac);
                defended.insert(key, Defended { defence, by_list });
            }
        }
        for (key, mac) in numbered_shims(state, host) {
            let defence = self.defence(&key, mac);
            defended.insert(key, Defended { defence, by_list: false });
        }
        self.subnets = subnets(state);
        for (key, _) in std::mem::replace(&mut self.defended, defended) {
            self.is_let_go(key, now);
        }
    }

    /// Takes over endpoints that have changed. Networks and host are as they were.
    fn follow_some(
        &mut self,
        changed: &[Differs<'_>],
        before: &State,
        state: &State,
        host: &View,
        now: Instant,
    ) {
        self.own.follow_some(changed, before, state, host, now);
        self.gateways.follow_some(changed, state, host, now);
        let of = |state: &State, endpoint: Option<&Endpoint>| -> Vec<(OnLan, Mac)> {
            endpoint.into_iter().flat_map(|endpoint| defended_of(state, endpoint, host)).collect()
        };
        let has: BTreeMap<OnLan, (Mac, bool)> = changed
            .iter()
            .flat_map(|(_, endpoint)| {
                let by_list = endpoint.and_then(|endpoint| state.network_of(endpoint));
                let by_list = by_list.is_some_and(|network| network.adopted);
                of(state, *endpoint).into_iter().map(move |(key, mac)| (key, (mac, by_list)))
            })
            .collect();
        let had: BTreeSet<OnLan> =
            changed.iter().flat_map(|(had, _)| of(before, *had)).map(|(key, _)| key).collect();
        for key in had.into_iter().filter(|key| !has.contains_key(key)) {
            if self.defended.remove(&key).is_some() {
                self.is_let_go(key, now);
            }
        }
        for (key, (mac, by_list)) in has {
            let defence = self.defence(&key, mac);
            self.defended.insert(key, Defended { defence, by_list });
        }
        let is_learned = |one: Option<&Endpoint>| one.is_some_and(|endpoint| endpoint.learned.is_some());
        if changed.iter().any(|(had, has)| is_learned(*had) || is_learned(*has)) {
            self.subnets = subnets(state);
        }
    }

    /// An address that was defended until now is as clear as one that was just probed.
    fn is_let_go(&mut self, key: OnLan, now: Instant) {
        if !self.conflicts.contains_key(&key) {
            self.clear.insert(key, Clearance { since: now, by: None, asked: None });
        }
    }
}

/// The endpoints that have changed. `None` if something else has changed too, by which any endpoint may be
/// known otherwise.
fn changes<'a>(before: &'a Published, now: &'a Published) -> Option<Vec<Differs<'a>>> {
    let is_same = before.state.networks == now.state.networks && before.host == now.host;
    let differs = || now.state.endpoints.differs_from(&before.state.endpoints);
    is_same.then(|| differs().into_iter().map(|(_, had, has)| (had, has)).collect())
}

/// The addresses of an endpoint that are defended, with the MAC that has them.
fn defended_of(state: &State, endpoint: &Endpoint, host: &View) -> Vec<(OnLan, Mac)> {
    let network = state.network_of(endpoint).filter(|_| endpoint.is_wanted());
    let Some((network, mac)) = network.zip(mac_on_lan(state, endpoint, host)) else { return Vec::new() };
    endpoint.addresses.iter().map(|net| ((network.parent.clone(), net.addr()), mac)).collect()
}

/// The parents to listen on.
fn taps(state: &State, host: &View) -> BTreeMap<IfName, Tap> {
    let passing = state.networks.values().filter(|network| network.is_passing(host));
    let taps = passing.filter_map(|network| {
        let parent = host.link(&network.parent)?;
        // An ipvlan parent hears and reaches the wire itself. A shim in l3 mode sends no ARP (Linux 6.1,
        // `ipvlan_core.c`).
        let hears = |shim: &&Link| shim.up && matches!(shim.kind, ObservedKind::Macvlan { .. });
        let shim = host.tagged(&Tag::Shim(network.parent.clone())).filter(hears);
        // Siblings answer to the shim's MAC. An answer to the parent's MAC would leave on the wire.
        let mac = shim.and_then(|shim| shim.mac).or(parent.mac)?;
        let own = parent.mac.unwrap_or(mac);
        let tap = Tap { parent: parent.index, mac, shim: shim.map(|shim| shim.index), own };
        Some((network.parent.clone(), tap))
    });
    taps.collect()
}

/// The addresses that are reserved for the host on a network.
pub(super) fn reserved_for_host(network: &Network) -> impl Iterator<Item = OnLan> {
    let reserved = network.subnets.iter().filter_map(|subnet| subnet.aux.get(HOST_AUX));
    reserved.map(|ip| (network.parent.clone(), *ip))
}

/// The subnets of the networks, and the prefixes from which endpoints have addresses by router advertisement.
fn subnets(state: &State) -> BTreeSet<(IfName, IpNet)> {
    let of_networks = state
        .networks
        .values()
        .flat_map(|network| network.subnets.iter().map(|subnet| (network.parent.clone(), subnet.net)));
    let of_endpoints = state.endpoints.values().filter_map(|endpoint| {
        let (network, learned) = (state.network_of(endpoint)?, endpoint.learned.as_ref()?);
        Some(learned.addresses.iter().map(|there| (network.parent.clone(), there.prefix.into())))
    });
    of_networks.chain(of_endpoints.flatten()).collect()
}

/// The addresses that the host has on Ashore's links, and the MACs by which the LAN knows them.
fn numbered_shims(state: &State, host: &View) -> Vec<(OnLan, Mac)> {
    let of_network = |network: &Network| {
        let parent = network.parent.clone();
        let tag = if network.uses_shim() { Tag::Shim(parent) } else { Tag::Vlan(parent) };
        let mac = host.tagged(&tag)?.mac?;
        Some(reserved_for_host(network).map(|key| (key, mac)).collect::<Vec<_>>())
    };
    let numbered =
        |network: &&Network| network.uses_shim() || (network.host_access && network.bridge_vlan().is_some());
    state.networks.values().filter(numbered).filter_map(of_network).flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use ashore_core::model::identity::Seed;
    use ashore_core::model::state::Change;
    use ashore_core::rules::create::NetworkSpec;

    use super::*;

    fn endpoint(name: &str, last: u8, mac: u8, stage: &str) -> Endpoint {
        let text = format!(
            r#"{{"network":"lan","name":"{name}","mac":"02:00:00:00:00:{mac:02x}","addresses":["192.168.88.{last}/24"],
                "source":"range","default_route":true,"stage":"{stage}","since":1,
                "home":{{"netns":{{"netns":{{"path":"/run/netns/{name}","dev":4,"ino":{mac}}},"ifname":"eth0"}}}}}}"#
        );
        serde_json::from_str(&text).expect("an endpoint")
    }

    #[test]
    fn to_follow_what_has_changed_is_to_follow_everything() {
        let mut state = State::new(Seed([3; 16]));
        let spec = r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"]}"#;
        let spec: NetworkSpec = serde_json::from_str(spec).expect("a network");
        state.apply(Change::PutNetwork(spec.network().expect("a network")));
        let (host, now) = (View::default(), Instant::now());
        let mut kept = Table::default();
        kept.follow_all(&state, &host, now);
        let put = |name, last, mac, stage| Change::PutEndpoint(endpoint(name, last, mac, stage));
        let gone =
            |name: &str| Change::DelEndpoint(("lan".parse().expect("a name"), name.parse().expect("a name")));
        let steps = [
            vec![put("web", 10, 1, "attaching"), put("db", 11, 2, "attached")],
            vec![put("web", 10, 1, "attached")],
            // Two change their addresses, one its MAC.
            vec![put("web", 11, 1, "attached"), put("db", 10, 2, "attached")],
            vec![put("web", 11, 3, "attached"), put("db", 10, 2, "detaching")],
            vec![gone("db"), put("files", 10, 4, "attached")],
            vec![gone("web"), gone("files")],
        ];
        let key = |last: u8| ("eth0".parse().expect("a name"), IpAddr::from([192, 168, 88, last]));
        for (at, changes) in steps.into_iter().enumerate() {
            let before = state.clone();
            for change in changes {
                state.apply(change);
            }
            let changed = state.endpoints.differs_from(&before.endpoints);
            let changed: Vec<Differs<'_>> = changed.into_iter().map(|(_, had, has)| (had, has)).collect();
            kept.follow_some(&changed, &before, &state, &host, now);
            let mut anew = Table::default();
            anew.follow_all(&state, &host, now);
            let owners = |table: &Table| -> Vec<(OnLan, Mac)> {
                let all = table.defended.iter();
                all.map(|(key, there)| (key.clone(), there.defence.owner())).collect()
            };
            assert_eq!(owners(&kept), owners(&anew), "{at}");
            for (last, mac) in (9..13).flat_map(|last| (1..5).map(move |mac| (last, mac))) {
                let (ip, mac) = (key(last).1, Mac([2, 0, 0, 0, 0, mac]));
                assert_eq!(kept.own.has(ip, mac, now), anew.own.has(ip, mac, now), "{at} {ip} {mac}");
            }
        }
        // What was let go is clear, and who had it may still answer.
        assert!(kept.defended.is_empty() && kept.clear.contains_key(&key(10)));
        assert!(kept.own.is_leaving(key(10).1, Mac([2, 0, 0, 0, 0, 4]), now));
    }
}
