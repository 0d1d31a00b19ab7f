//! Two container engines on one host. What one of them lists, forgets or has forgotten in a restart takes
//! nothing from the other one's containers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ashore_core::model::inventory::{ListedContainer, ListedNetwork, Membership};
use ashore_core::model::ownership::{EngineId, EngineKind};
use home::engine::{Engine, Running};
use home::{Home, PROGRAM, eventually};
use serde_json::json;

/// How long a list has to lack something before it is given up, with time to spare.
const GRACE: Duration = Duration::from_secs(33);

/// Docker and Podman, each with a network `lan` of its own.
fn engines(home: &Home) -> (Engine<'_>, Engine<'_>) {
    let docker = Engine::begin(home, "192.168.88.192/27");
    (docker, Engine::of_kind(EngineKind::Podman, home, "192.168.88.160/27"))
}

/// Whom each endpoint belongs to, its name and its addresses.
fn endpoints(home: &Home) -> Vec<String> {
    let text = |endpoint: &serde_json::Value| {
        let addresses: Vec<_> = home::addresses(endpoint).iter().map(ToString::to_string).collect();
        let word = |field: &str| endpoint[field].as_str().unwrap().to_owned();
        format!("{} {} {}", word("ownership"), word("name"), addresses.join(" "))
    };
    let mut all: Vec<String> = home.status()["endpoints"].as_array().unwrap().iter().map(text).collect();
    all.sort_unstable();
    all
}

fn of(owner: &str, running: &Running) -> String {
    format!("{owner} {} {}", running.name, running.address.addr())
}

#[test]
fn what_one_forgets_is_given_back_and_what_it_does_not_list_is_kept() {
    let mut home = Home::new();
    let (ours, theirs, named);
    {
        let (docker, podman) = engines(&home);
        ours = docker.start("web");
        theirs = podman.start("web");
        assert!(ours.address != theirs.address && ours.mac != theirs.mac);
        named = podman.start("db");
        docker.list(&[&ours]);
        podman.list(&[&theirs, &named]);
        let all = [of("docker", &ours), of("podman", &named), of("podman", &theirs)];
        assert_eq!(endpoints(&home), all);
        // The lists alternate, and Podman's lack one container.
        let began = Instant::now();
        while began.elapsed() < GRACE {
            docker.list(&[&ours]);
            podman.list(&[&named]);
            std::thread::sleep(Duration::from_millis(500));
        }
        assert_eq!(endpoints(&home), [of("docker", &ours), of("podman", &named)]);
        // It has its own again.
        let again = podman.start("web");
        assert_eq!((again.address, again.mac), (theirs.address, theirs.mac));
        podman.list(&[&again, &named]);
        // A name is free for one engine whatever the other calls its containers.
        let www = Running { name: "www".into(), ..ours.clone() };
        docker.list(&[&www]);
        assert_eq!(endpoints(&home), [of("docker", &www), of("podman", &named), of("podman", &again)]);
        docker.list(&[&ours]);
        let table = home.ok("status");
        assert!(table.contains("OF") && table.contains("podman"), "{table}");
        podman.stop_all([&again, &named].into_iter());
        docker.stop(&ours);
    }
    // The same from the disk.
    home.restart();
    let (docker, podman) = engines(&home);
    let (ours_again, theirs_again) = (docker.start("web"), podman.start("web"));
    assert_eq!((ours_again.address, ours_again.mac), (ours.address, ours.mac));
    assert_eq!((theirs_again.address, theirs_again.mac), (theirs.address, theirs.mac));
}

#[test]
fn a_trouble_with_networks_of_one_name_says_whose_each_is() {
    let home = Home::new();
    let (docker, podman) = engines(&home);
    docker.list(&[&docker.start("web")]);
    podman.list(&[&podman.start("db")]);
    home.nas.remove_link("eth0").unwrap();
    let wait = |engine: &str| json!({ "network": "lan", "parent": "eth0", "engine": engine });
    eventually("both wait for their parent", || {
        let status = home.status();
        let all = status["troubles"].as_array().unwrap().iter();
        let waiting = all.filter(|trouble| trouble["code"] == "parent-missing");
        let mut waiting: Vec<_> = waiting.map(|trouble| trouble["about"].clone()).collect();
        waiting.sort_by_key(ToString::to_string);
        waiting == [wait("docker"), wait("podman")]
    });
}

#[test]
fn what_one_reserves_again_after_its_restart_is_not_answered_by_the_others_list() {
    let home = Home::new();
    let (docker, podman) = engines(&home);
    let (ours, theirs) = (docker.start("web"), podman.start("db"));
    for (one, other, running, others) in
        [(&docker, &podman, &ours, &theirs), (&podman, &docker, &theirs, &ours)]
    {
        one.restart();
        other.restart();
        other.list(&[others]);
        assert_eq!(one.reserve(None, Some(running.address.addr())).unwrap(), running.address);
        // Each address counts once, and not at all after the engine's own list.
        assert!(one.reserve(None, Some(running.address.addr())).is_err());
        assert!(other.reserve(None, Some(others.address.addr())).is_err());
    }
    assert_eq!(endpoints(&home), [of("docker", &ours), of("podman", &theirs)]);
}

#[test]
fn a_restart_of_one_ends_nothing_that_the_other_has_begun() {
    let home = Home::new();
    let (docker, podman) = engines(&home);
    // An endpoint that is half made.
    let half = docker.reserve(Some(docker.owner(Some("half"))), None).unwrap();
    docker.prepare("half made", half, None);
    // A container that was announced, and one that starts for longer than the lists may lack it.
    docker.expect("db");
    let slow = docker.start("slow");
    docker.expect("db");
    podman.restart();
    let announced = docker.reserve(None, None).unwrap();
    let all = || {
        [
            format!("docker db {}", announced.addr()),
            format!("docker half {}", half.addr()),
            of("docker", &slow),
        ]
    };
    assert_eq!(endpoints(&home), all());
    // Another one of that name is no reason to take the endpoint away.
    let beside = docker.reserve(Some(docker.owner(Some("half"))), None).unwrap();
    assert!(endpoints(&home).contains(&all()[1]) && beside != half);
    let began = Instant::now();
    while began.elapsed() < GRACE {
        docker.list(&[]);
        podman.list(&[]);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(endpoints(&home).contains(&all()[2]), "{:?}", endpoints(&home));
    // Docker's own restart has forgotten that it starts.
    docker.restart();
    let began = Instant::now();
    while began.elapsed() < GRACE {
        docker.list(&[]);
        podman.list(&[]);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(!endpoints(&home).contains(&all()[2]), "{:?}", endpoints(&home));
}

#[test]
fn an_adopted_network_of_one_stays_while_the_other_lists_and_is_adopted_again_afterwards() {
    let home = Home::new();
    let listed = |id: &str| ListedNetwork {
        id: id.repeat(16),
        name: "own".into(),
        driver: "macvlan".into(),
        internal: false,
        misuses_ipam: false,
        options: BTreeMap::from([("parent".to_owned(), "eth0".to_owned())]),
        subnets: serde_json::from_value(serde_json::json!([
            { "net": "192.168.88.0/24", "range": "192.168.88.128/28", "gateway": "192.168.88.1", "aux": {} },
        ]))
        .unwrap(),
    };
    let docker_id = EngineId { kind: EngineKind::Docker, id: "engine".into() };
    let network = listed("a1b2").adopted(&docker_id, true).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
    document["rows"][format!("network/{}", network.name)] = serde_json::to_value(&network).unwrap();
    let file = home.directory.path().join("document.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let import = std::process::Command::new(PROGRAM)
        .args(["state", "import"])
        .env("ASHORE_SOCKET", home.daemon().socket())
        .stdin(std::fs::File::open(file).unwrap())
        .status();
    assert!(import.unwrap().success());

    let (docker, podman) = engines(&home);
    let container = |network: &str| ListedContainer {
        id: "c1".into(),
        name: "nas".parse().unwrap(),
        formerly: None,
        memberships: vec![Membership {
            network: network.repeat(16),
            endpoint: Some("e1".into()),
            addresses: vec!["192.168.88.130/24".parse().unwrap()],
            mac: Some("02:00:00:00:88:30".parse().unwrap()),
            chosen: Vec::new(),
        }],
        sandbox: None,
    };
    let adopted = || {
        let status = home.status();
        let networks = status["networks"].as_array().unwrap().iter();
        networks.filter(|one| one["network"]["adopted"] == true).count()
    };
    docker.take(vec![listed("a1b2")], vec![container("a1b2")]);
    podman.list(&[]);
    assert_eq!((endpoints(&home), adopted()), (vec!["docker nas 192.168.88.130".to_owned()], 1));
    // Docker removes it, and creates it again after Podman has listed what it has, which has the same name.
    docker.take(Vec::new(), Vec::new());
    assert_eq!((endpoints(&home), adopted()), (Vec::new(), 0));
    podman.take(vec![listed("d4e5")], Vec::new());
    assert_eq!(adopted(), 0);
    docker.take(vec![listed("b2c3")], Vec::new());
    assert_eq!(adopted(), 1);
    docker.take(vec![listed("b2c3")], vec![container("b2c3")]);
    podman.list(&[]);
    assert_eq!(endpoints(&home), ["docker nas 192.168.88.130"]);
}
