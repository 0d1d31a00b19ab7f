//! For which container an address is requested. Docker 29 and later say so; for earlier versions, the daemon
//! asks the engine's API. The tests have no such engine: they make the calls and play the API.

use std::net::Ipv4Addr;

use ashore_wire::Mac;
use ashore_wire::dhcp4::code;
use home::fake_engine::{Answers, FakeEngine};
use home::frames::What;
use home::scripted::Scripted;
use serde_json::{Value, json};

const NETWORK: &str = "66150cdfa0c94d73";
const POOL: &str = "192.168.88.0/24";

fn ranged() -> Value {
    json!({ "Pool": POOL, "SubPool": "192.168.88.192/27" })
}

/// The engine's list entry for a container on the network.
fn listed(name: &str, mac: &str) -> Value {
    let there = json!({ "EndpointID": "", "MacAddress": mac });
    json!([{ "Id": name, "State": "created", "Names": [format!("/{name}")], "NetworkSettings": { "Networks": { "lan": there } } }])
}

/// Requests an address as Docker up to 28 does, and returns the name that holds it.
fn holder_of_next(engine: &FakeEngine, pool: &str) -> String {
    let answer = engine.call("IpamDriver.RequestAddress", &json!({ "PoolID": pool, "Address": "" }));
    let status = engine.home.status();
    let mut endpoints = status["endpoints"].as_array().unwrap().iter();
    let held = endpoints.find(|endpoint| endpoint["addresses"][0] == answer["Address"]).unwrap();
    held["name"].as_str().unwrap().to_owned()
}

fn answers(containers: Value) -> Answers {
    Answers::from([
        ("/version", json!({ "Version": "29.7.0" })),
        ("/networks/", json!({ "Name": "lan" })),
        ("/containers/json", containers),
    ])
}

#[test]
fn a_name_that_was_told_is_not_asked_for() {
    let engine = FakeEngine::new();
    engine.answers(answers(listed("web", "")));
    let pool = engine.create_network(NETWORK, &ranged());
    engine.was_asked();

    // The network's name for users is asked for once.
    assert_eq!(engine.address_for(&pool, "web"), "192.168.88.192/24");
    let asked = engine.was_asked();
    assert!(asked.iter().any(|path| path == &format!("/networks/{NETWORK}")), "{asked:?}");
    // From then on nothing is asked for, whether the engine would answer or not.
    engine.answers(Answers::new());
    for (name, last) in [("db", 193), ("mail", 194)] {
        assert_eq!(engine.address_for(&pool, name), format!("192.168.88.{last}/24"));
    }
    // The name is the container's identity: it gets its address again.
    let release = |last| {
        engine.call(
            "IpamDriver.ReleaseAddress",
            &json!({ "PoolID": pool, "Address": format!("192.168.88.{last}") }),
        )
    };
    for last in [192, 193, 194] {
        release(last);
    }
    for (name, last) in [("mail", 194), ("web", 192), ("db", 193)] {
        assert_eq!(engine.address_for(&pool, name), format!("192.168.88.{last}/24"));
    }
    assert_eq!(engine.was_asked(), [""; 0]);
}

#[test]
fn names_that_begin_alike_are_two_containers() {
    let engine = FakeEngine::new();
    engine.answers(answers(json!([])));
    let pool = engine.create_network(NETWORK, &ranged());
    let long = |end: &str| format!("{}-{end}", "project".repeat(10));
    let [one, other] = [long("1"), long("2")].map(|name| engine.address_for(&pool, &name));
    assert_ne!(one, other);
    for address in [&one, &other] {
        let ip = address.split('/').next().unwrap();
        engine.call("IpamDriver.ReleaseAddress", &json!({ "PoolID": pool, "Address": ip }));
    }
    assert_eq!([long("2"), long("1")].map(|name| engine.address_for(&pool, &name)), [other, one]);
}

#[test]
fn a_server_is_asked_with_the_mac_that_the_user_chose() {
    let engine = FakeEngine::new();
    let mac = "02:00:00:00:88:01";
    engine.answers(answers(listed("web", mac)));
    let ip = Ipv4Addr::new(192, 168, 88, 100);
    let server = Scripted::on(&engine.home.router, move |question| {
        question.good(ip, 3600).map(home::scripted::Reply::now).into_iter().collect()
    });
    let requested = json!({ "Pool": POOL, "Options": { "addressing": "dhcp" } });
    let pool = engine.create_network(NETWORK, &requested);
    engine.was_asked();
    assert_eq!(engine.address_for(&pool, "web"), "192.168.88.100/24");
    let lists = engine.was_asked().into_iter().filter(|path| path.starts_with("/containers/"));
    assert_eq!(
        lists.collect::<Vec<_>>(),
        ["/containers/json?all=1&filters=%7B%22name%22%3A%5B%22%5E%2F%3Fweb%24%22%5D%7D"]
    );
    let asked = server.heard();
    let own: Mac = mac.parse().unwrap();
    let select = asked.iter().find(|question| question.what == What::Select).unwrap();
    assert_eq!(select.message.chaddr, own, "{asked:?}");
    assert!(select.message.options.get(code::CLIENT_ID).is_some());
}

#[test]
fn to_docker_28_the_one_that_it_is_busy_with_is_known_without_a_look_through_the_processes() {
    let engine = FakeEngine::new();
    let running = |name: &str| json!({ "Id": name, "State": "running", "Names": [format!("/{name}")], "NetworkSettings": { "Networks": {} } });
    engine.answers(answers(listed("web", "")));
    let pool = engine.create_network(NETWORK, &ranged());
    engine.was_asked();
    // For the only possible container the daemon does not ask.
    assert_eq!(holder_of_next(&engine, &pool), "web");
    let asked = engine.was_asked();
    assert!(!asked.iter().any(|path| path.ends_with("/web/json")), "{asked:?}");
    // Of several, it is the one for which the engine does not answer.
    let several = json!([running("db"), running("mail"), running("files")]);
    let mut busy_with_mail = answers(several);
    busy_with_mail.extend([("/containers/db/", json!({})), ("/containers/files/", json!({}))]);
    engine.answers(busy_with_mail.clone());
    assert_eq!(holder_of_next(&engine, &pool), "mail");
    // Of two, the daemon cannot tell which.
    busy_with_mail.remove("/containers/db/");
    engine.answers(busy_with_mail);
    assert!(holder_of_next(&engine, &pool).starts_with("at-192.168.88."));
}
