//! Nothing slow happens under the daemon's lock. Most of this is what the compiler checks: see
//! `crates/ashore/src/unlocked.rs`. Here the system calls are traced that the daemon makes while it holds the
//! lock.

use std::collections::{BTreeMap, BTreeSet};

use ashore_lab::cannot_run;
use home::fake_engine::{Answers, FakeEngine};
use home::strace::Strace;
use home::{Home, addresses, eventually, reaches};
use serde_json::json;

/// What the daemon, in a debug build, does when it takes the lock, and before it releases it.
const TAKEN: &str = "ashore: the lock is taken";
const RELEASED: &str = "ashore: the lock is released";

/// Calls that wait, or that a slow disk or another program may keep waiting.
const WAITS: &str = "poll,ppoll,select,pselect6,epoll_wait,epoll_pwait,nanosleep,clock_nanosleep,connect,\
                     fsync,fdatasync,sync_file_range,unlink,unlinkat,rename,renameat,renameat2,execve";
/// The lock itself, and the threads that are started under it.
const MARKS: &str = "statx,clone,clone3";

/// The traced calls that threads made which held the lock, or that others made for them, as strace prints them.
fn under_the_lock(trace: &str) -> Vec<&str> {
    let lines: Vec<(&str, &str)> = trace.lines().filter_map(|line| line.split_once(' ')).collect();
    let lines = lines.into_iter().map(|(thread, call)| (thread, call.trim_start()));
    let (mut holders, mut begun, mut found) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
    // The first call of a new thread may come before the end of the call that has started it.
    let mut helpers = BTreeSet::new();
    for (thread, call) in lines.clone() {
        if call.contains(TAKEN) {
            holders.insert(thread);
        } else if call.contains(RELEASED) {
            holders.remove(thread);
        } else if call.contains("clone") {
            if !call.starts_with("<...") {
                begun.insert(thread, holders.contains(thread));
            }
            if let Some((_, helper)) = call.rsplit_once(" = ").filter(|_| begun.get(thread) == Some(&true)) {
                helpers.insert(helper);
            }
        }
    }
    holders.clear();
    for (thread, call) in lines {
        let holds = holders.contains(thread) || helpers.contains(thread);
        if call.contains(TAKEN) {
            holders.insert(thread);
        } else if call.contains(RELEASED) {
            holders.remove(thread);
        } else if holds && !is_harmless(call) {
            found.push(call);
        }
    }
    found
}

/// Whether a line of a trace is no call that waits: the kernel answers a netlink socket at once.
fn is_harmless(call: &str) -> bool {
    let others = ["statx", "clone", "<...", "+++"];
    others.iter().any(|other| call.starts_with(other)) || call.contains("sa_family=AF_NETLINK")
}

/// Asserts that nothing waits under the lock while this is done, except for the journal.
fn nothing_waits(what: &str, home: &Home, strace: &Strace, done: impl FnOnce()) {
    let calls = format!("{MARKS},{WAITS}").replace(' ', "");
    let trace = strace.trace(home.daemon().pid(), &calls, &home.directory.path().join("trace"));
    done();
    let trace = trace.end();
    let calls = under_the_lock(&trace);
    let is_journal = |call: &&str| call.starts_with("fdatasync(") && call.contains("state.redb");
    let (journal, others): (Vec<&str>, Vec<&str>) = calls.into_iter().partition(is_journal);
    assert!(others.is_empty(), "{what}: {others:#?}");
    eprintln!("{what}: {} times to the disk under the lock, and no other wait", journal.len());
    assert!(!journal.is_empty(), "{what}: the journal is not in the trace:\n{trace}");
}

#[test]
fn an_attach_and_a_detach_wait_for_nothing_but_the_journal() {
    if !cfg!(debug_assertions) {
        return cannot_run("under the lock", "only a debug build marks the lock in a trace");
    }
    let Some(strace) = Strace::find("under the lock") else { return };
    let home = Home::new();
    home.create_lan();
    let container = |name: &str| home.world.container(name).unwrap();
    let (web, db) = (container("web"), container("db"));
    // The first one makes the shim, and looks for its address.
    nothing_waits("a first attach", &home, &strace, || {
        reaches(&home.laptop, addresses(&home.attach("lan", &web, ""))[0]);
    });
    nothing_waits("an attach", &home, &strace, || {
        reaches(&home.laptop, addresses(&home.attach("lan", &db, ""))[0]);
    });
    nothing_waits("a detach", &home, &strace, || {
        home.ok("detach lan db");
    });
    nothing_waits("a network", &home, &strace, || {
        home.ok("network create other --parent eth0 --subnet 192.168.88.0/24 --ip-range 192.168.88.64/27 --conflict off");
        home.ok("network rm other");
    });
}

#[test]
fn an_engines_calls_wait_for_nothing_but_the_journal() {
    const NETWORK: &str = "66150cdfa0c94d73";
    if !cfg!(debug_assertions) {
        return cannot_run("under the lock, an engine", "only a debug build marks the lock in a trace");
    }
    let Some(strace) = Strace::find("under the lock, an engine") else { return };
    let engine = FakeEngine::new();
    let home = &engine.home;
    engine.answers(Answers::from([
        ("/version", json!({ "Version": "28.5.2" })),
        ("/networks/", json!({ "Name": "lan" })),
        ("/containers/json", json!([])),
    ]));
    let pool = engine.create_network(NETWORK, &json!({ "Pool": "192.168.88.0/24" }));
    let address = json!({ "PoolID": pool, "Address": "192.168.88.193" });
    let of = json!({ "NetworkID": NETWORK, "EndpointID": "aa", "SandboxKey": "/nowhere" });
    let interface = json!({ "Address": "192.168.88.193/24", "AddressIPv6": "", "MacAddress": "" });
    let created = json!({ "NetworkID": NETWORK, "EndpointID": "aa", "Interface": interface, "Options": {} });
    for start in ["a first start", "another start"] {
        nothing_waits(start, home, &strace, || {
            engine.call("IpamDriver.RequestAddress", &address);
            engine.call("NetworkDriver.CreateEndpoint", &created);
            engine.call("NetworkDriver.Join", &of);
        });
        let links = || home.made_links().len();
        let before = links();
        nothing_waits("a stop", home, &strace, || {
            engine.call("NetworkDriver.Leave", &of);
            engine.call("NetworkDriver.DeleteEndpoint", &of);
            engine.call("IpamDriver.ReleaseAddress", &address);
            eventually("its link is gone", || links() < before);
        });
    }
}
