//! Promise 5: nothing is left behind. The daemon is killed at every system call by which a request changes
//! the kernel or the disk, or sends its answer. After the next start, the request is complete or undone, and
//! what was there before is still there.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use ashore_core::net::kind::MacvlanMode;
use ashore_core::net::link::{LinkSpec, LinkType, Place};
use ashore_core::net::step::Step;
use ashore_lab::{Engines, Machine, Ran, cannot_run};
use home::strace::Strace;
use home::tracer::Call::{self, Answer, Netlink, Sync, Sysctl, Write};
use home::tracer::{self, Tracer};
use home::untouched::{Own, is_untouched, untouched};
use home::{Home, addresses, eventually, ip, reaches};

/// More relevant system calls than any request makes.
const MOST: usize = 200;

/// Runs a command whose request dies at its n-th relevant system call, and starts the daemon again. Returns
/// the calls up to that one, or all if there are fewer.
fn dies_at(home: &mut Home, n: usize, command: &str) -> Vec<Call> {
    assert!(n < MOST, "`{command}` does not end");
    let tracer = Tracer::kill_at(home.daemon().pid(), n);
    let ran = home.run(command);
    let calls = tracer.end();
    if calls.len() < n {
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    } else {
        assert!(home.daemon.as_mut().unwrap().ended_within(Duration::from_secs(10)).unwrap());
        home.daemon = None;
        home.start();
    }
    calls
}

/// Asserts that a traced request makes at least these system calls.
fn assert_watched(what: &str, calls: &[Call], kinds: &[Call]) {
    let counted = tracer::counted(calls);
    eprintln!("{what} died at each of {} calls: {counted:?}", calls.len());
    assert!(kinds.iter().all(|kind| counted.contains_key(kind)), "{counted:?}");
}

fn endpoint(home: &Home, name: &str) -> Option<serde_json::Value> {
    let status = home.status();
    status["endpoints"].as_array().unwrap().iter().find(|endpoint| endpoint["name"] == name).cloned()
}

fn address(report: &serde_json::Value) -> std::net::IpAddr {
    home::addresses(report)[0]
}

/// Asserts that all of an endpoint is there, or nothing of it.
fn whole_or_nothing(home: &Home, container: &Machine) {
    match endpoint(home, container.name()) {
        Some(report) => {
            assert_eq!(report["stage"], "attached");
            reaches(&home.laptop, address(&report));
            reaches(&home.nas, address(&report));
        }
        None => assert_bare(container),
    }
    let status = home.status();
    assert_eq!(status["pending"].as_array().unwrap().len(), 0, "{status}");
    assert_eq!(status["troubles"].as_array().unwrap().len(), 0, "{status}");
}

fn assert_bare(container: &Machine) {
    let links = container.kernel().observe(&[]).unwrap().host.links;
    assert!(links.iter().all(|link| link.name.as_str() == "lo"), "{links:?}");
}

/// Asserts that no link, route or row is left except remembered names, and that the host is as it was.
#[track_caller]
fn nothing_left(home: &Home, before: &Own) {
    is_untouched(home, before);
    assert_eq!(home.made_links(), [] as [&str; 0]);
    assert_eq!(home.made_routes(), [] as [&str; 0]);
    let state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
    let rows = state["rows"].as_object().unwrap().keys();
    let left: Vec<&String> = rows.filter(|key| !home::lasts(key)).collect();
    assert!(left.is_empty(), "{left:?}");
}

const CREATE: &str = "network create lan --parent eth0 --subnet 192.168.88.0/24 --subnet fd88::/64 --ip-range \
                      192.168.88.192/27 --ip-range fd88::c0/122 --gateway 192.168.88.1 --gateway fd88::1";

fn attach_command(container: &Machine) -> String {
    let netns = container.namespace().path().display().to_string();
    format!("attach lan --netns {netns} --name {}", container.name())
}

#[test]
fn an_attach_that_dies_at_any_call_leaves_all_or_nothing() {
    let mut home = Home::new();
    let before = untouched(&home);
    for n in 1.. {
        home.ok(CREATE);
        let web = home.world.container("web").unwrap();
        let calls = dies_at(&mut home, n, &attach_command(&web));
        whole_or_nothing(&home, &web);
        // The repeated request succeeds, once and at the same place.
        let report = home.attach("lan", &web, "");
        reaches(&home.laptop, address(&report));
        assert_eq!(address(&report), ip("192.168.88.192"));
        home.ok("detach lan web");
        assert_bare(&web);
        home.ok("network rm lan");
        nothing_left(&home, &before);
        if calls.len() < n {
            return assert_watched("an attach", &calls, &[Netlink, Sysctl, Write, Sync, Answer]);
        }
    }
}

#[test]
fn a_second_attach_that_dies_harms_nobody_and_no_address_is_given_twice() {
    let mut home = Home::new();
    home.ok(CREATE);
    let db = home.world.container("db").unwrap();
    let at_db = address(&home.attach("lan", &db, ""));
    for n in 1.. {
        let web = home.world.container("web").unwrap();
        let calls = dies_at(&mut home, n, &attach_command(&web));
        reaches(&home.laptop, at_db);
        whole_or_nothing(&home, &web);
        let other = home.world.container("other").unwrap();
        let at_other = address(&home.attach("lan", &other, ""));
        let at_web = address(&home.attach("lan", &web, ""));
        assert!(at_other != at_web && at_other != at_db && at_web != at_db);
        reaches(&web, at_other);
        home.ok("detach lan other");
        home.ok("detach lan web");
        if calls.len() < n {
            return assert_watched("a second attach", &calls, &[Netlink, Write, Sync, Answer]);
        }
    }
}

#[test]
fn a_detach_that_dies_at_any_call_is_finished_or_not_begun() {
    let mut home = Home::new();
    let before = untouched(&home);
    home.ok(CREATE);
    let db = home.world.container("db").unwrap();
    let at_db = address(&home.attach("lan", &db, ""));
    for n in 1.. {
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let calls = dies_at(&mut home, n, "detach lan web");
        whole_or_nothing(&home, &web);
        reaches(&home.laptop, at_db);
        home.ok("detach lan web");
        assert_bare(&web);
        if calls.len() < n {
            assert_watched("a detach", &calls, &[Netlink, Write, Sync, Answer]);
            break;
        }
    }
    home.ok("detach lan db");
    home.ok("network rm lan");
    nothing_left(&home, &before);
}

/// Any container could have written what is found in a container. So the status reports it with a remedy.
#[test]
fn a_lost_state_leaves_nothing_on_the_host_and_what_is_in_containers_is_told_of() {
    let Ok(engines) = Engines::find().inspect_err(|why| cannot_run("promise 5, lost state", why)) else {
        return;
    };
    let mut home = Home::new();
    let before = untouched(&home);
    home.ok(CREATE);
    let [web, db, plain] = ["web", "db", "plain"].map(|name| home.world.container(name).unwrap());
    let (at_web, at_db) = (address(&home.attach("lan", &web, "")), address(&home.attach("lan", &db, "")));
    // A link that belongs to others, beside the endpoints.
    let name = |text: &str| text.parse::<ashore_core::net::name::IfName>().unwrap();
    let kind = LinkType::Macvlan {
        parent: name("eth0"),
        mode: MacvlanMode::Bridge,
        bc_queue_len: None,
        bc_limit: None,
    };
    let (place, link) = (Place::Netns(plain.namespace().identity()), name("eth0"));
    home.nas
        .apply(&[
            Step::AddLink {
                place: place.clone(),
                link: LinkSpec { name: link.clone(), kind, mac: None, mtu: None },
            },
            Step::SetUp { place, link, up: true },
        ])
        .unwrap();
    home.daemon = None;
    std::fs::remove_file(home.directory.path().join("state/state.redb")).unwrap();
    home.start();
    assert_eq!((home.made_links(), home.made_routes()), (vec![], vec![]));
    is_untouched(&home, &before);
    let troubles = || serde_json::from_value::<Vec<String>>(home.troubles()).unwrap();
    eventually("it is reported", || troubles().len() == 2);
    assert_eq!(home.codes(), ["unknown-link"; 2]);
    for (named, at) in [("ashore:lan:web", at_web), ("ashore:lan:db", at_db)] {
        let is_told = |told: &String| told.contains(named) && told.contains(&at.to_string());
        assert!(troubles().iter().any(is_told), "{:?}", troubles());
        reaches(&home.laptop, at);
    }
    // Nothing else gets their addresses. One of them is known again once it is attached under its name.
    home.ok(CREATE);
    let other = home.world.container("other").unwrap();
    let at_other = addresses(&home.attach("lan", &other, ""));
    assert!(![at_web, at_db].contains(&at_other[0]), "{at_other:?}");
    home.ok(&attach_command(&web));
    assert_eq!(troubles().len(), 1, "{:?}", troubles());
    let told = troubles().remove(0);
    assert!(told.contains("ashore:lan:db"), "{told}");
    // The remedy works.
    let mut shell = home.nas.command("sh").unwrap();
    let (_, remedy) = told.rsplit_once("; try: ").unwrap();
    Ran::of(engines.equip(shell.args(["-ec", remedy]))).unwrap().expect_success();
    assert_eq!(troubles(), [""; 0]);
    assert_bare(&db);
    assert!(plain.kernel().observe(&[]).unwrap().host.link(&name("eth0")).is_some());
}

#[test]
fn making_and_removing_a_network_may_die_at_any_call() {
    let mut home = Home::new();
    let before = untouched(&home);
    for n in 1.. {
        let calls = dies_at(&mut home, n, CREATE);
        let there = !serde_json::from_str::<Vec<serde_json::Value>>(&home.ok("network ls --json"))
            .unwrap()
            .is_empty();
        if !there {
            home.ok(CREATE);
        }
        // With a shim, which goes with the network.
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        home.ok("detach lan web");
        home.ok("network rm lan");
        nothing_left(&home, &before);
        if calls.len() < n {
            assert_watched("making a network", &calls, &[Write, Sync, Answer]);
            break;
        }
    }
    for n in 1.. {
        home.ok(CREATE);
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        home.ok("detach lan web");
        let calls = dies_at(&mut home, n, "network rm lan");
        let there = home.run("network inspect lan").code == Some(0);
        if there {
            home.ok("network rm lan");
        }
        eventually("the shim is gone", || home.made_links().is_empty());
        nothing_left(&home, &before);
        if calls.len() < n {
            return assert_watched("removing a network", &calls, &[Netlink, Write, Sync, Answer]);
        }
    }
}

/// A daemon whose state is on its own small disk, which can be filled.
struct SmallDisk(Home);

impl SmallDisk {
    fn new() -> Self {
        let mut home = Home::new();
        home.daemon = None;
        let state = home.directory.path().join("state");
        let mount = r#"mount -t tmpfs -o size=1200k none "$0"; exec "$@""#;
        home.start_by(&["unshare", "--mount", "sh", "-ec", mount, state.to_str().unwrap()]);
        SmallDisk(home)
    }

    fn filler(&self) -> PathBuf {
        // The mount is in the daemon's own mount namespace.
        let directory = self.0.directory.path().display();
        format!("/proc/{}/root{directory}/state/filler", self.0.daemon().pid()).into()
    }

    fn fill(&self) {
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        let full = std::iter::repeat_with(|| filler.write_all(&[0; 4096])).find_map(Result::err);
        assert_eq!(full.map(|error| error.kind()), Some(std::io::ErrorKind::StorageFull));
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

/// Asserts that a request that could not be stored was refused, and that nothing of it is there.
fn refused_and_undone(home: &Home, ran: &Ran, web: &Machine) {
    assert_eq!(ran.code, Some(7), "{}", ran.stderr);
    assert!(ran.stderr.contains("free space on that disk"), "{}", ran.stderr);
    assert_bare(web);
    assert!(!home.made_routes().iter().any(|route| route.starts_with("192.168.88.193")));
    reaches(&home.laptop, ip("192.168.88.192"));
    reaches(&home.nas, ip("192.168.88.192"));
    assert!(endpoint(home, web.name()).is_none());
}

#[test]
fn a_record_that_was_put_off_waits_for_a_disk_that_fails_and_is_no_hindrance() {
    let Some(strace) = Strace::find("promise 5, disk, later") else { return };
    let home = Home::new();
    let before = untouched(&home);
    home.create_lan();
    let web = home.world.container("web").unwrap();
    // Of the threads that write the state, the one for requests still can.
    let faults =
        strace.inject_in_threads(home.daemon().pid(), ["deferred", "watch"], "pwrite64", "error=ENOSPC");
    home.attach("lan", &web, "");
    reaches(&home.laptop, ip("192.168.88.192"));
    eventually("the disk is in trouble", || home.troubles().to_string().contains("state.redb"));
    home.ok("detach lan web");
    drop(faults);
    home.attach("lan", &web, "");
    home.ok("detach lan web");
    eventually("all is in order", || home.troubles().as_array().unwrap().is_empty());
    home.ok("network rm lan");
    nothing_left(&home, &before);
}

fn in_order(home: &Home) {
    let status = home.status();
    assert_eq!(status["pending"].as_array().unwrap().len(), 0, "{status}");
    assert_eq!(status["troubles"].as_array().unwrap().len(), 0, "{status}");
}

#[test]
fn a_full_disk_refuses_and_undoes_and_is_no_hindrance_once_there_is_space() {
    let disk = SmallDisk::new();
    let home = &disk.0;
    let before = untouched(home);
    home.create_lan();
    let (db, web) = (home.world.container("db").unwrap(), home.world.container("web").unwrap());
    home.attach("lan", &db, "");
    disk.fill();
    // The file itself may have room left for a while.
    let attach_anew = |name: &str| {
        let ran = home.run(&attach_command(&web).replace("--name web", &format!("--name {name}")));
        if ran.code == Some(0) && home.run(&format!("detach lan {name}")).code != Some(0) {
            // The last write of the request was the first that found no room.
            disk.free();
            home.ok(&format!("detach lan {name}"));
            disk.fill();
        }
        ran
    };
    let mut attempts = (0..100).map(|n| {
        // Each name is remembered, and takes some of that room.
        for one in 20 * n..20 * (n + 1) {
            attach_anew(&format!("remembered{one}"));
        }
        attach_anew("web")
    });
    let ran = attempts.find(|ran| ran.code != Some(0)).expect("the disk is full");
    assert!(ran.stderr.contains("No space left"), "{}", ran.stderr);
    refused_and_undone(home, &ran, &web);
    // The daemon stays as it is, and so does the file.
    home.run("detach lan web");
    reaches(&home.laptop, ip("192.168.88.192"));

    assert!(home.troubles().to_string().contains("state.redb"));
    disk.free();
    // The trouble also ends if no request needs a write.
    home.nudge();
    eventually("all is in order", || home.troubles().as_array().unwrap().is_empty());
    reaches(&home.laptop, address(&home.attach("lan", &web, "")));
    in_order(home);
    home.ok("detach lan web");
    home.ok("detach lan db");
    home.ok("network rm lan");
    nothing_left(home, &before);
}

#[test]
fn a_disk_that_fails_at_any_write_refuses_and_undoes_and_is_no_hindrance_once_it_works() {
    let Some(strace) = Strace::find("promise 5, disk") else { return };
    let home = Home::new();
    let before = untouched(&home);
    home.create_lan();
    let db = home.world.container("db").unwrap();
    // The first attach creates the shim, which is removed again with it.
    let faults = strace.inject(home.daemon().pid(), "fdatasync", "error=EIO");
    assert_eq!(home.run(&attach_command(&db)).code, Some(7));
    assert!(home.made_links().is_empty(), "{:?}", home.made_links());
    drop(faults);
    home.attach("lan", &db, "");
    for (calls, error) in [("pwrite64", "ENOSPC"), ("fdatasync", "EIO")] {
        for n in 1.. {
            let web = home.world.container("web").unwrap();
            let faults = strace.inject(home.daemon().pid(), calls, &format!("error={error}:when={n}+"));
            let ran = home.run(&attach_command(&web));
            if ran.code == Some(0) {
                assert!(n > 1, "{calls} is not among its calls");
                drop(faults);
                home.ok("detach lan web");
                in_order(&home);
                break;
            }
            refused_and_undone(&home, &ran, &web);
            drop(faults);
            // The repeated request succeeds without a repair in between, whatever was left of it. Its end may
            // have to wait, too.
            reaches(&home.laptop, address(&home.attach("lan", &web, "")));
            let faults = strace.inject(home.daemon().pid(), calls, &format!("error={error}:when={n}+"));
            home.run("detach lan web");
            reaches(&home.laptop, ip("192.168.88.192"));
            drop(faults);
            home.ok("detach lan web");
            assert_bare(&web);
            in_order(&home);
        }
    }
    home.ok("detach lan db");
    home.ok("network rm lan");
    nothing_left(&home, &before);
}
