//! Restarts of the engine, the daemon and the host. Nothing is lost, and nothing is left over.

use ashore_kernel::{InNamespace, Namespace};
use ashore_lab::Counted;
use home::site::{Site, at_every_site, on_an_engine};
use home::together::{Together, rounds};
use home::{BEYOND, eventually, ip, reaches};

const NAMES: [&str; 3] = ["web", "db", "mail"];

/// Starts three containers with a restart policy.
fn start_all(site: &Site) -> Vec<(String, String)> {
    site.create_lan();
    for name in NAMES {
        site.start(name, "--restart always");
    }
    site.addresses_of(&NAMES)
}

/// Asserts that all are back at their addresses, for the LAN and for the host.
fn all_are_back(site: &Site, before: &[(String, String)]) {
    for (name, (address, _)) in NAMES.iter().zip(before) {
        eventually("it has its address again", || site.place_of(name).is_some_and(|now| now.0 == *address));
        eventually("the laptop reaches it", || site.home.laptop.ping(ip(address)).is_some());
        eventually("the host reaches it", || site.home.nas.ping(ip(address)).is_some());
    }
    eventually("nothing is left to do", || site.home.ok("plan").contains("nothing to change"));
    let routes = site.home.made_routes();
    assert_eq!(routes.len(), before.len(), "{routes:?}");
}

/// An engine up to 20.10 that was killed may count one endpoint too many, which its next start corrects
/// ("Fixing inconsistent `endpoint_cnt`", moby, `libnetwork/store.go`).
fn remove_network(site: &mut Site) {
    let ran = site.docker("network rm lan");
    if ran.stderr.contains("has active endpoints") {
        site.docker.stop_dockerd().unwrap();
        site.docker.start_dockerd(&site.home.nas).unwrap();
        site.ok("network rm lan");
    } else {
        ran.expect_success();
    }
}

fn remove_all(site: &mut Site) {
    site.ok("rm -f web db mail");
    remove_network(site);
    site.assert_nothing_left();
}

#[test]
fn containers_whose_links_go_with_their_parent_are_back_when_it_is() {
    on_an_engine("docker, parent gone and back", |site| {
        let before = start_all(site);
        // The default route stays as the engine set it, so traffic to the outside continues.
        let is_default = |link: &str| {
            let routes = site.ok("exec web ip route");
            assert!(routes.contains(&format!("default via 192.168.88.1 dev {link}")), "{routes}");
        };
        let no_ipv6 = || site.ok("exec web cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
        is_default("eth0");
        let made = no_ipv6();
        site.home.nas.remove_link("eth0").unwrap();
        eventually("the status says what it waits for", || {
            site.home.troubles().to_string().contains("waits for its parent `eth0`")
        });
        site.home.world.plug_in(&site.home.nas).unwrap();
        site.home.nas.add_address("eth0", "192.168.88.9/24".parse().unwrap()).unwrap();
        all_are_back(site, &before);
        eventually("nothing is wrong", || site.home.troubles().as_array().unwrap().is_empty());
        site.home.nudge();
        assert_eq!(no_ipv6(), made);
        is_default("eth0");
        site.container_reaches("web", BEYOND);
        // The engine can still work with the container.
        site.ok("network create other");
        site.ok("network connect other web");
        site.ok("network disconnect lan web");
        assert!(!site.ok("exec web ip route").contains("192.168.88."));
        site.ok("network connect lan web");
        site.ok("network disconnect other web");
        is_default("eth");
        site.ok("network rm other");
        remove_all(site);
    });
}

#[test]
fn an_engine_that_stops_or_dies_and_starts_finds_everything_as_it_was() {
    on_an_engine("docker, engine restarts", |site| {
        let before = start_all(site);
        site.docker.stop_dockerd().unwrap();
        site.docker.start_dockerd(&site.home.nas).unwrap();
        all_are_back(site, &before);
        site.docker.kill_dockerd().unwrap();
        site.docker.start_dockerd(&site.home.nas).unwrap();
        all_are_back(site, &before);
        // Both at the same time.
        site.home.daemon = None;
        site.docker.kill_dockerd().unwrap();
        site.start_daemon();
        site.docker.start_dockerd(&site.home.nas).unwrap();
        all_are_back(site, &before);
        remove_all(site);
    });
}

#[test]
fn whatever_was_chosen_for_them_containers_are_themselves_after_every_restart_of_the_engine() {
    on_an_engine("docker, engine restarts, all choices", |site| {
        site.create_lan();
        site.start("web", "--restart always");
        site.start("db", "--restart always");
        site.start("fixed", "--restart always --ip 192.168.88.215");
        site.start("own", "--restart always --mac-address 02:42:aa:00:00:01");
        site.start("both", "--restart always --ip 192.168.88.216 --mac-address 02:42:aa:00:00:02");
        let all = Together::of(site, &["web", "db", "fixed", "own", "both"]);
        assert_eq!(all.place("fixed").v4, "192.168.88.215");
        assert_eq!(all.place("own").mac, "02:42:aa:00:00:01");
        for round in rounds() {
            if round % 2 == 0 {
                site.docker.kill_dockerd().unwrap();
            } else {
                site.docker.stop_dockerd().unwrap();
            }
            site.docker.start_dockerd(&site.home.nas).unwrap();
            all.are_as_at_first(site, &format!("engine restart {round}"));
        }
        eventually("nothing is wrong", || site.home.troubles() == serde_json::json!([]));
        site.ok("rm -f web db fixed own both");
        remove_network(site);
        site.assert_nothing_left();
    });
}

#[test]
fn somebody_in_the_namespace_of_a_container_over_a_death_of_the_engine_keeps_it_from_nothing() {
    on_an_engine("docker, a namespace is held", |site| {
        site.create_lan();
        site.start("web", "--restart always");
        let before = Together::of(site, &["web"]);
        for holder in ["a file", "a process"] {
            let key = site.ok("inspect --format {{.NetworkSettings.SandboxKey}} web");
            let path = site.docker.root().join(key.trim_start_matches('/'));
            let file = std::fs::File::open(&path).unwrap();
            let mut process = None;
            if holder == "a process" {
                let mut command = std::process::Command::new("sleep");
                command.arg("1000").in_namespace(&Namespace::open(&path).unwrap()).unwrap();
                process = Some(command.spawn().unwrap());
            }
            let file = Some(file).filter(|_| process.is_none());
            site.docker.kill_dockerd().unwrap();
            site.docker.start_dockerd(&site.home.nas).unwrap();
            before.are_as_at_first(site, &format!("{holder} holds its old namespace"));
            reaches(&site.home.nas, ip(&before.place("web").v4));
            assert!(site.ok("exec web ip -4 addr").contains(&before.place("web").v4));
            drop(file);
            if let Some(mut process) = process {
                process.kill().unwrap();
                process.wait().unwrap();
            }
        }
        eventually("nothing is wrong", || site.home.troubles() == serde_json::json!([]));
        site.ok("rm -f web");
        remove_network(site);
        site.assert_nothing_left();
    });
}

#[test]
fn under_live_restore_no_ping_is_lost_while_engine_and_daemon_die_and_come_back() {
    on_an_engine("docker, live-restore", |site| {
        site.docker.stop_dockerd().unwrap();
        site.docker.start_dockerd_with(&site.home.nas, &["--live-restore"]).unwrap();
        let before = start_all(site);
        let pings = |machine: &ashore_lab::Machine| machine.pings(ip(&before[0].0));
        let streams = [pings(&site.home.laptop), pings(&site.home.nas)];
        site.docker.kill_dockerd().unwrap();
        site.docker.start_dockerd_with(&site.home.nas, &["--live-restore"]).unwrap();
        for _ in 0..3 {
            // An upgrade works the same way.
            site.home.daemon = None;
            site.start_daemon();
        }
        site.ok("exec web ls /");
        for stream in streams {
            let Counted { sent, lost } = stream.end();
            assert!(sent > 20 && lost == 0, "{lost} of {sent}");
        }
        assert_eq!(site.addresses_of(&NAMES), before);
        all_are_back(site, &before);
        site.start("late", "");
        site.ok("rm -f late");
        remove_all(site);
    });
}

#[test]
fn a_host_that_lost_power_comes_back_with_the_same_addresses() {
    at_every_site("docker, reboot", |site, engines| {
        let before = start_all(&site);
        let site = site.reboot(engines);
        all_are_back(&site, &before);
        let mut site = site.reboot(engines);
        all_are_back(&site, &before);
        remove_all(&mut site);
    });
}

#[test]
fn what_the_engine_dropped_without_a_word_is_given_up() {
    on_an_engine("docker, garbage", |site| {
        let before = start_all(site);
        site.create_lan_as("other", "192.168.88.64/27");
        // A state from before later changes of the engine: it does not know what has been removed.
        let earlier = site.home.directory.path().join("earlier.redb");
        save_state(site, &earlier);
        site.ok("rm -f web");
        site.ok("network rm other");
        put_back_state(site, &earlier);
        assert!(site.home.made_routes().iter().any(|route| route.contains(&before[0].0)));
        eventually("what is gone is gone here too", || {
            let routes = site.home.made_routes();
            let status = site.home.ok("status");
            !routes.iter().any(|route| route.contains(&before[0].0))
                && !status.contains("web")
                && !status.contains("192.168.88.64/27")
        });
        // The other containers stay as they are, and the name gets its former address again.
        site.home.laptop.ping(ip(&before[1].0)).expect("db answers");
        site.start("web", "");
        assert_eq!(site.address_of("web"), before[0]);
        remove_all(site);
    });
}

fn save_state(site: &mut Site, to: &std::path::Path) {
    site.home.daemon = None;
    std::fs::copy(site.home.directory.path().join("state/state.redb"), to).unwrap();
    site.start_daemon();
}

fn put_back_state(site: &mut Site, from: &std::path::Path) {
    site.home.daemon = None;
    std::fs::copy(from, site.home.directory.path().join("state/state.redb")).unwrap();
    site.start_daemon();
}
