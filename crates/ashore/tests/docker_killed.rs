//! The daemon is killed while Docker waits for its answer. Docker repeats the call without its body. The
//! request is carried out all the same.

use std::net::IpAddr;
use std::process::Child;
use std::time::Duration;

use ashore_lab::Ran;
use home::site::{Site, on_an_engine};
use home::strace::Strace;
use home::{eventually, ip};

/// The system call after which the daemon has noted a call, and the one by which it answers.
const NOTED: &str = "close";
const ANSWER: &str = "writev";

const CREATE: &str = "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
                      --gateway 192.168.88.1 -o parent=eth0";
const RUN: &str = "run -d --init --name web --network lan box sleep 1000";
const ADDRESS: &str = "IpamDriver.RequestAddress";

fn has_died(site: &mut Site) -> bool {
    site.home.daemon.as_mut().unwrap().ended_within(Duration::ZERO).unwrap()
}

/// Starts the daemon again, to die as `next` says, while Docker is stopped.
fn come_back<T>(site: &mut Site, mut traced: Child, next: impl FnOnce(&Site) -> T) -> T {
    site.docker.stand_still(true).unwrap();
    traced.wait().unwrap();
    site.home.daemon = None;
    site.start_daemon();
    let next = next(site);
    site.docker.stand_still(false).unwrap();
    next
}

/// Lets the daemon live, if it still does.
fn spare(site: &mut Site, mut traced: Child) {
    traced.kill().unwrap();
    traced.wait().unwrap();
    if site.home.run("status").code != Some(0) {
        site.home.daemon = None;
        site.start_daemon();
    }
}

fn begin(site: &Site, command: &str) -> Child {
    site.docker.begin(&command.split_whitespace().collect::<Vec<_>>()).unwrap()
}

/// Runs a command during which the daemon is killed after noting each of these calls.
fn dies_with_notes(site: &mut Site, strace: &Strace, command: &str, methods: &[&str]) -> Ran {
    let arm = |site: &Site, method: &str| {
        let note = site.home.directory.path().join(format!("calls/{method}.0"));
        strace.kill_at_file(site.home.daemon().pid(), NOTED, note.to_str().unwrap())
    };
    let mut traced = Some(arm(site, methods[0]));
    let client = begin(site, command);
    for (at, method) in methods.iter().enumerate() {
        eventually(&format!("the daemon dies over {method}: {command}"), || has_died(site));
        let next = methods.get(at + 1);
        traced = come_back(site, traced.take().unwrap(), |site| next.map(|method| arm(site, method)));
    }
    Ran::of_output(client.wait_with_output().unwrap())
}

/// Runs a command during which the daemon is killed at every answer, once or twice, and then lets the answer
/// pass. Returns also how often it was killed.
fn dies_over_answers(site: &mut Site, strace: &Strace, command: &str, times: u32) -> (Ran, u32) {
    let arm = |site: &Site, n| strace.kill_at(site.home.daemon().pid(), ANSWER, n);
    let mut traced = arm(site, 1);
    let mut client = begin(site, command);
    for killed in 1.. {
        eventually(&format!("the daemon dies, or Docker is done: {command}"), || {
            has_died(site) || client.try_wait().unwrap().is_some()
        });
        if !has_died(site) {
            spare(site, traced);
            return (Ran::of_output(client.wait_with_output().unwrap()), killed - 1);
        }
        let n = if killed % times == 0 { 2 } else { 1 };
        traced = come_back(site, traced, |site| arm(site, n));
    }
    unreachable!("a command has an end")
}

#[track_caller]
fn done(site: &Site, ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{}{}\n{}", ran.stdout, ran.stderr, site.logs());
}

/// Asserts that the container is on the LAN at these addresses and nothing else is. If the engine was too
/// slow to tell the name, this takes a moment longer.
#[track_caller]
fn web_is_there(site: &Site, wanted: &[&str]) {
    let wanted: Vec<IpAddr> = wanted.iter().map(|text| ip(text)).collect();
    let mut status = site.home.status();
    let is_there = || {
        status = site.home.status();
        let endpoints = status["endpoints"].as_array().unwrap();
        endpoints.len() == 1 && home::addresses(&endpoints[0]) == wanted
    };
    let comes_true = home::comes_true(Duration::from_secs(60), is_there);
    assert!(comes_true, "{wanted:?}: {status}\n{}", site.logs());
    for address in wanted {
        eventually("the laptop reaches it", || site.home.laptop.ping(address).is_some());
        eventually("its host reaches it", || site.home.nas.ping(address).is_some());
    }
}

/// Asserts that no note outlives its call.
fn assert_no_notes(site: &Site) {
    let notes = std::fs::read_dir(site.home.directory.path().join("calls")).unwrap();
    assert_eq!(notes.count(), 0);
}

#[test]
fn what_it_was_asked_before_it_died_is_done() {
    let Some(strace) = Strace::find("docker, killed with a note") else { return };
    on_an_engine("docker, killed with a note", |site| {
        for (command, methods) in [
            (&*format!("{CREATE} lan"), ["IpamDriver.RequestPool", ADDRESS, "NetworkDriver.CreateNetwork"]),
            (RUN, [ADDRESS, "NetworkDriver.CreateEndpoint", "NetworkDriver.Join"]),
            (
                "rm -f web",
                ["NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint", "IpamDriver.ReleaseAddress"],
            ),
            (
                "network rm lan",
                ["IpamDriver.ReleaseAddress", "IpamDriver.ReleasePool", "NetworkDriver.DeleteNetwork"],
            ),
        ] {
            let ran = dies_with_notes(site, &strace, command, &methods);
            done(site, &ran);
            if command == RUN {
                web_is_there(site, &["192.168.88.192"]);
            }
        }
        site.assert_nothing_left();
        assert_no_notes(site);
    });
}

#[test]
fn what_it_had_done_when_it_died_is_not_done_twice() {
    let Some(strace) = Strace::find("docker, killed over answers") else { return };
    on_an_engine("docker, killed over answers", |site| {
        // Docker does not repeat its first call, by which it learns about the driver.
        site.create_lan();
        site.ok("network rm lan");
        // If the daemon cannot reach the engine's API, it makes this system call only for answers.
        site.silent = true;
        site.home.daemon = None;
        site.start_daemon();
        // The final answer is the daemon's first choice: no second range, no second address.
        let create = "network create -d ashore --ipam-driver ashore lan";
        for (command, times, at_least) in
            [(create, 1, 3), (RUN, 2, 6), ("rm -f web", 1, 3), ("network rm lan", 1, 3)]
        {
            let (ran, killed) = dies_over_answers(site, &strace, command, times);
            done(site, &ran);
            assert!(killed >= at_least, "{command}: {killed}");
            if command == RUN {
                // 20.10 declines the first offer.
                web_is_there(site, &[site.on("192.168.88.224", "192.168.88.192")]);
            }
        }
        site.assert_nothing_left();

        // One call for each family.
        site.ok(
            "network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.128/27 --gateway \
             192.168.88.1 --ipv6 --subnet fd88::/64 --ip-range fd88::c0/124 --gateway fd88::1 -o parent=eth0 dual",
        );
        let run = RUN.replace("lan", "dual");
        let (mut ran, _) = dies_over_answers(site, &strace, &run, 1);
        // On a busy machine, Docker 28 announces an IPv6 address before the kernel can, and then fails (moby,
        // pull request 49392).
        if ran.stderr.contains("failed to advertise addresses") {
            println!("the engine could not advertise an address, and is asked again");
            site.ok("rm -f web");
            (ran, _) = dies_over_answers(site, &strace, &run, 1);
        }
        done(site, &ran);
        web_is_there(site, &["192.168.88.128", "fd88::c0"]);
        site.ok("rm -f web");
        site.ok("network rm dual");
        site.assert_nothing_left();
        assert_no_notes(site);
    });
}

#[test]
fn wherever_it_dies_a_container_starts_or_fails_clearly_and_nothing_is_left() {
    /// The system calls that change or answer anything.
    const CALLS: &str = "sendto,sendmsg,write,writev,pwrite64,fsync,fdatasync,setns,?unlink,unlinkat";
    let Some(strace) = Strace::find("docker, kills anywhere") else { return };
    on_an_engine("docker, kills anywhere", |site| {
        site.ok(&format!("{CREATE} lan"));
        let (mut started, mut failed) = (0, 0);
        for n in (1..).step_by(5) {
            let mut traced = strace.kill_at(site.home.daemon().pid(), CALLS, n);
            let mut client = begin(site, RUN);
            eventually("the daemon dies, or Docker has what it wants", || {
                has_died(site) || client.try_wait().unwrap().is_some()
            });
            if !has_died(site) {
                spare(site, traced);
                done(site, &Ran::of_output(client.wait_with_output().unwrap()));
                site.ok("rm -f web");
                break;
            }
            traced.wait().unwrap();
            site.home.daemon = None;
            site.start_daemon();
            let ran = Ran::of_output(client.wait_with_output().unwrap());
            if ran.code == Some(0) {
                started += 1;
                web_is_there(site, &["192.168.88.192"]);
            } else {
                failed += 1;
                eprintln!("at {n}: {}", ran.stderr);
                assert!(
                    ran.stderr.contains("ashore: the call has no body"),
                    "{}\n{}",
                    ran.stderr,
                    site.logs()
                );
            }
            site.ok("rm -f web");
        }
        eprintln!("{started} started all the same, {failed} failed");
        // A call is lost if the daemon dies between reading and noting it: at most the first few moments of
        // each.
        assert!(started > failed, "{started} started, {failed} failed");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}

#[test]
fn where_a_call_was_lost_that_nobody_read_what_is_said_helps() {
    const CONNECT: &str = "network connect --ip 192.168.88.215 lan web";
    let Some(strace) = Strace::find("docker, calls that nobody read") else { return };
    on_an_engine("docker, calls that nobody read", |site| {
        site.ok(&format!("{CREATE} lan"));
        site.ok(RUN);
        site.ok("network disconnect lan web");
        let mut lost = 0;
        for n in 1.. {
            // The engine's call is in the socket, and the daemon dies before it accepts it.
            let mut traced = strace.kill_at(site.home.daemon().pid(), "accept4", n);
            let mut client = begin(site, CONNECT);
            eventually("the daemon dies, or Docker is done", || {
                has_died(site) || client.try_wait().unwrap().is_some()
            });
            if !has_died(site) {
                spare(site, traced);
                done(site, &Ran::of_output(client.wait_with_output().unwrap()));
                break;
            }
            traced.wait().unwrap();
            site.home.daemon = None;
            site.start_daemon();
            let mut ran = Ran::of_output(client.wait_with_output().unwrap());
            if ran.code != Some(0) {
                lost += 1;
                assert!(
                    ran.stderr.contains("docker network disconnect -f NETWORK CONTAINER"),
                    "{}",
                    ran.stderr
                );
                ran = site.docker(CONNECT);
                if ran.code != Some(0) {
                    site.ok("network disconnect -f lan web");
                    ran = site.docker(CONNECT);
                }
            }
            done(site, &ran);
            web_is_there(site, &["192.168.88.215"]);
            site.ok("network disconnect lan web");
        }
        // For an address, for an endpoint, and for the join.
        assert!(lost >= 3, "{lost} calls were lost");
        site.ok("rm -f web");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}
