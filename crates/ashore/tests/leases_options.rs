//! When a lease is released, which servers' offers count, and which address is used where no server makes an
//! offer.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use ashore_lab::{Engines, Machine, Pings, cannot_run};
use home::dhcp::Server;
use home::{Home, does_not_reach, eventually, eventually_within, ip, is_root, reaches};

const POOL: &str = "192.168.88.100,192.168.88.120,255.255.255.0,1h";

/// Runs a test on a LAN that has no DHCP server yet.
fn on_lan(test: &str, run: impl FnOnce(&Engines, Home)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a DHCP server needs root"),
        Ok(engines) => run(&engines, Home::new()),
    }
}

fn serve(engines: &Engines, home: &Home, on: &Machine, pool: &str) -> Server {
    Server::dnsmasq(engines, on, home.directory.path(), pool, &[])
}

fn v4(report: &serde_json::Value) -> IpAddr {
    let text = report["addresses"][0].as_str().unwrap();
    text.split('/').next().unwrap().parse().unwrap()
}

#[test]
fn a_lease_is_given_back_when_its_network_says() {
    on_lan("leases, given back", |engines, home| {
        let server = serve(engines, &home, &home.router, POOL);
        for (name, when) in
            [("stop", "on_stop"), ("remove", "on_remove:2"), ("grace", "on_remove"), ("never", "never")]
        {
            home.ok(&format!("network create {name} --parent eth0 --dhcp --release {when}"));
        }
        let held = |name: &str| server.rows().iter().any(|row| row.name == name);
        let mut had = Vec::new();
        for network in ["stop", "remove", "grace", "never"] {
            let container = home.world.container(network).unwrap();
            let at = v4(&home.attach(network, &container, ""));
            assert!(held(network), "{:?}", server.rows());
            had.push((network, container, at));
        }
        // Only once all of them exist: a released address is free for the next client.
        for (network, ..) in &had {
            home.ok(&format!("detach {network} {network}"));
        }
        eventually("one is given back at once", || !held("stop"));
        assert!(["grace", "never"].into_iter().all(held), "{:?}", server.rows());
        eventually_within(Duration::from_secs(120), "one is given back after two seconds", || {
            home.nudge();
            !held("remove")
        });
        assert!(["grace", "never"].into_iter().all(held), "{:?}", server.rows());
        assert_eq!(server.count("DHCPRELEASE"), 2);
        // Released or not, each container gets its former address.
        for (network, container, at) in &had {
            assert_eq!(v4(&home.attach(network, container, "")), *at, "{network}");
            reaches(&home.laptop, *at);
        }
    });
}

#[test]
fn a_lease_outlives_its_network_as_its_name_does() {
    on_lan("leases, network anew", |engines, mut home| {
        let server = serve(engines, &home, &home.router, POOL);
        let web = home.world.container("web").unwrap();
        home.ok("network create lan --parent eth0 --dhcp");
        let at = v4(&home.attach("lan", &web, ""));
        home.ok("detach lan web");
        home.ok("network rm lan");
        home.nudge();
        home.restart();
        assert_eq!((server.rows().len(), server.count("DHCPRELEASE")), (1, 0));
        home.ok("network create lan --parent eth0 --dhcp");
        assert_eq!(v4(&home.attach("lan", &web, "")), at);
        assert_eq!(server.count("DHCPDISCOVER"), 1);
    });
}

#[test]
fn a_lease_is_given_back_also_when_its_network_has_gone() {
    on_lan("leases, network gone", |engines, mut home| {
        let server = serve(engines, &home, &home.router, POOL);
        for (name, restarted) in [("web", false), ("db", true)] {
            home.ok("network create lan --parent eth0 --dhcp");
            let container = home.world.container(name).unwrap();
            home.attach("lan", &container, "");
            home.ok(&format!("detach lan {name}"));
            home.ok("network rm lan");
            if restarted {
                home.restart();
            }
            assert_eq!(server.rows().len(), 1);
            home.ok(&format!("forget {name}"));
            eventually("the lease is released", || server.rows().is_empty());
        }
        assert_eq!(server.count("DHCPRELEASE"), 2);
    });
}

#[test]
fn a_server_that_is_not_to_be_heeded_gives_no_address() {
    on_lan("leases, rogue", |engines, home| {
        // The server that answers first is the one nearby.
        let rogue = serve(engines, &home, &home.laptop, "192.168.88.200,192.168.88.210,255.255.255.0,1h");
        home.ok("network create denying --parent eth0 --dhcp --dhcp-deny 192.168.88.50");
        home.ok("network create allowing --parent eth0 --dhcp --dhcp-allow 192.168.88.1");
        let web = home.world.container("web").unwrap();
        let netns = web.namespace().path().display().to_string();
        for network in ["denying", "allowing"] {
            let ran = home.run(&format!("attach {network} --netns {netns} --name web"));
            assert_eq!(ran.code, Some(6), "{}{}", ran.stdout, ran.stderr);
            assert!(ran.stderr.contains("only 192.168.88.50 answered"), "{}", ran.stderr);
        }
        assert_eq!(rogue.rows(), []);
        let server = serve(engines, &home, &home.router, POOL);
        for network in ["denying", "allowing"] {
            let at = v4(&home.attach(network, &web, ""));
            reaches(&home.laptop, at);
            assert_eq!(server.rows()[0].ip, at.to_string());
            home.ok(&format!("detach {network} web"));
        }
        assert_eq!((rogue.rows(), rogue.count("DHCPACK")), (Vec::new(), 0));
    });
}

#[test]
fn where_no_server_answers_the_range_does_until_one_does() {
    on_lan("leases, fallback", |engines, home| {
        home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --gateway 192.168.88.1 \
                 --ip-range 192.168.88.192/28 --dhcp --fallback range");
        let web = home.world.container("web").unwrap();
        let without = home.attach("lan", &web, "");
        assert_eq!(without["source"], "range");
        assert_eq!(v4(&without), ip("192.168.88.192"));
        for machine in [&home.laptop, &home.nas, &home.router] {
            reaches(machine, ip("192.168.88.192"));
        }
        reaches(&web, ip("192.168.88.1"));
        let server = serve(engines, &home, &home.router, POOL);
        home.ok("detach lan web");
        let leased = home.attach("lan", &web, "");
        assert_eq!(leased["source"], "lease");
        assert_eq!(server.rows()[0].ip, v4(&leased).to_string());
        reaches(&home.laptop, v4(&leased));
        does_not_reach(&home.laptop, ip("192.168.88.192"));
        // The network also chooses a range, clear of the server's pool, and the lease outlives the network.
        home.ok("detach lan web");
        home.ok("network rm lan");
        home.ok("network create lan --parent eth0 --dhcp --fallback range");
        assert!(home.ok("network ls").contains("by DHCP, or 192.168.88."), "{}", home.ok("network ls"));
        let discovers = server.count("DHCPDISCOVER");
        assert_eq!(v4(&home.attach("lan", &web, "")), v4(&leased));
        assert_eq!(server.count("DHCPDISCOVER"), discovers, "it asks for what it had");
    });
}

#[test]
fn what_is_to_be_given_back_is_by_the_next_daemon_and_once_the_cable_is_in() {
    on_lan("leases, given back later", |engines, mut home| {
        let server = serve(engines, &home, &home.router, POOL);
        for (name, when) in [("stop", "on_stop"), ("remove", "on_remove:3")] {
            home.ok(&format!("network create {name} --parent eth0 --dhcp --release {when}"));
        }
        let names = || {
            let mut names: Vec<String> = server.rows().into_iter().map(|row| row.name).collect();
            names.sort_unstable();
            names
        };
        let containers = ["stop", "remove"].map(|name| home.world.container(name).unwrap());
        for container in &containers {
            home.attach(container.name(), container, "");
        }
        home.ok("detach remove remove");
        home.restart();
        eventually_within(Duration::from_secs(120), "one is given back by another daemon", || {
            home.nudge();
            names() == ["stop"]
        });
        home.world.set_cable(&home.nas, false).unwrap();
        home.ok("detach stop stop");
        home.nudge();
        home.restart();
        home.nudge();
        assert_eq!(names(), ["stop"]);
        home.world.set_cable(&home.nas, true).unwrap();
        eventually("the other is, by way of the cable", || names().is_empty());
        assert_eq!(server.count("DHCPRELEASE"), 2);
    });
}

#[test]
fn an_address_that_did_for_want_of_a_server_is_not_what_the_server_is_asked_for() {
    on_lan("leases, fallback in between", |engines, home| {
        let server = serve(engines, &home, &home.router, POOL);
        home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --gateway 192.168.88.1 \
                 --ip-range 192.168.88.192/28 --dhcp --fallback range --release on_stop");
        let web = home.world.container("web").unwrap();
        let leased = v4(&home.attach("lan", &web, ""));
        home.ok("detach lan web");
        eventually("the lease is released", || server.rows().is_empty());
        drop(server);
        // The server may now give the address to any client.
        for _ in 0..2 {
            let without = home.attach("lan", &web, "");
            assert_eq!((without["source"].as_str(), v4(&without)), (Some("range"), ip("192.168.88.192")));
            reaches(&home.laptop, ip("192.168.88.192"));
            does_not_reach(&home.laptop, leased);
            home.ok("detach lan web");
        }
        // By itself, a server with another pool would choose another address.
        let _server = serve(engines, &home, &home.router, "192.168.88.60,192.168.88.120,255.255.255.0,1h");
        let again = home.attach("lan", &web, "");
        assert_eq!((again["source"].as_str(), v4(&again)), (Some("lease"), leased));
        reaches(&home.laptop, leased);
        // A network with a range does not choose this address either.
        home.ok("detach lan web");
        home.ok("network rm lan");
        home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/28");
        assert_eq!(v4(&home.attach("lan", &web, "")), ip("192.168.88.192"));
    });
}

#[test]
fn the_name_servers_of_a_lease_can_be_mounted_and_follow_it() {
    on_lan("leases, DNS", |engines, mut home| {
        let serving = |home: &Home, dns: &str| {
            let options = [format!("--dhcp-option=6,{dns}"), "--domain=lan".to_owned()];
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let directory = home.directory.path();
            Server::dnsmasq(engines, &home.router, directory, POOL, &options)
        };
        let server = serving(&home, "192.168.88.1");
        home.ok("network create lan --parent eth0 --dhcp");
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let path = home.daemon().socket().with_file_name("resolv").join("lan/web.conf");
        let text = || std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text(), "nameserver 192.168.88.1\nsearch lan\n");
        let inode = || std::fs::metadata(&path).unwrap().ino();
        let before = inode();
        // The router's settings change. A daemon that restarts has the lease confirmed.
        drop(server);
        let _server = serving(&home, "192.168.88.53,192.168.88.54");
        home.restart();
        let both = "nameserver 192.168.88.53\nnameserver 192.168.88.54\nsearch lan\n";
        eventually("the file follows", || text() == both);
        assert_eq!(inode(), before);
        home.ok("detach lan web");
        assert!(!path.parent().unwrap().exists());
    });
}

#[test]
fn what_makes_no_sense_is_refused() {
    on_lan("leases, bad options", |_, home| {
        for (options, code, says) in [
            (
                "--dhcp --release soon",
                2,
                "`soon` is not one of never, on_stop, on_remove and on_remove:SECONDS",
            ),
            ("--release never", 2, "--dhcp"),
            (
                "--dhcp --fallback range --subnet 192.168.88.0/24",
                3,
                "no range in 192.168.88.0/24 to fall back on",
            ),
            ("--dhcp --dhcp-deny 224.0.0.1", 3, "224.0.0.1 cannot be the address of a DHCP server"),
            (
                "--dhcp --dhcp-allow 192.168.88.1 --dhcp-deny 192.168.88.1",
                3,
                "192.168.88.1 is both allowed and denied",
            ),
            ("--dhcp --ip-range 192.168.88.192/28 --subnet 192.168.88.0/24", 3, "or give --fallback range"),
        ] {
            let ran = home.run(&format!("network create lan --parent eth0 {options}"));
            assert_eq!(ran.code, Some(code), "{options}: {}{}", ran.stdout, ran.stderr);
            assert!(ran.stderr.contains(says), "{options}: {}", ran.stderr);
        }
    });
}

#[test]
fn of_two_servers_neither_takes_an_address_off_at_a_restart() {
    on_lan("leases, two servers", |engines, mut home| {
        // dnsmasq acts as the only server and denies leases that it does not know.
        let servers = [
            serve(engines, &home, &home.router, POOL),
            serve(engines, &home, &home.laptop, "192.168.88.130,192.168.88.150,255.255.255.0,1h"),
        ];
        home.ok("network create lan --parent eth0 --dhcp");
        let containers = ["web", "db"].map(|name| home.world.container(name).unwrap());
        let all = containers.each_ref().map(|container| v4(&home.attach("lan", container, "")));
        let pings = all.map(|at| home.router.pings(at));
        let times = if std::env::var_os("ASHORE_TEST_ALL").is_some() { 10 } else { 3 };
        for _ in 0..times {
            let acks = || servers.iter().map(|server| server.count("DHCPACK")).sum::<usize>();
            let before = acks();
            home.restart();
            eventually("both leases are acknowledged", || acks() >= before + all.len());
        }
        assert!(servers.iter().any(|server| server.count("DHCPNAK") > 0), "one of them denies the other's");
        for counted in pings.map(Pings::end) {
            assert_eq!(counted.lost, 0, "{counted:?}");
        }
        let status = home.status();
        assert_eq!(status["troubles"], serde_json::json!([]));
        assert_eq!(containers.len(), status["endpoints"].as_array().unwrap().len());
    });
}
