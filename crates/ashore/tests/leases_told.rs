//! What DHCP servers are told of containers: host names, names to register, vendor classes and client identifiers;
//! and how long their answer is waited for.

use std::net::IpAddr;
use std::time::Duration;

use ashore_lab::{Engines, Machine, cannot_run};
use ashore_wire::dhcp4::code;
use home::dhcp::{Brand, Row, Server, Setup};
use home::frames::{What, Wire};
use home::site::{Site, on_every_engine};
use home::{Home, comes_true, dns, eventually, eventually_within, is_root, reaches};

const POOL: &str = "192.168.88.100,192.168.88.120,255.255.255.0,1h";
/// `nas-1` as a client identifier: text has type 0.
const NAS_1: &str = "00:6e:61:73:2d:31";

/// Runs a test on a LAN that has no DHCP server yet.
fn on_lan(test: &str, run: impl FnOnce(&Engines, Home)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a DHCP server needs root"),
        Ok(engines) => run(&engines, Home::new()),
    }
}

fn serve(engines: &Engines, home: &Home, options: &[&str]) -> Server {
    Server::dnsmasq(engines, &home.router, home.directory.path(), POOL, options)
}

fn v4(report: &serde_json::Value) -> IpAddr {
    let text = report["addresses"][0].as_str().unwrap();
    text.split('/').next().unwrap().parse().unwrap()
}

/// The server's row for an address. dnsmasq answers before it writes its table, and writes that anew each time.
fn row(server: &Server, at: IpAddr) -> Row {
    let mut found = None;
    eventually(&format!("{at} is in the server's table"), || {
        found = server.rows().into_iter().find(|row| row.ip == at.to_string());
        found.is_some()
    });
    found.expect("it was there")
}

/// Attaches a container in vain. Returns the exit code and what was said.
fn refused(home: &Home, container: &Machine, options: &str) -> (Option<i32>, String) {
    let (netns, name) = (container.namespace().path().display().to_string(), container.name());
    let ran = home.run(&format!("attach lan --netns {netns} --name {name} {options}"));
    (ran.code, ran.stderr)
}

#[test]
fn a_server_knows_a_container_as_its_user_says() {
    for brand in [Brand::Dnsmasq, Brand::Kea] {
        on_lan("leases told, one container", |engines, mut home| {
            let server = brand.serve(engines, &home.router, home.directory.path(), &Setup::default());
            let [web, db] = ["web", "db"].map(|name| home.world.container(name).unwrap());
            home.ok("network create lan --parent eth0 --dhcp --hostname all.example");
            let at = v4(&home.attach("lan", &web, "--hostname photos --client-id nas-1"));
            reaches(&home.laptop, at);
            let Row { name, client_id, .. } = row(&server, at);
            assert_eq!((name.as_str(), client_id.as_str()), ("photos", NAS_1), "{}", brand.name());

            // Another container that gave the same would have the same address.
            let (code, said) = refused(&home, &db, "--client-id 00:6e:61:73:2d:31");
            assert_eq!(code, Some(5), "{said}");
            assert!(said.contains(NAS_1) && said.contains("that of `web`"), "{said}");
            reaches(&home.laptop, at);
            let other = v4(&home.attach("lan", &db, ""));
            assert_ne!(row(&server, other).client_id, NAS_1);

            // The identifier is the name's for life, and the host name is the attach's.
            home.restart();
            home.ok("detach lan web");
            assert_eq!(v4(&home.attach("lan", &web, "")), at);
            let again = row(&server, at);
            assert_eq!(again.client_id, NAS_1, "{}", brand.name());
            assert!(again.name.starts_with("all"), "{again:?}");

            // With another one it is another client.
            home.ok("detach lan web");
            let moved =
                v4(&home.attach("lan", &web, "--client-id ff:00:00:00:01:00:03:00:01:02:00:00:00:00:01"));
            assert_eq!(row(&server, moved).client_id, "ff:00:00:00:01:00:03:00:01:02:00:00:00:00:01");
            home.ok("detach lan web");
            home.ok("forget web");
            let own = v4(&home.attach("lan", &web, ""));
            assert!(row(&server, own).client_id.starts_with("ff:00:00:00:01:00:04"), "{:?}", server.rows());
        });
    }
}

#[test]
fn a_server_registers_names_that_it_is_asked_to() {
    on_lan("leases told, names", |engines, home| {
        let server = serve(engines, &home, &["--domain=lan", "--local=/lan/"]);
        let wire = Wire::between(&home.world, &home.nas, &home.router);
        let web = home.world.container("web").unwrap();
        home.ok("network create lan --parent eth0 --dhcp --register-name");
        let at = v4(&home.attach("lan", &web, "--hostname photos"));
        let asked = wire.asked();
        for said in asked.iter().filter(|said| matches!(said.what, What::Discover | What::Select)) {
            assert_eq!(said.message.options.get(code::FQDN), Some(&b"\x05\0\0\x06photos"[..]));
            assert_eq!(said.message.options.get(code::HOST_NAME), None, "there is one of both");
        }
        assert_eq!(row(&server, at).name, "photos");
        let known = || dns::addresses_of(engines, &home.laptop, "photos.lan") == [at];
        assert!(comes_true(Duration::from_secs(20), known), "{:?}", server.rows());
        assert_eq!(dns::names_of(engines, &home.laptop, at), ["photos.lan"]);
    });
}

#[test]
fn a_server_groups_containers_by_their_vendor_class() {
    on_lan("leases told, vendor class", |engines, home| {
        let of_nas = "--dhcp-range=tag:nas,192.168.88.60,192.168.88.70,255.255.255.0,1h";
        let pool = "tag:!nas,192.168.88.100,192.168.88.120,255.255.255.0,1h";
        let options = ["--dhcp-vendorclass=set:nas,nas box", of_nas];
        let _server = Server::dnsmasq(engines, &home.router, home.directory.path(), pool, &options);
        let [web, db] = ["web", "db"].map(|name| home.world.container(name).unwrap());
        let arguments =
            ["network", "create", "nas", "--parent", "eth0", "--dhcp", "--vendor-class", "nas box"];
        home.daemon().run(&arguments).unwrap().expect_success();
        home.ok("network create lan --parent eth0 --dhcp");
        let last = |at: IpAddr| if let IpAddr::V4(at) = at { at.octets()[3] } else { 0 };
        let (of_class, of_none) = (v4(&home.attach("nas", &web, "")), v4(&home.attach("lan", &db, "")));
        assert!((60..=70).contains(&last(of_class)), "{of_class}");
        assert!((100..=120).contains(&last(of_none)), "{of_none}");
    });
}

#[test]
fn a_dhcpv6_server_is_told_the_same() {
    on_lan("leases told, DHCPv6", |engines, home| {
        // Without the class there is no pool.
        let pool = "tag:nas,fd88::100,fd88::1ff,64,2m";
        let options = ["--enable-ra", "--dhcp-vendorclass=set:nas,nas"];
        let server = Server::dnsmasq(engines, &home.router, home.directory.path(), pool, &options);
        home.ok(
            "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --ipv6 dhcp \
             --vendor-class nas",
        );
        let [web, db] = ["web", "db"].map(|name| home.world.container(name).unwrap());
        home.attach(
            "lan",
            &web,
            "--hostname photos --client-id ff:00:00:00:07:00:03:00:01:02:00:00:00:00:01",
        );
        // An identifier of DHCPv4 alone is none that a DHCPv6 server could be told.
        home.attach("lan", &db, "--client-id nas-1");
        let listed = |name: &str| {
            let rows = server.rows_of(name);
            rows.iter().find(|row| row.ip.starts_with("fd88::1")).map(|row| row.client_id.clone())
        };
        eventually_within(Duration::from_secs(60), "both have addresses", || {
            listed("photos").is_some() && listed("db").is_some()
        });
        assert_eq!(listed("photos").as_deref(), Some("00:03:00:01:02:00:00:00:00:01"));
        assert!(listed("db").is_some_and(|duid| duid.starts_with("00:04:")), "{:?}", server.rows());
    });
}

#[test]
fn a_server_is_waited_for_as_long_as_the_network_says() {
    on_lan("leases told, patience", |engines, home| {
        home.ok("network create short --parent eth0 --dhcp --lease-timeout 3");
        home.ok("network create lan --parent eth0 --dhcp --lease-timeout 60");
        let [web, db] = ["web", "db"].map(|name| home.world.container(name).unwrap());
        let netns = db.namespace().path().display().to_string();
        let mut attach = home.daemon().client();
        let mut attach = attach.args(["attach", "lan", "--netns", &netns, "--name", "db"]).spawn().unwrap();
        let netns = web.namespace().path().display().to_string();
        let ran = home.run(&format!("attach short --netns {netns} --name web"));
        assert_eq!(ran.code, Some(6), "{}", ran.stderr);
        assert!(ran.stderr.contains("within 3 seconds"), "{}", ran.stderr);
        assert_eq!(attach.try_wait().unwrap(), None, "the other one is more patient");

        // The router comes back after a time at which others have given up.
        std::thread::sleep(Duration::from_secs(15));
        assert_eq!(attach.try_wait().unwrap(), None, "it waits");
        let server = serve(engines, &home, &[]);
        assert!(attach.wait().unwrap().success());
        let rows = server.rows_of("db");
        assert_eq!(rows.len(), 1, "{:?}", server.rows());
        reaches(&home.laptop, rows[0].ip.parse().unwrap());
    });
}

#[test]
fn what_cannot_be_told_is_refused_by_name() {
    on_lan("leases told, refusals", |_, home| {
        for (options, code, says) in [
            ("--dhcp --hostname a_b", 2, "`a_b` is not a host name"),
            ("--dhcp --lease-timeout 2", 2, "`2` is no number of seconds from 3 to 120"),
            ("--dhcp --lease-timeout 121", 2, "`121` is no number"),
            ("--register-name", 2, "--dhcp"),
            ("--hostname web", 3, "`hostname` is for addresses leased"),
            ("--vendor-class nas", 3, "`vendor-class` is for addresses leased"),
        ] {
            let ran = home.run(&format!("network create lan --parent eth0 {options}"));
            assert_eq!(ran.code, Some(code), "{options}: {}{}", ran.stdout, ran.stderr);
            assert!(ran.stderr.contains(says), "{options}: {}", ran.stderr);
        }
        home.ok("network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/28");
        let web = home.world.container("web").unwrap();
        for (options, code, says) in [
            ("--client-id ff:0", 2, "is not a DHCP client identifier"),
            ("--hostname 192.168.88.1", 2, "is not a host name"),
            ("--client-id nas-1", 3, "`client-id` is for DHCP servers, and network `lan` asks none"),
            ("--hostname photos", 3, "`hostname` is for DHCP servers, and network `lan` asks none"),
        ] {
            let (exit, said) = refused(&home, &web, options);
            assert_eq!(exit, Some(code), "{options}: {said}");
            assert!(said.contains(says), "{options}: {said}");
        }
    });
}

#[test]
fn dockers_labels_are_what_a_server_is_told() {
    on_every_engine("docker, leases told", |site| {
        let (engines, directory) = (Engines::find().unwrap(), site.home.directory.path());
        let server = Server::dnsmasq(&engines, &site.home.router, directory, POOL, &[]);
        site.ok("network create -d ashore --ipam-driver ashore --ipam-opt addressing=dhcp --ipam-opt lease_timeout=20 \
                 --ipam-opt register_name=yes lan");
        site.start("web", "--label ashore.hostname=photos --label ashore.client_id=nas-1");
        let at = site.address_of("web").0;
        let told = || {
            let rows = server.rows();
            rows.iter().any(|row| row.ip == at && row.name == "photos" && row.client_id == NAS_1)
        };
        assert!(comes_true(Duration::from_secs(20), told), "{at}: {:?}", server.rows());
        site.ok("restart -t 0 web");
        assert_eq!(site.address_of("web").0, at);
        site.engine_refuses(
            "run --rm --name db --network lan --label ashore.client_id=nas-1 box sleep 5",
            &[NAS_1, "that of `web`"],
        );
        site.engine_refuses(
            "run --rm --name db --network lan --label ashore.hostname=a_b box sleep 5",
            &["the label `ashore.hostname` of `db`", "is not a host name"],
        );
    });
}

#[test]
fn an_image_does_not_say_what_a_server_is_told() {
    on_every_engine("docker, leases told, labels of images", |site| images_say_nothing(site, false));
}

#[test]
fn nor_does_one_that_containerd_keeps() {
    const CONTAINERD: [&str; 3] = ["--feature", "containerd-snapshotter=true", "--storage-driver=native"];
    match Engines::find() {
        Err(why) => cannot_run("docker, leases told, labels of containerd's images", &why),
        Ok(engines) => {
            let mut site = Site::without_daemon_with(&engines, "sid", &CONTAINERD);
            site.start_daemon();
            images_say_nothing(&site, true);
        }
    }
}

/// `is_kept` says whether the engine keeps an image as long as there is a container of it.
fn images_say_nothing(site: &Site, is_kept: bool) {
    let (engines, directory) = (Engines::find().unwrap(), site.home.directory.path());
    let server = Server::dnsmasq(&engines, &site.home.router, directory, POOL, &[]);
    site.ok("network create -d ashore --ipam-driver ashore --ipam-opt addressing=dhcp lan");
    site.ok("create --name maker box sleep 1");
    let make = |image: &str, labels: &str| {
        let label = format!("LABEL {labels}");
        site.docker.run(&["commit", "--change", &label, "maker", image]).unwrap().expect_success();
    };
    make("nosy", "ashore.hostname=wpad ashore.client_id=nas-1");
    make("broken", "ashore.hostname=a_b ashore.client_id=ff:0");
    make("gone", "purpose=home");
    let run = |name: &str, options: &str, image: &str| {
        site.ok(&format!("run -d --init --name {name} --network lan {options} {image} sleep 1000"));
    };
    let is_known = |container: &str, name: &str, client_id: Option<&str>| {
        let at = site.address_of(container).0;
        let fits = |row: &Row| client_id.map_or(row.client_id != NAS_1, |id| row.client_id == id);
        let known = || server.rows().iter().any(|row| row.ip == at && row.name == name && fits(row));
        assert!(comes_true(Duration::from_secs(20), known), "{container}: {:?}", server.rows());
    };
    run("web", "", "nosy");
    is_known("web", "web", None);
    assert!(site.logs().contains("its label `ashore.client_id` is its image's"), "{}", site.logs());
    site.ok("restart -t 0 web");
    is_known("web", "web", None);
    // What its user writes counts, and the other label is still the image's.
    run("db", "--label ashore.client_id=nas-1 --label ashore.hostname=photos", "box");
    is_known("db", "photos", Some(NAS_1));
    run("own", "--label ashore.hostname=music", "nosy");
    is_known("own", "music", None);
    run("odd", "", "broken");
    is_known("odd", "odd", None);
    // Of an image that is no longer there, nobody can tell which labels were its own. containerd keeps it.
    site.ok("create --init --name orphan --network lan --label ashore.hostname=films gone sleep 1000");
    site.ok("rmi -f gone");
    site.ok("start orphan");
    is_known("orphan", if is_kept { "films" } else { "orphan" }, None);
    let is_said = site.logs().contains("it cannot be told which of them are its image's");
    assert_eq!(is_said, !is_kept, "{}", site.logs());
}
