//! Ranges and the pools of the LAN's DHCP servers: the daemon learns the pools by asking, and keeps ranges
//! clear of them.

use std::time::Duration;

use ashore_lab::{Engines, Ran, cannot_run};
use home::dhcp::{Brand, Server, Setup};
use home::frames::{Frames, What};
use home::told::Told;
use home::{Home, eventually, eventually_within, is_root};

/// A home, and a capture of what its NAS sends to DHCP servers.
struct Asked {
    home: Home,
    engines: Engines,
    frames: Frames,
}

fn asked(test: &str, run: impl FnOnce(&Asked)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a DHCP server needs root"),
        Ok(engines) => {
            let home = Home::new();
            let frames = Frames::dhcp_from(&home.world, &home.nas);
            let asked = Asked { home, engines, frames };
            run(&asked);
            let said: Vec<_> = asked.frames.dhcp().iter().map(|said| said.what).collect();
            assert!(said.iter().all(|what| *what == What::Discover), "{said:?}");
        }
    }
}

impl Asked {
    fn dnsmasq(&self, pool: &str) -> Server {
        let pool = format!("{pool},255.255.255.0,2m");
        Server::dnsmasq(&self.engines, &self.home.router, self.home.directory.path(), &pool, &[])
    }

    /// Waits until a server answers at all.
    fn until_heard(&self) {
        eventually("the server answers", || !self.check("").1[0]["servers"].as_array().unwrap().is_empty());
    }

    fn check(&self, options: &str) -> (Ran, serde_json::Value) {
        let ran = self.home.run(&format!("pool-check --json {options}"));
        let reports = serde_json::from_str(&ran.stdout).unwrap_or_default();
        (ran, reports)
    }

    fn create(&self, options: &str) -> Ran {
        self.home.run(&format!("network create lan --parent eth0 --subnet 192.168.88.0/24 {options}"))
    }

    fn range(&self) -> String {
        let network: serde_json::Value =
            serde_json::from_str(&self.home.ok("network inspect lan --json")).unwrap();
        network["subnets"][0]["range"].as_str().unwrap().to_owned()
    }

    fn troubles(&self) -> String {
        self.home.troubles().to_string()
    }
}

#[track_caller]
fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, Some(5), "{}{}", ran.stdout, ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
}

#[test]
fn a_range_in_the_pool_is_refused_and_the_one_beside_it_taken() {
    asked("pool-check, refused", |asked| {
        let server = asked.dnsmasq("192.168.88.100,192.168.88.200");
        asked.until_heard();
        let words = [
            "192.168.88.160/27 overlaps the pool of the DHCP server 192.168.88.1",
            "--ip-range 192.168.88.224/27",
        ];
        refused(&asked.create("--ip-range 192.168.88.160/27"), &words);
        refused(
            &asked.home.run("plan create lan --subnet 192.168.88.0/24 --ip-range 192.168.88.160/27"),
            &words,
        );
        assert!(asked.home.status()["networks"].as_array().unwrap().is_empty());
        let made = asked.create("--ip-range 192.168.88.224/27");
        assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
        assert_eq!(asked.troubles(), "[]");
        assert_eq!(server.rows(), []);
        assert_eq!(server.count("DHCPREQUEST"), 0);
    });
}

#[test]
fn the_pool_is_seen_to_its_edges() {
    asked("pool-check, edges", |asked| {
        let server = asked.dnsmasq("192.168.88.100,192.168.88.200");
        asked.until_heard();
        for (range, code) in [
            ("192.168.88.200-192.168.88.223", 5),
            ("192.168.88.201-192.168.88.223", 0),
            ("192.168.88.60-192.168.88.100", 5),
            ("192.168.88.60-192.168.88.99", 0),
            // The pool lies within the range.
            ("192.168.88.64-192.168.88.254", 5),
        ] {
            let (ran, reports) = asked.check(&format!("--ip-range {range}"));
            assert_eq!(ran.code, Some(code), "{range}: {}{}", ran.stdout, ran.stderr);
            assert_eq!(reports[0]["servers"][0]["server"], "192.168.88.1", "{reports}");
        }
        let (ran, reports) = asked.check("");
        assert_eq!((ran.code, &reports[0]["beside"]), (Some(0), &"192.168.88.224/27".into()), "{reports}");
        assert_eq!(server.rows(), []);
    });
}

#[test]
fn a_pool_that_is_used_up_tells_nothing_and_that_is_said() {
    asked("pool-check, full", |asked| {
        let _server = asked.dnsmasq("192.168.88.100,192.168.88.100");
        asked.until_heard();
        let mut client = asked.home.laptop.command(asked.engines.path("bin/busybox")).unwrap();
        let leased = Ran::of(client.args(["udhcpc", "-f", "-q", "-i", "eth0", "-s", "/bin/true"])).unwrap();
        assert_eq!(leased.code, Some(0), "{}", leased.stderr);
        let said = asked.home.ok("pool-check --ip-range 192.168.88.100-192.168.88.110");
        assert!(said.contains("no DHCP server offered any"), "{said}");
    });
}

#[test]
fn a_second_server_is_named() {
    asked("pool-check, two servers", |asked| {
        let _first = asked.dnsmasq("192.168.88.100,192.168.88.120");
        let directory = asked.home.directory.path();
        let pool = ("192.168.88.60", "192.168.88.70");
        let _second = Server::udhcpd(&asked.engines, &asked.home.laptop, directory, pool, 60);
        eventually("both answer", || asked.check("").1[0]["servers"].as_array().unwrap().len() == 2);
        let made = asked.create("--ip-range 192.168.88.192/27");
        let words = "2 DHCP servers answer on the LAN of `eth0`: 192.168.88.1, 192.168.88.50";
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        assert!(made.stderr.contains(words), "{}", made.stderr);
        assert!(asked.troubles().contains(words), "{}", asked.troubles());
    });
}

#[test]
fn without_a_server_networks_are_made_as_ever() {
    asked("pool-check, none", |asked| {
        let (ran, reports) = asked.check("--ip-range 192.168.88.192/27");
        assert_eq!((ran.code, &reports[0]["servers"]), (Some(0), &serde_json::json!([])));
        assert_eq!(reports[0]["asked"].as_array().unwrap().len(), 3, "no more wait for an answer");
        let said = asked.frames.dhcp();
        assert!(said.iter().all(|said| said.message.broadcast && said.message.chaddr.is_local()), "{said:?}");
        let made = asked.create("--ip-range 192.168.88.192/27");
        assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
    });
}

#[test]
fn the_range_that_is_chosen_lies_beside_the_pool() {
    asked("pool-check, chosen", |asked| {
        let server = asked.dnsmasq("192.168.88.100,192.168.88.254");
        asked.until_heard();
        asked.home.ok("network create lan");
        assert_eq!(asked.range(), "192.168.88.64/27");
        assert_eq!(server.rows(), []);
    });
}

#[test]
fn where_the_pool_is_the_whole_subnet_no_range_is_chosen() {
    asked("pool-check, nothing beside", |asked| {
        let _server = asked.dnsmasq("192.168.88.2,192.168.88.254");
        asked.until_heard();
        let words = ["is free for a range: the DHCP server 192.168.88.1 offers", "--dhcp"];
        refused(&asked.home.run("network create lan"), &words);
        asked.home.ok("network create lan --dhcp");
    });
}

#[test]
fn a_server_that_pings_first_is_heard_behind_and_waited_for_when_asked_about() {
    asked("pool-check, slow", |asked| {
        let (home, pool) = (&asked.home, "192.168.88.100,192.168.88.200,255.255.255.0,2m");
        let server =
            Server::dnsmasq_that_pings(&asked.engines, &home.router, home.directory.path(), pool, &[]);
        let made = asked.create("--ip-range 192.168.88.160/27");
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        let words = "the DHCP server 192.168.88.1 offers 192.168.88.160 of it";
        eventually("the status says so", || asked.troubles().contains(words));
        let (ran, _) = asked.check("lan");
        refused(&ran, &["192.168.88.160/27 overlaps the pool of the DHCP server 192.168.88.1"]);
        assert_eq!(server.rows(), []);
    });
}

#[test]
fn a_server_whose_pool_has_the_range_of_a_network_that_is_there_is_told_by_the_doctor() {
    asked("doctor, a range in the pool", |asked| {
        let home = &asked.home;
        let made = asked.create("--ip-range 192.168.88.160/27");
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        Told::of(home, "").is_well();
        let server = asked.dnsmasq("192.168.88.100,192.168.88.200");
        asked.until_heard();
        let words = ["192.168.88.160/27", "the DHCP server 192.168.88.1", "ashore pool-check"];
        Told::of(home, "").is_only("range-in-pool", 10, &words);
        // What it says to type names a range beside the pool.
        refused(&home.run("pool-check lan"), &["--ip-range 192.168.88.224/27"]);
        home.ok("network rm lan");
        let made = asked.create("--ip-range 192.168.88.224/27");
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        Told::of(home, "").is_well();
        assert_eq!(server.rows(), []);
    });
}

#[test]
fn where_a_subnet_is_named_without_a_range_that_lies_beside_the_pool() {
    asked("pool-check, whole", |asked| {
        let _server = asked.dnsmasq("192.168.88.100,192.168.88.200");
        asked.until_heard();
        let made = asked.create("");
        assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
        assert!(made.stdout.contains("chose the range 192.168.88.224/27"), "{}", made.stdout);
        assert_eq!((asked.range(), asked.troubles()), ("192.168.88.224/27".into(), "[]".into()));
    });
}

#[test]
fn where_ashore_chooses_it_waits_for_a_server_that_pings_first() {
    asked("pool-check, slow and chosen", |asked| {
        let (home, pool) = (&asked.home, "192.168.88.100,192.168.88.254,255.255.255.0,2m");
        let server =
            Server::dnsmasq_that_pings(&asked.engines, &home.router, home.directory.path(), pool, &[]);
        eventually("the server listens", || home.nas.ping("192.168.88.1".parse().unwrap()).is_some());
        for create in ["network create lan", "network create lan --parent eth0 --subnet 192.168.88.0/24"] {
            home.ok(create);
            assert_eq!(asked.range(), "192.168.88.64/27", "{create}");
            // The server is still working off the earlier requests.
            let (_, reports) = asked.check("lan");
            assert_eq!(reports[0]["servers"][0]["server"], "192.168.88.1", "{reports}");
            home.ok("network rm lan");
        }
        assert_eq!(server.rows(), []);
    });
}

#[test]
fn pool_check_hears_a_server_that_is_busy_with_what_it_was_asked_before() {
    asked("pool-check, behind", |asked| {
        let (home, pool) = (&asked.home, "192.168.88.100,192.168.88.200,255.255.255.0,2m");
        let _server =
            Server::dnsmasq_that_pings(&asked.engines, &home.router, home.directory.path(), pool, &[]);
        eventually("the server listens", || home.nas.ping("192.168.88.1".parse().unwrap()).is_some());
        home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.208/28");
        for options in ["lan", "", "--ip-range 192.168.88.160/27"] {
            let (_, reports) = asked.check(options);
            assert_eq!(reports[0]["servers"][0]["server"], "192.168.88.1", "{options}: {reports}");
            assert_ne!(reports[0]["asked"], serde_json::json!([]), "{options}: {reports}");
        }
    });
}

#[test]
fn who_looks_for_nobody_asks_no_server() {
    asked("pool-check, off", |asked| {
        let server = asked.dnsmasq("192.168.88.100,192.168.88.200");
        asked.until_heard();
        let before = server.count("DHCPDISCOVER");
        let made = asked.create("--ip-range 192.168.88.160/27 --conflict off");
        assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""));
        assert_eq!(server.count("DHCPDISCOVER"), before);
    });
}

#[test]
fn other_servers_tell_their_pools_as_well() {
    asked("pool-check, udhcpd", |asked| {
        let (home, pool) = (&asked.home, ("192.168.88.100", "192.168.88.200"));
        let _server = Server::udhcpd(&asked.engines, &home.router, home.directory.path(), pool, 60);
        is_seen_in_and_out(asked);
    });
    asked("pool-check, kea", |asked| {
        let pool = ([192, 168, 88, 100].into(), [192, 168, 88, 200].into());
        let (home, setup) = (&asked.home, Setup { pool, ..Setup::default() });
        let server = Brand::Kea.serve(&asked.engines, &home.router, home.directory.path(), &setup);
        is_seen_in_and_out(asked);
        assert_eq!(server.rows(), []);
    });
}

fn is_seen_in_and_out(asked: &Asked) {
    asked.until_heard();
    refused(
        &asked.check("--ip-range 192.168.88.192/27").0,
        &["overlaps the pool of the DHCP server 192.168.88.1"],
    );
    // busybox's udhcpd probes by ARP for two seconds before each offer, and first works off the earlier
    // requests, which are dozens.
    eventually_within(Duration::from_secs(240), "it offers others", || {
        std::thread::sleep(Duration::from_secs(10));
        let (ran, reports) = asked.check("--ip-range 192.168.88.224/27");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        !reports[0]["servers"].as_array().unwrap().is_empty()
    });
}

#[test]
fn what_cannot_be_asked_is_refused() {
    asked("pool-check, bad input", |asked| {
        asked.home.ok("network create leased --parent eth0 --dhcp");
        for (options, code, words) in [
            ("nas", 4, "there is no network `nas`"),
            ("leased", 3, "hands out no IPv4 addresses of its own"),
            ("--ip-range fd88::/64", 3, "IPv6"),
            ("--parent eth7", 3, "eth7"),
            ("--parent eth7 --ip-range 192.168.88.192/27", 3, "`eth7` does not exist"),
            ("--parent lo --ip-range 192.168.88.192/27", 3, "no MAC to ask a DHCP server from"),
        ] {
            let ran = asked.home.run(&format!("pool-check {options}"));
            assert_eq!(ran.code, Some(code), "{options}: {}{}", ran.stdout, ran.stderr);
            assert!(ran.stderr.contains(words), "{options}: {}", ran.stderr);
        }
        assert_eq!(asked.frames.dhcp(), []);
    });
}
