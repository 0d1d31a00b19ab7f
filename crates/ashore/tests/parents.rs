//! Parents as people have them, and what befalls them, as one table.
//!
//! On each host containers are on the LAN by all the ways by which people put them there, side by side:
//!
//! | container | by |
//! |---|---|
//! | `bare` | `ashore network create` and `ashore attach`, with nothing said that the host knows itself |
//! | `web` | `docker network create -d ashore --ipam-driver ashore`, the same |
//! | `nas-web-1` | a Compose file for Docker's macvlan in which the driver's name alone was changed |
//! | `old` | Docker's own macvlan, and `ashore adopt` |
//!
//! Before and after whatever befalls the parent a laptop on the LAN and the host reach each of them by ping and by TCP, and so they
//! do who starts or is restarted at that moment.

mod home;

use ashore_lab::{Engines, cannot_run};
use home::dhcp::Server;
use home::parents::Befalls::{ForwardsLate, MadeAgain, NetworksMadeAgain, Renamed, Replaced};
use home::parents::{Host, Row, walk};
use home::site::Site;

const TABLE: &[Row] = &[
    ("a NIC", Host::Nic, &[ForwardsLate, Renamed, Replaced]),
    ("a NIC named by its altname", Host::Altname, &[NetworksMadeAgain]),
    ("a bridge that holds the NIC, as on Unraid and Proxmox", Host::Bridge, &[MadeAgain]),
    ("a bridge that `ashore bridge adopt` has made", Host::AdoptedBridge, &[]),
    // With another kernel: a bond, and the host's own VLAN on a bridge, in `vm_docker.rs`. VLANs that Ashore makes, on whatever, are in
    // `vm_vlan.rs`, those of a bridge that filters them in `vm_bridge_vlan.rs`, and Wi-Fi in `vm_wifi.rs`.
    // A NIC that goes and comes while no daemon runs is in `parent_changes.rs`, and one that comes late at boot in `docker_networks.rs`.
];

#[test]
fn on_whatever_parent_and_whatever_befalls_it_everybody_is_on_the_lan() {
    let engines = match Engines::find() {
        Err(why) => return cannot_run("parents", &why),
        Ok(_) if !home::is_root() => return cannot_run("parents", "a DHCP server needs root"),
        Ok(engines) => engines,
    };
    let site = Site::new(&engines, "sid");
    // As a home has it. Where there is none, whoever chooses a range waits for a slow one.
    let pool = "192.168.88.100,192.168.88.120,255.255.255.0,2m";
    let _router = Server::dnsmasq(&engines, &site.home.router, site.home.directory.path(), pool, &[]);
    let failed = walk(&site, TABLE, true);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
