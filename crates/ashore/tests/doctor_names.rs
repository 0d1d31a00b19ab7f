//! `ashore doctor` and names: two containers of one name on one LAN are told of, where one name stands for both.

use ashore_lab::{Engines, cannot_run};
use home::dhcp::Server;
use home::told::Told;
use home::{Home, dns, eventually, is_root};

#[test]
fn two_leases_under_one_name_are_told_of_and_two_names_are_not() {
    let engines = match Engines::find() {
        Err(why) => return cannot_run("doctor, names", &why),
        Ok(_) if !is_root() => return cannot_run("doctor, names", "a router needs root"),
        Ok(engines) => engines,
    };
    let home = Home::new();
    let pool = "192.168.88.100,192.168.88.120,255.255.255.0,2m";
    let _server = Server::dnsmasq(&engines, &home.router, home.directory.path(), pool, &["--domain=lan"]);
    for network in ["lan", "iot"] {
        home.ok(&format!("network create {network} --parent eth0 --dhcp"));
    }
    let attach = |network: &str, machine: &str, options: &str| {
        let one = home.world.container(machine).unwrap();
        let netns = one.namespace().path().display().to_string();
        home.ok(&format!("attach {network} --netns {netns} {options}"));
        one
    };
    let _first = attach("lan", "one", "--name web");
    Told::of(&home, "").is_well();
    let _second = attach("iot", "two", "--name web");
    eventually("status shows it", || home.codes().contains(&"name-twice".to_owned()));
    let words = ["`web`", "LAN of `eth0`", "on network `lan`", "on network `iot`", "--name"];
    Told::of(&home, "").is_only("name-twice", 10, &words);
    // The router's DNS knows one of them.
    assert_eq!(dns::addresses_of(&engines, &home.laptop, "web.lan").len(), 1);
    home.ok("detach iot web");
    let _third = attach("iot", "three", "--name page");
    Told::of(&home, "").is_well();
    home.ok("detach iot page");
    let _fourth = attach("iot", "four", "--name web --hostname page");
    Told::of(&home, "").is_well();
}
