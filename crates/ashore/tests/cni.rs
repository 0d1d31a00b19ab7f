//! Containers on the LAN through CNI. The runtime is played by hand.

use ashore_core::net::name::EndpointName;
use ashore_lab::Machine;
use home::cni::{Container, call_for_network, config};
use home::{HOST, Home, does_not_reach, eventually, ip, reaches, shown_on, type_on};
use serde_json::{Value, json};

const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A configuration as it is written for the lab's LAN.
fn lan(version: &str) -> Value {
    config(
        version,
        json!({
            "master": "eth0",
            "ashore": {
                "subnet": "192.168.88.0/24", "ip_range": "192.168.88.192/27", "gateway": "192.168.88.1"
            },
        }),
    )
}

/// A configuration of a network of Ashore's, whose container has this identity.
fn conf_as(name: &str, identity: &str) -> Value {
    config("1.1.0", json!({ "name": name, "ashore": { "network": "lan", "identity": identity } }))
}

fn with(mut config: Value, key: &str, value: &Value) -> Value {
    config[key] = value.clone();
    config
}

fn address(result: &Value) -> String {
    result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned()
}

fn names(home: &Home) -> Vec<String> {
    let status = home.status();
    let all = status["endpoints"].as_array().unwrap();
    all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

fn has_link(machine: &Machine, name: &str) -> bool {
    machine.kernel().observe(&[]).unwrap().host.link(&name.parse().unwrap()).is_some()
}

#[test]
fn a_container_is_on_the_lan_from_add_to_del_in_each_version() {
    let home = Home::new();
    let web = home.world.container("web").unwrap();
    let mut before = None;
    for version in VERSIONS {
        let conf = lan(version);
        let container = Container { args: "K8S_POD_NAME=web", ..Container::new(&home, &web, "c1") };
        let result = container.call("ADD", &conf).ok();
        let mac = result["interfaces"][0]["mac"].as_str().unwrap();
        let mut expected = json!({
            "cniVersion": version,
            "interfaces": [{ "name": "eth0", "mac": mac, "sandbox": container.netns }],
            "ips": [{ "interface": 0, "address": "192.168.88.192/24", "gateway": "192.168.88.1" }],
            "routes": [{ "dst": "0.0.0.0/0" }],
        });
        if version.starts_with('0') {
            expected["ips"][0]["version"] = "4".into();
            expected["dns"] = json!({});
        }
        assert_eq!(result, expected);
        // The name keeps address and MAC, in whatever version.
        let place = (address(&result), mac.to_owned());
        assert_eq!(before.get_or_insert_with(|| place.clone()), &place);
        reaches(&home.laptop, ip(&place.0));
        reaches(&home.nas, ip(&place.0));
        reaches(&web, ip(HOST));
        assert_eq!(names(&home), ["web"]);

        let checked = with(conf.clone(), "prevResult", &result);
        match version {
            "0.3.1" => container.call("CHECK", &checked).failed(1, &["0.4.0", "CHECK"]),
            _ => assert_eq!(container.call("CHECK", &checked).ok(), Value::Null),
        }
        container.call("ADD", &conf).failed(103, &["eth0"]);
        assert_eq!(names(&home), ["web"]);

        assert_eq!(container.call("DEL", &checked).ok(), Value::Null);
        assert!(!has_link(&web, "eth0"), "DEL takes the link off before it answers");
        assert!(names(&home).is_empty());
        does_not_reach(&home.laptop, ip(&place.0));
        container.call("DEL", &checked).ok();
        if version != "0.3.1" {
            container.call("CHECK", &checked).failed(3, &["eth0"]);
        }
    }
    // The network is the user's own, and stays.
    assert!(home.ok("network ls").contains("lan"));
    home.ok("network rm lan");
}

#[test]
fn a_del_succeeds_whatever_is_gone() {
    let mut home = Home::new();
    let conf = lan("1.1.0");
    let first = {
        let web = home.world.container("web").unwrap();
        let container = Container::new(&home, &web, "c1");
        // Before any ADD, and before there is a network.
        container.call("DEL", &conf).ok();
        Container { netns: String::new(), ..Container::new(&home, &web, "c1") }.call("DEL", &conf).ok();
        Container { netns: "/run/netns/none".into(), ..Container::new(&home, &web, "c1") }
            .call("DEL", &conf)
            .ok();
        let result = container.call("ADD", &conf).ok();
        // containerd calls without a namespace.
        Container { netns: String::new(), ..Container::new(&home, &web, "c1") }.call("DEL", &conf).ok();
        assert!(names(&home).is_empty() && !has_link(&web, "eth0"));

        // Another container of that id, and another link of this container, stay.
        container.call("ADD", &conf).ok();
        Container { id: "c2", ..Container::new(&home, &web, "c1") }.call("DEL", &conf).ok();
        Container { ifname: "net1", ..Container::new(&home, &web, "c1") }.call("DEL", &conf).ok();
        Container::new(&home, &web, "c1").call("DEL", &with(conf.clone(), "name", &json!("other"))).ok();
        assert_eq!(names(&home), ["c1"]);
        address(&result)
    };
    eventually("nothing is left of a container that has ended", || names(&home).is_empty());

    let web = home.world.container("web").unwrap();
    let result = Container::new(&home, &web, "c1").call("ADD", &conf).ok();
    assert_eq!(address(&result), first);
    home.daemon.take().unwrap().kill().unwrap();
    let said = Container::new(&home, &web, "c1").call("DEL", &conf);
    assert!(said.stderr.contains("warning"), "{said:?}");
    said.ok();
    Container::new(&home, &web, "c1").call("ADD", &conf).failed(11, &["systemctl start ashore"]);
    call_for_network(&home, "STATUS", &conf).failed(50, &["does not answer"]);
    home.start();
    // The runtime starts it again, in another namespace.
    drop(web);
    let again = home.world.container("again").unwrap();
    let result = Container::new(&home, &again, "c1").call("ADD", &conf).ok();
    assert_eq!((address(&result), names(&home)), (first.clone(), vec!["c1".to_owned()]));
    reaches(&home.laptop, ip(&first));
}

#[test]
fn wishes_are_followed_or_refused() {
    let home = Home::new();
    let web = home.world.container("web").unwrap();
    let conf = lan("1.1.0");
    let of = |args| Container { args, ..Container::new(&home, &web, "c1") };
    let add = |args: &str, more: Value| {
        let mut conf = conf.clone();
        conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let container = Container { args, ..Container::new(&home, &web, "c1") };
        let said = container.call("ADD", &conf);
        container.call("DEL", &conf).ok();
        said
    };
    let place =
        |result: &Value| (address(result), result["interfaces"][0]["mac"].as_str().unwrap().to_owned());
    let wished = add("IgnoreUnknown=1;FOO=bar;IP=192.168.88.200;MAC=02:aa:bb:cc:dd:ee", json!({})).ok();
    assert_eq!(place(&wished), ("192.168.88.200".into(), "02:aa:bb:cc:dd:ee".into()));
    // The runtime's own wishes come first.
    let wished = add(
        "IP=192.168.88.200;MAC=02:aa:bb:cc:dd:ee",
        json!({
            "capabilities": { "ips": true, "mac": true },
            "runtimeConfig": { "ips": ["192.168.88.201/24"], "mac": "02:aa:bb:cc:dd:01" },
            "args": { "cni": { "ips": ["192.168.88.202"] } },
        }),
    );
    assert_eq!(place(&wished.ok()), ("192.168.88.201".into(), "02:aa:bb:cc:dd:01".into()));
    let wished = add("IP=192.168.88.200", json!({ "args": { "cni": { "ips": ["192.168.88.202"] } } })).ok();
    assert_eq!(address(&wished), "192.168.88.202");

    add("FOO=bar", json!({})).failed(4, &["FOO=bar"]);
    add("IP=here", json!({})).failed(4, &["IP=here"]);
    add("", json!({ "runtimeConfig": { "ips": ["here"] } })).failed(7, &["runtimeConfig.ips", "here"]);
    add("", json!({ "runtimeConfig": { "portMappings": [{ "hostPort": 80 }] } }))
        .failed(2, &["portMappings"]);
    add("IP=10.1.2.3", json!({})).failed(103, &["10.1.2.3"]);
    // The LAN's laptop has it.
    add("IP=192.168.88.50", json!({})).failed(105, &["192.168.88.50"]);
    add("", json!({ "ipam": { "type": "host-local" } })).failed(7, &["ipam.type", "host-local", "CNI_PATH"]);
    add("", json!({ "isGateway": true })).failed(2, &["isGateway", "true"]);
    add("", json!({ "ashore": { "parnt": "eth0" } })).failed(2, &["parnt", "parent"]);
    add("", json!({ "master": "eth7" })).failed(105, &["eth7", "parent"]);
    of("").call("ADD", &with(conf.clone(), "cniVersion", &json!("0.2.0"))).failed(1, &["0.2.0", "1.1.0"]);
    let host = Container { netns: "/proc/self/ns/net".into(), ..of("") };
    host.call("ADD", &conf).failed(103, &["the host's own"]);
    Container { netns: "/run/netns/none".into(), ..of("") }
        .call("ADD", &conf)
        .failed(3, &["/run/netns/none"]);
    assert!(names(&home).is_empty());
}

#[test]
fn a_refused_add_touches_nothing_of_what_its_container_has() {
    let home = Home::new();
    let (web, again) = (home.world.container("web").unwrap(), home.world.container("again").unwrap());
    let first = Container::new(&home, &web, "c1").call("ADD", &lan("1.0.0")).ok();
    // The runtime starts the container again without a DEL, and asks for what cannot be.
    for (args, words) in [("IP=10.1.2.3", "10.1.2.3"), ("MAC=ff:ff:ff:ff:ff:ff", "ff:ff:ff:ff:ff:ff")] {
        let container = Container { args, ..Container::new(&home, &again, "c1") };
        container.call("ADD", &lan("1.0.0")).failed(103, &[words]);
        assert!(has_link(&web, "eth0"), "{words}");
        reaches(&home.laptop, ip(&address(&first)));
    }
    Container::new(&home, &again, "c1").call("ADD", &lan("1.0.0")).ok();
    assert!(!has_link(&web, "eth0"));
    reaches(&home.laptop, ip(&address(&first)));
}

#[test]
fn a_network_may_be_one_of_ashores_and_a_container_on_it_twice() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let conf = conf_as("pods", "shop");
    let eth0 = Container::new(&home, &web, "c1");
    let net1 = Container { ifname: "net1", ..Container::new(&home, &web, "c1") };
    let (one, two) = (eth0.call("ADD", &conf).ok(), net1.call("ADD", &conf).ok());
    let second = EndpointName::of_link(&"shop".parse().unwrap(), &"net1".parse().unwrap());
    assert_eq!(names(&home), ["shop", second.as_str()]);
    // A container may have the names of both as its own.
    let like = home.world.container("like").unwrap();
    let rival = conf_as("rivals", "shop-net1");
    Container::new(&home, &like, "c8").call("ADD", &rival).ok();
    Container::new(&home, &like, "c8").call("DEL", &rival).ok();
    assert_eq!(two.get("routes"), None, "there is one default route: {two}");
    reaches(&home.laptop, ip(&address(&one)));
    net1.call("CHECK", &with(conf.clone(), "prevResult", &two)).ok();

    // What another configuration has on the same network is not this one's.
    let other = config("1.1.0", json!({ "name": "others", "ashore": { "network": "lan" } }));
    let db = home.world.container("db").unwrap();
    Container::new(&home, &db, "c9").call("ADD", &other).ok();
    // Another runtime uses the name of this one's configuration. It lives, and nobody's list has it.
    let alien = home.world.container("alien").unwrap();
    Container::new(&home, &alien, "k8s").call("ADD", &conf_as("pods", "alien")).ok();
    let mut lives = alien.command("/bin/sleep").unwrap().arg("1000").spawn().unwrap();
    let valid = json!([{ "containerID": "c1", "ifname": "eth0" }]);
    call_for_network(&home, "GC", &with(conf.clone(), "cni.dev/valid-attachments", &valid)).ok();
    assert_eq!(names(&home), ["alien", "c9", "shop"]);
    call_for_network(&home, "GC", &conf).failed(7, &["valid-attachments"]);
    let said = call_for_network(&home, "GC", &with(conf.clone(), "cni.dev/valid-attachments", &json!([])));
    assert!(said.stderr.contains("`alien`"), "{said:?}");
    said.ok();
    assert_eq!(names(&home), ["alien", "c9"]);
    lives.kill().unwrap();
    lives.wait().unwrap();
    call_for_network(&home, "GC", &with(conf.clone(), "cni.dev/valid-attachments", &json!([]))).ok();
    assert_eq!(names(&home), ["c9"]);

    let missing = config("1.1.0", json!({ "ashore": { "network": "none" } }));
    eth0.call("ADD", &missing).failed(104, &["none"]);
    let differs =
        config("1.1.0", json!({ "name": "lan", "master": "eth0", "ashore": { "conflict": "off" } }));
    eth0.call("ADD", &differs).failed(105, &["conflict"]);
    assert_eq!(names(&home), ["c9"]);
}

/// As behind Multus, where the cluster's own network gives the default route.
#[test]
fn a_default_route_that_is_there_already_stays_the_only_one_of_its_metric() {
    let home = Home::new();
    let conf = config(
        "1.1.0",
        json!({ "ashore": {
            "subnet": ["192.168.88.0/24", "fd88::/64"], "ip_range": ["192.168.88.192/27", "fd88::c0/124"],
            "gateway": ["192.168.88.1", "fd88::1"],
        }}),
    );
    let both = json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]);
    for (there, yields) in [
        ("ip route add default via 10.42.0.1 dev clu0", true),
        ("ip -6 route add default via fd42::1 dev clu0", true),
        ("ip route add blackhole default", true),
        ("ip route add default via 10.42.0.1 dev clu0 metric 200", false),
        ("ip -6 route add default via fd42::1 dev clu0 metric 100", false),
    ] {
        let pod = home.world.container("pod").unwrap();
        for command in [
            "ip link add clu0 up type bridge",
            "ip addr add 10.42.0.7/24 dev clu0",
            "ip addr add fd42::7/64 dev clu0 nodad",
            there,
        ] {
            type_on(&pod, command);
        }
        let routes = || ["-4", "-6"].map(|family| shown_on(&pod, &format!("ip {family} route show default")));
        let before = routes();
        let container = Container { ifname: "net1", ..Container::new(&home, &pod, "c1") };
        let said = container.call("ADD", &conf);
        let told = said.stderr.clone();
        let result = said.ok();
        assert_eq!(result.get("routes"), (!yields).then_some(&both), "{there}: {result}");
        assert_eq!(told.contains("`c1` gets no default route"), yields, "{there}: {told}");
        assert_eq!(before == routes(), yields, "{there}: {:?}", routes());
        reaches(&home.laptop, ip(&address(&result)));
        container.call("CHECK", &with(conf.clone(), "prevResult", &result)).ok();
        container.call("DEL", &conf).ok();
        assert_eq!(before, routes(), "{there}");
    }
}

#[test]
fn a_check_sees_what_is_missing_and_tolerates_what_other_plugins_change() {
    let home = Home::new();
    let web = home.world.container("web").unwrap();
    let conf = lan("1.0.0");
    let container = Container::new(&home, &web, "c1");
    let result = container.call("ADD", &conf).ok();
    let checked = with(conf.clone(), "prevResult", &result);
    home::type_on(&web, "ip link set dev eth0 address 02:aa:bb:cc:dd:ee");
    home::type_on(&web, "ip route add 10.9.0.0/16 via 192.168.88.1");
    container.call("CHECK", &checked).ok();
    let mut other = checked.clone();
    other["prevResult"]["ips"][0]["address"] = "192.168.88.77/24".into();
    container.call("CHECK", &other).failed(106, &["192.168.88.77"]);
    container.call("CHECK", &conf).failed(7, &["prevResult"]);
    let db = home.world.container("db").unwrap();
    Container::new(&home, &db, "c1").call("CHECK", &checked).failed(7, &["prevResult", "eth0"]);
}

#[test]
fn the_status_says_whether_a_container_could_be_attached() {
    let home = Home::new();
    let small = |version| {
        let mut conf = lan(version);
        conf["ashore"]["ip_range"] = "192.168.88.192/31".into();
        conf
    };
    let status = |conf: &Value| call_for_network(&home, "STATUS", conf);
    status(&small("1.1.0")).ok();
    assert!(!home.ok("network ls").contains("lan"), "nothing is made");
    status(&small("1.0.0")).failed(1, &["STATUS"]);
    status(&with(small("1.1.0"), "master", &json!("eth7"))).failed(50, &["eth7"]);
    let machines: Vec<Machine> = ["a", "b"].map(|name| home.world.container(name).unwrap()).into();
    for (machine, id) in machines.iter().zip(["a", "b"]) {
        status(&small("1.1.0")).ok();
        Container::new(&home, machine, id).call("ADD", &small("1.1.0")).ok();
    }
    status(&small("1.1.0")).failed(50, &["IPv4", "taken"]);
    // Where another plugin chooses, its range counts.
    let elsewhere = home.directory.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("chooser"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(elsewhere.join("chooser"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    std::os::unix::fs::symlink(home::cni::plug(), elsewhere.join("ashore")).unwrap();
    home::cni::call_of_network(
        &home,
        &elsewhere.join("ashore"),
        "STATUS",
        &with(small("1.1.0"), "ipam", &json!({ "type": "chooser" })),
    )
    .ok();
    Container::new(&home, &machines[0], "a").call("DEL", &small("1.1.0")).ok();
    status(&small("1.1.0")).ok();
    home.nas.set_up("eth0", false).unwrap();
    eventually("it sees that the parent is down", || status(&small("1.1.0")).code == Some(1));
    status(&small("1.1.0")).failed(51, &["eth0", "down"]);

    let versions = call_for_network(&home, "VERSION", &json!({ "cniVersion": "1.0.0" })).ok();
    assert_eq!(versions, json!({ "cniVersion": "1.0.0", "supportedVersions": VERSIONS }));
}

#[test]
fn the_first_containers_of_a_network_may_come_together() {
    let home = Home::new();
    let machines: Vec<Machine> =
        (0..8).map(|number| home.world.container(&format!("pod{number}")).unwrap()).collect();
    let conf = config("1.0.0", json!({ "master": "eth0" }));
    let adding: Vec<_> = machines
        .iter()
        .map(|machine| Container::new(&home, machine, machine.name()).begin("ADD", &conf))
        .collect();
    let mut given: Vec<String> = adding.into_iter().map(|adding| address(&adding.end().ok())).collect();
    for address in &given {
        reaches(&home.laptop, ip(address));
    }
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 8);
}
