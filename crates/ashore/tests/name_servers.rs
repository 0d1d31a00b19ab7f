//! Name servers that the LAN announces by IPv6, and names that containers look up with them.

use std::net::Ipv6Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use ashore_core::net::observed::LinkAddress;
use ashore_lab::{Engines, Machine, Ran, cannot_run};
use home::dhcp::Server;
use home::router::Router;
use home::{Home, eventually, is_root};

const CREATE: &str = "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
                      --gateway 192.168.88.1";
const PREFIX: &str = "prefix fd88::/64 { AdvValidLifetime 7200; AdvPreferredLifetime 3600; };";
/// A DHCPv6 server that assigns no address and advertises nothing.
const STATELESS: &str = "fd88::,static";

/// Runs a test where servers can run.
fn with(test: &str, run: impl FnOnce(Home, &Engines)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a DHCP server needs root"),
        Ok(engines) => run(Home::new(), &engines),
    }
}

fn router(engines: &Engines, home: &Home, says: &str) -> Router {
    Router::start(engines, &home.router, home.directory.path(), says)
}

/// Starts dnsmasq on the router. It resolves `nas.home`, and announces name servers and a domain.
fn dnsmasq(engines: &Engines, home: &Home, pool: &str, servers: &str) -> Server {
    let servers = format!("--dhcp-option=option6:dns-server,{servers}");
    let options =
        [&servers, "--dhcp-option=option6:domain-search,home", "--host-record=nas.home,192.168.88.9"];
    Server::dnsmasq(engines, &home.router, home.directory.path(), pool, &options)
}

/// The file with an endpoint's name servers.
fn file(home: &Home, name: &str) -> PathBuf {
    home.daemon().socket().with_file_name("resolv").join(format!("lan/{name}.conf"))
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

fn inode(file: &Path) -> u64 {
    std::fs::metadata(file).unwrap().ino()
}

#[track_caller]
fn becomes(file: &Path, wanted: &str) {
    eventually(&format!("{} is {wanted:?}, and not {:?}", file.display(), text(file)), || {
        text(file) == wanted
    });
}

/// Returns whether a container resolves a name with its name servers.
fn finds(container: &Machine, file: &Path, name: &str) -> bool {
    let mut command: Command = container.command("unshare").unwrap();
    command.args([
        "--mount",
        "sh",
        "-c",
        "mount --bind \"$1\" /etc/resolv.conf && exec getent ahostsv4 \"$2\"",
        "sh",
    ]);
    command.arg(file).arg(name);
    Ran::of(&mut command).unwrap().stdout.starts_with("192.168.88.9 ")
}

/// A machine's link-local address.
fn link_local(machine: &Machine) -> Ipv6Addr {
    let all = machine.kernel().observe(&[]).unwrap().host.addresses.into_iter();
    let mut v6 = all.filter_map(|LinkAddress { net, .. }| match net.addr() {
        std::net::IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(ip),
        _ => None,
    });
    v6.next().unwrap()
}

#[test]
fn a_container_finds_names_by_the_name_servers_that_routers_advertise() {
    with("name servers, advertised", |mut home, engines| {
        let _dns = dnsmasq(engines, &home, STATELESS, "[fd88::1]");
        let near = link_local(&home.router);
        let router = router(engines, &home, &format!("{PREFIX} RDNSS {near} {{ }}; DNSSL home {{ }};"));
        home.ok(&format!("{CREATE} --ipv6 auto"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let file = file(&home, "web");
        becomes(&file, &format!("nameserver {near}%eth0\nsearch home\n"));
        let before = inode(&file);
        eventually("it finds a name", || finds(&web, &file, "nas"));
        // The file stays as it is while a daemon restarts, and later changes follow.
        let told = text(&file);
        home.restart();
        assert_eq!(text(&file), told);
        let other = format!("RDNSS {near} {{ AdvRDNSSLifetime 0; }}; DNSSL home {{ AdvDNSSLLifetime 0; }};");
        router.says(&format!("{PREFIX} RDNSS fd88::1 {{ }}; {other}"));
        becomes(&file, "nameserver fd88::1\n");
        assert!(finds(&web, &file, "nas.home"));
        router.says(&format!("{PREFIX} RDNSS fd88::1 {{ AdvRDNSSLifetime 0; }};"));
        becomes(&file, "");
        assert_eq!(inode(&file), before, "whoever has mounted it sees what comes next");
        home.ok("detach lan web");
        assert!(!file.exists());
    });
}

#[test]
fn a_server_without_addresses_is_asked_once_for_all_containers() {
    with("name servers, stateless", |mut home, engines| {
        let server = dnsmasq(engines, &home, STATELESS, "[fd88::1]");
        let _router =
            router(engines, &home, &format!("{PREFIX} AdvOtherConfigFlag on; RDNSS fd88::53 {{ }};"));
        home.ok(&format!("{CREATE} --ipv6 auto"));
        let containers = ["web", "db", "app"].map(|name| home.world.container(name).unwrap());
        for container in &containers {
            home.attach("lan", container, "");
            // Name servers from DHCPv6 come before those from the router advertisement.
            becomes(&file(&home, container.name()), "nameserver fd88::1\nnameserver fd88::53\nsearch home\n");
        }
        assert!(finds(&containers[0], &file(&home, "web"), "nas"));
        assert_eq!(server.count("DHCPINFORMATION-REQUEST"), 1);
        drop(server);
        let server = dnsmasq(engines, &home, STATELESS, "[fd88::54]");
        home.restart();
        becomes(
            &file(&home, "web"),
            "nameserver fd88::54\nnameserver fd88::1\nnameserver fd88::53\nsearch home\n",
        );
        assert_eq!(server.count("DHCPINFORMATION-REQUEST"), 2, "and once by a daemon that starts anew");
        for plugged in [false, true] {
            home.world.set_cable(&home.nas, plugged).unwrap();
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        eventually("the host may be on another LAN", || server.count("DHCPINFORMATION-REQUEST") == 3);
    });
}

#[test]
fn behind_a_bridge_and_where_addresses_are_the_servers_too_it_is_asked_by_those_who_make_their_own() {
    with("name servers, bridge", |home, engines| {
        drop(home);
        let home = Home::bridged();
        let pool = "fd88::100,fd88::1ff,64,2m";
        let server = dnsmasq(engines, &home, pool, "[fd88::1]");
        let _router = router(engines, &home, &format!("{PREFIX} AdvManagedFlag on;"));
        home.ok("network create lan --parent br0 --kind bridge --subnet 192.168.88.0/24 --ipv6 slaac");
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        becomes(&file(&home, "web"), "nameserver fd88::1\nsearch home\n");
        eventually("it finds a name", || finds(&web, &file(&home, "web"), "nas"));
        assert_eq!((server.count("DHCPINFORMATION-REQUEST"), server.count("DHCPSOLICIT")), (1, 0));
    });
}

#[test]
fn those_of_a_dhcpv6_lease_are_its_containers() {
    with("name servers, leased", |home, engines| {
        let server = dnsmasq(engines, &home, "fd88::100,fd88::1ff,64,2m", "[fd88::1]");
        let says = "AdvManagedFlag on; AdvOtherConfigFlag on; prefix fd88::/64 { AdvAutonomous off; };";
        let _router = router(engines, &home, says);
        home.ok(&format!("{CREATE} --ipv6 auto"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        becomes(&file(&home, "web"), "nameserver fd88::1\nsearch home\n");
        eventually("it finds a name", || finds(&web, &file(&home, "web"), "nas"));
        assert_eq!(server.count("DHCPINFORMATION-REQUEST"), 0, "all is told with the lease");
    });
}
