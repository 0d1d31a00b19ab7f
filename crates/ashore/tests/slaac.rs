//! IPv6 addresses and routes from router advertisements.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ashore_core::net::observed::{LinkAddress, Standing};
use ashore_lab::{Engines, Machine, cannot_run};
use home::advertiser::Advertiser;
use home::dhcp::Server;
use home::router::Router;
use home::{Home, addresses, does_not_reach, eventually, ip, is_root, reaches};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::TcpMaxSeg;

const CREATE: &str = "network create lan --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
                      --gateway 192.168.88.1";
const PREFIX: &str = "prefix fd88::/64 { AdvValidLifetime 7200; AdvPreferredLifetime 3600; };";

/// Runs a test where the routers' programs can run.
fn with(test: &str, run: impl FnOnce(Home, &Engines)) {
    with_home(test, Home::new, run);
}

fn with_home(test: &str, home: impl FnOnce() -> Home, run: impl FnOnce(Home, &Engines)) {
    match Engines::find() {
        Err(why) => cannot_run(test, &why),
        Ok(_) if !is_root() => cannot_run(test, "a router needs root"),
        Ok(engines) => run(home(), &engines),
    }
}

fn router(engines: &Engines, home: &Home, says: &str) -> Router {
    Router::start(engines, &home.router, home.directory.path(), says)
}

/// Runs a test on a network that follows a router.
fn with_router(test: &str, run: impl FnOnce(Home, Router)) {
    with(test, |home, engines| {
        let router = router(engines, &home, PREFIX);
        home.ok(&format!("{CREATE} --ipv6 auto"));
        run(home, router);
    });
}

/// An endpoint's IPv6 address in a prefix, as the daemon reports it. Waits until there is one.
fn in_prefix(home: &Home, name: &str, prefix: &str) -> IpAddr {
    let mut found = None;
    eventually(&format!("{name} has an address in {prefix}"), || {
        found = all_of(home, name).into_iter().find(|ip| ip.to_string().starts_with(prefix));
        found.is_some()
    });
    found.unwrap()
}

fn all_of(home: &Home, name: &str) -> Vec<IpAddr> {
    let status = home.status();
    let all = status["endpoints"].as_array().unwrap();
    addresses(all.iter().find(|endpoint| endpoint["name"] == name).unwrap())
}

/// The IPv6 addresses in a container's kernel, except link-local ones.
fn global(container: &Machine) -> Vec<LinkAddress> {
    let all = container.kernel().observe(&[]).unwrap().host.addresses.into_iter();
    all.filter(|there| there.net.addr().is_ipv6() && !there.link_scope && !there.net.addr().is_loopback())
        .collect()
}

/// A machine's link-local address. Returns `None` if it has none.
fn link_local(machine: &Machine) -> Option<IpAddr> {
    let all = machine.kernel().observe(&[]).unwrap().host.addresses.into_iter();
    all.map(|there| there.net.addr()).find(|ip| ip.to_string().starts_with("fe80:"))
}

fn default_router(container: &Machine) -> Option<IpAddr> {
    let routes = container.kernel().observe(&[]).unwrap().host.routes;
    routes.into_iter().find(|there| there.route.to == "::/0".parse().unwrap())?.route.via
}

#[test]
fn everybody_reaches_the_address_that_a_container_makes_of_the_routers_prefix() {
    with("slaac, dnsmasq", |home, engines| {
        let directory = home.directory.path();
        let _dnsmasq = Server::dnsmasq(engines, &home.router, directory, "fd88::,ra-only", &["--enable-ra"]);
        home.ok(&format!("{CREATE} --ipv6 slaac"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let at = in_prefix(&home, "web", "fd88::");
        for machine in [&home.laptop, &home.router, &home.nas] {
            reaches(machine, at);
        }
        for to in ["fd88::50", "fd88::1", home::HOST6] {
            reaches(&web, ip(to));
        }
        let there: Vec<IpAddr> = global(&web).iter().map(|there| there.net.addr()).collect();
        assert_eq!(there, [at], "and none that its kernel made beside");
        assert!(default_router(&web).is_some_and(|via| via.to_string().starts_with("fe80:")));
        assert_eq!(home.status()["pending"].as_array().unwrap().len(), 0, "{}", home.status());
    });
}

#[test]
fn a_name_keeps_its_address_and_no_ping_is_lost_while_the_daemon_is_killed() {
    with_router("slaac, identity", |mut home, _router| {
        let (db, web) = (home.world.container("db").unwrap(), home.world.container("web").unwrap());
        home.attach("lan", &db, "");
        in_prefix(&home, "db", "fd88::");
        let report = home.attach("lan", &web, "");
        let at = in_prefix(&home, "web", "fd88::");
        assert!(addresses(&report).contains(&at), "it is got at once of a router that has spoken: {report}");
        reaches(&home.laptop, at);
        let pings = [home.laptop.pings(at), home.nas.pings(at)];
        home.restart();
        // Long enough for the router to advertise at least once.
        std::thread::sleep(Duration::from_secs(5));
        for pings in pings {
            let counted = pings.end();
            assert_eq!(counted.lost, 0, "{counted:?}");
        }
        home.ok("detach lan web");
        does_not_reach(&home.laptop, at);
        let again = home.world.container("again").unwrap();
        let netns = again.namespace().path().display().to_string();
        home.ok(&format!("attach lan --netns {netns} --name web"));
        assert_eq!(in_prefix(&home, "web", "fd88::"), at);
        reaches(&home.laptop, at);
        assert_eq!(home.status()["pending"].as_array().unwrap().len(), 0, "{}", home.status());
    });
}

#[test]
fn a_new_prefix_is_taken_up_and_the_old_one_ends_when_its_time_comes() {
    with("slaac, renumbered", |home, engines| {
        let prefix = |net: &str, valid, preferred| {
            format!("prefix {net}::/64 {{ AdvValidLifetime {valid}; AdvPreferredLifetime {preferred}; }};")
        };
        let router = router(engines, &home, &prefix("fd88", 20, 20));
        home.ok(&format!("{CREATE} --ipv6 auto"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let old = in_prefix(&home, "web", "fd88::");
        reaches(&home.laptop, old);
        // From now on the prefix is advertised as valid for twenty seconds; whole seconds are counted.
        let said = Instant::now();
        router.says(&(prefix("fd88", 20, 0) + &prefix("fd99", 7200, 3600)));
        let new = in_prefix(&home, "web", "fd99::");
        eventually("the old one is deprecated, the new one is not", || {
            let standing =
                |ip| global(&web).iter().find(|there| there.net.addr() == ip).map(|there| there.standing);
            standing(old) == Some(Standing::Deprecated) && standing(new) == Some(Standing::Steady)
        });
        eventually("both answer", || home.laptop.ping(old).is_some() && home.laptop.ping(new).is_some());
        router.says(&prefix("fd99", 7200, 3600));
        eventually("the old one has gone", || global(&web).iter().all(|there| there.net.addr() != old));
        assert!(said.elapsed() >= Duration::from_secs(19), "it was good for {:?} only", said.elapsed());
        assert_eq!(all_of(&home, "web").len(), 2);
        reaches(&home.laptop, new);
    });
}

#[test]
fn a_router_that_goes_is_no_default_route_and_is_one_again_when_it_is_back() {
    with_router("slaac, router gone", |home, router| {
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let at = in_prefix(&home, "web", "fd88::");
        eventually("it has a default route", || default_router(&web).is_some());
        router.shut_down();
        eventually("it has none", || default_router(&web).is_none());
        reaches(&home.laptop, at);
        let _again = Router::start(&Engines::find().unwrap(), &home.router, home.directory.path(), PREFIX);
        eventually("it has one again", || default_router(&web).is_some());
        assert_eq!(in_prefix(&home, "web", "fd88::"), at);
    });
}

#[test]
fn an_address_that_a_machine_has_taken_is_not_used() {
    with_router("slaac, squatter", |mut home, _router| {
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let first = in_prefix(&home, "web", "fd88::");
        home.ok("detach lan web");
        home.laptop.add_address("eth0", format!("{first}/64").parse().unwrap()).unwrap();
        // The daemon treats an address that an endpoint has released as free of conflicts for two minutes. A
        // restarted daemon does not know that.
        home.restart();
        home.attach("lan", &web, "");
        let second = in_prefix(&home, "web", "fd88::");
        assert_ne!(second, first);
        reaches(&home.router, second);
        home.ok("detach lan web");
        home.laptop.del_address("eth0", format!("{first}/64").parse().unwrap()).unwrap();
        home.restart();
        home.attach("lan", &web, "");
        assert_eq!(in_prefix(&home, "web", "fd88::"), second, "it keeps what it has");
    });
}

#[test]
fn what_comes_later_is_looked_for_as_well() {
    with("slaac, squatter of what comes later", |mut home, engines| {
        let first = router(engines, &home, PREFIX);
        home.ok(&format!("{CREATE} --ipv6 auto"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let taken = in_prefix(&home, "web", "fd88::");
        home.ok("detach lan web");
        drop(first);
        home.laptop.add_address("eth0", format!("{taken}/64").parse().unwrap()).unwrap();
        home.restart();
        home.attach("lan", &web, "");
        assert_eq!(all_of(&home, "web").len(), 1, "no router has spoken to this daemon");
        let _again = router(engines, &home, PREFIX);
        let at = in_prefix(&home, "web", "fd88::");
        assert_ne!(at, taken);
        eventually("it answers", || home.router.ping(at).is_some());
        let there: Vec<IpAddr> = global(&web).iter().map(|there| there.net.addr()).collect();
        assert_eq!(there, [at]);
    });
}

#[test]
fn without_a_router_it_has_ipv4_and_gets_its_addresses_when_one_speaks() {
    with("slaac, late", |home, engines| {
        home.ok(&format!("{CREATE} --ipv6 auto"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        assert_eq!(all_of(&home, "web").len(), 1);
        let _router = router(engines, &home, PREFIX);
        let at = in_prefix(&home, "web", "fd88::");
        eventually("it answers", || home.laptop.ping(at).is_some());
    });
}

#[test]
fn a_prefix_that_ended_while_no_daemon_ran_is_used_no_longer() {
    with("slaac, ended", |mut home, engines| {
        let short = "prefix fd88::/64 { AdvValidLifetime 10; AdvPreferredLifetime 10; };";
        let router = router(engines, &home, short);
        home.ok(&format!("{CREATE} --ipv6 auto"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let at = in_prefix(&home, "web", "fd88::");
        home.daemon.take().unwrap().kill().unwrap();
        drop(router);
        std::thread::sleep(Duration::from_secs(11));
        assert_eq!(global(&web).len(), 1, "a daemon that is stopped takes nothing away");
        home.start();
        eventually("it is taken away", || global(&web).is_empty());
        assert!(!all_of(&home, "web").contains(&at));
    });
}

#[test]
fn behind_a_bridge_and_among_private_siblings_it_is_the_same() {
    for (test, home, create) in [
        ("slaac, bridge", Home::bridged as fn() -> Home, "--parent br0 --kind bridge"),
        ("slaac, private", Home::new, "--parent eth0 --kind macvlan:private --host-access no"),
    ] {
        with_home(test, home, |home, engines| {
            let _router = router(engines, &home, PREFIX);
            home.ok(&format!("network create lan --subnet 192.168.88.0/24 --ipv6 slaac {create}"));
            assert!(home.ok("network ls").contains(" ipv6:slaac "), "{}", home.ok("network ls"));
            let web = home.world.container("web").unwrap();
            home.attach("lan", &web, "");
            let at = in_prefix(&home, "web", "fd88::");
            eventually("it answers", || home.laptop.ping(at).is_some());
            reaches(&web, ip("fd88::50"));
            assert_eq!(global(&web).len(), 1);
        });
    }
}

#[test]
fn routes_to_elsewhere_and_the_preferred_router_are_taken() {
    with("slaac, routes", |home, engines| {
        // The router advertises that other hosts of the second prefix are not on the link.
        let far = "prefix fd77::/64 { AdvOnLink off; AdvValidLifetime 7200; AdvPreferredLifetime 3600; };";
        let says = format!("{PREFIX} {far} AdvDefaultPreference low; route fd00:1::/48 {{ }};");
        let _first = router(engines, &home, &says);
        home.ok(&format!("{CREATE} --ipv6 auto"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let (near, far) = (in_prefix(&home, "web", "fd88::"), in_prefix(&home, "web", "fd77::"));
        let routes = || web.kernel().observe(&[]).unwrap().host.routes;
        let via =
            |to: &str| routes().into_iter().find(|there| there.route.to == to.parse().unwrap())?.route.via;
        eventually("it has both routes", || via("::/0").is_some() && via("::/0") == via("fd00:1::/48"));
        let by_itself = |ip: IpAddr| {
            let mut routes = routes().into_iter().map(|there| there.route);
            routes.any(|route| {
                route.via.is_none() && (64..128).contains(&route.to.prefix_len()) && route.to.contains(&ip)
            })
        };
        assert_eq!((by_itself(near), by_itself(far)), (true, false), "{:?}", routes());
        let lengths =
            |ip| global(&web).iter().find(|there| there.net.addr() == ip).map(|there| there.net.prefix_len());
        assert_eq!((lengths(near), lengths(far)), (Some(64), Some(128)));
        let _second =
            Router::start(engines, &home.laptop, home.directory.path(), "AdvDefaultPreference high;");
        eventually("the default route is the better one's", || via("::/0") != via("fd00:1::/48"));
        assert_eq!(home.status()["pending"].as_array().unwrap().len(), 0, "{}", home.status());
    });
}

/// The largest segment, in bytes, that a machine sends to a container that has connected to it.
fn longest_segment(container: &Machine, to: &Machine, at: IpAddr) -> u32 {
    let listener = to.inside(|| TcpListener::bind(SocketAddr::new(at, 0))).unwrap().unwrap();
    let there = listener.local_addr().unwrap();
    let _from = container.inside(move || TcpStream::connect(there)).unwrap().unwrap();
    let (heard, _) = listener.accept().unwrap();
    getsockopt(&heard, TcpMaxSeg).unwrap()
}

#[test]
fn packets_are_as_long_as_the_router_says() {
    with("slaac, MTU", |home, engines| {
        // The test is about the container, and a kernel that has learned an MTU keeps it.
        let deaf = || std::fs::write("/proc/sys/net/ipv6/conf/eth0/accept_ra", "0");
        home.laptop.inside(deaf).unwrap().unwrap();
        let router = router(engines, &home, &format!("{PREFIX} AdvLinkMTU 1492;"));
        home.ok(&format!("{CREATE} --ipv6 auto"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let at = in_prefix(&home, "web", "fd88::");
        eventually("the laptop reaches it", || home.laptop.ping(at).is_some());
        // The MSS that the container announces, derived from the MTU without the headers of IPv6 and TCP and
        // the time stamps.
        assert_eq!(longest_segment(&web, &home.laptop, ip("fd88::50")), 1492 - 40 - 20 - 12);
        assert_eq!(longest_segment(&web, &home.laptop, ip("192.168.88.50")), 1500 - 20 - 20 - 12);
        assert_eq!(home.status()["pending"].as_array().unwrap().len(), 0, "{}", home.status());
        router.says(PREFIX);
        eventually("they are as long as the link takes", || {
            longest_segment(&web, &home.laptop, ip("fd88::50")) == 1500 - 40 - 20 - 12
        });
    });
}

#[test]
fn a_machine_that_advertises_ever_something_else_is_followed_now_and_then() {
    with_router("slaac, churn", |home, _router| {
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let at = in_prefix(&home, "web", "fd88::");
        eventually("it answers", || home.router.ping(at).is_some());
        let changes = || home.daemon().log().matches("follows its routers").count();
        let before = changes();
        let pings = home.router.pings(at);
        let advertiser = Advertiser::start(&home.laptop);
        std::thread::sleep(Duration::from_secs(25));
        let spoken = advertiser.end();
        let counted = pings.end();
        assert_eq!(counted.lost, 0, "{counted:?}");
        // Twelve changes at once and three later, each in at most two steps: what ends does not wait for what
        // begins.
        let times = changes() - before;
        assert!(spoken > 200 && (8..=2 * 15).contains(&times), "{times} of {spoken}");
        eventually("only what lasts is left", || {
            global(&web).len() == 1 && default_router(&web) != link_local(&home.laptop)
        });
        reaches(&home.router, at);
        assert_eq!(home.status()["pending"].as_array().unwrap().len(), 0, "{}", home.status());
    });
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_touched() {
    let home = Home::new();
    for (options, words) in [
        ("--ipv6 on", "not one of auto"),
        ("--ipv6 dhcp --kind ipvlan", "endpoints of ipvlan:l2 share one MAC"),
        ("--ipv6 slaac --subnet fd88::/64", "in the IPv6 mode slaac no address is chosen from fd88::/64"),
        ("--ipv6 off --subnet fd88::/64", "leave --ipv6 off or the subnet out"),
        ("--ipv6 auto --kind ipvlan:l3", "multicast, which ipvlan:l3 does not pass on to its endpoints"),
    ] {
        let ran = home.run(&format!("network create lan --parent eth0 --subnet 192.168.88.0/24 {options}"));
        assert!(ran.code.is_some_and(|code| code != 0), "{options}");
        assert!(ran.stderr.contains(words), "{options}: {}", ran.stderr);
    }
    assert_eq!(home.ok("network ls").lines().count(), 1);
}

#[test]
fn without_a_prefix_status_says_so() {
    with("slaac, none", |home, engines| {
        let _router = router(engines, &home, "AdvManagedFlag on;");
        home.ok(&format!("{CREATE} --ipv6 auto"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        eventually("the status says so", || {
            home.troubles().to_string().contains("`web` has no IPv6 address")
        });
    });
}

#[test]
fn off_is_no_ipv6_at_all() {
    with("slaac, off", |home, engines| {
        let _router = router(engines, &home, PREFIX);
        home.ok(&format!("{CREATE} --ipv6 off"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        reaches(&home.laptop, ip("192.168.88.192"));
        std::thread::sleep(Duration::from_secs(5));
        let view = web.kernel().observe(&[]).unwrap().host;
        let v6: Vec<_> = view.addresses.iter().filter(|there| there.net.addr().is_ipv6()).collect();
        assert!(v6.iter().all(|there| there.net.addr().is_loopback()), "{v6:?}");
    });
}

#[test]
fn a_prefix_of_which_no_address_can_be_made_is_told_of() {
    with("slaac, a prefix of 56 bits", |home, engines| {
        let _router = router(engines, &home, &PREFIX.replace("fd88::/64", "fd88:0:0:100::/56"));
        home.ok(&format!("{CREATE} --ipv6 auto"));
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        eventually("the status says why it has no IPv6", || {
            let troubles = home.troubles().to_string();
            troubles.contains("`web` has no IPv6 address")
                && troubles.contains("advertises fd88:0:0:100::/56")
        });
        assert_eq!(global(&web), []);
    });
}
