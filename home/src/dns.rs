//! Queries to the router's DNS from a machine on the LAN, by busybox's nslookup.

use std::net::IpAddr;

use ashore_lab::{Engines, Machine};

/// The router's address.
const ROUTER: &str = "192.168.88.1";

/// The addresses of a name, as the router answers a machine.
pub fn addresses_of(engines: &Engines, asker: &Machine, name: &str) -> Vec<IpAddr> {
    let said = ask(engines, asker, name);
    // nslookup prints the server before the answer.
    let answer = said.split_once("\n\n").map_or("", |(_, answer)| answer);
    let addresses = answer.lines().filter_map(|line| line.strip_prefix("Address: "));
    addresses.map(|address| address.trim().parse().unwrap()).collect()
}

/// The names of an address, as the router answers a machine.
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
