//! Clients of the plugin that do not complete their calls hold neither descriptors nor other callers.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ashore_lab::{Engines, cannot_run};
use home::fake_engine::{Answers, FakeEngine, plugin_call, plugin_socket};
use home::inside::Inside;
use home::{Home, eventually, waits_beside};
use serde_json::{Value, json};

const NETWORK: &str = "66150cdfa0c94d73";
/// More connections than the plugin reads at once.
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
    // Other calls wait at most until these are given up.
    assert!(plugin_call(&home, "/NetworkDriver.GetCapabilities", "").contains("GwAllocChecker"));
    eventually("none of them is kept", || descriptors() <= before);
    let mut answer = String::new();
    held[2].read_to_string(&mut answer).unwrap();
    assert!(answer.contains("was incomplete after"), "{answer}");
}

/// Creates a network and returns a call by which the engine requests one address on it.
fn asking(engine: &FakeEngine) -> Value {
    engine.answers(Answers::from([
        ("/version", json!({ "Version": "28.5.2" })),
        ("/networks/", json!({ "Name": "lan" })),
        ("/containers/json", json!([])),
    ]));
    let pool = engine.create_network(NETWORK, &json!({ "Pool": "192.168.88.0/24" }));
    json!({ "PoolID": pool, "Address": "192.168.88.215" })
}

/// Lets another process make this call and read the answer.
fn call_by_another(engine: &FakeEngine, path: &str, body: &Value) -> Child {
    const CALL: &str = "use IO::Socket::UNIX; $| = 1; my ($socket, $path, $body) = @ARGV;
        my $s = IO::Socket::UNIX->new($socket) or die $!;
        print $s \"POST $path HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: \" . length($body) . \"\\r\\n\\r\\n$body\";
        local $/; print <$s>; print \"\\nheard\\n\"; sleep 600;";
    let mut perl = Command::new("perl");
    perl.args(["-e", CALL]).arg(plugin_socket(&engine.home)).args([path, &body.to_string()]);
    let mut child = perl.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "heard"));
    child
}

#[test]
fn an_engine_that_starts_anew_has_forgotten_the_addresses_it_asked_for() {
    let engine = FakeEngine::new();
    let asked = asking(&engine);
    let mut earlier = call_by_another(&engine, "/IpamDriver.RequestAddress", &asked);
    // Until it creates an endpoint, the address is its container's, whoever activates the plugin.
    for _ in 0..2 {
        engine.call("Plugin.Activate", &json!({}));
        engine.try_call("IpamDriver.RequestAddress", &asked).unwrap_err();
    }
    earlier.kill().unwrap();
    earlier.wait().unwrap();
    engine.call("Plugin.Activate", &json!({}));
    engine.call("IpamDriver.RequestAddress", &asked);
    // Now the container has the address, however often the engine activates the plugin.
    engine.call("Plugin.Activate", &json!({}));
    engine.try_call("IpamDriver.RequestAddress", &asked).unwrap_err();
}

#[test]
fn an_endpoint_of_which_a_killed_engine_told_nobody_gives_way_to_its_containers_next() {
    let engine = FakeEngine::new();
    let asked = asking(&engine);
    let creates = |id: &str| {
        let interface = json!({ "Address": "192.168.88.215/24", "AddressIPv6": "", "MacAddress": "" });
        json!({ "NetworkID": NETWORK, "EndpointID": id, "Interface": interface, "Options": {} })
    };
    engine.call("IpamDriver.RequestAddress", &asked);
    engine.call("NetworkDriver.CreateEndpoint", &creates("aa"));
    engine.try_call("NetworkDriver.CreateEndpoint", &creates("bb")).unwrap_err();
    // The next engine starts the container again.
    call_by_another(&engine, "/Plugin.Activate", &json!({})).kill().unwrap();
    engine.call("IpamDriver.RequestAddress", &asked);
    engine.call("NetworkDriver.CreateEndpoint", &creates("bb"));
    engine.try_call("NetworkDriver.CreateEndpoint", &creates("cc")).unwrap_err();
}

/// A call by which the engine creates an endpoint with a MAC that its user chose.
fn creates(id: &str, ip: &str) -> Value {
    let address = format!("{ip}/24");
    let interface = json!({ "Address": address, "AddressIPv6": "", "MacAddress": "02:42:aa:00:00:01" });
    json!({ "NetworkID": NETWORK, "EndpointID": id, "Interface": interface, "Options": {} })
}

#[test]
fn whatever_a_killed_engine_was_doing_its_containers_next_endpoint_has_the_mac_that_its_user_chose() {
    let engine = FakeEngine::new();
    let mut asked = asking(&engine);
    let pool = asked["PoolID"].clone();
    let mut address = |ip: &str| {
        asked["Address"] = json!(ip);
        engine.call("IpamDriver.RequestAddress", &asked);
    };
    let started_anew = || call_by_another(&engine, "/Plugin.Activate", &json!({})).kill().unwrap();
    address("192.168.88.193");
    engine.call("NetworkDriver.CreateEndpoint", &creates("aa", "192.168.88.193"));
    // The engine is killed before the endpoint joined, and the container gets another address.
    started_anew();
    address("192.168.88.194");
    engine.call("NetworkDriver.CreateEndpoint", &creates("bb", "192.168.88.194"));
    // The engine is killed between deleting the endpoint and releasing its address.
    let deleted = |id: &str| {
        let body = json!({ "NetworkID": NETWORK, "EndpointID": id });
        call_by_another(&engine, "/NetworkDriver.DeleteEndpoint", &body).kill().unwrap();
    };
    deleted("bb");
    started_anew();
    address("192.168.88.195");
    engine.call("NetworkDriver.CreateEndpoint", &creates("cc", "192.168.88.195"));
    started_anew();
    // The same where the container gets the same address.
    address("192.168.88.195");
    engine.call("NetworkDriver.CreateEndpoint", &creates("dd", "192.168.88.195"));
    deleted("dd");
    started_anew();
    address("192.168.88.196");
    engine.call("NetworkDriver.CreateEndpoint", &creates("ee", "192.168.88.196"));
    // An endpoint that this engine has created is in the way.
    address("192.168.88.197");
    let refused =
        engine.try_call("NetworkDriver.CreateEndpoint", &creates("ff", "192.168.88.197")).unwrap_err();
    assert!(refused.contains("02:42:aa:00:00:01"), "{refused}");
    let release = json!({ "PoolID": pool, "Address": "192.168.88.197" });
    engine.call("IpamDriver.ReleaseAddress", &release);
}

#[test]
fn a_container_whose_last_link_does_not_go_keeps_nobody_else_waiting() {
    if let Err(why) = Engines::find() {
        return cannot_run("a last link that does not go", &why);
    }
    let engine = FakeEngine::new();
    let (mut asked, home) = (asking(&engine), &engine.home);
    asked["Address"] = json!("192.168.88.193");
    let of = |id: &str| json!({ "NetworkID": NETWORK, "EndpointID": id, "SandboxKey": "/nowhere" });
    let made = |id: &str| {
        engine.call("IpamDriver.RequestAddress", &asked);
        engine.call("NetworkDriver.CreateEndpoint", &creates(id, "192.168.88.193"));
    };
    home.ok("network create own --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.64/27");
    let thief = home.world.container("thief").unwrap();
    home.attach("own", &thief, "");
    let release = json!({ "PoolID": asked["PoolID"], "Address": "192.168.88.193" });
    for id in ["aa", "bb", "cc", "dd", "ee", "ff"] {
        made(id);
        let began = Instant::now();
        let (_, waits) = waits_beside(home, || engine.call("NetworkDriver.Join", &of(id)));
        if id != "aa" && began.elapsed() >= Duration::from_secs(1) {
            // One call may come before the last link is waited for, and another one may wait for the end of that.
            assert!(waits.len() > 2, "{waits:?}");
            return;
        }
        // Another container has given one of its links the MAC of the endpoint that stops. The daemon searches for it,
        // and on a busy machine it may have taken it off before the endpoint's container starts again.
        let _ = Inside::of(&thief).tries("ip link del s0");
        let link = "ip link add s0 link eth0 address 02:42:aa:00:00:01 type macvlan mode bridge";
        Inside::of(&thief).types(link);
        engine.call("NetworkDriver.Leave", &of(id));
        eventually("its MAC is free", || thief.set_up("s0", true).is_ok());
        engine.call("NetworkDriver.DeleteEndpoint", &of(id));
        engine.call("IpamDriver.ReleaseAddress", &release);
    }
    panic!("no last link was waited for");
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
    // The shim is used to probe the LAN for the address.
    eventually("the shim is made", || engine.home.daemon().log().contains("ip link set dev shim-eth0 up"));
    drop(stream);
    eventually("it is noticed", || {
        engine.home.daemon().log().contains("the engine was gone before it heard")
    });
    let asked: Value = serde_json::from_str(&asked).unwrap();
    engine.call("IpamDriver.RequestAddress", &asked);
}
