//! A container may give one of its own links the MAC of an endpoint that is off its network. That endpoint
//! cannot come back until the link is gone, so the status names the link and its place. A link that is hidden
//! while it is down disappears with the detach.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ashore_kernel::{PacketSocket, Watch};
use ashore_lab::{Engines, Machine, cannot_run};
use ashore_wire::{Mac, filter};
use home::inside::Inside;
use home::{Home, does_not_reach, eventually, mac_known_to, reaches};

fn has_tools(test: &str) -> bool {
    Engines::find().map_err(|why| cannot_run(test, &why)).is_ok()
}

fn troubles(home: &Home) -> String {
    home.troubles().to_string()
}

/// Asserts that the attach is refused, and that it succeeds after the remedy in the refusal.
fn comes_back_once_it_is_gone(home: &Home, container: &Machine, attach: &str, link: &str, at: &Machine) {
    eventually("it is shown", || {
        troubles(home).contains(&format!("`{}` is not attached to `lan` now", container.name()))
    });
    let ran = home.run(attach);
    let said = format!("the link `{link}` in ");
    assert!(ran.code == Some(6) && ran.stderr.contains(&said), "{ran:?}");
    Inside::of(at).types(&format!("ip link del {link}"));
    home.ok(attach);
    assert_eq!(troubles(home), "[]");
}

#[test]
fn whoever_has_the_mac_of_a_stopped_container_is_named() {
    if !has_tools("MAC of a stopped container") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    home.attach("lan", &web, "");
    let before = home.attach("lan", &db, "");
    let (at, mac) = (home::addresses(&before)[0], before["mac"].as_str().unwrap().to_owned());
    home.ok("detach lan db");
    Inside::of(&web).types(&format!(
        "ip link add s0 link eth0 address {mac} type macvlan mode bridge; ip link set s0 up; ip addr add {at}/32 dev s0"
    ));
    let attach = format!("attach lan --netns {} --name db", db.namespace().path().display());
    let ran = home.run(&attach);
    assert!(ran.stderr.contains("the container of `web`"), "{ran:?}");
    comes_back_once_it_is_gone(&home, &db, &attach, "s0", &web);
    reaches(&home.laptop, at);
    eventually("it is db again", || {
        home.laptop.ping(at);
        mac_known_to(&home.laptop, at) == mac
    });
}

#[test]
fn a_link_that_was_hidden_while_it_was_down_goes_with_the_detach() {
    if !has_tools("a link hidden while it was down") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let (web, hidden) = (home.world.container("web").unwrap(), home.world.container("hidden").unwrap());
    let at = home::addresses(&home.attach("lan", &web, ""))[0];
    let path = hidden.namespace().path().display();
    Inside::of(&web).types(&format!("ip link set eth0 down; ip link set eth0 netns {path}"));
    eventually("its container has a link again", || {
        home.nudge();
        home.laptop.ping(at).is_some()
    });
    let detached = home.run("detach lan web");
    assert!(Inside::of(&hidden).children().is_empty(), "{detached:?}");
    does_not_reach(&home.laptop, at);
    home.attach("lan", &web, "");
    reaches(&home.laptop, at);
    assert_eq!(troubles(&home), "[]");
}

#[test]
fn who_has_the_mac_of_another_taken_in_keeps_nobody_that_is_gone() {
    let home = Home::new();
    home.create_lan();
    let [web, evil] = ["web", "evil"].map(|name| home.world.container(name).unwrap());
    let report = home.attach("lan", &web, "");
    let (at, mac) = (home::addresses(&report)[0], report["mac"].as_str().unwrap().parse::<Mac>().unwrap());
    // Any container may do that with a packet socket.
    home.attach("lan", &evil, "");
    let eth0 = "eth0".parse().unwrap();
    let link = evil.kernel().observe(&[]).unwrap().host.link(&eth0).unwrap().index;
    let mut socket = PacketSocket::open(evil.namespace(), link, &filter::arp_and_ndp()).unwrap();
    socket.take_in(&BTreeSet::from([mac])).unwrap();
    let attached = || home.status()["endpoints"].as_array().unwrap().len();
    let detached = home.run("detach lan web");
    assert_eq!((detached.code, detached.stderr.as_str(), attached()), (Some(0), "", 1));
    assert_eq!(home::addresses(&home.attach("lan", &web, "")), [at]);
    drop(web);
    // The name comes back at once. Another container can have the address once the link is gone.
    let web = home.world.container("web").unwrap();
    assert_eq!(home::addresses(&home.attach("lan", &web, "")), [at]);
    reaches(&home.laptop, at);
    drop(web);
    home.nudge();
    eventually("it is gone", || attached() == 1);
    assert!(home.nas.kernel().macs_on(&eth0).unwrap().unwrap().contains(&mac), "it is taken in still");
    let other = home.world.container("other").unwrap();
    assert_eq!(home::addresses(&home.attach("lan", &other, &format!("--ip {at}"))), [at]);
    drop(socket);
}

#[test]
fn a_link_that_cannot_be_made_again_does_not_keep_the_daemon_busy() {
    if !has_tools("a MAC that is taken in, without its link") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let mac = home.attach("lan", &web, "")["mac"].as_str().unwrap().parse::<Mac>().unwrap();
    let inside = Inside::of(&web);
    inside.types("ip link add s0 link eth0 type macvlan mode bridge; ip link set s0 up");
    let s0 = inside.links().iter().find(|link| link.name.as_str() == "s0").unwrap().index;
    let mut socket = PacketSocket::open(web.namespace(), s0, &filter::arp_and_ndp()).unwrap();
    socket.take_in(&BTreeSet::from([mac])).unwrap();
    // At once, so that the name is taken before the link is made again.
    let swap = home.directory.path().join("swap");
    std::fs::write(&swap, "link del eth0\nlink add eth0 type bridge\n").unwrap();
    inside.types(&format!("ip -batch {}", swap.display()));
    eventually("it is told of", || troubles(&home).contains("there is a link `eth0` already"));
    // Neither the daemon nor a reader keeps making the host's links change, which makes the daemon look again.
    let watch = Watch::of(home.nas.namespace()).unwrap();
    let mut changed = 0;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(300));
        home.run("plan");
        changed += u32::from(watch.take().unwrap());
    }
    assert!(changed < 10, "{changed} of 20");
    drop(socket);
}

#[test]
fn a_container_that_makes_the_daemon_look_all_the_time_is_told_of_all_the_same() {
    if !has_tools("a daemon that looks all the time") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    home.attach("lan", &web, "");
    let inside = Inside::of(&web);
    let typed = |name: &str, count: usize, line: &dyn Fn(usize) -> String| {
        let path = home.directory.path().join(name);
        std::fs::write(&path, (0..count).map(|n| line(n) + "\n").collect::<String>()).unwrap();
        path.display().to_string()
    };
    // A large table takes long to read. What the link receives is set on its parent too, and so is noticed.
    let route = |n: usize| format!("route add 10.{}.{}.{}/32 dev eth0", n >> 16, n >> 8 & 255, n & 255);
    inside.types(&format!("ip -batch {}", typed("table", 60_000, &route)));
    let flap = typed("flap", 20_000, &|n| format!("link set eth0 promisc {}", ["on", "off"][n % 2]));
    inside.types("ip link set eth0 address 02:00:00:00:66:66");
    let told = || home.run("status").stdout.contains("not its own");
    eventually("it is told of", told);
    let end = AtomicBool::new(false);
    let shown = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                let _ = inside.tries(&format!("ip -batch {flap}"));
            }
        });
        std::thread::sleep(Duration::from_secs(1));
        let shown = (0..5).filter(|_| told()).count();
        end.store(true, Ordering::Relaxed);
        shown
    });
    assert_eq!(shown, 5);
}

#[test]
fn of_two_that_have_swapped_their_macs_one_keeps_its_link_when_the_other_is_detached() {
    if !has_tools("swapped MACs") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let [web, db, hidden] = ["web", "db", "hidden"].map(|name| home.world.container(name).unwrap());
    let mac = |container: &Machine| home.attach("lan", container, "")["mac"].as_str().unwrap().to_owned();
    let (mac_of_web, mac_of_db) = (mac(&web), mac(&db));
    let at_db = home::ip("192.168.88.193");
    eventually("their links are noted", || ["web", "db"].iter().all(|name| home.has_seen("lan", name)));
    Inside::of(&web).types("ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:77");
    Inside::of(&db).types(&format!("ip link set eth0 address {mac_of_web}"));
    Inside::of(&web).types(&format!("ip link set eth0 address {mac_of_db}; ip link set eth0 up"));
    home.nudge();
    eventually("it is seen", || {
        let troubles = troubles(&home);
        [&mac_of_web, &mac_of_db]
            .iter()
            .all(|mac| troubles.contains(&format!("has the MAC {mac}, not its own")))
    });
    // One link is looked for in all containers.
    let path = hidden.namespace().path().display();
    Inside::of(&web).types(&format!("ip link set eth0 netns {path}"));
    Inside::of(&hidden).types("ip link set eth0 up");
    let before = Inside::of(&db).children();
    let detached = home.run("detach lan web");
    assert!(Inside::of(&hidden).children().is_empty(), "{detached:?}");
    assert_eq!(Inside::of(&db).children(), before);
    home::type_on(&home.laptop, "ip neigh flush dev eth0");
    reaches(&home.laptop, at_db);
    assert_eq!(mac_known_to(&home.laptop, at_db), mac_of_web);
}

#[test]
fn a_link_that_is_renamed_all_the_time_goes_with_the_detach() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("a link that is renamed all the time", &why),
    };
    let home = Home::new();
    home.create_lan();
    // The first container has more routes than one quick look reads.
    for routes in [250_000, 0] {
        let web = home.world.container("web").unwrap();
        let at = home::addresses(&home.attach("lan", &web, ""))[0];
        let batch = |name: &str, lines: String| {
            let file = home.directory.path().join(name);
            std::fs::write(&file, lines).unwrap();
            let mut ip = web.command("ip").unwrap();
            engines.equip(&mut ip).arg("-batch").arg(file).stderr(Stdio::null()).spawn().unwrap()
        };
        let to = |n: u32| Ipv4Addr::from(0x0a00_0000 + n);
        let lines = (0..routes).map(|n| format!("route add unreachable {}\n", to(n)));
        assert!(batch("routes", lines.collect()).wait().unwrap().success());
        let lines = (0..300_000).map(|n| format!("link set dev w{n} name w{}\n", n + 1));
        Inside::of(&web).types("ip link set eth0 name w0");
        let mut renaming = batch("names", lines.collect());
        eventually("it is renamed", || {
            !Inside::of(&web).links().iter().any(|link| link.name.to_string() == "w0")
        });
        let detached = home.run("detach lan web");
        renaming.kill().unwrap();
        renaming.wait().unwrap();
        assert!(Inside::of(&web).children().is_empty(), "{routes}: {detached:?}");
        // On a busy machine the client says that it waits.
        let told = detached.stderr.lines().find(|line| !line.contains("no answer at"));
        assert_eq!((detached.code, told), (Some(0), None));
        does_not_reach(&home.laptop, at);
    }
}

/// Moves a link from one container to the other and back, until it is told to stop.
fn moves(engines: &Engines, between: [&Machine; 2], is_over: impl Fn() -> bool) {
    let mut both = [between, [between[1], between[0]]].map(|[from, to]| {
        let mut ip = from.command("ip").unwrap();
        let ip = engines.equip(&mut ip).args(["-force", "-batch", "-"]);
        let child = ip.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        (child, format!("link set eth0 netns {}\n", to.namespace().path().display()))
    });
    for n in 0.. {
        if is_over() {
            break;
        }
        let (child, line) = &mut both[n % 2];
        child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    for (mut child, _) in both {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn a_link_that_is_moved_all_the_time_is_taken_off_or_it_is_said_that_it_is_not() {
    let engines = match Engines::find() {
        Ok(engines) => engines,
        Err(why) => return cannot_run("a link that is moved all the time", &why),
    };
    let home = Home::new();
    home.create_lan();
    for n in 0..12 {
        let [web, hidden] =
            ["web", "hidden"].map(|name| home.world.container(&format!("{name}{n}")).unwrap());
        home.attach("lan", &web, "");
        let (daemon, name) = (home.daemon(), format!("web{n}"));
        let detached = std::thread::scope(|scope| {
            let detach = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                daemon.run(&["detach", "lan", &name]).unwrap()
            });
            moves(&engines, [&web, &hidden], || detach.is_finished());
            detach.join().unwrap()
        });
        // Everything that was under way has arrived.
        std::thread::sleep(Duration::from_millis(100));
        let left = [&web, &hidden].iter().any(|one| !Inside::of(one).children().is_empty());
        assert!(!left || !detached.stderr.is_empty(), "{n}: {detached:?}");
    }
}

#[test]
fn whoever_has_the_mac_of_the_shim_is_named() {
    if !has_tools("MAC of the shim") {
        return;
    }
    let home = Home::new();
    home.create_lan();
    let (web, db) = (home.world.container("web").unwrap(), home.world.container("db").unwrap());
    home.attach("lan", &web, "");
    let shim = home.nas.kernel().observe(&[]).unwrap().host;
    let mac = shim.link(&"shim-eth0".parse().unwrap()).unwrap().mac.unwrap();
    Inside::of(&web).types(&format!("ip link add x0 link eth0 address {mac} type macvlan mode bridge"));
    home.ok("detach lan web");
    home.ok("network rm lan");
    Inside::of(&web).types("ip link set x0 up");
    home.create_lan();
    eventually("it is shown", || troubles(&home).contains("nothing can be attached until it is gone"));
    let attach = format!("attach lan --netns {} --name db", db.namespace().path().display());
    let ran = home.run(&attach);
    assert!(ran.code == Some(6) && ran.stderr.contains("the link `x0` in "), "{ran:?}");
    Inside::of(&web).types("ip link del x0");
    home.ok(&attach);
    assert_eq!(troubles(&home), "[]");
}

#[test]
fn two_endpoints_of_one_namespace_do_not_claim_each_others_addresses() {
    let home = Home::new();
    home.create_lan();
    let web = home.world.container("web").unwrap();
    let first = home::addresses(&home.attach("lan", &web, ""))[0];
    let path = web.namespace().path().display();
    let second = format!("attach lan --netns {path} --name web2 --ifname eth1 --no-default-route --json");
    let report: serde_json::Value = serde_json::from_str(&home.ok(&second)).unwrap();
    let second = home::addresses(&report)[0];
    // The container's kernel answers for both addresses on either link.
    for _ in 0..5 {
        for at in [first, second] {
            reaches(&home.laptop, at);
            reaches(&web, home::ip("192.168.88.50"));
        }
        home::type_on(&home.laptop, "ip neigh flush dev eth0");
    }
    assert_eq!(troubles(&home), "[]");
    let status = home.status();
    let mut endpoints = status["endpoints"].as_array().unwrap().iter();
    assert!(endpoints.all(|one| one["conflicts"].as_object().unwrap().is_empty()), "{status}");
}
