//! Any sequence of requests, and of changes that the host makes meanwhile: after a reconciliation nothing is
//! left to plan, no address is held twice, and what is no longer wanted is gone.

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ashore_core::model::endpoint::{Endpoint, Placement, Stage};
use ashore_core::model::identity::Seed;
use ashore_core::model::learned::LearnedAddress;
use ashore_core::model::lease::LeaseWishes;
use ashore_core::model::moment::Moment;
use ashore_core::model::own_routes::OwnRoutes;
use ashore_core::model::owner::Owners;
use ashore_core::model::state::{Change, State};
use ashore_core::net::link::{Netns, Tag};
use ashore_core::net::name::{EndpointKey, IfName};
use ashore_core::net::observed::{ObservedRoute, Ways};
use ashore_core::net::step::{Route, Step};
use ashore_core::net::vlan::Membership;
use ashore_core::plan::desired::desired;
use ashore_core::plan::diff::{Blocked, Plan, plan};
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::attach::{AttachSpec, FromLan};
use ashore_core::rules::create::NetworkSpec;
use ashore_core::rules::leases::LeaseOutcome;
use ashore_wire::Boottime;
use ashore_wire::ndp::Preference;
use ashore_wire::slaac::{Lasting, Offer, Prefix, Router};
use model::Model;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Event {
    CreateNetwork(u8),
    /// The daemon dies after this many steps of making a network, and starts again.
    CrashInCreate {
        network: u8,
        after: usize,
    },
    RemoveNetwork(u8),
    Attach {
        network: u8,
        name: u8,
    },
    Detach {
        network: u8,
        name: u8,
    },
    /// The daemon dies after this many steps of an attach, and starts again.
    CrashInAttach {
        network: u8,
        name: u8,
        after: usize,
    },
    NamespaceDies(u8),
    /// A container changes its link.
    Meddle {
        network: u8,
        name: u8,
        tricks: u8,
    },
    UserMakesChild {
        network: u8,
        name: u8,
    },
    Unplug,
    PlugIn,
    NicDown,
    NicUp,
    UserMakesVlan,
    VlanDeleted,
    BridgeDeleted,
    BridgeMade,
    BridgeFilters(bool),
    MembershipsChanged,
    OwnPortDeleted,
    HostAddress(u8),
    /// The LAN's routers advertise something else, and the daemon dies after this many steps of following it.
    Offer {
        /// For each of two prefixes: not advertised, preferred, or deprecated.
        prefixes: [u8; 2],
        /// No router, or one of two, of which the second advertises an MTU.
        router: u8,
        after: usize,
    },
    Reconcile,
}

fn event() -> impl Strategy<Value = Event> {
    let (network, name) = (0..NETWORKS, 0..4u8);
    prop_oneof![
        3 => network.clone().prop_map(Event::CreateNetwork),
        1 => (network.clone(), 0..8usize).prop_map(|(network, after)| Event::CrashInCreate { network, after }),
        1 => network.clone().prop_map(Event::RemoveNetwork),
        6 => (network.clone(), name.clone()).prop_map(|(network, name)| Event::Attach { network, name }),
        3 => (network.clone(), name.clone()).prop_map(|(network, name)| Event::Detach { network, name }),
        2 => (network.clone(), name.clone(), 0..32u8)
            .prop_map(|(network, name, tricks)| Event::Meddle { network, name, tricks }),
        1 => (network.clone(), name.clone())
            .prop_map(|(network, name)| Event::UserMakesChild { network, name }),
        3 => (network, name.clone(), 0..14usize)
            .prop_map(|(network, name, after)| Event::CrashInAttach { network, name, after }),
        1 => name.prop_map(Event::NamespaceDies),
        1 => Just(Event::Unplug),
        2 => Just(Event::PlugIn),
        1 => Just(Event::NicDown),
        2 => Just(Event::NicUp),
        1 => Just(Event::UserMakesVlan),
        1 => Just(Event::VlanDeleted),
        1 => Just(Event::BridgeDeleted),
        2 => Just(Event::BridgeMade),
        2 => any::<bool>().prop_map(Event::BridgeFilters),
        1 => Just(Event::MembershipsChanged),
        1 => Just(Event::OwnPortDeleted),
        1 => (9..12u8).prop_map(Event::HostAddress),
        3 => ([0..3u8, 0..3u8], 0..3u8, prop_oneof![0..6usize, Just(usize::MAX)])
            .prop_map(|(prefixes, router, after)| Event::Offer { prefixes, router, after }),
        1 => Just(Event::Reconcile),
    ]
}

struct World {
    state: State,
    model: Model,
    now: u64,
    offer: Offer,
    start: Boottime,
}

const NETWORKS: u8 = 8;

/// Four networks that share a parent and a subnet: unnumbered, numbered, IPv4 with IPv6, and one that follows
/// routers. Two networks that share a VLAN on that parent. Two networks in one VLAN of a bridge, one with a
/// `host` address, the other for containers that speak 802.1Q.
fn spec(which: u8) -> NetworkSpec {
    let text = match which {
        0 => {
            r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"],"ranges":["192.168.88.32-192.168.88.34"]}"#
        }
        1 => {
            r#"{"name":"num","parent":"eth0","subnets":["192.168.88.0/24"],"ranges":["192.168.88.64/29"],
                "gateways":["192.168.88.1"],"aux":[["host","192.168.88.70"]]}"#
        }
        3 => {
            r#"{"name":"iot","parent":"eth0","vlan":200,"gvrp":true,"subnets":["10.0.200.0/24"],
                "ranges":["10.0.200.32/30"]}"#
        }
        4 => {
            r#"{"name":"cam","parent":"eth0.200","subnets":["10.0.200.0/24"],"ranges":["10.0.200.64/29"],
                "aux":[["host","10.0.200.70"]]}"#
        }
        5 => {
            r#"{"name":"adv","parent":"eth0","subnets":["192.168.88.0/24"],"ranges":["192.168.88.128/29"],"ipv6":"auto"}"#
        }
        6 => {
            r#"{"name":"tv","parent":"br0","vlan":20,"kind":"bridge","subnets":["10.0.20.0/24"],
                "ranges":["10.0.20.32/29"],"aux":[["host","10.0.20.38"]]}"#
        }
        7 => {
            r#"{"name":"pbx","parent":"br0.20","kind":"bridge","tagged":true,"port":["isolated"],
                "subnets":["10.0.20.0/24"],"ranges":["10.0.20.64/29"]}"#
        }
        _ => {
            r#"{"name":"six","parent":"eth0","subnets":["192.168.88.0/24","fd88::/64"],"gateways":["fd88::1"],
                "ranges":["192.168.88.96/30"],"mtu":1400}"#
        }
    };
    serde_json::from_str(text).unwrap()
}

fn netns(network: u8, name: u8) -> Netns {
    let ino = u64::from(network) * 10 + u64::from(name);
    Netns::new(format!("/run/netns/c{ino}").into(), 4, ino)
}

fn attach_spec(network: u8, name: u8) -> AttachSpec {
    AttachSpec {
        network: spec(network).name,
        name: format!("c{name}").parse().unwrap(),
        netns: netns(network, name).path,
        ips: Vec::new(),
        mac: None,
        ifname: "eth0".parse().unwrap(),
        default_route: true,
        own_routes: OwnRoutes::default(),
        unaddressed: false,
        only_requested: false,
        wishes: LeaseWishes::default(),
        caller: None,
    }
}

impl World {
    fn new() -> Self {
        let (state, start) =
            (State::new(Seed([3; 16])), Boottime::after_boot(Duration::from_secs(1_000_000)));
        let mut model = Model::new();
        model.add_bridge();
        World { state, model, now: 1, offer: Offer::default(), start }
    }

    fn commit(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.state.apply(change);
        }
    }

    /// Plans and applies until `most` steps are done, and notes what links there are then, which a daemon that
    /// dies before does not. The kernel must accept every step.
    fn carry_out(&mut self, most: usize) {
        let plan = plan(&desired(&self.state, &self.model.observed), &self.model.observed);
        self.assert_not_blocked(&plan);
        for (at, step) in plan.steps.iter().enumerate() {
            // On the host a link and its tag are made by one system call, so the daemon cannot die between
            // them.
            let tags = matches!(step, Step::SetAlias { tag: Some(Tag::Vlan(_)), .. });
            if at >= most && !(at == most && tags) {
                break;
            }
            self.model.apply(step).unwrap();
        }
        if most == usize::MAX {
            self.commit(self.state.sightings(&self.model.observed));
        }
    }

    /// Nothing foreign is in the way here, except a bridge that would put endpoints on another LAN.
    fn assert_not_blocked(&self, plan: &Plan) {
        let mixes = |blocked: &Blocked| matches!(blocked, Blocked::Unfiltered { .. });
        assert!(plan.blocked.iter().all(|it| mixes(it) && !self.model.filters()), "{:?}", plan.blocked);
    }

    /// What the daemon does at its start and every minute.
    fn reconcile(&mut self) {
        let owners = Owners::of(&self.state, &self.model.observed);
        let is_whole = |endpoint: &&Endpoint| owners.is_whole(endpoint, &self.model.observed);
        let whole: Vec<Endpoint> = self.state.endpoints.values().filter(is_whole).cloned().collect();
        for endpoint in whole {
            let changes = self.state.attached(&endpoint, self.now);
            self.commit(changes);
        }
        let undone: Vec<Endpoint> =
            self.state.endpoints.values().filter(|e| e.is_cut_short()).cloned().collect();
        for endpoint in undone {
            self.commit(vec![Change::PutEndpoint(Endpoint { stage: Stage::Detaching, ..endpoint })]);
        }
        let gone: Vec<Endpoint> = self
            .state
            .endpoints
            .values()
            .filter(|endpoint| {
                endpoint.netns().is_some_and(|netns| !self.model.observed.netns.contains_key(netns))
            })
            .cloned()
            .collect();
        for endpoint in gone {
            self.commit(vec![Change::PutEndpoint(Endpoint { stage: Stage::Detaching, ..endpoint })]);
        }
        let before = self.links();
        self.carry_out(usize::MAX);
        for (endpoint, netns, link) in before {
            let stays = self.state.endpoints[&endpoint].stage == Stage::Attached;
            let there = self.model.observed.netns[&netns].link_at(link).is_some();
            assert!(there || !stays, "{endpoint:?} has another link than before");
        }
        let detached: Vec<Endpoint> =
            self.state.endpoints.values().filter(|e| e.is_cut_short()).cloned().collect();
        for endpoint in detached {
            let changes = self.state.detached(&endpoint, self.now);
            self.commit(changes);
        }
    }

    /// The links of endpoints in their containers, by index.
    fn links(&self) -> Vec<(EndpointKey, Netns, u32)> {
        let owners = Owners::of(&self.state, &self.model.observed);
        let there = self.state.endpoints.values().filter_map(|endpoint| {
            let (netns, _, link) = owners.link_of(endpoint, &self.model.observed)?;
            Some((endpoint.key(), netns.clone(), link.index))
        });
        there.collect()
    }

    fn create(&mut self, which: u8, most: usize) {
        let completed = spec(which).completed(&self.model.observed.host);
        let Ok(network) = completed.and_then(|spec| spec.network()) else { return };
        let fits = network.check(&self.model.observed.host).is_ok();
        if fits && self.state.check_beside_others(&network).is_ok() {
            let makes_vlan = network.vlan.is_some();
            self.commit(vec![Change::PutNetwork(network)]);
            if makes_vlan {
                self.carry_out(most);
            }
        }
    }

    fn attach(&mut self, network: u8, name: u8, most: usize) -> bool {
        let netns = netns(network, name);
        self.model.open(&netns);
        let (spec, held) = (attach_spec(network, name), BTreeSet::new());
        let (heard, answered) = (BTreeMap::new(), BTreeMap::new());
        let host = &self.model.observed.host;
        let known = AddressesInUse { host, heard: &heard, answered: &answered, held: &held };
        let inside = &self.model.observed.netns[&netns];
        let of_name = self.state.networks.get(&spec.network);
        let at = Moment { now: self.start, today: self.now };
        let learned =
            of_name.and_then(|network| self.state.learn(network, &spec.name, &self.offer, None, &known, at));
        let from_lan = FromLan { leased: LeaseOutcome::NotYet, learned };
        let Ok(endpoint) = self.state.draft(&spec, &netns, inside, &known, from_lan, self.now) else {
            return false;
        };
        self.commit(vec![Change::PutEndpoint(endpoint.clone())]);
        self.carry_out(most);
        if most == usize::MAX {
            let changes = self.state.attached(&endpoint, self.now);
            self.commit(changes);
            self.commit(self.state.sightings(&self.model.observed));
        }
        true
    }

    /// What routers advertise from now on.
    fn offer(&self, prefixes: [u8; 2], router: u8) -> Offer {
        let lasting = |seconds| Lasting(Some(self.start + Duration::from_secs(seconds)));
        let prefix = |(net, standing): (&str, u8)| {
            let (preferred, valid) = (lasting(if standing == 1 { 60 } else { 0 }), lasting(7200));
            (standing > 0).then(|| Prefix { net: net.parse().unwrap(), on_link: true, preferred, valid })
        };
        let ip = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, router.into());
        let there = Router { ip, preference: Preference::Medium, until: lasting(1800) };
        Offer {
            routers: (router > 0).then_some(there).into_iter().collect(),
            prefixes: ["fd88::/64", "fd99::/64"].into_iter().zip(prefixes).filter_map(prefix).collect(),
            mtu: (router == 2).then_some(1492),
            ..Offer::default()
        }
    }

    /// What the daemon does when routers advertise something else.
    fn follow_routers(&mut self, most: usize) {
        let Some(network) = self.state.networks.get(&spec(5).name).cloned() else { return };
        let (heard, answered, held) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let host = &self.model.observed.host;
        let known = AddressesInUse { host, heard: &heard, answered: &answered, held: &held };
        let at = Moment { now: self.start, today: self.now };
        let mut changes = Vec::new();
        for there in self.state.endpoints_on(&network.name).filter(|there| there.stage == Stage::Attached) {
            let learned = self.state.learn(&network, &there.name, &self.offer, None, &known, at);
            changes.extend(self.state.attached(&there.clone().with_learned(learned), self.now));
        }
        self.commit(changes);
        self.carry_out(most);
    }

    fn play(&mut self, event: &Event) {
        self.now += 1;
        match *event {
            Event::CreateNetwork(which) => self.create(which, usize::MAX),
            Event::CrashInCreate { network, after } => {
                self.create(network, after);
                self.reconcile();
            }
            Event::RemoveNetwork(which) => {
                let name = spec(which).name;
                if self.state.endpoints_on(&name).next().is_none() {
                    self.commit(vec![Change::DelNetwork(name)]);
                    self.carry_out(usize::MAX);
                }
            }
            Event::Attach { network, name } => {
                self.attach(network, name, usize::MAX);
            }
            Event::CrashInAttach { network, name, after } => {
                if self.attach(network, name, after) {
                    self.reconcile();
                }
            }
            Event::Detach { network, name } => {
                let key = (spec(network).name, attach_spec(network, name).name);
                if let Some(endpoint) = self.state.endpoints.get(&key).cloned() {
                    self.commit(vec![Change::PutEndpoint(Endpoint { stage: Stage::Detaching, ..endpoint })]);
                    self.reconcile();
                }
            }
            Event::NamespaceDies(name) => {
                (0..NETWORKS).for_each(|network| self.model.close(&netns(network, name)));
            }
            Event::Meddle { network, name, tricks } => self.model.meddle(&netns(network, name), tricks),
            Event::UserMakesChild { network, name } => self.model.make_users_child(&netns(network, name)),
            Event::Unplug => self.model.unplug(),
            Event::PlugIn => self.model.plug_in(),
            Event::NicDown => self.model.set_nic_up(false),
            Event::NicUp => self.model.set_nic_up(true),
            Event::UserMakesVlan => self.model.make_users_vlan(),
            Event::VlanDeleted => self.model.delete_vlan(),
            Event::Offer { prefixes, router, after } => {
                self.offer = self.offer(prefixes, router);
                self.follow_routers(after);
                if after < usize::MAX {
                    self.reconcile();
                }
            }
            Event::BridgeDeleted => self.model.delete_bridge(),
            Event::BridgeMade => self.model.add_bridge(),
            Event::BridgeFilters(on) => self.model.set_filtering(on),
            Event::MembershipsChanged => self.model.change_memberships(),
            Event::OwnPortDeleted => self.model.delete(&own_port()),
            Event::HostAddress(last) => self.model.set_host_address(&format!("192.168.88.{last}/24")),
            Event::Reconcile => self.reconcile(),
        }
    }

    fn check(&self) {
        let left = plan(&desired(&self.state, &self.model.observed), &self.model.observed);
        assert_eq!(left.steps, [], "still to do");
        self.assert_not_blocked(&left);

        let mut held = BTreeSet::new();
        let reserved: Vec<IpAddr> =
            ["192.168.88.1", "192.168.88.70", "192.168.88.9", "fd88::1", "fd88::9", "fd88::"]
                .iter()
                .map(|ip| ip.parse().unwrap())
                .collect();
        for endpoint in self.state.endpoints.values() {
            for net in &endpoint.addresses {
                assert!(held.insert(net.addr()), "{} is held twice", net.addr());
                assert!(!reserved.contains(&net.addr()), "{} was reserved", net.addr());
            }
        }
        let owners = Owners::of(&self.state, &self.model.observed);
        // The IPv6 MTU is the advertised one, or the link's own if none is advertised.
        for endpoint in self.state.endpoints.values() {
            let Some(learned) = &endpoint.learned else { continue };
            let inside = owners.link_of(endpoint, &self.model.observed).map(|(_, _, link)| link);
            for link in inside.into_iter().filter(|link| link.up) {
                assert_eq!(link.ipv6_mtu, Some(learned.mtu.unwrap_or(1500).cast_signed()));
            }
        }
        // No links are left of endpoints that are gone. A link without its parent keeps what its container wrote.
        let mut waiting = Vec::new();
        for endpoint in self.state.endpoints.values() {
            if self.model.observed.host.link(&self.state.networks[&endpoint.network].parent).is_none() {
                waiting.extend(owners.link_of(endpoint, &self.model.observed).map(|(_, _, link)| link));
            }
        }
        let views = self.model.observed.netns.values().chain([&self.model.observed.host]);
        let tagged = views
            .flat_map(|view| &view.links)
            .filter(|link| !waiting.iter().any(|there| std::ptr::eq(*there, *link)))
            .filter_map(ashore_core::net::observed::Link::tag)
            .filter(|tag| {
                let mut endpoints = self.state.endpoints.values();
                let wanted = endpoints.any(|endpoint| endpoint.tag() == *tag || endpoint.port_tag() == *tag);
                !wanted && !matches!(tag, Tag::Shim(_) | Tag::Vlan(_) | Tag::VlanPort(_))
            });
        assert_eq!(tagged.count(), 0, "a link that belongs to no endpoint");
        self.check_vlan();
        self.check_bridge_vlan();
        if self.state.networks.is_empty() {
            assert_eq!(self.model.observed.host.links.iter().filter(|link| link.alias.is_some()).count(), 0);
            assert!(self.model.observed.host.routes.is_empty());
        }
    }

    /// The VLAN interface exists exactly as long as a network needs it, and is Ashore's unless the user made
    /// one.
    fn check_vlan(&self) {
        let host = &self.model.observed.host;
        let there = host.link(&Model::vlan());
        let wanted = self.state.networks.values().any(|it| it.vlan.is_some() && it.bridge_vlan().is_none());
        let named = self.state.networks.values().any(|network| network.parent == Model::vlan());
        if wanted && host.link(&Model::nic()).is_some() {
            let vlan = there.expect("a network needs the VLAN interface");
            assert_eq!(vlan.up, host.link(&Model::nic()).unwrap().up);
        }
        assert!(named || there.is_none_or(|vlan| vlan.alias.is_none()), "no network needs it any more");
    }

    /// Ashore's own port exists exactly as long as a network needs it, and every port is in its VLAN only.
    fn check_bridge_vlan(&self) {
        let host = &self.model.observed.host;
        let networks = || self.state.networks.values().filter(|network| network.bridge_vlan().is_some());
        let wanted = networks().next().is_some() && host.link(&Model::bridge()).is_some();
        assert_eq!(host.link(&own_port()).is_some(), wanted);
        for port in host.links.iter().filter(|link| link.tag().is_some_and(|tag| tag.is_far_end())) {
            let tagged = matches!(port.tag(), Some(Tag::Port(network, _)) if self.state.networks[&network].membership == Membership::TAGGED);
            let membership = if tagged { Membership::TAGGED } else { Membership::UNTAGGED };
            if self.model.filters() {
                assert_eq!(port.vlans, Some([(Model::bridge_vlan(), membership)].into()), "{}", port.name);
                assert!(port.up && port.master.is_some());
            }
        }
    }
}

fn own_port() -> IfName {
    "br0-vlan20".parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_sequence_of_requests_ends_with_an_empty_plan(events in prop::collection::vec(event(), 1..40)) {
        let mut world = World::new();
        for event in &events {
            world.play(event);
        }
        world.reconcile();
        world.check();
    }
}

#[test]
fn a_container_gets_its_address_back_and_a_let_go_one_is_taken_last() {
    let mut world = World::new();
    let ip_of = |world: &World, name: u8| {
        let key = (spec(0).name, attach_spec(0, name).name);
        world.state.endpoints[&key].addresses[0].addr().to_string()
    };
    world.play(&Event::CreateNetwork(0));
    world.play(&Event::Attach { network: 0, name: 0 });
    assert_eq!(ip_of(&world, 0), "192.168.88.32");
    world.play(&Event::Detach { network: 0, name: 0 });
    world.play(&Event::Attach { network: 0, name: 1 });
    assert_eq!(ip_of(&world, 1), "192.168.88.33", "an unused address comes before a released one");
    world.play(&Event::Attach { network: 0, name: 0 });
    assert_eq!(ip_of(&world, 0), "192.168.88.32", "the name that had it gets it again");
    world.play(&Event::Detach { network: 0, name: 0 });
    world.play(&Event::Detach { network: 0, name: 1 });
    world.play(&Event::Attach { network: 0, name: 2 });
    world.play(&Event::Attach { network: 0, name: 3 });
    assert_eq!((ip_of(&world, 2), ip_of(&world, 3)), ("192.168.88.34".into(), "192.168.88.32".into()));
}

#[test]
fn of_ipv6_default_routes_in_a_container_there_is_one_and_somebody_elses_comes_first() {
    let mut world = World::new();
    world.play(&Event::CreateNetwork(5));
    world.offer = world.offer([1, 0], 1);
    let inside = netns(5, 0);
    world.model.open(&inside);
    let there = |dev: &str| ObservedRoute {
        route: Route {
            to: "::/0".parse().unwrap(),
            via: Some("fe80::99".parse().unwrap()),
            dev: dev.parse().unwrap(),
            src: None,
            metric: None,
        },
        protocol: 3,
        metric: 1024,
        onlink: false,
        ways: Ways::One,
    };
    let defaults = |world: &World| -> Vec<Route> {
        let routes = world.model.observed.netns[&netns(5, 0)].routes.iter().map(|there| there.route.clone());
        routes.filter(|route| route.to == "::/0".parse().unwrap()).collect()
    };
    let bridge = there("br-eth1");
    world.model.observed.netns.get_mut(&inside).unwrap().routes.push(bridge.clone());
    world.play(&Event::Attach { network: 5, name: 0 });
    world.reconcile();
    world.check();
    assert_eq!(defaults(&world), [bridge.route]);

    world.model.observed.netns.get_mut(&inside).unwrap().routes.retain(|there| there.protocol != 3);
    world.reconcile();
    world.check();
    let by_router = defaults(&world);
    assert_eq!((by_router.len(), by_router[0].dev.as_str()), (1, "eth0"));

    // An endpoint that sorts before the first one, and does not take its place.
    let first = world.state.endpoints[&(spec(5).name, attach_spec(5, 0).name)].clone();
    let second = Endpoint {
        name: "a".parse().unwrap(),
        mac: Some(ashore_wire::Mac([2, 0, 0, 0, 0, 9])),
        addresses: vec!["192.168.88.135/24".parse().unwrap(), "fd88::9:9/64".parse().unwrap()],
        placement: Placement::Netns { netns: inside, ifname: "eth1".parse().unwrap() },
        seen: None,
        ..first
    };
    world.commit(vec![Change::PutEndpoint(second)]);
    for _ in 0..3 {
        world.reconcile();
        world.check();
        assert_eq!(defaults(&world), by_router);
    }
}

#[test]
fn no_router_has_the_host_send_to_an_endpoint_what_is_not_on_the_hosts_link() {
    let mut world = World::new();
    world.play(&Event::CreateNetwork(5));
    world.offer = world.offer([1, 0], 1);
    world.play(&Event::Attach { network: 5, name: 0 });
    let there = world.state.endpoints.values().next().unwrap().clone();
    let mut learned = there.learned.clone().unwrap();
    let (ip, prefix) = ("fd99::7".parse().unwrap(), "fd00::/8".parse().unwrap());
    learned.addresses.push(LearnedAddress { ip, prefix, leased: true, ..learned.addresses[0] });
    let near = learned.addresses[0].ip;
    world.commit(vec![Change::PutEndpoint(there.with_learned(Some(learned)))]);
    world.reconcile();
    world.check();
    let routes = &world.model.observed.host.routes;
    let leads = |ip| routes.iter().any(|there| there.route.to.addr() == IpAddr::V6(ip));
    assert!(leads(near) && !leads(ip), "{routes:?}");
}
