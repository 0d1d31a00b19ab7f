//! Promise 9: no container, whatever it does in its own namespace or sends on the LAN, stops the daemon's
//! work for others, takes another endpoint's address by a broadcast claim or on the parent without being
//! shown, changes the host's routes, or escapes a detach.

use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use ashore_core::model::identity::Seed;
use ashore_lab::{Engines, Machine, Pings, Ran, cannot_run};
use ashore_store::Store;
use home::dhcp::Server;
use home::inside::Inside;
use home::router::Router;
use home::site::{Site, on_an_engine};
use home::untouched::{is_untouched, untouched};
use home::{
    HOST, HOST6, Home, addresses, does_not_reach, eventually, ip, is_root, mac_known_to, reaches, shown_on,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "promise_9/tricks.rs"]
mod tricks;

use tricks::{BRIDGED, LAPTOP_MAC, OTHER_MAC, TRICKS, for_engines, for_this_kernel};

fn has_tools(test: &str) -> bool {
    Engines::find().inspect_err(|why| cannot_run(test, why)).is_ok()
}

fn address(home: &Home, container: &Machine) -> IpAddr {
    addresses(&home.attach("lan", container, ""))[0]
}

fn endpoint(home: &Home, name: &str) -> serde_json::Value {
    let status = home.status();
    let all = status["endpoints"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name} is not in {status}")).clone()
}

/// Returns whether the state on disk has the index that the kernel gave to an endpoint's link.
fn is_noted(home: &Home, name: &str) -> bool {
    let copy = tempfile::tempdir().unwrap();
    let file = "state.redb";
    std::fs::copy(home.directory.path().join("state").join(file), copy.path().join(file)).unwrap();
    // The copy may be made during a write.
    let Ok(store) = Store::open(copy.path(), Seed([0; 16])) else { return false };
    store.state().endpoints.values().any(|one| one.name.as_str() == name && one.seen.is_some())
}

#[test]
fn a_container_that_changes_its_link_keeps_it_and_nobody_else_notices() {
    if !has_tools("promise 9, changes") {
        return;
    }
    let mut home = Home::new();
    home.create_lan();
    let before = untouched(&home);
    let db = home.world.container("db").unwrap();
    let at_db = address(&home, &db);
    for (what, commands) in for_this_kernel(&home) {
        let web = home.world.container("web").unwrap();
        let at = address(&home, &web);
        reaches(&home.laptop, at);
        let siblings = home.laptop.pings(at_db);
        let inside = Inside::of(&web);
        inside.types(commands);
        // The LAN has to learn another MAC.
        home::type_on(&home.laptop, &format!("ip neigh flush to {at} dev eth0"));
        eventually(&format!("{what}: the laptop reaches it"), || home.laptop.ping(at).is_some());
        // The next look restores host access and the siblings' access. It comes within a minute.
        home.nudge();
        eventually(&format!("{what}: the host reaches it"), || home.nas.ping(at).is_some());
        let (links, own) = (inside.children(), [home.laptop.pings(at), home.nas.pings(at)]);
        home.nudge();
        home.restart();
        home.nudge();
        home.ok("status");
        for pings in own {
            let counted = pings.end();
            assert!(counted.sent > 0 && counted.lost == 0, "{what}: {counted:?}");
        }
        assert_eq!(inside.children(), links, "{what}");
        assert_eq!(home.ok("plan").trim(), "# nothing to change", "{what}");
        let status = home.status();
        let conflicts = endpoint(&home, "web")["conflicts"].clone();
        assert!(conflicts.as_object().unwrap().is_empty(), "{what}: {status}");
        let troubles = status["troubles"].to_string();
        assert_eq!(troubles.contains(OTHER_MAC), commands.contains(OTHER_MAC), "{what}: {troubles}");
        let counted = siblings.end();
        assert!(counted.sent > 0 && counted.lost == 0, "{what}: {counted:?}");
        home.ok("detach lan web");
        does_not_reach(&home.laptop, at);
    }
    is_untouched(&home, &before);
}

#[test]
fn no_container_escapes_a_detach_by_what_it_does_to_its_link() {
    if !has_tools("promise 9, detach") {
        return;
    }
    let mut home = Home::new();
    home.create_lan();
    let sibling = home.world.container("mail").unwrap();
    let at_sibling = address(&home, &sibling);
    reaches(&home.laptop, at_sibling);
    for (at, (what, commands)) in for_this_kernel(&home).into_iter().chain(BRIDGED).enumerate() {
        // The daemon has looked meanwhile, or another daemon has, or none.
        let all = what.starts_with("another name")
            || what.starts_with("a port of a bridge")
            || ["another MAC", "all three"].contains(what);
        for moment in (0..3).filter(|moment| all || at % 3 == *moment) {
            let web = home.world.container("web").unwrap();
            let at = address(&home, &web);
            let inside = Inside::of(&web);
            let [link] = inside.children()[..] else { panic!("{what}: one link") };
            // A daemon that is killed before it has noted the link's index knows less about it.
            eventually("the link is noted", || is_noted(&home, "web"));
            let pings = home.laptop.pings(at_sibling);
            inside.types(&commands.replace("AT", &at.to_string()));
            match moment {
                1 => home.nudge(),
                2 => home.restart(),
                _ => {}
            }
            let ran = home.run("detach lan web");
            assert!(!inside.children().contains(&link), "{what}, {moment}");
            let others = inside.links().iter().any(|link| link.name.as_str() == "x0");
            assert_eq!((ran.code, ran.stderr.contains("`x0`")), (Some(0), others), "{what}: {ran:?}");
            does_not_reach(&home.laptop, at);
            assert_eq!(home.made_routes().len(), 1, "{what}");
            let counted = pings.end();
            assert!(counted.sent > 0 && counted.lost == 0, "{what}, {moment}: {counted:?}");
        }
    }
}

#[test]
fn a_link_that_is_down_goes_too_and_one_that_is_gone_is_said_to_be() {
    if !has_tools("promise 9, down") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let at = address(&home, &web);
    let inside = Inside::of(&web);
    inside.types("ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:77 alias uplink");
    home.ok("detach lan web");
    assert!(inside.children().is_empty());

    // The daemon creates the link again, unless the detach comes first: it stands still meanwhile.
    eventually("it is reported", || {
        address(&home, &web);
        let daemon = Pid::from_raw(home.daemon().pid().cast_signed());
        kill(daemon, Signal::SIGSTOP).unwrap();
        inside.types("ip link del eth0");
        let mut detach = home.daemon().client();
        let detach = detach.args(["detach", "lan", "web"]).stderr(Stdio::piped()).spawn().unwrap();
        // Time for it to ask.
        std::thread::sleep(Duration::from_millis(500));
        kill(daemon, Signal::SIGCONT).unwrap();
        let ran = detach.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{told}");
        told.contains("no link of `web` was left in")
    });
    does_not_reach(&home.laptop, at);
}

#[test]
fn what_the_user_has_made_by_hand_beside_it_stays_and_is_told_of() {
    if !has_tools("promise 9, by hand") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let at = address(&home, &web);
    let by_hand = |command: &str| home::type_on(&home.nas, command);
    by_hand("ip link add mv0 link eth0 type macvlan mode bridge");
    by_hand("ip link add shim-eth1 link eth0 type macvlan mode bridge");
    by_hand("ip link set mv0 up");
    let path = web.namespace().path().display().to_string();
    by_hand(&format!("ip link add m0 link eth0 netns {path} type macvlan mode bridge"));
    let inside = Inside::of(&web);
    inside.types("ip link set m0 up; ip addr add 192.168.88.99/24 dev m0");
    home.nudge();
    reaches(&home.laptop, ip("192.168.88.99"));
    // Also where the endpoint's own link is gone, and only this link exists.
    for own_link in [true, false] {
        if !own_link {
            address(&home, &web);
            inside.types("ip link del eth0");
        }
        let ran = home.run("detach lan web");
        assert!(ran.stderr.contains("`m0`") && ran.stderr.contains("did not make it"), "{}", ran.stderr);
        ran.expect_success();
        does_not_reach(&home.laptop, at);
        // The laptop may know the address by the MAC of the link that is gone.
        home::type_on(&home.laptop, "ip neigh flush dev eth0");
        eventually("the laptop reaches it", || home.laptop.ping(ip("192.168.88.99")).is_some());
    }
    home.ok("network rm lan");
    assert_eq!(home.made_links(), ["mv0", "shim-eth1"]);
}

#[test]
fn a_container_that_hides_its_link_keeps_its_address_and_is_taken_off_wherever_it_is() {
    if !has_tools("promise 9, hidden") {
        return;
    }
    let mut home = Home::new();
    home.create_lan();
    let (web, hidden) = (home.world.container("web").unwrap(), home.world.container("hidden").unwrap());
    let at = address(&home, &web);
    // All in one request: a daemon that looks in between would learn the link's new MAC, or make another link while
    // this one is down, which is not on the LAN.
    let hide = |changes: &str, laptop: &Machine| {
        let path = hidden.namespace().path().display();
        Inside::of(&web).types(&format!("ip link set eth0 {changes} netns {path} up"));
        Inside::of(&hidden).types(&format!("ip addr add {at}/24 dev eth0"));
        eventually("the laptop reaches it", || laptop.ping(at).is_some());
    };
    hide("", &home.laptop);
    home.nudge();
    let troubles = home.troubles().to_string();
    assert!(troubles.contains("`web` is on the LAN as"), "{troubles}");

    home.restart();
    reaches(&home.laptop, at);
    let other = home.world.container("other").unwrap();
    let path = other.namespace().path().display().to_string();
    let attach = format!("attach lan --netns {path} --name other");
    let ran = home.run(&format!("{attach} --ip {at}"));
    assert_eq!(ran.code, Some(5), "{ran:?}");
    // Other requests work as before.
    home.ok(&attach);
    home.ok("detach lan other");
    reaches(&home.laptop, at);

    home.ok("detach lan web");
    assert!(Inside::of(&hidden).children().is_empty());
    does_not_reach(&home.laptop, at);
    assert!(home.status()["endpoints"].as_array().unwrap().is_empty());

    // Hidden under another MAC, it is a machine like any other: its container's link is created again, and
    // the status shows the conflict.
    assert_eq!(address(&home, &web), at);
    hide("address 02:00:00:00:00:77 alias uplink", &home.laptop);
    eventually("it is shown", || {
        Inside::of(&hidden).types("ip neigh flush dev eth0");
        hidden.ping(ip("192.168.88.50"));
        let troubles = home.troubles().to_string();
        troubles.contains(&format!("{OTHER_MAC} on the LAN claims the address of `web`"))
    });
    let ran = home.run("detach lan web");
    assert!(ran.stderr.contains(OTHER_MAC), "{ran:?}");
    ran.expect_success();
    let ran = home.run(&format!("{attach} --ip {at}"));
    assert!(ran.code == Some(5) && ran.stderr.contains(OTHER_MAC), "{ran:?}");
}

#[test]
fn a_link_whose_mac_a_container_takes_stays_where_it_is() {
    if !has_tools("promise 9, MACs of others") {
        return;
    }
    for bridged in [false, true] {
        let (mut home, parent) = if bridged { (Home::bridged(), "br0") } else { (Home::new(), "eth0") };
        let kind = if bridged { "bridge" } else { "macvlan" };
        home.ok(&format!(
            "network create lan --kind {kind} --parent {parent} --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1"
        ));
        // The host's own link, which may be up only where the kernel accepts the MAC twice.
        let by_hand = |command: &str| home::type_on(&home.nas, command);
        by_hand(&format!("ip link add mac0 link {parent} address {OTHER_MAC} type macvlan mode bridge"));
        by_hand("ip addr add 192.168.88.77/32 dev mac0");
        if bridged {
            by_hand("ip link set mac0 up");
        }
        let before = untouched(&home);
        let web = home.world.container("web").unwrap();
        let at = address(&home, &web);
        let inside = Inside::of(&web);
        inside.types(&format!("ip link set eth0 address {OTHER_MAC}"));
        home.nudge();
        eventually("the MAC is seen", || endpoint(&home, "web")["seen_mac"] == OTHER_MAC);
        home.nudge();
        home.restart();
        home.nudge();
        home.ok("detach lan web");
        does_not_reach(&home.laptop, at);
        is_untouched(&home, &before);
    }
}

#[test]
fn a_detach_takes_off_no_link_of_another_endpoint_whose_mac_its_own_has_had() {
    if !has_tools("promise 9, MAC of a sibling") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let db = home.world.container("db").unwrap();
    let at_db = address(&home, &db);
    let mac = endpoint(&home, "db")["mac"].as_str().unwrap().to_owned();
    home.ok("detach lan db");
    let (web, hidden) = (home.world.container("web").unwrap(), home.world.container("hidden").unwrap());
    address(&home, &web);
    Inside::of(&web).types(&format!("ip link set eth0 address {mac}"));
    home.nudge();
    eventually("the MAC is seen", || endpoint(&home, "web")["seen_mac"] == mac.as_str());
    let path = hidden.namespace().path().display();
    Inside::of(&web).types(&format!("ip link set eth0 address {OTHER_MAC}; ip link set eth0 netns {path}"));
    Inside::of(&hidden).types("ip link set eth0 up");
    let db = home.world.container("db").unwrap();
    assert_eq!(address(&home, &db), at_db);
    reaches(&home.laptop, at_db);
    let pings = home.laptop.pings(at_db);
    home.run("detach lan web");
    home.nudge();
    let counted = pings.end();
    assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
    reaches(&home.laptop, at_db);
}

#[test]
fn a_link_that_only_has_its_mac_hides_none_that_has_moved() {
    if !has_tools("promise 9, another of its MAC") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    for hidden_by in ["type bridge", "link eth0 type macvlan mode bridge"] {
        let (web, hidden) = (home.world.container("web").unwrap(), home.world.container("hidden").unwrap());
        let at = address(&home, &web);
        let mac = endpoint(&home, "web")["mac"].as_str().unwrap().to_owned();
        let path = hidden.namespace().path().display();
        let inside = Inside::of(&web);
        inside.types(&format!(
            "ip link add d0 address {mac} {hidden_by}; ip link set d0 alias ashore:lan:web; ip link set eth0 up netns {path}"
        ));
        Inside::of(&hidden).types(&format!("ip addr add {at}/24 dev eth0"));
        eventually("the laptop reaches it", || home.laptop.ping(at).is_some());
        home.nudge();
        assert!(
            !inside.links().iter().any(|link| link.name.as_str() == "eth0"),
            "{hidden_by}: it is made anew"
        );
        let troubles = home.troubles().to_string();
        assert!(troubles.contains("`web` is on the LAN as"), "{hidden_by}: {troubles}");
        home.ok("detach lan web");
        eventually(&format!("{hidden_by}: it is off"), || Inside::of(&hidden).children().is_empty());
        does_not_reach(&home.laptop, at);
        eventually("it is forgotten", || home.status()["endpoints"].as_array().unwrap().is_empty());
    }
}

#[test]
fn another_kind_of_child_in_the_place_of_its_link_is_taken_off_too() {
    if !has_tools("promise 9, replaced") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let source = format!("macvlan mode source; ip link set x0 type macvlan macaddr add {LAPTOP_MAC}");
    let taps = for_this_kernel(&home).len() == TRICKS.len();
    for kind in [&*source, "macvtap mode bridge"].into_iter().take(1 + usize::from(taps)) {
        let web = home.world.container("web").unwrap();
        let (at, inside) = (address(&home, &web), Inside::of(&web));
        let mac = inside.links().iter().find(|link| link.is_child()).and_then(|link| link.mac).unwrap();
        inside.types(&format!("ip link add x0 link eth0 address {mac} type {kind}; ip link del eth0"));
        inside.types(&format!("ip link set x0 up; ip addr replace {at}/24 dev x0"));
        eventually("the laptop reaches it", || home.laptop.ping(at).is_some());
        home.nudge();
        reaches(&home.nas, at);
        assert_eq!(inside.children().len(), 1, "{kind}");
        home.ok("detach lan web");
        assert!(inside.children().is_empty(), "{kind}");
        does_not_reach(&home.laptop, at);
    }
}

#[test]
fn a_container_is_not_taken_for_another_machine_when_it_changes_its_mac() {
    if !has_tools("promise 9, MAC") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let at = address(&home, &web);
    reaches(&home.laptop, at);
    Inside::of(&web).types(&format!("ip link set eth0 address {OTHER_MAC}; ip neigh flush dev eth0"));
    // The container resolves the laptop's address, by a broadcast that carries its own MAC and address.
    for _ in 0..15 {
        reaches(&web, ip("192.168.88.50"));
        assert_eq!(mac_known_to(&home.laptop, at), OTHER_MAC);
        Inside::of(&web).types("ip neigh flush dev eth0");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let there = endpoint(&home, "web");
    assert_eq!(there["seen_mac"], OTHER_MAC, "{there}");
    assert_ne!(there["mac"], OTHER_MAC);
    assert!(there["conflicts"].as_object().unwrap().is_empty(), "{there}");
}

/// Whether an endpoint makes anything of an advertisement is its own kernel's business: it keeps what it has.
#[test]
fn a_container_that_poses_as_router_and_dhcp_server_changes_neither_the_host_nor_others() {
    let engines = match Engines::find() {
        Ok(engines) if is_root() => engines,
        Ok(_) => return cannot_run("promise 9, router", "a router needs root"),
        Err(why) => return cannot_run("promise 9, router", &why),
    };
    let mut home = Home::new();
    let directory = home.directory.path().to_owned();
    let serve = |on: &Machine, pool: &str| {
        Server::dnsmasq(&engines, on, &directory, &format!("{pool},255.255.255.0,1h"), &[])
    };
    let _lans_own = serve(&home.router, "192.168.88.100,192.168.88.120");
    home.ok(
        "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range 192.168.88.192/27 \
         --ip-range fd88::c0/122 --gateway 192.168.88.1 --gateway fd88::1",
    );
    home.ok("network create leased --parent eth0 --dhcp");
    let own = untouched(&home);
    let [web, db, mail] = ["web", "db", "mail"].map(|name| home.world.container(name).unwrap());
    home.attach("lan", &web, "");
    let others =
        [addresses(&home.attach("lan", &db, "")), addresses(&home.attach("leased", &mail, ""))].concat();
    for at in &others {
        reaches(&home.laptop, *at);
        reaches(&home.nas, *at);
    }
    // Of the host all addresses and routes, those of Ashore too.
    let host = |home: &Home| {
        ["addr", "-4 route show table all", "-6 route show table all"]
            .map(|what| shown_on(&home.nas, &format!("ip -j {what}")))
    };
    // The host's own link may still look for its link-local address.
    eventually("the host has its addresses", || !shown_on(&home.nas, "ip -j addr").contains("tentative"));
    let places = |home: &Home| ["db", "mail"].map(|name| endpoint(home, name)["addresses"].clone());
    let (before, had) = (host(&home), places(&home));
    let all = [others.as_slice(), &[ip(HOST), ip(HOST6)]].concat();
    let pings: Vec<Pings> = all.iter().map(|at| home.laptop.pings(*at)).collect();

    let server = serve(&web, "192.168.88.130,192.168.88.140");
    let says = "AdvDefaultLifetime 1800; AdvDefaultPreference high; prefix fd66::/64 { };";
    let _router = Router::start(&engines, &web, &directory, says);
    // The LAN hears it, and so do the siblings, of which the host's own link for containers is one.
    for machine in [&home.laptop, &db] {
        eventually(&format!("{} follows the router", machine.name()), || {
            shown_on(machine, "ip -6 route show default").contains("proto ra")
        });
    }
    let mut client = home.laptop.command(engines.path("usr/bin/busybox")).unwrap();
    let client = client.args(["udhcpc", "-f", "-q", "-n", "-i", "eth0", "-s", "/bin/true"]);
    Ran::of(client).unwrap().expect_success();
    eventually("the server offers leases", || server.count("DHCPOFFER") > 0);
    home.nudge();
    // Now leases are asked for again, and links and routes are looked at.
    home.restart();
    home.nudge();
    assert_eq!(host(&home), before);
    assert_eq!(places(&home), had);
    for at in &others {
        reaches(&home.nas, *at);
    }
    for (at, pings) in all.iter().zip(pings) {
        let counted = pings.end();
        assert!(counted.sent > 0 && counted.lost == 0, "{at}: {counted:?}");
    }
    is_untouched(&home, &own);
}

#[test]
fn a_container_of_a_bridge_network_escapes_no_detach_either() {
    if !has_tools("promise 9, bridge") {
        return;
    }
    let home = Home::bridged();
    home.ok("network create lan --kind bridge --parent br0 --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1");
    let before = untouched(&home);
    let hidden = home.world.container("hidden").unwrap();
    let hide = format!("ip link set eth0 netns {}", hidden.namespace().path().display());
    for commands in ["ip link set eth0 alias uplink address 02:00:00:00:00:77", &hide] {
        let web = home.world.container("web").unwrap();
        let at = address(&home, &web);
        Inside::of(&web).types(commands);
        home.nudge();
        assert_eq!(home.ok("plan").trim(), "# nothing to change", "{commands}");
        home.ok("detach lan web");
        does_not_reach(&home.laptop, at);
        assert_eq!(Inside::of(&hidden).links().len(), 1);
        assert_eq!(home.made_links(), ["br0"]);
    }
    is_untouched(&home, &before);
}

/// The namespace of a running container of an engine.
fn sandbox(site: &Site, container: &str) -> Inside {
    let key = site.ok(&format!("inspect --format {{{{.NetworkSettings.SandboxKey}}}} {container}"));
    Inside::at(&site.docker.root().join(key.trim_start_matches('/')))
}

#[test]
fn an_engines_container_keeps_its_link_whatever_it_does_to_it() {
    on_an_engine("promise 9, docker, changes", |site| {
        site.create_lan();
        let before = untouched(&site.home);
        site.start("db", "");
        let at_db = ip(&site.address_of("db").0);
        for (what, commands) in for_engines(&site.home) {
            site.start("web", "--cap-add NET_ADMIN");
            let (at, mac) = site.address_of("web");
            let at = ip(&at);
            let inside = sandbox(site, "web");
            eventually("the laptop reaches it", || site.home.laptop.ping(at).is_some());
            inside.types(commands);
            home::type_on(&site.home.laptop, "ip neigh flush dev eth0");
            eventually(&format!("{what}: the laptop reaches it"), || site.home.laptop.ping(at).is_some());
            site.home.nudge();
            eventually(&format!("{what}: the host reaches it"), || site.home.nas.ping(at).is_some());
            let links = inside.children();
            let pings = [&site.home.laptop, &site.home.nas].map(|from| from.pings(at));
            let siblings = site.home.laptop.pings(at_db);
            site.home.nudge();
            site.home.daemon = None;
            site.start_daemon();
            site.home.nudge();
            site.home.ok("status");
            for pings in pings.into_iter().chain([siblings]) {
                let counted = pings.end();
                assert!(counted.sent > 0 && counted.lost == 0, "{what}: {counted:?}");
            }
            assert_eq!(inside.children(), links, "{what}");
            let there = site.endpoint("web");
            assert!(there["conflicts"].as_object().unwrap().is_empty(), "{what}: {there}");
            assert_eq!(there["seen_mac"] == OTHER_MAC, commands.contains(OTHER_MAC), "{what}: {there}");

            // The same again, and once more by itself.
            site.ok("restart -t 0 web");
            assert_eq!(site.address_of("web").1, mac, "{what}");
            home::type_on(&site.home.laptop, "ip neigh flush dev eth0");
            eventually("the laptop reaches it again", || site.home.laptop.ping(at).is_some());
            sandbox(site, "web").types(commands);
            site.ok("rm -f web");
            eventually(&format!("{what}: nothing of it is on the host"), || {
                site.home.made_links() == ["shim-eth0"] && site.home.made_routes().len() == 1
            });
            // A link that the engine did not find goes with its namespace, a moment later.
            eventually(&format!("{what}: it is off the LAN"), || site.home.laptop.ping(at).is_none());
        }
        site.ok("rm -f db");
        site.ok("network rm lan");
        site.assert_nothing_left();
        is_untouched(&site.home, &before);
    });
}

#[test]
fn a_container_that_is_disconnected_is_off_whatever_it_did_to_its_link() {
    on_an_engine("promise 9, docker, disconnect", |site| {
        site.create_lan();
        for (what, commands) in for_engines(&site.home) {
            site.start("web", "--cap-add NET_ADMIN");
            let (at, inside) = (ip(&site.address_of("web").0), sandbox(site, "web"));
            eventually("the laptop reaches it", || site.home.laptop.ping(at).is_some());
            let [link] = inside.children()[..] else { panic!("{what}: one link") };
            inside.types(commands);
            // An engine that does not find the link under its name may or may not report an error.
            site.docker("network disconnect lan web");
            eventually(&format!("{what}: its link is gone"), || !inside.children().contains(&link));
            does_not_reach(&site.home.laptop, at);
            eventually(&format!("{what}: nothing of it is on the host"), || {
                site.home.made_links() == ["shim-eth0"] && site.home.made_routes().is_empty()
            });
            site.ok("rm -f web");
        }
    });
}
