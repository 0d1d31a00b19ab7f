//! Whoever calls the plugin and does not come to an end keeps neither descriptors nor other callers.

mod home;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use home::fake_engine::{Answers, FakeEngine, plugin_call, plugin_socket};
use home::{Home, eventually};
use serde_json::{Value, json};

/// More than the plugin reads at once.
const MANY: usize = 600;

#[test]
fn calls_that_do_not_come_whole_are_given_up() {
    let home = Home::new();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", home.daemon().pid())).unwrap().count();
    plugin_call(&home, "/Plugin.Activate", "");
    let before = descriptors();
    let halves = [
        "",
        "POST /IpamDriver.Req",
        "POST /Plugin.Activate HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ];
    let mut held: Vec<UnixStream> = (0..MANY)
        .map(|n| {
            let mut stream = UnixStream::connect(plugin_socket(&home)).unwrap();
            stream.write_all(halves[n % halves.len()].as_bytes()).unwrap();
            stream
        })
        .collect();
    eventually("they are taken in", || descriptors() > before + 100);
    // Others wait at most until these are given up.
    assert!(plugin_call(&home, "/NetworkDriver.GetCapabilities", "").contains("GwAllocChecker"));
    eventually("none of them is kept", || descriptors() <= before);
    let mut answer = String::new();
    held[2].read_to_string(&mut answer).unwrap();
    assert!(answer.contains("did not come whole"), "{answer}");
}

/// A network, and a call by which the engine asks for one address on it.
fn asking(engine: &FakeEngine) -> Value {
    engine.answers(Answers::from([
        ("/version", json!({ "Version": "28.5.2" })),
        ("/networks/", json!({ "Name": "lan" })),
        ("/containers/json", json!([])),
    ]));
    let pool = engine.create_network("66150cdfa0c94d73", &json!({ "Pool": "192.168.88.0/24" }));
    json!({ "PoolID": pool, "Address": "192.168.88.215" })
}

#[test]
fn an_engine_that_starts_anew_has_forgotten_the_addresses_it_asked_for() {
    let engine = FakeEngine::new();
    let asked = asking(&engine);
    engine.call("IpamDriver.RequestAddress", &asked);
    // It is killed before it makes an endpoint. Until then the address is its container's.
    engine.try_call("IpamDriver.RequestAddress", &asked).unwrap_err();
    engine.call("Plugin.Activate", &json!({}));
    engine.call("IpamDriver.RequestAddress", &asked);
}

#[test]
fn an_engine_that_was_killed_while_it_waited_for_an_address_does_not_have_it() {
    let engine = FakeEngine::new();
    let asked = asking(&engine).to_string();
    let mut stream = UnixStream::connect(plugin_socket(&engine.home)).unwrap();
    let length = asked.len();
    write!(
        stream,
        "POST /IpamDriver.RequestAddress HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{asked}"
    )
    .unwrap();
    // The LAN is asked for the address with the shim's help.
    eventually("the shim is made", || engine.home.daemon().log().contains("ip link set dev shim-eth0 up"));
    drop(stream);
    eventually("it is noticed", || {
        engine.home.daemon().log().contains("the engine was gone before it heard")
    });
    let asked: Value = serde_json::from_str(&asked).unwrap();
    engine.call("IpamDriver.RequestAddress", &asked);
}
