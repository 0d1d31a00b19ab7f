//! Addresses that the LAN's own DHCP server assigns.

use std::net::IpAddr;

use ashore_core::model::identity::Seed;
use ashore_core::model::state::Change;
use ashore_lab::{Engines, Machine, Ran, cannot_run};
use ashore_store::{Backlog, Store};
use home::dhcp::{Server, Setup};
use home::frames::Frames;
use home::told::Told;
use home::{Home, does_not_reach, eventually, ip, is_root, reaches, type_on};

const POOL: &str = "192.168.88.100,192.168.88.120,255.255.255.0,2m";

/// Runs a test on a network whose addresses a DHCP server assigns.
fn with(
    test: &str,
    home: impl FnOnce() -> Home,
    create: &str,
    serve: impl FnOnce(&Engines, &Home) -> Server,
    run: impl FnOnce(Home, Server),
) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a DHCP server needs root"),
        Ok(engines) => {
            let home = home();
            let server = serve(&engines, &home);
            home.ok(&format!("network create lan --dhcp {create}"));
            run(home, server);
        }
    }
}

fn with_server(test: &str, options: &[&str], run: impl FnOnce(Home, Server)) {
    let serve = |engines: &Engines, home: &Home| dnsmasq(engines, home, POOL, options);
    with(test, Home::new, "--parent eth0", serve, run);
}

fn dnsmasq(engines: &Engines, home: &Home, pool: &str, options: &[&str]) -> Server {
    Server::dnsmasq(engines, &home.router, home.directory.path(), pool, options)
}

/// Runs a test with leases of ten seconds.
fn with_short_leases(test: &str, home: impl FnOnce() -> Home, create: &str, run: impl FnOnce(Home, Server)) {
    let pool = ("192.168.88.100", "192.168.88.120");
    let serve = |engines: &Engines, home: &Home| {
        Server::udhcpd(engines, &home.router, home.directory.path(), pool, 10)
    };
    with(test, home, create, serve, run);
}

fn v4(report: &serde_json::Value) -> IpAddr {
    let text = report["addresses"][0].as_str().unwrap();
    text.split('/').next().unwrap().parse().unwrap()
}

#[test]
fn the_routers_page_shows_the_container_by_its_name() {
    with_server("leases, first", &[], |home, server| {
        let web = home.world.container("web").unwrap();
        let report = home.attach("lan", &web, "");
        let at = v4(&report);
        for machine in [&home.laptop, &home.nas, &home.router] {
            reaches(machine, at);
        }
        reaches(&web, ip("192.168.88.1"));
        let rows = server.rows();
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((rows[0].name.as_str(), rows[0].ip.as_str()), ("web", at.to_string().as_str()));
        assert_eq!(rows[0].mac, report["mac"].as_str().unwrap());
        assert!(rows[0].client_id.starts_with("ff:00:00:00:01:00:04:"), "{rows:?}");
    });
}

#[test]
fn without_a_server_it_is_refused_and_nothing_is_left() {
    with_server("leases, silence", &[], |home, server| {
        drop(server);
        let web = home.world.container("web").unwrap();
        let ran = home.run(&format!("attach lan --netns {} --name web", web.namespace().path().display()));
        assert_eq!(ran.code, Some(6), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("no DHCP server on the LAN of `eth0`"), "{}", ran.stderr);
        assert!(home.status()["endpoints"].as_array().unwrap().is_empty());
        assert_eq!(home.made_links(), [""; 0]);
    });
}

#[test]
fn a_server_on_this_very_host_is_named_where_a_lease_is_wanted() {
    with_server("leases, a server on the host", &[], |home, server| {
        drop(server);
        let bind = || std::net::UdpSocket::bind("0.0.0.0:67");
        let _listening = home.nas.namespace().run(bind).unwrap().unwrap();
        let web = home.world.container("web").unwrap();
        let ran = home.run(&format!("attach lan --netns {} --name web", web.namespace().path().display()));
        assert_eq!(ran.code, Some(6), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("a DHCP server runs on this host"), "{}", ran.stderr);
        let told = Told::of(&home, "lan");
        let trouble = told.trouble("no-dhcp-server");
        assert!(trouble.contains("a DHCP server runs on this host"), "{trouble}");
        assert!(
            trouble.contains("on another machine")
                && trouble.contains("if it is not, check that the router's"),
            "{trouble}"
        );
        home.ok("network rm lan");
        let made = home.run("network create lan --parent eth0 --dhcp");
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        assert!(made.stderr.contains("a DHCP server runs on this host"), "{}", made.stderr);
    });
}

/// What is sent by a bridge goes to its ports, and not to the host that has the bridge.
#[test]
fn a_server_on_the_hosts_own_bridge_does_not_hear_and_is_named() {
    type Serve = dyn Fn(&Engines, &Home) -> Server;
    let udhcpd = |engines: &Engines, home: &Home| {
        let pool = ("192.168.88.100", "192.168.88.120");
        Server::udhcpd_on("br0", engines, &home.nas, home.directory.path(), pool, 60)
    };
    let dnsmasq = |engines: &Engines, home: &Home| {
        Server::dnsmasq(engines, &home.nas, home.directory.path(), POOL, &["--interface=br0"])
    };
    let isc = |engines: &Engines, home: &Home| {
        let setup = Setup::default();
        Server::isc_on("br0", engines, &home.nas, home.directory.path(), &setup)
    };
    let servers: [(&str, &Serve); 3] = [("udhcpd", &udhcpd), ("dnsmasq", &dnsmasq), ("ISC dhcpd", &isc)];
    for (name, serve) in servers {
        let test = format!("leases, {name} on the host's bridge");
        with(&test, Home::bridged, "--parent br0 --kind bridge", serve, |home, server| {
            let web = home.world.container("web").unwrap();
            let ran =
                home.run(&format!("attach lan --netns {} --name web", web.namespace().path().display()));
            assert_eq!(ran.code, Some(6), "{name}: {}{}", ran.stdout, ran.stderr);
            assert!(ran.stderr.contains("a DHCP server runs on this host"), "{name}: {}", ran.stderr);
            assert!(server.rows().is_empty(), "{name}: {}", server.table());
            home.ok("network rm lan");
            let made = home.run("network create lan --parent br0 --kind bridge --dhcp");
            assert_eq!(made.code, Some(0), "{name}: {}", made.stderr);
            assert!(made.stderr.contains("a DHCP server runs on this host"), "{name}: {}", made.stderr);
        });
    }
}

#[test]
fn a_known_container_starts_while_the_server_is_silent_and_its_lease_lasts() {
    with_server("leases, known and silent", &[], |home, server| {
        let web = home.world.container("web").unwrap();
        let at = v4(&home.attach("lan", &web, ""));
        home.ok("detach lan web");
        drop(server);
        assert_eq!(v4(&home.attach("lan", &web, "")), at);
        reaches(&home.laptop, at);
    });
}

#[test]
fn a_lease_that_ended_while_no_daemon_ran_is_used_no_longer() {
    with_short_leases("leases, ended", Home::new, "--parent eth0", |mut home, server| {
        let web = home.world.container("web").unwrap();
        let at = v4(&home.attach("lan", &web, ""));
        home.daemon.take().unwrap().kill().unwrap();
        drop(server);
        reaches(&home.laptop, at);
        // The lease's ten seconds, and the second that the record does not count.
        std::thread::sleep(std::time::Duration::from_secs(11));
        home.start();
        eventually("the status says so", || {
            home.troubles().to_string().contains("`web` has no IPv4 address")
        });
        does_not_reach(&home.laptop, at);
    });
}

#[test]
fn what_is_leased_is_looked_for_ahead_and_a_last_time_when_it_is_used() {
    with_server("leases, ahead", &[], |mut home, server| {
        let web = home.world.container("web").unwrap();
        let report = home.attach("lan", &web, "");
        let (at, mac) = (v4(&report), report["mac"].as_str().unwrap().parse().unwrap());
        home.ok("detach lan web");
        let wire = Frames::addresses_from(&home.world, &home.nas);
        // Probes from other MACs. The container's own MAC is the one in its announcement.
        let probes =
            || wire.heard().iter().filter(|one| one.ip == at && !one.claims && one.sender != mac).count();
        // The new daemon has not heard what was on the LAN before.
        home.restart();
        let mut ahead = 0;
        eventually("it is looked for", || {
            ahead += probes();
            ahead >= 3
        });
        // An address that was probed a moment ago is not probed again.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        probes();
        assert_eq!(v4(&home.attach("lan", &web, "")), at);
        assert_eq!(probes(), 1, "more take longer");
        reaches(&home.laptop, at);

        home.ok("detach lan web");
        home.laptop.add_address("eth0", ipnet::IpNet::new(at, 24).unwrap()).unwrap();
        let now = v4(&home.attach("lan", &web, ""));
        assert_ne!(now, at);
        assert_eq!(server.count("DHCPDECLINE"), 1);
        // The router knows the MAC of each container that has asked for it, and the laptop has announced nothing.
        type_on(&home.router, "ip neigh flush dev eth0");
        for at in [at, now] {
            reaches(&home.router, at);
        }
    });
}

/// Asserts that the lease is renewed without a lost ping. Returns the container, which exists as long as that
/// is kept.
fn is_renewed_and_no_ping_is_lost(home: &Home, server: &Server) -> Machine {
    let web = home.world.container("web").unwrap();
    let at = v4(&home.attach("lan", &web, ""));
    reaches(&home.router, at);
    let pings = home.laptop.pings(at);
    server.renews("by its server");
    let counted = pings.end();
    assert_eq!(counted.lost, 0, "{counted:?}");
    web
}

#[test]
fn a_lease_goes_along_to_another_nic() {
    with_short_leases("leases, moved", Home::new, "--parent eth0", |home, server| {
        let web = home.world.container("web").unwrap();
        let at = v4(&home.attach("lan", &web, ""));
        home.nas.remove_link("eth0").unwrap();
        home.world.plug_in_by(&home.nas, "usb0").unwrap();
        home.nas.add_address("usb0", "192.168.88.9/24".parse().unwrap()).unwrap();
        home.ok("network move lan --parent usb0");
        eventually("the LAN reaches it", || home.laptop.ping(at).is_some());
        server.renews("by its server");
        assert_eq!(v4(&home.status()["endpoints"][0]), at);
        reaches(&home.laptop, at);
    });
}

#[test]
fn behind_a_bridge_and_among_private_siblings_it_is_renewed_too() {
    with_short_leases("leases, bridge", Home::bridged, "--parent br0 --kind bridge", |home, server| {
        let _web = is_renewed_and_no_ping_is_lost(&home, &server);
        reaches(&home.nas, v4(&home.status()["endpoints"][0]));
    });
    let create = "--parent eth0 --kind macvlan:private --host-access no";
    with_short_leases("leases, private", Home::new, create, |home, server| {
        is_renewed_and_no_ping_is_lost(&home, &server);
    });
}

#[test]
fn what_is_forgotten_is_given_back_and_what_is_detached_is_not() {
    with_server("leases, forgotten", &[], |home, server| {
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        home.ok("detach lan web");
        assert_eq!(server.rows().len(), 1);
        home.ok("forget web");
        eventually("the lease is released", || server.rows().is_empty());
        assert_eq!(server.count("DHCPRELEASE"), 1);
    });
}

#[test]
fn a_reservation_by_client_identifier_or_by_mac_is_followed() {
    with_server("leases, reserved", &[], |home, server| {
        let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
        let by_id = home.attach("lan", &web, "")["lease"]["id"].as_str().unwrap().to_owned();
        let by_mac = home.attach("lan", &db, "")["mac"].as_str().unwrap().to_owned();
        home.ok("detach lan web");
        home.ok("detach lan db");
        drop(server);
        let reserved =
            [format!("--dhcp-host=id:{by_id},192.168.88.66"), format!("--dhcp-host={by_mac},192.168.88.67")];
        let options: Vec<&str> = reserved.iter().map(String::as_str).collect();
        let _server = dnsmasq(&Engines::find().unwrap(), &home, POOL, &options);
        for (container, wanted) in [(&web, "192.168.88.66"), (&db, "192.168.88.67")] {
            // The server refuses the old address for this container, and the client starts again.
            assert_eq!(v4(&home.attach("lan", container, "")), ip(wanted));
            reaches(&home.laptop, ip(wanted));
        }
    });
}

/// A machine without a real-time clock has a time in the past until it has asked the network for the time.
#[test]
fn a_clock_behind_the_lease_keeps_no_known_container_waiting() {
    with_server("leases, clock behind", &[], |home, server| {
        let web = home.world.container("web").unwrap();
        let at = v4(&home.attach("lan", &web, ""));
        home.ok("detach lan web");
        // A time that a correct clock recorded lies in the future.
        let mut state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
        let mut later = 0;
        for row in state["rows"].as_object_mut().unwrap().values_mut() {
            if let Some(since) = row.pointer_mut("/lease/since") {
                *since = (since.as_u64().unwrap() + 86400).into();
                later += 1;
            }
        }
        assert_eq!(later, 1, "{state:#}");
        let file = home.directory.path().join("state.json");
        std::fs::write(&file, state.to_string()).unwrap();
        let mut import = home.daemon().client();
        let stdin = std::fs::File::open(&file).unwrap();
        Ran::of(import.args(["state", "import"]).stdin(stdin)).unwrap().expect_success();
        drop(server);
        assert_eq!(v4(&home.attach("lan", &web, "")), at);
        reaches(&home.laptop, at);
    });
}

/// The same for a container that runs: its lease is renewed, and does not count as one that lasts a day longer.
#[test]
fn a_clock_behind_the_lease_delays_no_renewal() {
    with_short_leases("leases, renewed behind", Home::new, "--parent eth0", |mut home, server| {
        let web = home.world.container("web").unwrap();
        let at = v4(&home.attach("lan", &web, ""));
        let pings = home.laptop.pings(at);
        home.daemon.take().unwrap().kill().unwrap();
        let run = home.directory.path();
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let left = std::fs::File::options().read(true).write(true).open(run.join("backlog")).unwrap();
        let left = Backlog::of(left, boot.trim());
        let mut store = Store::open_with(&run.join("state"), Seed([0; 16]), Some(left)).unwrap();
        let mut endpoint = store.state().endpoints.values().next().unwrap().clone();
        let lease = endpoint.lease.as_mut().unwrap();
        lease.since += 86400;
        let later = lease.since;
        store.commit(vec![Change::PutEndpoint(endpoint)]).unwrap();
        drop(store);
        home.start();
        server.renews("by its server");
        let counted = pings.end();
        assert_eq!(counted.lost, 0, "{counted:?}");
        let since = || {
            let state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
            state["rows"]["endpoint/lan/web"]["lease"]["since"].as_u64().unwrap()
        };
        eventually("its beginning is that of the renewal", || since() < later - 80000);
    });
}

/// As Pi-hole is run. What asks for the containers goes through the shim, so that a sibling hears it.
#[test]
fn a_server_in_a_container_serves_its_siblings_and_the_lan() {
    let test = "leases, server in a container";
    let engines = match Engines::find() {
        Err(why) => return cannot_run(test, &why),
        Ok(_) if !is_root() => return cannot_run(test, "a DHCP server needs root"),
        Ok(engines) => engines,
    };
    let home = Home::new();
    home.ok("network create own --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27");
    let pihole = home.world.container("pihole").unwrap();
    home.attach("own", &pihole, "");
    let router = "--dhcp-option=option:router,192.168.88.1";
    let server = Server::dnsmasq(&engines, &pihole, home.directory.path(), POOL, &[router]);
    home.ok("network create leased --parent eth0 --dhcp");
    let web = home.world.container("web").unwrap();
    let at = v4(&home.attach("leased", &web, ""));
    for machine in [&home.laptop, &home.nas, &pihole] {
        reaches(machine, at);
    }
    reaches(&web, ip(home::BEYOND));
    let mut asks = home.laptop.command(engines.path("bin/busybox")).unwrap();
    let asked = asks.args(["udhcpc", "-f", "-q", "-n", "-i", "eth0", "-s", "/bin/true"]).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let laptop = home.laptop.kernel().observe(&[]).unwrap().host;
    let mac = laptop.link(&"eth0".parse().unwrap()).unwrap().mac.unwrap().to_string();
    let rows = server.rows();
    assert_eq!(server.rows_of("web").iter().map(|row| row.ip.clone()).collect::<Vec<_>>(), [at.to_string()]);
    assert!(rows.iter().any(|row| row.mac == mac), "{rows:?}");
}
