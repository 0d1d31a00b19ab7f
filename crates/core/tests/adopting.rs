//! Networks of an engine's own drivers: how they are read, which containers are followed, and what is left
//! when a network is no longer adopted.

mod model;

use ashore_core::model::endpoint::Source;
use ashore_core::model::identity::Seed;
use ashore_core::model::inventory::{Inventory, ListedNetwork};
use ashore_core::model::network::Network;
use ashore_core::model::ownership::{EngineId, EngineKind};
use ashore_core::model::state::{Change, State};
use ashore_core::net::kind::{IpvlanMode, LinkKind, MacvlanMode};
use ashore_core::rules::allocate::of_engines;
use ashore_core::rules::create::NetworkSpec;
use model::Model;

const ID: &str = "0123456789abcdef";

fn listed(driver: &str, options: &str) -> ListedNetwork {
    let text = format!(
        r#"{{"id":"{ID}","name":"home","driver":"{driver}","internal":true,"options":{{{options}}},"subnets":[
            {{"net":"192.168.88.7/24","range":"192.168.88.192/27","gateway":"192.168.88.1","aux":{{"host":"192.168.88.222"}}}},
            {{"net":"fd88::/64","range":"fd88::/64","gateway":null,"aux":{{}}}}]}}"#
    );
    serde_json::from_str(&text).unwrap()
}

/// The engine.
fn engine() -> EngineId {
    EngineId { kind: EngineKind::Docker, id: "e1".into() }
}

/// Containers as `NAME`, `NAME=ENDPOINT` and `NAME=ENDPOINT@SANDBOX`, on one network of an engine that has
/// other networks too.
fn inventory(driver: &str, containers: &[&str]) -> Inventory {
    let container = |text: &&str| {
        let (text, sandbox) = text.split_once('@').map_or((*text, None), |(text, at)| (text, Some(at)));
        let (name, endpoint) = text.split_once('=').map_or((text, None), |(name, id)| (name, Some(id)));
        serde_json::json!({
            "id": format!("c-{name}"), "name": name, "sandbox": sandbox,
            "memberships": [{
                "network": ID, "endpoint": endpoint, "addresses": ["192.168.88.193/24"], "mac": "02:00:00:00:00:07", "chosen": [],
            }],
        })
    };
    let mut text = serde_json::json!({ "engine": "e1", "networks": [], "containers": [] });
    text["containers"] = containers.iter().map(container).collect();
    let mut all: Inventory = serde_json::from_value(text).unwrap();
    let other =
        |driver: &str, name: &str| ListedNetwork { id: name.into(), name: name.into(), ..listed(driver, "") };
    all.networks = vec![
        other("bridge", "bridge"),
        listed(driver, r#""parent":"eth0""#),
        other("ipvlan", "second"),
        other("ashore", "third"),
    ];
    all
}

fn carried_out(state: &State, changes: &[Change]) -> State {
    let mut state = state.clone();
    changes.iter().cloned().for_each(|change| state.apply(change));
    state
}

#[test]
fn a_network_is_read_by_its_drivers_options() {
    let kind = |driver: &str, options: &str| {
        listed(driver, options).adopted(&engine(), true).map(|network| network.kind)
    };
    let parent = r#""parent":"eth0""#;
    for (driver, option, expected) in [
        ("macvlan", "", LinkKind::Macvlan(MacvlanMode::Bridge)),
        ("macvlan", r#","macvlan_mode":"""#, LinkKind::Macvlan(MacvlanMode::Bridge)),
        ("macvlan", r#","macvlan_mode":"vepa""#, LinkKind::Macvlan(MacvlanMode::Vepa)),
        ("ipvlan", "", LinkKind::Ipvlan(IpvlanMode::L2)),
        ("ipvlan", r#","ipvlan_mode":"l3s""#, LinkKind::Ipvlan(IpvlanMode::L3s)),
    ] {
        assert_eq!(kind(driver, &format!("{parent}{option}")), Ok(expected), "{driver} {option}");
    }
    for (driver, options, said, helps) in [
        ("bridge", parent, "bridge", "docker network create -d ashore"),
        ("macvlan", "", "home", "-o parent=eth0"),
        ("macvlan", r#""parent":"""#, "home", "-o parent=eth0"),
        ("macvlan", r#""parent":"a/b""#, "a/b", ""),
        ("macvlan", r#""parent":"eth0","macvlan_mode":"odd""#, "odd", ""),
        ("ipvlan", r#""parent":"eth0","ipvlan_mode":"odd""#, "odd", ""),
    ] {
        let error = kind(driver, options).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(
            error.remedy().unwrap_or_default().to_string().contains(helps)
                && error.remedy().is_none() == helps.is_empty(),
            "{error:?}"
        );
    }
    let network = listed("macvlan", parent).adopted(&engine(), true).unwrap();
    assert_eq!(
        (network.name.as_str(), network.label(), network.parent.as_str()),
        (&ID[..12], "home", "eth0")
    );
    assert!(network.adopted && network.internal && network.host_access);
    let ranges: Vec<_> =
        network.subnets.iter().map(|subnet| (subnet.net.to_string(), subnet.range)).collect();
    assert_eq!(ranges[0], ("192.168.88.0/24".into(), Some("192.168.88.192/27".parse().unwrap())));
    let state = carried_out(&State::new(Seed([3; 16])), &[Change::PutNetwork(network)]);
    let handed_out: Vec<String> = of_engines(&state).map(|range| range.to_string()).collect();
    assert_eq!(handed_out, ["192.168.88.192/27"], "a range that is a whole subnet is left out");
}

#[test]
fn an_adopted_networks_containers_are_those_on_the_engines_list() {
    let none = State::new(Seed([3; 16]));
    let adopt = |driver: &str, name: &str, containers: &[&str]| {
        none.adopting(&inventory(driver, containers), name, true, 5)
    };
    let error = adopt("macvlan", "nothing", &[]).unwrap_err();
    assert!(error.to_string().contains("`home`") && error.to_string().contains("`second`"), "{error}");
    assert!(!error.to_string().contains("`bridge`") && !error.to_string().contains("`third`"), "{error}");
    assert!(error.remedy().unwrap().to_string().contains("docker network ls"));

    let (network, changes) = adopt("macvlan", "home", &["web=e-web@/run/web", "off"]).unwrap();
    let state = carried_out(&none, &changes);
    let [web] = state.endpoints.values().collect::<Vec<_>>()[..] else { panic!("{:?}", state.endpoints) };
    assert_eq!(
        (web.name.as_str(), web.engine_id(), web.since, web.source),
        ("web", Some("e-web"), 5, Source::Engine)
    );
    assert_eq!(web.mac, "02:00:00:00:00:07".parse().ok());
    assert_eq!(web.sandbox(), Some("/run/web".as_ref()));
    let follow = |state: &State, containers: &[&str], now| {
        let changes = state.followed(&inventory("macvlan", containers), &network, now);
        (changes.len(), carried_out(state, &changes))
    };
    assert_eq!(follow(&state, &["web=e-web@/run/web"], 9).0, 0);
    // The engine need not say each time where the container is.
    assert_eq!(follow(&state, &["web=e-web"], 9).0, 0);
    let (count, other) = follow(&state, &["web=e-other", "db=e-db"], 9);
    assert_eq!(count, 2);
    let all: Vec<_> =
        other.endpoints.values().map(|one| (one.name.as_str(), one.since, one.sandbox())).collect();
    assert_eq!(all, [("db", 9, None), ("web", 9, None)], "it is another endpoint of the same name");
    let (count, gone) = follow(&other, &["db=e-db"], 10);
    assert_eq!((count, gone.endpoints.len()), (1, 1));

    let (_, changes) = adopt("ipvlan", "home", &["web=e-web"]).unwrap();
    let state = carried_out(&none, &changes);
    assert!(state.endpoints.values().all(|web| web.mac.is_none()), "it is the parent's");

    // A network of Ashore's own, and one whose kind hides endpoints from the host.
    let spec = r#"{"name":"own","parent":"eth0","subnets":["192.168.88.0/24"]}"#;
    let own = serde_json::from_str::<NetworkSpec>(spec).unwrap().network().unwrap();
    let own = ashore_core::model::network::Network { engine: network.engine.clone(), ..own };
    let with_own = carried_out(&none, &[Change::PutNetwork(own)]);
    let refused = with_own.adopting(&inventory("macvlan", &[]), "home", true, 5).unwrap_err();
    assert!(refused.to_string().contains("home") && refused.remedy().is_none(), "{refused}");
    let mut private = inventory("macvlan", &[]);
    private.networks[1].options.insert("macvlan_mode".into(), "private".into());
    assert!(none.adopting(&private, "home", true, 5).unwrap_err().remedy().is_some());
    assert!(none.adopting(&private, "home", false, 5).is_ok());
}

#[test]
fn what_is_let_go_is_called_by_any_of_its_names_and_leaves_nothing() {
    let none = State::new(Seed([3; 16]));
    let (_, changes) =
        none.adopting(&inventory("macvlan", &["web=e-web", "db=e-db"]), "home", true, 5).unwrap();
    let spec = r#"{"name":"own","parent":"eth0","subnets":["192.168.88.0/24"]}"#;
    let own = serde_json::from_str::<NetworkSpec>(spec).unwrap().network().unwrap();
    let state = carried_out(&carried_out(&none, &changes), &[Change::PutNetwork(own)]);
    for name in ["home", ID, &ID[..12]] {
        let left = carried_out(&state, &state.unadopting(name).unwrap());
        assert_eq!(
            left.networks.keys().map(ashore_core::net::name::NetworkName::as_str).collect::<Vec<_>>(),
            ["own"]
        );
        assert!(left.endpoints.is_empty());
    }
    for name in ["own", "other", &ID[..11]] {
        let refused = state.unadopting(name).unwrap_err();
        assert!(refused.remedy().unwrap().to_string().contains("ashore network ls"), "{refused}");
    }
}

#[test]
fn one_that_its_engine_makes_anew_is_known_by_whichever_name_of_its_parent_was_said() {
    let mut host = Model::new().observed.host;
    let index = host.link(&Model::nic()).unwrap().index;
    host.altnames.insert("enp1s0".parse().unwrap(), index);
    let none = State::new(Seed([3; 16]));
    let inventory = inventory("macvlan", &[]);
    let (adopted, _) = none.adopting(&inventory, "home", true, 5).unwrap();
    let with_parent = |parent: &str| Network { parent: parent.parse().unwrap(), ..adopted.clone() };
    for (gone, listed, is_it) in [
        ("eth0", "eth0", true),
        ("eth0", "enp1s0", true),
        ("enp1s0", "eth0", true),
        ("eth0", "eth1", false),
        // Of an interface that is gone, only the name is known.
        ("eth1", "eth1", true),
    ] {
        let mut inventory = inventory.clone();
        inventory.networks[1].options.insert("parent".into(), listed.into());
        let again = none.made_anew(&inventory, &with_parent(gone), &host);
        assert_eq!(again.map(|listed| listed.id.as_str()), is_it.then_some(ID), "{gone} {listed}");
    }
}
