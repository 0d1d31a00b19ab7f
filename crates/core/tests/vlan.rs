//! Which VLAN a request means, and in which order a plan makes and removes its interface.

mod model;

use std::collections::BTreeMap;

use ashore_core::model::identity::Seed;
use ashore_core::model::network::Network;
use ashore_core::model::state::{Change, State};
use ashore_core::net::name::IfName;
use ashore_core::net::observed::{Link, ObservedKind};
use ashore_core::net::step::Step;
use ashore_core::net::vlan::{Membership, Vlan};
use ashore_core::plan::desired::desired;
use ashore_core::plan::diff::{Blocked, Plan, plan};
use ashore_core::rules::create::{NetworkError, NetworkSpec};
use model::Model;

fn asked(model: &Model, options: &str) -> Result<Network, NetworkError> {
    let json = format!(r#"{{"name":"iot","subnets":["10.0.200.0/24"],{options}}}"#);
    let spec: NetworkSpec = serde_json::from_str(&json).unwrap();
    let network = spec.completed(&model.observed.host)?.network()?;
    network.check(&model.observed.host)?;
    Ok(network)
}

fn vlan() -> Vlan {
    Vlan { lower: Model::nic(), id: 200.try_into().unwrap(), gvrp: false }
}

/// What a state with these networks requires of the kernel.
fn planned(model: &Model, networks: &[&Network]) -> Plan {
    let changes: Vec<Change> =
        networks.iter().map(|network| Change::PutNetwork((*network).clone())).collect();
    let state = State::new(Seed([3; 16])).with(&changes);
    plan(&desired(&state, &model.observed), &model.observed)
}

#[test]
fn its_name_and_its_number_mean_the_same() {
    let mut model = Model::new();
    let made = asked(&model, r#""parent":"eth0.200""#).unwrap();
    assert_eq!((made.parent.clone(), made.vlan.clone()), (Model::vlan(), Some(vlan())));
    assert_eq!(asked(&model, r#""parent":"eth0","vlan":200"#).unwrap(), made);
    for step in planned(&model, &[&made]).steps {
        model.apply(&step).unwrap();
    }
    // The same if the interface exists.
    assert_eq!(asked(&model, r#""parent":"eth0.200""#).unwrap(), made);
    assert_eq!(asked(&model, r#""parent":"eth0","vlan":200"#).unwrap(), made);
    let left = planned(&model, &[]).steps;
    assert_eq!(left.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ip link del dev eth0.200"]);
}

#[test]
fn one_whose_interface_below_has_another_name_stays_and_goes_along() {
    let mut model = Model::new();
    let made = asked(&model, r#""parent":"eth0.200""#).unwrap();
    for step in planned(&model, &[&made]).steps {
        model.apply(&step).unwrap();
    }
    let index = model.observed.host.link(&Model::nic()).unwrap().index;
    let lan0: IfName = "lan0".parse().unwrap();
    model.observed.host.links.iter_mut().find(|link| link.index == index).unwrap().name = lan0.clone();
    assert_eq!(planned(&model, &[&made]).steps, [], "nothing is removed until the reason is known");

    let state = State::new(Seed([3; 16])).with(&[Change::PutNetwork(made.clone())]);
    let by_vlan = state.renamed_parents(&BTreeMap::new(), &model.observed.host);
    let renamed = state.renamed_parents(&BTreeMap::from([(Model::nic(), index)]), &model.observed.host);
    let [(moved, was, is)] = renamed.as_slice() else { panic!("{renamed:?}") };
    assert_eq!((was, is), (&Model::nic(), &lan0));
    assert_eq!(by_vlan, renamed, "the VLAN interface shows which link is below it");
    let below = Vlan { lower: lan0.clone(), ..vlan() };
    assert_eq!((&moved.parent, &moved.vlan), (&Model::vlan(), &Some(below)));
    assert_eq!(planned(&model, &[moved]).steps, []);
    // The interface is also known by its old name, which it has as an alternative name.
    let own = model.observed.host.links.iter().position(|link| link.name == Model::vlan()).unwrap();
    let own = model.observed.host.links.remove(own);
    assert_eq!(state.renamed_parents(&BTreeMap::new(), &model.observed.host), []);
    model.observed.host.altnames.insert(Model::nic(), index);
    assert_eq!(state.renamed_parents(&BTreeMap::new(), &model.observed.host), renamed);
    assert_eq!(model.observed.host.resolved(&Model::nic()), lan0);
    let to_lan0 = state.moved_to(&made, &lan0, &model.observed.host).unwrap();
    assert_eq!((to_lan0.parent.as_str(), to_lan0.vlan), ("lan0.200", moved.vlan.clone()));
    assert_eq!(
        state.moved_to(&made, &"lan0.200".parse().unwrap(), &model.observed.host).unwrap().parent.as_str(),
        "lan0.200"
    );
    // The interface is still Ashore's.
    model.observed.host.links.push(own);
    let left = planned(&model, &[]).steps;
    assert_eq!(left.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ip link del dev eth0.200"]);
}

#[test]
fn a_network_moves_to_the_vlan_that_is_named_and_into_none_that_is_inside_it() {
    let mut model = Model::new();
    let made = asked(&model, r#""parent":"eth0.200""#).unwrap();
    for step in planned(&model, &[&made]).steps {
        model.apply(&step).unwrap();
    }
    let state = State::new(Seed([3; 16])).with(&[Change::PutNetwork(made.clone())]);
    let moved = |model: &Model, to: &str| {
        let moved = state.moved_to(&made, &to.parse().unwrap(), &model.observed.host).unwrap();
        (moved.parent.to_string(), moved.vlan.map(|vlan| vlan.id.get()))
    };
    let stays = ("eth0.200".to_owned(), Some(200));
    assert_eq!(moved(&model, "eth0"), stays);
    assert_eq!(moved(&model, "eth0.200"), stays, "it stays");
    let other = ("eth0.300".to_owned(), Some(300));
    assert_eq!(moved(&model, "eth0.300"), other);
    let cam = asked(&model, r#""parent":"eth0.300""#).unwrap();
    for step in planned(&model, &[&made, &cam]).steps {
        model.apply(&step).unwrap();
    }
    assert_eq!(moved(&model, "eth0.300"), other, "the same if that VLAN exists for another network");
    // A network can also move to the user's own VLAN interface, whatever its name.
    let users = model.observed.host.links.iter_mut().find(|link| link.name.as_str() == "eth0.300").unwrap();
    (users.name, users.alias) = ("guests".parse().unwrap(), None);
    assert_eq!(moved(&model, "guests"), ("guests".to_owned(), None));
}

#[test]
fn a_port_of_open_vswitch_has_the_bridges_own_interface_in_its_place() {
    let mut model = Model::new();
    let host = &mut model.observed.host;
    let nic = host.link(&Model::nic()).unwrap().clone();
    let ovs = |name: &str, index: u32| Link {
        name: name.parse().unwrap(),
        index,
        kind: ObservedKind::Other("openvswitch".into()),
        ..nic.clone()
    };
    let (datapath, own) = (Link { mac: None, up: false, ..ovs("ovs-system", 900) }, ovs("ovs_eth0", 901));
    let spec = r#"{"name":"iot","subnets":["192.168.88.0/24"],"parent":"eth0"}"#;
    let made = serde_json::from_str::<NetworkSpec>(spec).unwrap().network().unwrap();
    host.links.iter_mut().find(|link| link.name == Model::nic()).unwrap().master = Some(900);
    host.links.push(datapath);
    let hint = |model: &Model| asked(model, r#""parent":"eth0""#).unwrap_err().remedy().unwrap().to_string();
    assert!(hint(&model).contains("that has the host's address"), "{}", hint(&model));
    model.observed.host.links.push(own);
    assert_eq!(hint(&model), "use --parent ovs_eth0");
    let told = made.trouble_of_parent(&model.observed.host).unwrap().to_string();
    assert!(told.ends_with("try: ashore network move iot --parent ovs_eth0"), "{told}");
    assert_eq!(asked(&model, r#""parent":"ovs_eth0""#).unwrap().parent.as_str(), "ovs_eth0");
    let unfit = asked(&model, r#""parent":"ovs-system""#).unwrap_err().to_string();
    assert!(unfit.contains("Open vSwitch's datapath device, which sends nothing itself"), "{unfit}");
}

#[test]
fn the_users_own_is_found_by_what_it_is_and_not_by_its_name() {
    let mut model = Model::new();
    model.make_users_vlan();
    let made = vlan();
    model.observed.host.links.last_mut().unwrap().name = "lan0".parse().unwrap();
    for options in [r#""parent":"eth0","vlan":200"#, r#""parent":"eth0.200""#, r#""parent":"lan0""#] {
        let used = asked(&model, options).unwrap();
        assert_eq!((used.parent.as_str(), used.vlan), ("lan0", None), "{options}");
    }
    // The user's interface may appear later, and is then in the way.
    let mine = asked(&Model::new(), r#""parent":"eth0.200""#).unwrap();
    let plan = planned(&model, &[&mine]);
    assert_eq!(plan.blocked, [Blocked::Vlan { name: "lan0".parse().unwrap(), vlan: made }]);
    assert_eq!(plan.steps, []);
}

#[test]
fn a_bridge_that_filters_has_to_know_it_itself_and_by_a_port() {
    let refused = |itself: &[u16], port: &[u16]| {
        let mut model = Model::new();
        let member = |id: &u16| ((*id).try_into().unwrap(), Membership::TAGGED);
        let vlans = |ids: &[u16]| Some(ids.iter().map(member).collect());
        let nic = model.observed.host.links[0].clone();
        model.observed.host.links[0].kind = ObservedKind::Bridge;
        model.observed.host.links[0].vlans = vlans(itself);
        model.observed.host.links.push(Link {
            index: nic.index + 100,
            name: "enp1s0".parse().unwrap(),
            master: Some(nic.index),
            vlans: vlans(port),
            ..nic
        });
        asked(&model, r#""parent":"eth0","vlan":200"#)
            .err()
            .and_then(|error| Some(error.remedy()?.to_string()))
    };
    let (itself, port) = ("bridge vlan add dev eth0 vid 200 self", "bridge vlan add dev enp1s0 vid 200");
    assert_eq!(refused(&[1, 200], &[1, 200]), None);
    assert_eq!(refused(&[1], &[1, 200]).unwrap(), itself);
    assert_eq!(refused(&[1, 200], &[1]).unwrap(), port);
    assert_eq!(refused(&[1], &[1]).unwrap(), format!("{itself}; {port}"));
}

#[test]
fn on_a_bridge_its_name_and_its_number_mean_ashores_own_port() {
    let mut model = Model::new();
    model.add_bridge();
    let made = asked(&model, r#""parent":"br0","vlan":20,"kind":"bridge""#).unwrap();
    assert_eq!((made.parent.as_str(), made.bridge().as_str()), ("br0-vlan20", "br0"));
    assert_eq!(asked(&model, r#""parent":"br0.20","kind":"bridge""#).unwrap(), made);
    for step in planned(&model, &[&made]).steps {
        model.apply(&step).unwrap();
    }
    assert!(planned(&model, &[&made]).is_empty());
    assert_eq!(asked(&model, r#""parent":"br0","vlan":20,"kind":"bridge""#).unwrap(), made);
    // It cannot be the parent of another network.
    for kind in [r#""bridge""#, r#"{"macvlan":"bridge"}"#] {
        let refused = asked(&model, &format!(r#""parent":"br0-vlan20","kind":{kind}"#)).unwrap_err();
        assert!(matches!(refused, NetworkError::ParentUnfit(..)), "{refused}");
    }
    let left = planned(&model, &[]).steps;
    assert_eq!(left.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ip link del dev br0-vlan20"]);
}

#[test]
fn endpoints_are_kept_off_a_bridge_that_would_put_them_on_another_lan() {
    let mut model = Model::new();
    model.add_bridge();
    let made = asked(&model, r#""parent":"br0.20","kind":"bridge""#).unwrap();
    model.set_filtering(false);
    let refused = asked(&model, r#""parent":"br0.20","kind":"bridge""#).unwrap_err();
    let hint = refused.remedy().unwrap().to_string();
    assert!(
        hint.starts_with(
            "ip link set dev br0 type bridge vlan_filtering 1; bridge vlan add dev eth1 vid 20 ("
        )
    );
    let plan = planned(&model, &[&made]);
    let (bridge, vlan) = (Model::bridge(), Model::bridge_vlan());
    assert_eq!(plan.blocked, [Blocked::Unfiltered { bridge, vlan }]);
    assert!(!plan.steps.iter().any(|step| matches!(step, Step::SetMaster { .. })), "{:?}", plan.steps);
}

#[test]
fn wifi_carries_no_tags() {
    let mut model = Model::new();
    model.observed.host.links[0].wireless = true;
    let refused = asked(&model, r#""parent":"eth0.200","kind":{"ipvlan":"l2"}"#);
    assert_eq!(refused, Err(NetworkError::VlanOnWifi(vlan())));
}
