//! Podman on a NAS that has booted systemd, with Ashore as `ashore install` leaves it.

use std::time::Duration;

use home::booted::{Booted, on_a_podman, on_every_podman};
use home::{HOST, PROGRAM, eventually, eventually_within, ip, reaches};
use serde_json::Value;

/// The time for a boot, and for the repairs after it.
const PATIENCE: Duration = Duration::from_secs(300);

fn json(booted: &Booted, command: &str) -> Value {
    serde_json::from_str(&booted.ok(command)).unwrap()
}

/// A running container's address and MAC, as the engine shows them.
fn place_of(booted: &Booted, container: &str) -> Option<(String, String)> {
    let format = "{{.State.Running}}{{range.NetworkSettings.Networks}}|{{.IPAddress}}|{{.MacAddress}}{{end}}";
    let shown = booted.run(&format!("podman inspect --format {format} {container}")).stdout;
    let parts: Vec<&str> = shown.trim().split('|').collect();
    let ["true", address, mac] = parts.as_slice() else { return None };
    Some(((*address).to_owned(), (*mac).to_owned()))
}

/// Starts a container on a new network, and returns its address and MAC.
#[track_caller]
fn start_web(booted: &Booted) -> (String, String) {
    booted.install();
    booted.ok("podman network create -d ashore lan");
    booted.ok("podman run -d --init --restart=always --name web --network lan box sleep 1000");
    place_of(booted, "web").unwrap()
}

/// Asserts that the daemon has these containers, and no trouble.
#[track_caller]
fn has_only(booted: &Booted, names: &[&str]) {
    let mut status = Value::Null;
    let is_so = home::comes_true(PATIENCE, || {
        status = json(booted, "ashore status --json");
        let endpoints = status["endpoints"].as_array().unwrap().iter();
        endpoints.map(|endpoint| endpoint["name"].as_str().unwrap()).eq(names.iter().copied())
            && status["troubles"] == Value::Array(Vec::new())
    });
    assert!(is_so, "{status:#}\n{}", booted.nas.journal("ashore*"));
}

/// The path by which the daemon reaches a container on a network.
fn path_of(booted: &Booted, network: &str, container: &str) -> String {
    let state = json(booted, "ashore state export");
    let endpoint = &state["rows"][format!("endpoint/{network}/{container}")];
    endpoint["home"]["netns"]["netns"]["path"].as_str().unwrap_or_else(|| panic!("{state:#}")).to_owned()
}

/// Asserts that the daemon knows a container by the mount that Podman made for it. A path by a process would end with
/// that process, and be looked for anew.
#[track_caller]
fn is_reached_by_its_mount(booted: &Booted, container: &str) {
    let path = path_of(booted, "lan", container);
    let key = booted.ok(&format!("podman inspect --format {{{{.NetworkSettings.SandboxKey}}}} {container}"));
    assert_eq!(path, key);
    assert!(path.starts_with("/run/netns/"), "{path}");
}

/// The mounts of network namespaces that the daemon sees. It has its own mount namespace.
fn seen_mounts(booted: &Booted) -> Vec<String> {
    let mounts = std::fs::read_to_string(booted.at(&format!("/proc/{}/mountinfo", booted.pid()))).unwrap();
    let at = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    at.filter(|at| at.starts_with("/run/netns/")).map(str::to_owned).collect()
}

/// Has the journal on the disk, for a look at it after the next boot.
fn keeps_its_journal(booted: &Booted) {
    std::fs::create_dir_all(booted.at("/var/log/journal")).unwrap();
    booted.ok("journalctl --flush");
}

/// A program of a newer version.
fn newer(booted: &Booted) {
    // By a separate process: a process that another test starts during the write would inherit the open
    // file for a moment.
    let copied = std::process::Command::new("sh")
        .args(["-c", r#"{ cat "$0"; printf newer; } >"$1" && chmod 755 "$1""#, PROGRAM])
        .arg(booted.at("/root/newer"))
        .status();
    assert!(copied.unwrap().success());
}

#[test]
fn in_its_confinement_it_does_all_that_podman_asks() {
    on_every_podman("podman, installed", |booted| {
        let (web, mac) = start_web(booted);
        reaches(&booted.laptop, ip(&web));
        reaches(&booted.machine, ip(&web));
        booted.ok(&format!("podman exec web ping -c 1 -w 2 {HOST}"));
        has_only(booted, &["web"]);
        is_reached_by_its_mount(booted, "web");

        booted.ok("podman restart -t 0 web");
        assert_eq!(place_of(booted, "web"), Some((web.clone(), mac)));
        reaches(&booted.laptop, ip(&web));
        has_only(booted, &["web"]);
        is_reached_by_its_mount(booted, "web");

        // A daemon that starts later than a container finds it in the same way, and containers after it.
        booted.ok("systemctl restart ashore.service");
        booted.ok("podman run -d --init --name db --network lan box sleep 1000");
        has_only(booted, &["db", "web"]);
        is_reached_by_its_mount(booted, "web");
        is_reached_by_its_mount(booted, "db");
        booted.ok("podman exec db ping -c 1 -w 2 192.168.88.50");
        // Nothing of what it sees keeps a namespace.
        booted.ok("podman rm -f -t 0 web db");
        has_only(booted, &[]);
        assert_eq!(seen_mounts(booted), [] as [&str; 0]);
    });
}

#[test]
fn no_ping_is_lost_while_the_daemon_restarts_dies_or_is_replaced() {
    on_a_podman("podman, installed, kills", |booted| {
        let (web, _) = start_web(booted);
        eventually("the host reaches it", || booted.machine.ping(ip(&web)).is_some());
        reaches(&booted.laptop, ip(&web));
        let streams = [booted.laptop.pings(ip(&web)), booted.machine.pings(ip(&web))];
        booted.ok("systemctl restart ashore.service");
        has_only(booted, &["web"]);
        for _ in 0..3 {
            assert!(booted.kill_daemon());
            has_only(booted, &["web"]);
        }
        newer(booted);
        let before = booted.pid();
        let said = booted.ok("/root/newer install");
        assert!(said.contains("systemctl restart ashore.service"), "{said}");
        assert_ne!(booted.pid(), before);
        has_only(booted, &["web"]);
        for stream in streams {
            let counted = stream.end();
            assert!(counted.sent > 100 && counted.lost == 0, "{counted:?}");
        }
        // Podman's calls wait for a daemon that is not there at the moment.
        assert!(booted.kill_daemon());
        booted.ok("podman restart -t 0 web");
        assert_eq!(place_of(booted, "web").unwrap().0, web);
        reaches(&booted.laptop, ip(&web));
    });
}

#[test]
fn what_the_administrator_has_stopped_keeps_no_container_from_stopping() {
    on_a_podman("podman, installed, stopped", |booted| {
        let (web, _) = start_web(booted);
        booted.ok("systemctl stop ashore.socket ashore.service");
        reaches(&booted.laptop, ip(&web));
        let stopped = booted.run("podman stop -t 0 web");
        assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);
        assert!(stopped.stderr.contains("the daemon does not answer"), "{}", stopped.stderr);
        assert!(!stopped.stderr.contains("nothing came in"), "nobody is waited for: {}", stopped.stderr);
        let refused = booted.run("podman start web");
        assert_ne!(refused.code, Some(0));
        assert!(refused.stderr.contains("systemctl start ashore"), "{}", refused.stderr);
        // What it says helps.
        booted.ok("systemctl start ashore");
        booted.ok("podman start web");
        assert_eq!(place_of(booted, "web").unwrap().0, web);
        reaches(&booted.laptop, ip(&web));
        has_only(booted, &["web"]);
        booted.ok("systemctl is-active ashore.socket");
    });
}

#[test]
fn containers_come_back_after_a_boot() {
    on_a_podman("podman, boot", |booted| {
        let before = start_web(booted);
        keeps_its_journal(booted);
        // Podman's unit is for the default target, and the lab boots another. Were it not running, nobody would stop
        // the containers before the shutdown, and Podman's monitors could keep that waiting, whatever the network.
        booted.ok("systemctl add-wants multi-user.target podman-restart.service");
        booted.ok("systemctl start podman-restart.service");
        for cut in [false, true] {
            if cut {
                booted.cut_power();
            } else {
                booted.shut_down();
            }
            booted.boot();
            let journal = || ["podman-restart", "ashore*"].map(|unit| booted.nas.journal(unit)).concat();
            let is_back = || place_of(booted, "web").as_ref() == Some(&before);
            let came_back = home::comes_true(PATIENCE, is_back);
            assert!(came_back, "{before:?} {:?}\n{}", place_of(booted, "web"), journal());
            reaches(&booted.laptop, ip(&before.0));
            eventually("its host reaches it", || booted.machine.ping(ip(&before.0)).is_some());
            has_only(booted, &["web"]);
            is_reached_by_its_mount(booted, "web");
            // While Podman stopped its containers, the daemon still heard of it.
            assert!(!journal().contains("the daemon does not answer"), "{}", journal());
        }
    });
}

#[test]
fn a_quadlet_is_a_service_with_a_place_on_the_lan() {
    on_a_podman("podman, quadlet", |booted| {
        booted.install();
        let directory = booted.at("/etc/containers/systemd");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("lan.network"), "[Network]\nDriver=ashore\n").unwrap();
        let web = "[Container]\nContainerName=web\nImage=localhost/box:latest\nExec=sleep 1000\nRunInit=true\n\
                   StopTimeout=0\nNetwork=lan.network\n[Install]\nWantedBy=multi-user.target\n";
        std::fs::write(directory.join("web.container"), web).unwrap();
        booted.ok("systemctl daemon-reload");
        let started = booted.run("systemctl start web.service");
        let journal = ["web", "lan-network", "ashore*"].map(|unit| booted.nas.journal(unit)).concat();
        assert_eq!(started.code, Some(0), "{}\n{journal}", started.stderr);
        let before = place_of(booted, "web").unwrap();
        reaches(&booted.laptop, ip(&before.0));
        has_only(booted, &["web"]);

        booted.ok("systemctl restart web.service");
        assert_eq!(place_of(booted, "web"), Some(before.clone()));
        booted.shut_down();
        booted.boot();
        eventually_within(PATIENCE, "it is back", || place_of(booted, "web").as_ref() == Some(&before));
        eventually("the laptop reaches it", || booted.laptop.ping(ip(&before.0)).is_some());
        has_only(booted, &["web"]);
        booted.ok("systemctl stop web.service");
        has_only(booted, &[]);
    });
}

#[test]
fn it_is_uninstalled_once_nothing_of_podmans_needs_it() {
    on_a_podman("podman, uninstall", |booted| {
        let (web, _) = start_web(booted);
        let refused = booted.run("ashore uninstall");
        assert_eq!(refused.code, Some(5), "{}", refused.stdout);
        for words in [
            "web on lan are attached",
            "(a container of Podman's: podman rm -f NAME), or --keep to let them run, or --force",
        ] {
            assert!(refused.stderr.contains(words), "{}", refused.stderr);
        }
        reaches(&booted.laptop, ip(&web));

        booted.ok("podman rm -f -t 0 web");
        has_only(booted, &[]);
        let said = booted.ok("ashore uninstall");
        assert!(said.contains("Podman's networks lan; Podman removes them without Ashore"), "{said}");
        for gone in [
            "/usr/local/bin/ashore",
            "/usr/local/bin/ashore-plug",
            "/usr/local/lib/netavark/ashore",
            "/run/ashore",
            "/etc/systemd/system/ashore-plug.socket",
        ] {
            assert!(booted.at(gone).symlink_metadata().is_err(), "{gone}");
        }
        assert_eq!(booted.made_links(), [] as [&str; 0]);
        booted.ok("podman network rm lan");
    });
}

#[test]
fn containers_that_run_while_it_is_uninstalled_keep_their_place_until_they_stop() {
    on_a_podman("podman, uninstall by force", |booted| {
        let (web, _) = start_web(booted);
        let said = booted.ok("ashore uninstall --force --purge");
        assert!(said.contains("ip link del dev shim-eth0"), "{said}");
        reaches(&booted.laptop, ip(&web));
        // Podman stops it, and complains that it has lost the driver.
        let stopped = booted.run("podman stop -t 0 web");
        assert!(stopped.stderr.contains("unknown network driver \"ashore\""), "{}", stopped.stderr);
        eventually("it is off", || booted.laptop.ping(ip(&web)).is_none());
        booted.ok("podman rm -f -t 0 web");
        booted.ok("podman network rm lan");
        assert_eq!(booted.made_links(), [] as [&str; 0]);
    });
}
