//! `ashore setup`: nothing but the cable is known, and at the end there is a network on which a container is reached.

use ashore_lab::{Engines, cannot_run};
use home::dhcp::Server;
use home::{Home, ip, is_root};
use serde_json::Value;

fn report(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What the daemon has of endpoints and remembered names.
fn rows(home: &Home) -> Vec<String> {
    let state = report(&home.ok("state export"));
    let rows = state["rows"].as_object().unwrap().keys();
    rows.filter(|key| key.starts_with("endpoint/") || key.starts_with("identity/")).cloned().collect()
}

#[test]
fn from_the_cable_to_a_network_that_works() {
    let home = Home::new();
    let shown = home.run_on_nas("setup --yes --engine ashore --to 203.0.113.7").expect_success();
    for line in [
        "eth0 faces the LAN 192.168.88.0/24",
        "its router is 192.168.88.1",
        "ashore network create --subnet 192.168.88.0/24 --ip-range 192.168.88.224/27 --gateway 192.168.88.1 lan",
        "✓ it reaches the router 192.168.88.1",
        "✓ it reaches this host at 192.168.88.9",
        "✓ this host reaches it at 192.168.88.",
        "✓ it reaches 203.0.113.7",
        "ashore attach lan",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 160), "{shown}");
    assert!(
        rows(&home).is_empty(),
        "the namespace that it was tried from has left nothing: {:?}",
        rows(&home)
    );
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "--ip 192.168.88.230");
    assert!(home.laptop.ping(ip("192.168.88.230")).is_some());

    // Once more, under a name that is taken: refused, and nothing else happens.
    let again = home.run_on_nas("setup --yes --engine ashore");
    assert_eq!(again.code, Some(5), "{}", again.stderr);
    assert!(again.stderr.contains("--name"), "{}", again.stderr);
    // Another name gets another range.
    let other = report(&home.run_on_nas("setup --yes --engine ashore --name other --json").expect_success());
    assert_ne!(other["found"]["range"], "192.168.88.224/27", "{other}");
    assert!(other["tried"].as_array().unwrap().iter().all(|tried| tried["ok"] == true), "{other}");
}

#[test]
fn it_does_nothing_unless_told_and_asks_nothing_without_a_terminal() {
    let home = Home::new();
    let asked = home.run_on_nas("setup");
    assert_eq!(asked.code, Some(3), "{}", asked.stderr);
    assert!(asked.stderr.contains("ashore setup --yes"), "{}", asked.stderr);
    let shown = home.run_on_nas("setup --dry-run --engine docker").expect_success();
    let command =
        "docker network create -d ashore --ipam-driver ashore -o parent=eth0 --subnet 192.168.88.0/24";
    assert!(shown.contains(command), "{shown}");
    let planned = report(&home.run_on_nas("setup --json --engine podman --name home").expect_success());
    assert_eq!(planned["done"], false);
    let command = planned["command"].as_str().unwrap();
    assert!(command.starts_with("podman network create -d ashore -o parent=eth0 --subnet"), "{command}");
    assert_eq!(home.ok("network ls --json").trim(), "[]");
    let unknown = home.run_on_nas("setup --yes --parent eth7");
    assert_eq!(unknown.code, Some(3), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("eth7"), "{}", unknown.stderr);
}

#[test]
fn it_stays_clear_of_the_routers_pool_or_takes_its_leases() {
    match Engines::find() {
        Err(why) => cannot_run("setup, pool", &why),
        Ok(_) if !is_root() => cannot_run("setup, pool", "a DHCP server needs root"),
        Ok(engines) => {
            let home = Home::new();
            let pool = "192.168.88.200,192.168.88.250,255.255.255.0,2m";
            let _server = Server::dnsmasq(&engines, &home.router, home.directory.path(), pool, &[]);
            home::eventually("the server answers", || {
                let checked: Value =
                    serde_json::from_str(&home.run("pool-check --json").stdout).unwrap_or_default();
                checked[0]["servers"].as_array().is_some_and(|servers| !servers.is_empty())
            });
            let made = report(&home.run_on_nas("setup --yes --engine ashore --json").expect_success());
            let range = made["found"]["range"].as_str().unwrap();
            assert!(!["192.168.88.192/27", "192.168.88.224/27"].contains(&range), "{made}");
            assert!(made["tried"].as_array().unwrap().iter().all(|tried| tried["ok"] == true), "{made}");
            let leased = report(
                &home.run_on_nas("setup --yes --engine ashore --dhcp --name leased --json").expect_success(),
            );
            assert!(leased["tried"].as_array().unwrap().iter().all(|tried| tried["ok"] == true), "{leased}");
            let shown = home.run_on_nas("setup --dry-run --name more").expect_success();
            assert!(shown.contains("the DHCP server 192.168.88.1 offers from"), "{shown}");
        }
    }
}
