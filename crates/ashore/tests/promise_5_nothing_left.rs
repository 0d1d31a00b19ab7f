//! Promise 5: nothing is left behind. The daemon is killed at every system call by which a request changes the kernel or
//! the disk; after its next start all of the request is there or nothing of it, and what was there before still is.

mod home;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use ashore_lab::{Machine, Ran};
use home::strace::Strace;
use home::{Home, eventually, ip, reaches};

/// The calls that change anything: netlink requests, sysctls and replies, the state's pages and their barriers.
const CALLS: &str = "sendto,sendmsg,write,pwrite64,fsync,fdatasync,ftruncate,setns,unlink,rename";
/// More than any request makes.
const MOST: u32 = 400;

/// Runs a command whose request dies at its n-th call, and starts the daemon anew. False if it made fewer calls.
fn dies_at(home: &mut Home, strace: &Strace, n: u32, command: &str) -> bool {
    assert!(n < MOST, "`{command}` does not end");
    let mut strace = strace.kill_at(home.daemon().pid(), CALLS, n);
    let ran = home.run(command);
    // A request that was answered may have been the last.
    let patience = Duration::from_millis(if ran.code == Some(0) { 20 } else { 5000 });
    let died = home.daemon.as_mut().unwrap().ended_within(patience).unwrap();
    if died {
        strace.wait().unwrap();
        home.daemon = None;
        home.start();
    } else {
        strace.kill().unwrap();
        strace.wait().unwrap();
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    died
}

/// A request that dies at no call, or at few, was not watched.
fn assert_many(n: u32) {
    eprintln!("died at each of {} calls", n - 1);
    assert!(n > 5, "{n}");
}

fn endpoint(home: &Home, name: &str) -> Option<serde_json::Value> {
    let status = home.status();
    status["endpoints"].as_array().unwrap().iter().find(|endpoint| endpoint["name"] == name).cloned()
}

fn address(report: &serde_json::Value) -> std::net::IpAddr {
    home::addresses(report)[0]
}

/// All of an endpoint is there, or nothing.
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

/// Neither link nor route nor row, but for what names keep.
fn nothing_left(home: &Home) {
    assert_eq!(home.made_links(), [] as [&str; 0]);
    assert_eq!(home.made_routes(), [] as [&str; 0]);
    let state: serde_json::Value = serde_json::from_str(&home.ok("state export")).unwrap();
    let rows = state["rows"].as_object().unwrap().keys();
    let left: Vec<&String> = rows.filter(|key| !key.starts_with("identity/") && *key != "seed").collect();
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
    let Some(strace) = Strace::find("promise 5, attach") else { return };
    let mut home = Home::new();
    for n in 1.. {
        home.ok(CREATE);
        let web = home.world.container("web").unwrap();
        let died = dies_at(&mut home, &strace, n, &attach_command(&web));
        whole_or_nothing(&home, &web);
        // Asked again it is done, once and at the same place.
        let report = home.attach("lan", &web, "");
        reaches(&home.laptop, address(&report));
        assert_eq!(address(&report), ip("192.168.88.192"));
        home.ok("detach lan web");
        assert_bare(&web);
        home.ok("network rm lan");
        nothing_left(&home);
        if !died {
            return assert_many(n);
        }
    }
}

#[test]
fn a_second_attach_that_dies_harms_nobody_and_no_address_is_given_twice() {
    let Some(strace) = Strace::find("promise 5, second attach") else { return };
    let mut home = Home::new();
    home.ok(CREATE);
    let db = home.world.container("db").unwrap();
    let at_db = address(&home.attach("lan", &db, ""));
    for n in 1.. {
        let web = home.world.container("web").unwrap();
        let died = dies_at(&mut home, &strace, n, &attach_command(&web));
        reaches(&home.laptop, at_db);
        whole_or_nothing(&home, &web);
        let other = home.world.container("other").unwrap();
        let at_other = address(&home.attach("lan", &other, ""));
        let at_web = address(&home.attach("lan", &web, ""));
        assert!(at_other != at_web && at_other != at_db && at_web != at_db);
        reaches(&web, at_other);
        home.ok("detach lan other");
        home.ok("detach lan web");
        if !died {
            return assert_many(n);
        }
    }
}

#[test]
fn a_detach_that_dies_at_any_call_is_finished_or_not_begun() {
    let Some(strace) = Strace::find("promise 5, detach") else { return };
    let mut home = Home::new();
    home.ok(CREATE);
    let db = home.world.container("db").unwrap();
    let at_db = address(&home.attach("lan", &db, ""));
    for n in 1.. {
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        let died = dies_at(&mut home, &strace, n, "detach lan web");
        whole_or_nothing(&home, &web);
        reaches(&home.laptop, at_db);
        home.ok("detach lan web");
        assert_bare(&web);
        if !died {
            assert_many(n);
            break;
        }
    }
    home.ok("detach lan db");
    home.ok("network rm lan");
    nothing_left(&home);
}

#[test]
fn making_and_removing_a_network_may_die_at_any_call() {
    let Some(strace) = Strace::find("promise 5, networks") else { return };
    let mut home = Home::new();
    for n in 1.. {
        let died = dies_at(&mut home, &strace, n, CREATE);
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
        nothing_left(&home);
        if !died {
            assert_many(n);
            break;
        }
    }
    for n in 1.. {
        home.ok(CREATE);
        let web = home.world.container("web").unwrap();
        home.attach("lan", &web, "");
        home.ok("detach lan web");
        let died = dies_at(&mut home, &strace, n, "network rm lan");
        let there = home.run("network inspect lan").code == Some(0);
        if there {
            home.ok("network rm lan");
        }
        eventually("the shim is gone", || home.made_links().is_empty());
        nothing_left(&home);
        if !died {
            return assert_many(n);
        }
    }
}

/// A daemon whose state is on a disk of its own, which can be filled.
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
        // The mount is in the daemon's own namespace.
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

/// What the state could not take was refused, and nothing of it is there. Tells whether something was left for later.
fn refused_and_undone(home: &Home, ran: &Ran, web: &Machine) -> bool {
    assert_eq!(ran.code, Some(7), "{}", ran.stderr);
    assert!(ran.stderr.contains("free space on that disk"), "{}", ran.stderr);
    assert_bare(web);
    assert!(!home.made_routes().iter().any(|route| route.starts_with("192.168.88.193")));
    reaches(&home.laptop, ip("192.168.88.192"));
    reaches(&home.nas, ip("192.168.88.192"));
    let left = endpoint(home, web.name()).is_some();
    if left {
        let status = home.status();
        assert!(status["troubles"].to_string().contains("state.redb"), "{status}");
        assert!(!status["pending"].to_string().contains("add"), "{status}");
    }
    left
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
    home.create_lan();
    let (db, web) = (home.world.container("db").unwrap(), home.world.container("web").unwrap());
    home.attach("lan", &db, "");
    disk.fill();
    let ran = home.run(&attach_command(&web));
    assert!(ran.stderr.contains("No space left"), "{}", ran.stderr);
    refused_and_undone(home, &ran, &web);
    // The daemon stays as it is, and so does the file.
    home.run("detach lan web");
    reaches(&home.laptop, ip("192.168.88.192"));

    disk.free();
    reaches(&home.laptop, address(&home.attach("lan", &web, "")));
    in_order(home);
    home.ok("detach lan web");
    home.ok("detach lan db");
    home.ok("network rm lan");
    nothing_left(home);
}

#[test]
fn a_disk_that_fails_at_any_write_refuses_and_undoes_and_is_no_hindrance_once_it_works() {
    let Some(strace) = Strace::find("promise 5, disk") else { return };
    let home = Home::new();
    home.create_lan();
    let db = home.world.container("db").unwrap();
    home.attach("lan", &db, "");
    let mut left_for_later = 0;
    for (calls, error) in [("pwrite64", "ENOSPC"), ("fdatasync", "EIO")] {
        for n in 1.. {
            let web = home.world.container("web").unwrap();
            let faults = strace.inject(home.daemon().pid(), calls, &format!("error={error}:when={n}+"));
            let ran = home.run(&attach_command(&web));
            if ran.code == Some(0) {
                assert!(n > 1, "{calls} is not among its calls");
                drop(faults);
                home.ok("detach lan web");
                break;
            }
            left_for_later += u32::from(refused_and_undone(&home, &ran, &web));
            drop(faults);
            // Asked again, with nothing between, it is done, whatever was left of it; also its end may have to wait.
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
    assert!(left_for_later > 0);
    home.ok("detach lan db");
    home.ok("network rm lan");
    nothing_left(&home);
}
