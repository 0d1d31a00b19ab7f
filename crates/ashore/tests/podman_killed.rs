//! Podman, and the daemon or Podman itself is killed at any moment.

use std::time::Duration;

use ashore_lab::{Engines, Machine};
use home::dhcp::{Brand, Setup};
use home::podman::with_ashore;
use home::strace::Strace;
use home::users::{self, Container};
use home::{comes_true, eventually, ip, reaches};

#[test]
fn whenever_the_daemon_is_killed_nothing_is_left_and_the_name_keeps_what_it_has() {
    with_ashore("podman, daemon killed", |site| {
        site.ok("network create -d ashore lan");
        site.start_on_lan("web", "");
        let web = site.address_of("web");
        site.ok("rm -f -t 0 web");
        for delay in [0, 20, 60, 120, 180, 240, 300, 400] {
            let words = ["run", "-d", "--name", "web", "--network", "lan", "box", "sleep", "1000"];
            let run = site.podman.begin(&words).unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            site.home.daemon.take().unwrap().kill().unwrap();
            site.start_daemon();
            let ran = run.wait_with_output().unwrap();
            if ran.status.success() {
                assert_eq!(site.address_of("web"), web, "after {delay} ms");
                reaches(&site.home.laptop, ip(&web.0));
                site.ok("rm -f -t 0 web");
            } else {
                let why = String::from_utf8_lossy(&ran.stderr).into_owned();
                assert!(why.contains("daemon"), "after {delay} ms: {why}");
                site.run("rm -f -t 0 web");
            }
            eventually("nothing of it is left", || site.endpoints().is_empty());
            eventually("it is off the LAN", || site.home.laptop.ping(ip(&web.0)).is_none());
        }
        site.start_on_lan("web", "");
        assert_eq!(site.address_of("web"), web);
    });
}

#[test]
fn whenever_podman_is_killed_the_next_container_of_the_name_has_what_the_name_has() {
    with_ashore("podman killed", |site| {
        site.ok("network create -d ashore lan");
        site.start_on_lan("web", "");
        let web = site.address_of("web");
        site.ok("rm -f -t 0 web");
        for delay in [100, 200, 300, 400] {
            let words = ["run", "-d", "--name", "web", "--network", "lan", "box", "sleep", "1000"];
            let mut run = site.podman.begin(&words).unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            // The plugin goes on, and so does what Podman has started.
            run.kill().unwrap();
            run.wait().unwrap();
            // What the killed one has started may go on for a moment.
            eventually("Podman lets it be removed", || {
                site.run("rm -f -t 0 web");
                site.run("container exists web").code == Some(1)
            });
            site.start_on_lan("web", "");
            assert_eq!(site.address_of("web"), web, "after {delay} ms");
            let is_reached =
                comes_true(Duration::from_secs(60), || site.home.laptop.ping(ip(&web.0)).is_some());
            let told = || site.home.ok("status") + &site.home.ok("events");
            assert!(is_reached && site.endpoints() == ["web"], "after {delay} ms: {}", told());
            site.ok("rm -f -t 0 web");
        }
        eventually("nothing is left", || site.endpoints().is_empty());
    });
}

/// Podman's next container of the name comes while Ashore still looks for where the last one's link may be.
#[test]
fn who_gets_the_name_of_a_container_that_is_being_taken_off_keeps_its_own_link() {
    let (Some(site), Some(strace)) = (users::site(""), Strace::find("podman, taken off")) else { return };
    let [first, second] = ["first", "second"].map(|name| site.home.world.container(name).unwrap());
    let path = |container: &Machine| container.namespace().path().display().to_string();
    let (one, other) = (Container::on_lan("a1", "web"), Container::on_lan("b2", "web"));
    let place = site.sets_up(0, &path(&first), &one);
    // The look through all processes takes that long, by the thread that takes containers off a moment later.
    let pid = site.home.daemon().pid();
    let slow = strace.inject_in_threads(pid, ["leaving"], "getdents64", "delay_enter=4000000:when=1");
    site.tear_down(0, &one);
    drop(first);
    eventually("it is being taken off", || {
        site.home.status()["endpoints"].as_array().unwrap().iter().all(|one| one["stage"] != "attached")
    });
    assert_eq!(site.sets_up(0, &path(&second), &other), place);
    let pings = site.home.laptop.pings(ip(&place.0));
    std::thread::sleep(Duration::from_secs(5));
    drop(slow);
    let counted = pings.end();
    assert_eq!(counted.lost, 0, "{counted:?}");
    assert_eq!(site.endpoints(), ["web"]);
}

#[test]
fn a_lease_is_the_containers_for_life() {
    with_ashore("podman, leases", |site| {
        let (engines, directory) = (Engines::find().unwrap(), tempfile::tempdir().unwrap());
        let server = Brand::Dnsmasq.serve(&engines, &site.home.router, directory.path(), &Setup::default());
        site.ok("network create -d ashore --ipam-driver dhcp lan");
        site.start_on_lan("web", "");
        let web = site.address_of("web");
        let row = server.rows().into_iter().find(|row| row.ip == web.0);
        assert_eq!(row.map(|row| (row.mac, row.name)), Some((web.1.clone(), "web".into())));
        reaches(&site.home.laptop, ip(&web.0));
        site.ok("restart -t 0 web");
        assert_eq!(site.address_of("web"), web);
        site.ok("rm -f -t 0 web");
        site.start_on_lan("web", "");
        assert_eq!(site.address_of("web"), web);
        site.ok("rm -f -t 0 web");
    });
}
