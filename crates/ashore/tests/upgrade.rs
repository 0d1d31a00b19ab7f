//! An upgrade with containers running: the daemon of an earlier version is replaced, and nobody on the LAN notices.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use ashore_lab::{Beside, Daemon, Engines, cannot_run};
use home::dhcp::Server;
use home::site::{Site, on_every, suites};
use home::{addresses, eventually, ip, reaches};

/// The earlier version, if it was built.
const PREDECESSOR: &str = "ASHORE_PREDECESSOR";

/// Longer than a label of a domain name may be.
const LONG: &str = "a-name-that-is-longer-than-any-label-of-a-domain-name-may-be-and-so-it-is-cut";

/// What the router leases.
const POOL: &str = "192.168.88.100,192.168.88.120,255.255.255.0,2m";

/// Running containers, and their networks.
const RUNNING: [(&str, &str); 5] =
    [("web", "lan"), ("db", "lan --ip 192.168.88.215"), (LONG, "lan"), ("mail", "leased"), ("kept", "own")];

#[test]
fn the_containers_of_an_earlier_version_keep_what_they_have_and_lose_no_ping() {
    let test = "docker, an upgrade";
    let Some(predecessor) = std::env::var_os(PREDECESSOR) else {
        let why = std::env::var("ASHORE_NO_PREDECESSOR");
        return cannot_run(test, &why.unwrap_or_else(|_| format!("{PREDECESSOR} is not set")));
    };
    on_every(test, suites(), Site::without_daemon, |mut site, engines| {
        upgrade(&mut site, engines, predecessor.as_ref());
    });
}

fn upgrade(site: &mut Site, engines: &Engines, predecessor: &Path) {
    let directory = site.home.directory.path().to_owned();
    let server = Server::dnsmasq(engines, &site.home.router, &directory, POOL, &[]);
    // The home has begun with today's daemon.
    std::fs::remove_dir_all(directory.join("state")).unwrap();
    let beside = Beside::Engine(&site.docker);
    site.home.daemon = Some(Daemon::start_beside(predecessor, &site.home.nas, &directory, beside).unwrap());

    site.create_lan();
    site.ok("network create -d ashore --ipam-driver ashore --ipam-opt addressing=dhcp leased");
    site.ok("network create -d macvlan --subnet 192.168.88.0/24 --ip-range 192.168.88.160/28 --gateway 192.168.88.1 -o parent=eth0 own");
    site.home.ok("adopt own");
    for (name, network) in RUNNING {
        site.ok(&format!("run -d --init --name {name} --network {network} box sleep 1000"));
    }
    site.start("asleep", "");
    let asleep = site.address_of("asleep");
    site.ok("stop -t 0 asleep");
    site.home.ok("network create cameras --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.128/28 --gateway 192.168.88.1");
    let (camera, spare) =
        (site.home.world.container("camera").unwrap(), site.home.world.container("spare").unwrap());
    site.home.attach("cameras", &camera, "");
    let before_spare = site.home.attach("cameras", &spare, "");
    site.home.ok("detach cameras spare");
    let pool = "192.168.88.0/24,192.168.88.192/27";
    let reserved = call(site, "IpamDriver.RequestAddress", &format!(r#"{{"PoolID":"{pool}","Address":""}}"#));
    let reserved = reserved["Address"].as_str().unwrap().split('/').next().unwrap().to_owned();

    let names: Vec<&str> = RUNNING.iter().map(|(name, _)| *name).collect();
    let places = site.addresses_of(&names);
    eventually("the earlier version has settled", || is_settled(site));
    let before = endpoints(site);
    assert_eq!(before.len(), RUNNING.len() + 2, "five of Docker's, one by hand, one reserved: {before:#?}");
    let discovers = server.count("DHCPDISCOVER");
    let reached: Vec<_> = places.iter().map(|(address, _)| ip(address)).collect();
    let pings = reached.iter().flat_map(|&ip| [site.home.laptop.pings(ip), site.home.nas.pings(ip)]);
    let pings: Vec<_> = pings.chain([camera.pings(ip("192.168.88.1"))]).collect();

    let mut daemon = site.home.daemon.take().unwrap();
    daemon.terminate().unwrap();
    assert!(daemon.ended_within(std::time::Duration::from_secs(10)).unwrap());
    site.start_daemon();
    assert_eq!(endpoints(site), before, "as soon as it answers");
    eventually("nothing is left to do", || is_settled(site));
    assert_eq!(endpoints(site), before, "once it has looked at everything");
    assert_eq!(site.addresses_of(&names), places);
    for counted in pings.into_iter().map(ashore_lab::Pings::end) {
        assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
    }

    // What a name has it keeps.
    call(site, "IpamDriver.ReleaseAddress", &format!(r#"{{"PoolID":"{pool}","Address":"{reserved}"}}"#));
    site.ok("start asleep");
    assert_eq!(site.address_of("asleep"), asleep);
    for (name, place) in names.iter().zip(&places).filter(|(name, _)| **name != "kept") {
        site.ok(&format!("restart -t 0 {name}"));
        assert_eq!(site.address_of(name), *place, "{name}");
        reaches(&site.home.laptop, ip(&place.0));
        reaches(&site.home.nas, ip(&place.0));
    }
    assert_eq!(server.count("DHCPDISCOVER"), discovers, "it asks for the lease that it has");
    let after_spare = site.home.attach("cameras", &spare, "");
    assert_eq!(addresses(&after_spare), addresses(&before_spare));
    assert_eq!(after_spare["mac"], before_spare["mac"]);

    site.ok(&format!("rm -f asleep {}", names.join(" ")));
    for name in ["camera", "spare"] {
        site.home.ok(&format!("detach cameras {name}"));
    }
    site.home.ok("network rm cameras");
    site.ok("network rm lan leased own");
    site.assert_nothing_left();
}

/// The status, asked for by the program of the daemon's own version.
fn status(site: &Site) -> serde_json::Value {
    serde_json::from_str(&site.home.ok("status --json")).unwrap()
}

fn is_settled(site: &Site) -> bool {
    let troubles = status(site)["troubles"].as_array().unwrap().len();
    troubles == 0 && site.home.ok("plan").contains("nothing to change")
}

/// What every endpoint has, as the daemon shows it: network, name, MAC and addresses. Versions shorten a long name in
/// different ways, but begin it alike.
fn endpoints(site: &Site) -> Vec<[String; 4]> {
    let status = status(site);
    let all = status["endpoints"].as_array().unwrap().iter();
    let mut all: Vec<_> =
        all.map(|one| ["network", "name", "mac", "addresses"].map(|key| one[key].to_string())).collect();
    for [_, name, ..] in &mut all {
        name.truncate(50);
    }
    all.sort();
    all
}

/// Calls the plugin as an engine does, and returns its answer.
fn call(site: &Site, method: &str, body: &str) -> serde_json::Value {
    let mut stream = UnixStream::connect(site.home.directory.path().join("plugins/ashore.sock")).unwrap();
    let head = format!("POST /{method} HTTP/1.0\r\nHost: x\r\nContent-Length: {}", body.len());
    write!(stream, "{head}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}
