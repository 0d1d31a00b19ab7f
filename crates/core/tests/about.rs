//! A plan about one endpoint is what the plan about all would do for it, although nothing of the others was
//! looked at. So what an attach costs does not depend on how many others there are.

mod model;

use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::identity::Seed;
use ashore_core::model::lease::LeaseWishes;
use ashore_core::model::own_routes::OwnRoutes;
use ashore_core::model::state::{Change, State};
use ashore_core::net::link::Netns;
use ashore_core::net::observed::{Observed, View};
use ashore_core::net::step::{ROUTE_PROTOCOL, Step};
use ashore_core::plan::desired::{desired, singles_of_ranges};
use ashore_core::plan::diff::plan;
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::attach::{AttachSpec, FromLan};
use ashore_core::rules::create::NetworkSpec;
use ashore_core::rules::leases::LeaseOutcome;
use model::Model;

/// Networks by whose endpoints the host has routes, neighbour entries, ports, or none of these.
const NETWORKS: [&str; 7] = [
    r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"],"ranges":["192.168.88.192/27"]}"#,
    r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24","fd88::/64"],"ranges":["192.168.88.192/27","fd88::c0/123"]}"#,
    r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"],"ranges":["192.168.88.192/27"],"aux":[["host","192.168.88.222"]]}"#,
    // Its last address has a route of its own.
    r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"],"ranges":["192.168.88.192-192.168.88.200"],"aux":[["host","192.168.88.222"]]}"#,
    r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"],"ranges":["192.168.88.192/27"],"kind":{"ipvlan":"l2"}}"#,
    r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"],"ranges":["192.168.88.192/27"],"host_access":false}"#,
    r#"{"name":"lan","parent":"br0","kind":"bridge","subnets":["10.0.20.0/24"],"ranges":["10.0.20.32/28"]}"#,
];

struct World {
    state: State,
    model: Model,
}

fn netns(name: usize) -> Netns {
    Netns::new(format!("/run/netns/c{name}").into(), 4, 100 + name as u64)
}

impl World {
    fn with(network: &str) -> World {
        let (mut state, mut model) = (State::new(Seed([3; 16])), Model::new());
        model.add_bridge();
        let spec: NetworkSpec = serde_json::from_str(network).unwrap();
        let network = spec.completed(&model.observed.host).unwrap().network().unwrap();
        state.apply(Change::PutNetwork(network));
        World { state, model }
    }

    fn draft(&mut self, name: usize) -> Endpoint {
        let netns = netns(name);
        self.model.open(&netns);
        let (heard, answered, held) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let host = &self.model.observed.host;
        let known = AddressesInUse { host, heard: &heard, answered: &answered, held: &held };
        let spec = AttachSpec {
            network: "lan".parse().unwrap(),
            name: format!("c{name}").parse().unwrap(),
            netns: netns.path.clone(),
            ips: Vec::new(),
            mac: None,
            ifname: "eth0".parse().unwrap(),
            default_route: true,
            own_routes: OwnRoutes::default(),
            unaddressed: false,
            only_requested: false,
            wishes: LeaseWishes::default(),
            caller: None,
        };
        let from_lan = FromLan { leased: LeaseOutcome::NotYet, learned: None };
        let inside = &self.model.observed.netns[&netns];
        self.state.draft(&spec, &netns, inside, &known, from_lan, 1).unwrap()
    }

    /// The steps for a state, of which only what is about one endpoint was looked at.
    fn steps_about(&self, endpoint: &Endpoint) -> Vec<Step> {
        let own = endpoint.addresses.iter().map(IpNet::addr);
        let about: BTreeSet<IpAddr> = own.chain(singles_of_ranges(&self.state)).collect();
        let Observed { host, netns, .. } = &self.model.observed;
        let is_others = |to: &IpAddr| !about.contains(to);
        let mut host = View { ..host.clone() };
        host.routes.retain(|there| {
            let to = &there.route.to;
            let is_single = to.prefix_len() == to.max_prefix_len();
            !(there.protocol == ROUTE_PROTOCOL && is_single && is_others(&to.addr()))
        });
        let own = endpoint.netns().unwrap();
        let netns = netns.get(own).map(|view| (own.clone(), view.clone())).into_iter().collect();
        let observed = Observed { host, netns, about: Some(about), ..Observed::default() };
        plan(&desired(&self.state, &observed), &observed).steps
    }

    fn steps(&self) -> Vec<Step> {
        plan(&desired(&self.state, &self.model.observed), &self.model.observed).steps
    }

    fn carry_out(&mut self, endpoint: &Endpoint, network: &str) {
        let steps = self.steps_about(endpoint);
        assert!(!steps.is_empty());
        assert_eq!(steps, self.steps(), "{network}");
        for step in &steps {
            self.model.apply(step).unwrap();
        }
        assert_eq!((self.steps_about(endpoint), self.steps()), (Vec::new(), Vec::new()), "{network}");
    }
}

#[test]
fn a_plan_about_one_endpoint_does_all_for_it_and_nothing_to_others() {
    for network in NETWORKS {
        let mut world = World::with(network);
        for name in 0..5 {
            let endpoint = world.draft(name);
            world.state.apply(Change::PutEndpoint(endpoint.clone()));
            world.carry_out(&endpoint, network);
            world.state.attached(&endpoint, 1).into_iter().for_each(|change| world.state.apply(change));
        }
        let going: Vec<Endpoint> = world.state.endpoints.values().skip(1).step_by(2).cloned().collect();
        for endpoint in going {
            let going = Endpoint { stage: Stage::Detaching, ..endpoint.clone() };
            world.state.apply(Change::PutEndpoint(going));
            world.carry_out(&endpoint, network);
            world.state.detached(&endpoint, 2).into_iter().for_each(|change| world.state.apply(change));
        }
    }
}

#[test]
fn a_route_that_is_left_from_an_earlier_endpoint_is_taken_over() {
    let mut world = World::with(NETWORKS[0]);
    let first = world.draft(0);
    world.state.apply(Change::PutEndpoint(first.clone()));
    world.carry_out(&first, "first");
    // The state is lost, and the route stays.
    world.state.apply(Change::DelEndpoint(first.key()));
    let again = world.draft(1);
    assert_eq!(again.addresses, first.addresses);
    world.state.apply(Change::PutEndpoint(again.clone()));
    let routes = |step: &&Step| matches!(step, Step::SetRoute { place, .. } if *place == ashore_core::net::link::Place::Host);
    assert_eq!(world.steps_about(&again).iter().filter(routes).count(), 0, "it is there");
}
