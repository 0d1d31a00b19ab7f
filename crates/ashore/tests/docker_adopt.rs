//! Networks of Docker's own macvlan driver. Once adopted, they get what Docker leaves to the user.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use ashore_wire::Heard;
use home::frames::Frames;
use home::site::{Site, on_an_engine, on_engine};
use home::{HOST, HOST6, does_not_reach, eventually, ip, is_defended, mac_known_to, reaches, takes, type_on};

const MACVLAN: &str = "network create -d macvlan --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1 \
     -o parent=eth0";

#[test]
fn an_adopted_networks_containers_and_their_host_reach_each_other() {
    on_an_engine("docker, adopt", |site| {
        site.ok(&format!("{MACVLAN} lan"));
        site.start("web", "");
        let (web, mac) = site.address_of("web");
        reaches(&site.home.laptop, ip(&web));
        does_not_reach(&site.home.nas, ip(&web));

        // The plan is what is carried out.
        let plan = site.home.ok("plan adopt lan");
        assert!(plan.contains("shim-eth0") && plan.contains(&format!("ip route add {web}/32")), "{plan}");
        does_not_reach(&site.home.nas, ip(&web));
        assert!(site.home.ok("adopt lan").contains("adopted"));
        reaches(&site.home.nas, ip(&web));
        reaches(&site.home.laptop, ip(&web));
        site.ok(&format!("exec web ping -c 1 -w 2 {HOST}"));
        assert_eq!(site.address_of("web"), (web.clone(), mac), "nothing changed for the container");
        // Adopting again changes nothing.
        site.home.ok("adopt lan");

        // Containers come and go as before.
        site.start("db", "");
        let (db, _) = site.address_of("db");
        eventually("the host reaches a new container", || site.home.nas.ping(ip(&db)).is_some());
        site.ok("rm -f db");
        eventually("its route is gone", || !site.home.made_routes().iter().any(|route| route.contains(&db)));
        site.ok("restart -t 1 web");
        let (web, _) = site.address_of("web");
        eventually("the host reaches it again", || site.home.nas.ping(ip(&web)).is_some());

        // What Ashore assigns itself stays clear of what Docker assigns.
        let (code, said) = site.refused("network rm lan");
        assert!(code == Some(5) && said.contains("adopt --undo lan"), "{said}");

        // The daemon is away while a container starts.
        site.home.daemon = None;
        site.start("late", "");
        site.start_daemon();
        let (late, _) = site.address_of("late");
        eventually("the host reaches it", || site.home.nas.ping(ip(&late)).is_some());
        reaches(&site.home.nas, ip(&web));

        site.home.ok("adopt --undo lan");
        does_not_reach(&site.home.nas, ip(&web));
        reaches(&site.home.laptop, ip(&web));
        assert!(site.home.made_routes().is_empty());
        let (code, said) = site.refused("adopt --undo lan");
        assert!(code == Some(4) && said.contains("not adopted"), "{said}");

        // A network that Docker removes is released.
        site.home.ok("adopt lan");
        site.ok("rm -f web late");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn by_ipv6_too_and_with_the_reserved_host_address() {
    on_an_engine("docker, adopt, IPv6 and host=", |site| {
        site.ok(&format!(
            "{MACVLAN} --aux-address host=192.168.88.222 --ipv6 --subnet fd88::/64 --gateway fd88::1 lan"
        ));
        site.start("web", "--ip6 fd88::c5");
        site.home.ok("adopt lan");
        let (web, _) = site.address_of("web");
        reaches(&site.home.nas, ip(&web));
        site.ok("exec web ping -c 1 -w 2 192.168.88.222");
        eventually("the host reaches it by IPv6", || site.home.nas.ping(ip("fd88::c5")).is_some());
        site.ok(&format!("exec web ping -c 1 -w 2 {HOST6}"));
        reaches(&site.home.laptop, ip("fd88::c5"));
        site.home.ok("adopt --undo lan");
        does_not_reach(&site.home.nas, ip("fd88::c5"));
        let routes = site.ok("exec web ip -6 route");
        assert!(!routes.contains(HOST6), "its own way to the host is gone as well: {routes}");
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn what_cannot_be_adopted_is_refused_with_the_reason() {
    on_an_engine("docker, adopt, refusals", |site| {
        site.ok("network create other");
        site.ok(&format!("{MACVLAN} -o macvlan_mode=private apart"));
        site.create_lan_as("own", "192.168.88.64/27");
        for (name, code, words) in [
            ("nothing", 4, vec!["no network `nothing`", "`apart`"]),
            ("other", 3, vec!["driver `bridge`"]),
            ("own", 3, vec!["Ashore's own"]),
            ("apart", 3, vec!["macvlan:private", "--host-access no"]),
        ] {
            let (found, said) = site.refused(&format!("adopt {name}"));
            assert_eq!(found, Some(code), "{name}: {said}");
            for word in words {
                assert!(said.contains(word), "{word:?} is not in: {said}");
            }
        }
        // Without host access, its addresses are still watched.
        site.home.ok("adopt apart --host-access no");
        site.home.ok("adopt --undo apart");
        site.ok("network rm other apart own");
        site.assert_nothing_left();
    });
}

#[test]
fn an_adopted_network_that_docker_makes_anew_is_adopted_still_and_links_that_are_lost_are_told() {
    on_engine("sid", "docker, adopt, made anew", |site| {
        let make = || {
            site.ok(&format!("{MACVLAN} lan"));
            site.start("web", "");
            site.address_of("web").0
        };
        make();
        site.home.ok("adopt lan");
        // As `docker compose down` and `up` do.
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.assert_nothing_left();
        let web = make();
        eventually("the host reaches it", || site.home.nas.ping(ip(&web)).is_some());
        site.ok(&format!("exec web ping -c 1 -w 2 {HOST}"));

        site.home.nas.remove_link("eth0").unwrap();
        site.home.world.plug_in(&site.home.nas).unwrap();
        site.home.nas.add_address("eth0", format!("{HOST}/24").parse().unwrap()).unwrap();
        let troubles = || site.home.troubles().to_string();
        eventually("it is told that its link is gone", || troubles().contains("docker restart web"));
        site.ok("restart -t 0 web");
        eventually("no trouble is left", || troubles() == "[]");
        eventually("the host reaches it", || site.home.nas.ping(ip(&web)).is_some());

        // With other addresses it is another network.
        site.ok("rm -f web");
        site.ok("network rm lan");
        let other = MACVLAN.replace("192.168.88.192/27", "192.168.88.64/27");
        site.ok(&format!("{other} lan").replace("192.168.88.0/24", "192.168.88.0/25"));
        eventually("it is reported", || troubles().contains("ashore adopt lan"));
        site.home.ok("adopt --undo lan");
        assert_eq!(troubles(), "[]");
        site.ok("network rm lan");

        // A user who followed a guide has created a shim by hand.
        site.ok(&format!("{MACVLAN} --aux-address host=192.168.88.222 lan"));
        type_on(&site.home.nas, "ip link add by-hand link eth0 type macvlan mode bridge");
        type_on(&site.home.nas, "ip addr add 192.168.88.222/32 dev by-hand");
        let (_, said) = site.refused("adopt lan");
        assert!(said.contains("ip link del dev by-hand"), "{said}");
        type_on(&site.home.nas, "ip link del dev by-hand");
        site.home.ok("adopt lan");
        site.home.ok("adopt --undo lan");
        site.ok("network rm lan");
    });
}

#[test]
fn a_machine_that_takes_the_address_of_an_adopted_container_is_shown() {
    on_an_engine("docker, adopt, conflicts", |site| {
        site.ok(&format!("{MACVLAN} lan"));
        site.start("web", "");
        site.home.ok("adopt lan");
        let (web, mac) = site.address_of("web");
        reaches(&site.home.laptop, ip(&web));
        let intruder = site.home.world.machine("intruder", 77).unwrap();
        takes(&intruder, ip(&web), || site.home.ok("status").contains("claims the address of `web`"));
        // The address is defended: the laptop finds the container.
        eventually("the laptop knows the container again", || {
            mac_known_to(&site.home.laptop, ip(&web)) == mac
        });
        site.ok("rm -f web");
        site.ok("network rm lan");
    });
}

/// Sends a request to the engine's API directly, without Docker's command.
#[track_caller]
fn post(site: &Site, path: &str, body: &str) {
    let mut stream = UnixStream::connect(site.docker.socket()).unwrap();
    let head = "Host: docker\r\nContent-Type: application/json";
    write!(stream, "POST {path} HTTP/1.0\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.split(' ').nth(1).map(|status| &status[..1]), Some("2"), "{path}: {answer}");
}

#[test]
fn a_container_that_comes_back_with_another_mac_is_not_taken_for_another_machine() {
    // Docker 20.10 always gives an address the same MAC.
    on_engine("sid", "docker, adopt, another MAC", |site| {
        site.ok(&format!("{MACVLAN} lan"));
        site.start("web", "");
        site.home.ok("adopt lan");
        let (web, mut before) = site.address_of("web");
        reaches(&site.home.laptop, ip(&web));
        let frames = Frames::addresses_from(&site.home.world, &site.home.nas);
        let connection = |verb: &str| post(site, &format!("/networks/lan/{verb}"), r#"{"Container":"web"}"#);
        // In each of these, the second step follows the first immediately, through the engine's API.
        let changes: [&dyn Fn(); 3] = [
            &|| {
                connection("disconnect");
                connection("connect");
            },
            &|| post(site, "/containers/web/restart?t=0", ""),
            &|| {
                site.ok("rm -f web");
                site.start("web", "");
            },
        ];
        for change in changes.into_iter().cycle().take(6) {
            frames.heard();
            change();
            let (address, now) = site.address_of("web");
            assert!(address == web && now != before, "{address} {now} after {before}");
            for _ in 0..10 {
                reaches(&site.home.laptop, ip(&web));
                assert_eq!(mac_known_to(&site.home.laptop, ip(&web)), now);
            }
            eventually("the host reaches it", || site.home.nas.ping(ip(&web)).is_some());
            let old =
                |heard: &Heard| heard.ip == ip(&web) && heard.claims && heard.sender.to_string() == before;
            // The old MAC announces the address at most until its link is gone.
            let heard = frames.heard();
            let new = heard.iter().position(|heard| heard.sender.to_string() == now).unwrap();
            assert!(!heard[new..].iter().any(old), "{before} is gone: {heard:?}");
            let status = site.home.ok("status");
            assert!(!status.contains("claims the address"), "{status}");
            before = now;
        }
        assert!(!site.home.daemon().log().contains("claimed by another"), "{}", site.home.daemon().log());
        // A machine that really takes the address is shown and answered.
        let intruder = site.home.world.machine("intruder", 77).unwrap();
        takes(&intruder, ip(&web), || site.home.ok("status").contains("claims the address of `web`"));
        is_defended(&site.home.laptop, ip(&web), &before, &intruder);
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}
