//! Docker containers with addresses from the LAN's own DHCP server.

use ashore_lab::Engines;
use ashore_wire::dhcp4::code;
use home::dhcp::Server;
use home::scripted::{Question, Reply, Scripted};
use home::site::{Site, on_an_engine, on_engine};
use home::together::{Place, Together, rounds};
use home::{eventually, ip, reaches};

const POOL: &str = "192.168.88.100,192.168.88.120,255.255.255.0,2m";

fn serve(site: &Site) -> Server {
    serve_with(site, "")
}

fn serve_with(site: &Site, options: &str) -> Server {
    let (engines, directory) = (Engines::find().unwrap(), site.home.directory.path());
    let server = Server::dnsmasq(&engines, &site.home.router, directory, POOL, &[]);
    site.ok(&format!(
        "network create -d ashore --ipam-driver ashore --ipam-opt addressing=dhcp {options} lan"
    ));
    server
}

/// The addresses that the server lists for a name.
fn rows(server: &Server, name: &str) -> Vec<String> {
    server.rows().into_iter().filter(|row| row.name == name).map(|row| row.ip).collect()
}

#[test]
fn a_container_has_the_routers_address_for_life() {
    on_an_engine("docker, leases", |site| {
        let server = serve(site);
        site.start("web", "");
        site.start("db", "");
        let before = site.address_of("web");
        assert_eq!(rows(&server, "web"), std::slice::from_ref(&before.0));
        for machine in [&site.home.laptop, &site.home.nas, &site.home.router] {
            reaches(machine, ip(&before.0));
        }
        for to in ["192.168.88.1", "192.168.88.9", &site.address_of("db").0] {
            site.container_reaches("web", to);
        }
        assert_eq!(site.endpoint("web")["source"], "lease");

        let discovers = server.count("DHCPDISCOVER");
        site.ok("restart -t 0 web");
        assert_eq!(site.address_of("web"), before);
        site.ok("rm -f web");
        site.start("web", "");
        assert_eq!(site.address_of("web"), before);
        assert_eq!(server.count("DHCPDISCOVER"), discovers, "it asks for what it had");
        reaches(&site.home.laptop, ip(&before.0));

        site.ok("rm -f web db");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn it_keeps_it_when_engine_and_daemon_are_killed() {
    on_an_engine("docker, leases, killed", |site| {
        let server = serve(site);
        site.start("web", "--restart always");
        let before = site.address_of("web");
        site.home.daemon = None;
        site.start_daemon();
        reaches(&site.home.laptop, ip(&before.0));
        site.docker.kill_dockerd().unwrap();
        site.docker.start_dockerd(&site.home.nas).unwrap();
        // The engine does not say for which container the first address is. The container gets its own
        // address as soon as its name is known.
        eventually("it is back", || site.home.laptop.ping(ip(&before.0)).is_some());
        assert_eq!(site.address_of("web"), before);
        eventually("the server has one lease", || server.rows().len() == 1);
    });
}

/// As in a VLAN that the host itself is not on.
#[test]
fn the_lease_brings_the_router_that_the_host_does_not_know() {
    on_an_engine("docker, leases, unknown router", |site| {
        site.home.nas.del_default_route("eth0", ip("192.168.88.1")).unwrap();
        let _server = serve_with(site, "--subnet 192.168.88.0/24 -o parent=eth0");
        site.start("web", "");
        let before = site.address_of("web");
        site.container_reaches("web", home::BEYOND);
        site.docker.kill_dockerd().unwrap();
        site.docker.start_dockerd(&site.home.nas).unwrap();
        site.ok("start web");
        eventually("it is back", || site.place_of("web").as_ref() == Some(&before));
        site.container_reaches("web", home::BEYOND);
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.engine_refuses(
            "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 -o parent=eth0 lan",
            &["no default route in 192.168.88.0/24", "--gateway"],
        );
        site.assert_nothing_left();
    });
}

#[test]
fn an_address_asked_for_is_the_servers_to_give() {
    on_an_engine("docker, leases, asked for", |site| {
        // Docker accepts a chosen address only on a subnet that its user gave.
        let _server = serve_with(site, "--subnet 192.168.88.0/24 --gateway 192.168.88.1 -o parent=eth0");
        site.start("web", "--ip 192.168.88.110");
        assert_eq!(site.address_of("web").0, "192.168.88.110");
        site.engine_refuses(
            "run -d --network lan --name db --ip 192.168.88.50 box sleep 1",
            &[", not 192.168.88.50", "reserve 192.168.88.50 for the MAC"],
        );
        site.ok("rm -f web db");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn ten_at_once_get_an_address_each() {
    on_an_engine("docker, leases, ten at once", |site| {
        let server = serve(site);
        let names: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
        std::thread::scope(|scope| {
            for name in &names {
                let docker = &site.docker;
                let run = ["run", "-d", "--init", "--name", name, "--network", "lan", "box", "sleep", "1000"];
                scope.spawn(move || docker.run(&run).unwrap().expect_success());
            }
        });
        let mut all: Vec<String> = names.iter().map(|name| site.address_of(name).0).collect();
        for address in &all {
            reaches(&site.home.laptop, ip(address));
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10, "{all:?}");
        assert!(server.rows().len() >= 10);
    });
}

#[test]
fn a_mac_that_its_user_chose_is_the_one_by_which_the_server_knows_it() {
    on_an_engine("docker, leases, own MAC", |site| {
        let server = serve(site);
        site.start("web", "--mac-address 02:42:aa:00:00:01");
        assert_eq!(site.address_of("web").1, "02:42:aa:00:00:01");
        let is_its_own = || {
            let (rows, place) = (server.rows(), site.place_of("web"));
            place.is_some_and(|(at, mac)| rows.len() == 1 && rows[0].ip == at && rows[0].mac == mac)
        };
        assert!(site.suite != "sid" || is_its_own(), "{:?}", server.rows());
        // The list of Docker 20.10 has no MAC before the container runs, and it is connected again when it has.
        eventually("the server knows it by its MAC, and nobody else", is_its_own);
        let (at, mac) = site.address_of("web");
        assert_eq!(mac, "02:42:aa:00:00:01");
        site.ok("restart -t 0 web");
        assert_eq!(site.address_of("web"), (at.clone(), mac));
        reaches(&site.home.laptop, ip(&at));
        eventually("it still does", is_its_own);
    });
}

#[test]
fn containers_that_start_at_once_have_their_leases_by_their_own_macs_every_time() {
    on_an_engine("docker, leases, started at once", |site| {
        let (engines, directory) = (Engines::find().unwrap(), site.home.directory.path());
        let reserved = "--dhcp-host=02:42:aa:00:00:02,192.168.88.66";
        let server = Server::dnsmasq(&engines, &site.home.router, directory, POOL, &[reserved]);
        site.ok("network create -d ashore --ipam-driver ashore --ipam-opt addressing=dhcp lan");
        site.start("web", "--restart always");
        site.start("own", "--restart always --mac-address 02:42:aa:00:00:01");
        site.start("reserved", "--restart always --mac-address 02:42:aa:00:00:02");
        let names = ["web", "own", "reserved"];
        let is_itself = |name: &&str| {
            let place = Place::of(site, name);
            let status = site.home.status();
            let known = status["endpoints"].as_array().unwrap().iter().find(|one| one["name"] == **name);
            place.is_some_and(|place| known.is_some_and(|known| known.to_string().contains(&place.v4)))
        };
        eventually("the router's reservation counts, and each is known by its name", || {
            names.iter().all(is_itself)
                && Place::of(site, "reserved").is_some_and(|now| now.v4 == "192.168.88.66")
        });
        let all = Together::of(site, &names);
        for round in rounds() {
            if round % 3 == 0 {
                site.docker.stop_dockerd().unwrap();
                site.docker.start_dockerd(&site.home.nas).unwrap();
            } else {
                all.start_anew(site);
            }
            all.are_as_at_first(site, &format!("start {round}"));
            for name in names {
                let place = all.place(name);
                let listed = || server.rows().iter().any(|row| row.ip == place.v4 && row.mac == place.mac);
                eventually("the router's table has its address with its own MAC", listed);
            }
        }
        eventually("and nobody else's", || server.rows().len() == 3);
    });
}

#[test]
fn a_leased_and_a_chosen_network_share_the_whole_subnet() {
    on_an_engine("docker, leases, beside", |site| {
        let whole = "--subnet 192.168.88.0/24 --gateway 192.168.88.1 -o parent=eth0";
        site.ok(&format!("network create -d ashore --ipam-driver ashore {whole} own"));
        let server = serve_with(site, &format!("{whole} --ipam-opt release=on_stop"));
        site.start("web", "");
        site.ok("run -d --init --network own --name db box sleep 1000");
        assert_eq!(site.endpoint("web")["source"], "lease");
        assert_eq!(site.endpoint("db")["source"], "range");
        assert_eq!(rows(&server, "web"), [site.address_of("web").0]);
        assert_eq!(rows(&server, "db"), [""; 0]);
        site.ok("stop -t 0 web");
        eventually("the lease is given back", || server.rows().is_empty());
        site.ok("rm -f web db");
        site.ok("network rm lan own");
        site.assert_nothing_left();
    });
}

#[test]
fn a_lease_is_given_back_when_its_container_is_removed_and_not_when_it_stops() {
    on_engine("sid", "docker, leases, removed", |site| {
        let server = serve_with(site, "--ipam-opt release=on_remove:1");
        site.start("web", "");
        let before = site.address_of("web");
        site.ok("stop -t 0 web");
        for _ in 0..5 {
            site.home.nudge();
        }
        assert_eq!((server.rows().len(), server.count("DHCPRELEASE")), (1, 0));
        site.ok("rm web");
        eventually("the lease is released", || {
            site.home.nudge();
            server.rows().is_empty()
        });
        site.start("web", "");
        assert_eq!(site.address_of("web"), before);
    });
}

#[test]
fn without_a_server_it_has_an_address_of_the_range_and_afterwards_the_routers_again() {
    on_an_engine("docker, leases, fallback in between", |site| {
        let network =
            "--subnet 192.168.88.0/24 --gateway 192.168.88.1 --ip-range 192.168.88.192/28 -o parent=eth0";
        let server =
            serve_with(site, &format!("{network} --ipam-opt fallback=range --ipam-opt release=on_stop"));
        site.start("web", "");
        let leased = site.address_of("web").0;
        site.ok("stop -t 0 web");
        eventually("the lease is released", || server.rows().is_empty());
        drop(server);
        site.ok("start web");
        let stand_in = site.address_of("web").0;
        assert!(stand_in.starts_with("192.168.88.19") || stand_in.starts_with("192.168.88.20"), "{stand_in}");
        reaches(&site.home.laptop, ip(&stand_in));
        assert_eq!(site.endpoint("web")["source"], "range");
        site.ok("restart -t 0 web");
        // The engine does not say for which container the first address is. The container gets its own
        // address as soon as its name is known.
        eventually("it has the same as before", || {
            site.place_of("web").is_some_and(|place| place.0 == stand_in)
        });
        reaches(&site.home.laptop, ip(&stand_in));
        let (engines, directory) = (Engines::find().unwrap(), site.home.directory.path());
        let other_pool = "192.168.88.60,192.168.88.120,255.255.255.0,2m";
        let _server = Server::dnsmasq(&engines, &site.home.router, directory, other_pool, &[]);
        site.ok("restart -t 0 web");
        eventually("it has the router's again", || {
            site.place_of("web").is_some_and(|place| place.0 == leased)
        });
        assert_eq!(site.endpoint("web")["source"], "lease");
        reaches(&site.home.laptop, ip(&leased));
    });
}

#[test]
fn another_router_at_the_renewal_is_the_containers_too() {
    on_an_engine("docker, leases, another router", |site| {
        let (at, other) = ([192, 168, 88, 100].into(), [192, 168, 88, 50]);
        let good = move |question: &Question| question.good(at, 10).map(Reply::now).into_iter().collect();
        let server = Scripted::on(&site.home.router, good);
        site.ok("network create -d ashore --ipam-driver ashore --ipam-opt addressing=dhcp lan");
        site.start("web", "");
        let routes = || site.ok("exec web ip route");
        assert!(routes().contains("default via 192.168.88.1 "), "{}", routes());
        server.now_answers(move |question| {
            let moved = question.good(at, 10).map(|reply| reply.with(code::ROUTER, other));
            moved.map(Reply::now).into_iter().collect()
        });
        eventually("its default route is by the new one", || routes().contains("default via 192.168.88.50 "));
        assert_eq!(routes().matches("default").count(), 1, "{}", routes());
        reaches(&site.home.laptop, at.into());
    });
}

#[test]
fn a_router_outside_of_the_containers_subnet_is_its_default_route() {
    on_an_engine("docker, leases, a far router", |site| {
        site.home.router.add_address("eth0", "10.9.9.1/24".parse().unwrap()).unwrap();
        // With a /32 lease all traffic goes through the router, also to the LAN.
        site.home.router.set_ipv4_conf("all", "forwarding", 1).unwrap();
        let at = [192, 168, 88, 100].into();
        let far = move |question: &Question| {
            let reply = question.good(at, 10).map(|reply| reply.with(code::ROUTER, [10, 9, 9, 1]));
            reply.map(|reply| reply.with(code::SUBNET_MASK, [255; 4]).now()).into_iter().collect()
        };
        let server = Scripted::on(&site.home.router, far);
        site.ok("network create -d ashore --ipam-driver ashore --ipam-opt addressing=dhcp lan");
        let routes = |name: &str| site.ok(&format!("exec {name} ip route"));
        site.start("web", "");
        assert!(routes("web").contains("default via 10.9.9.1 "), "{}", routes("web"));
        site.container_reaches("web", home::BEYOND);
        reaches(&site.home.laptop, at.into());
        // The same at a renewal, in both directions.
        server.now_answers(move |question| question.good(at, 10).map(Reply::now).into_iter().collect());
        eventually("its router is near", || routes("web").contains("default via 192.168.88.1 "));
        site.container_reaches("web", home::BEYOND);
        server.now_answers(far);
        eventually("its router is far", || routes("web").contains("default via 10.9.9.1 "));
        site.container_reaches("web", home::BEYOND);
        reaches(&site.home.laptop, at.into());
    });
}
