//! Podman, and the daemon or Podman itself is killed at any moment.

mod home;

use std::time::Duration;

use ashore_lab::Engines;
use home::dhcp::{Brand, Setup};
use home::podman::with_ashore;
use home::{eventually, ip, reaches};

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
            eventually("the LAN reaches it", || site.home.laptop.ping(ip(&web.0)).is_some());
            assert_eq!(site.endpoints(), ["web"], "after {delay} ms");
            site.ok("rm -f -t 0 web");
        }
        eventually("nothing is left", || site.endpoints().is_empty());
    });
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
