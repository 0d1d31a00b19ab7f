//! A container whose namespace cannot be read is left as it is, whatever is requested for it, and does not
//! affect others.

mod model;

use std::collections::{BTreeMap, BTreeSet};

use ashore_core::model::endpoint::{Endpoint, Stage};
use ashore_core::model::identity::Seed;
use ashore_core::model::lease::LeaseWishes;
use ashore_core::model::own_routes::OwnRoutes;
use ashore_core::model::state::{Change, State};
use ashore_core::net::link::Netns;
use ashore_core::net::observed::Observed;
use ashore_core::net::step::Step;
use ashore_core::plan::desired::desired;
use ashore_core::plan::diff::plan;
use ashore_core::rules::addresses_in_use::AddressesInUse;
use ashore_core::rules::attach::{AttachSpec, FromLan};
use ashore_core::rules::create::NetworkSpec;
use ashore_core::rules::leases::LeaseOutcome;
use model::Model;

struct World {
    state: State,
    model: Model,
}

/// One network with macvlan links, and one with ports of a bridge.
const NETWORKS: [&str; 2] = [
    r#"{"name":"lan","parent":"eth0","subnets":["192.168.88.0/24"],"ranges":["192.168.88.32/29"]}"#,
    r#"{"name":"tv","parent":"br0","vlan":20,"kind":"bridge","subnets":["10.0.20.0/24"],"ranges":["10.0.20.32/29"],
        "aux":[["host","10.0.20.38"]]}"#,
];

impl World {
    fn with(network: &str) -> World {
        let mut model = Model::new();
        model.add_bridge();
        let spec: NetworkSpec = serde_json::from_str(network).unwrap();
        let network = spec.completed(&model.observed.host).unwrap().network().unwrap();
        let mut world = World { state: State::new(Seed([3; 16])), model };
        world.state.apply(Change::PutNetwork(network.clone()));
        for name in ["web", "db"] {
            let netns = netns(name);
            world.model.open(&netns);
            let spec = AttachSpec {
                network: network.name.clone(),
                name: name.parse().unwrap(),
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
            let (heard, answered, held) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
            let host = &world.model.observed.host;
            let known = AddressesInUse { host, heard: &heard, answered: &answered, held: &held };
            let inside = &world.model.observed.netns[&netns];
            let from_lan = FromLan { leased: LeaseOutcome::NotYet, learned: None };
            let endpoint = world.state.draft(&spec, &netns, inside, &known, from_lan, 1).unwrap();
            world.put(&Endpoint { stage: Stage::Attached, ..endpoint });
        }
        for step in world.planned(&world.model.observed) {
            world.model.apply(&step).unwrap();
        }
        world
    }

    fn put(&mut self, endpoint: &Endpoint) {
        self.state.apply(Change::PutEndpoint(endpoint.clone()));
    }

    fn endpoint(&self, name: &str) -> Endpoint {
        let mut all = self.state.endpoints.values();
        all.find(|endpoint| endpoint.name.as_str() == name).unwrap().clone()
    }

    fn planned(&self, observed: &Observed) -> Vec<Step> {
        plan(&desired(&self.state, observed), observed).steps
    }

    /// What is observed while the namespace of the container `web` cannot be read.
    fn without_web(&self) -> Observed {
        let mut observed = self.model.observed.clone();
        observed.netns.remove(&netns("web")).unwrap();
        observed.unreadable.insert(netns("web"), "too many open files".into());
        observed
    }
}

fn netns(name: &str) -> Netns {
    Netns::new(format!("/run/netns/{name}").into(), 4, u64::from(name == "web") + 7)
}

#[test]
fn nothing_of_it_is_planned_away_on_the_host() {
    for network in NETWORKS {
        let mut world = World::with(network);
        assert_eq!(world.planned(&world.model.observed), []);
        let attached = world.endpoint("web");
        for stage in [Stage::Attached, Stage::Attaching, Stage::Detaching] {
            world.put(&Endpoint { stage, ..attached.clone() });
            assert_eq!(world.planned(&world.without_web()), [], "{stage:?} on {network}");
        }
        // Once the namespace can be read, the link is removed.
        let going = world.planned(&world.model.observed);
        assert!(going.iter().any(|step| matches!(step, Step::DelLink { .. })), "{going:?}");
    }
}

#[test]
fn the_others_come_and_go_meanwhile() {
    for network in NETWORKS {
        let mut world = World::with(network);
        let db = world.endpoint("db");
        world.put(&Endpoint { stage: Stage::Detaching, ..db.clone() });
        let steps = world.planned(&world.without_web());
        assert!(!steps.is_empty());
        for step in &steps {
            world.model.apply(step).unwrap();
        }
        let seen = world.without_web();
        assert_eq!(world.planned(&seen), []);
        assert!(seen.netns[&netns("db")].tagged(&db.tag()).is_none());
        assert!(world.model.observed.netns[&netns("web")].links.iter().any(|link| link.tag().is_some()));
    }
}
