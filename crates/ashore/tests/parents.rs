//! The parents that users have, and the events that happen to them, as one table.
//!
//! On each host, containers are on the LAN in all the ways that users choose, at the same time:
//!
//! | container | attached by |
//! |---|---|
//! | `bare` | `ashore network create` and `ashore attach`, without options that the host can answer itself |
//! | `web` | `docker network create -d ashore --ipam-driver ashore`, likewise |
//! | `nas-web-1` | a Compose file for Docker's macvlan in which only the driver's name was changed |
//! | `old` | Docker's own macvlan, and `ashore adopt` |
//!
//! Before and after each event, a laptop on the LAN and the host reach each container by ping and by TCP. The
//! same holds for containers that start or restart at that moment.

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
    // Tested with another kernel: a bond, and the host's own VLAN on a bridge, in `vm_docker.rs`. VLANs that
    // Ashore creates on any parent are in `vm_vlan.rs`, those of a VLAN-filtering bridge in
    // `vm_bridge_vlan.rs`, and Wi-Fi in `vm_wifi.rs`. A NIC that is replaced while no daemon runs is in
    // `parent_changes.rs`, and one that appears late at boot in `docker_networks.rs`.
];

#[test]
fn on_whatever_parent_and_whatever_befalls_it_everybody_is_on_the_lan() {
    let engines = match Engines::find() {
        Err(why) => return cannot_run("parents", &why),
        Ok(_) if !home::is_root() => return cannot_run("parents", "a DHCP server needs root"),
        Ok(engines) => engines,
    };
    let site = Site::new(&engines, "sid");
    // As in a home. Without a server, choosing a range waits for a slow one.
    let pool = "192.168.88.100,192.168.88.120,255.255.255.0,2m";
    let _router = Server::dnsmasq(&engines, &site.home.router, site.home.directory.path(), pool, &[]);
    let failed = walk(&site, TABLE);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
