//! What a machine of the LAN gets when it asks the router's DNS, by busybox's nslookup.

use std::net::IpAddr;

use ashore_lab::{Engines, Machine};

/// Where the router is.
const ROUTER: &str = "192.168.88.1";

/// The addresses of a name, as a machine is told.
pub fn addresses_of(engines: &Engines, asker: &Machine, name: &str) -> Vec<IpAddr> {
    let said = ask(engines, asker, name);
    // Before the answer it says whom it asks.
    let answer = said.split_once("\n\n").map_or("", |(_, answer)| answer);
    let addresses = answer.lines().filter_map(|line| line.strip_prefix("Address: "));
    addresses.map(|address| address.trim().parse().unwrap()).collect()
}

/// The names of an address, as a machine is told.
pub fn names_of(engines: &Engines, asker: &Machine, ip: IpAddr) -> Vec<String> {
    let said = ask(engines, asker, &ip.to_string());
    let names = said.lines().filter_map(|line| line.split_once("name = "));
    names.map(|(_, name)| name.trim().to_owned()).collect()
}

fn ask(engines: &Engines, asker: &Machine, what: &str) -> String {
    let mut nslookup = asker.command(engines.path("usr/bin/busybox")).unwrap();
    let output = nslookup.args(["nslookup", what, ROUTER]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
