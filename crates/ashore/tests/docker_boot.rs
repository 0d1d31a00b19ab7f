//! Ashore never blocks the boot. All containers of a rebooted NAS come back, whether the daemon runs from the
//! beginning, starts late, or dies in the middle.

use std::time::{Duration, Instant};

use home::booted::{Booted, on_every_systemd};
use home::{eventually_within, ip};

const NAMES: [&str; 5] = ["web", "db", "mail", "music", "cam"];
/// The time for a boot, and for the repairs after it.
const PATIENCE: Duration = Duration::from_secs(300);

/// Starts containers with a restart policy, and returns where they are.
fn start_all(booted: &Booted) -> Vec<(String, String)> {
    booted.install();
    booted.ok(
        "docker network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
         --gateway 192.168.88.1 -o parent=eth0 lan",
    );
    for name in NAMES {
        booted
            .ok(&format!("docker run -d --init --restart=always --name {name} --network lan box sleep 1000"));
    }
    NAMES.iter().map(|name| place_of(booted, name).unwrap()).collect()
}

/// A container's address and MAC, as the engine shows them.
fn place_of(booted: &Booted, container: &str) -> Option<(String, String)> {
    let format = "{{.State.Running}}{{range.NetworkSettings.Networks}}|{{.IPAddress}}|{{.MacAddress}}{{end}}";
    let shown = booted.run(&format!("docker inspect --format {format} {container}")).stdout;
    let parts: Vec<&str> = shown.trim().split('|').collect();
    let ["true", address, mac] = parts.as_slice() else { return None };
    Some(((*address).to_owned(), (*mac).to_owned()))
}

/// Asserts that all run again with their former addresses, for the engine, the LAN and the host.
#[track_caller]
fn all_are_back(booted: &Booted, before: &[(String, String)]) {
    for (name, there) in NAMES.iter().zip(before) {
        let is_back = || place_of(booted, name).as_ref() == Some(there);
        if !home::comes_true(PATIENCE, is_back) {
            let now: Vec<_> = NAMES.iter().map(|name| place_of(booted, name)).collect();
            let journal = [booted.nas.journal("ashore*"), booted.nas.journal("docker.service")].concat();
            panic!("{name} is not back.\nbefore: {before:?}\nnow: {now:?}\n{journal}");
        }
        eventually_within(PATIENCE, "the laptop reaches it", || booted.laptop.ping(ip(&there.0)).is_some());
        eventually_within(PATIENCE, "its host reaches it", || booted.machine.ping(ip(&there.0)).is_some());
    }
}

/// An engine repeats an interrupted call without its body. The daemon cannot tell two calls of one kind
/// apart, and does not know one that it had not noted. The container's start then fails with an error, and
/// can be repeated.
fn start_again_what_could_not_be_told(booted: &Booted) {
    home::eventually_within(PATIENCE, "the engine answers", || booted.run("docker ps").code == Some(0));
    for name in NAMES {
        let error = booted.run(&format!("docker inspect --format {{{{.State.Error}}}} {name}")).stdout;
        if error.contains("the call has no body") {
            eprintln!("{name} is started again: {error}");
            booted.ok(&format!("docker start {name}"));
        }
    }
}

/// Kills the daemon as soon as it works on a call. Returns `false` if it never does.
fn dies_over(booted: &Booted, method: &str) -> bool {
    let note = booted.at("/run/ashore/calls").join(format!("{method}.0"));
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        // The note may be a dead daemon's.
        if note.exists() && booted.kill_daemon() {
            return true;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    false
}

/// What the daemon logs when it notices this. If the words change some day, the test must fail.
const SILENT: &str = "the engine does not answer yet";

#[test]
fn the_daemon_has_these_words() {
    let program = std::fs::read(home::PROGRAM).unwrap();
    assert!(program.windows(SILENT.len()).any(|bytes| bytes == SILENT.as_bytes()));
}

fn how_often(booted: &Booted, words: &str) -> usize {
    booted.nas.journal("ashore.service").matches(words).count()
}

#[test]
fn the_engine_wakes_a_daemon_that_is_not_there() {
    on_every_systemd("docker, boot", |booted| {
        let before = start_all(booted);
        booted.ok("systemctl disable ashore.service");
        booted.shut_down();
        booted.boot();
        all_are_back(booted, &before);
        // The engine answers no calls while it boots. The daemon finds that out once, not for each container.
        assert!(how_often(booted, SILENT) <= 1, "{}", booted.nas.journal("ashore*"));

        booted.ok("systemctl enable ashore.service");
        booted.cut_power();
        booted.boot();
        all_are_back(booted, &before);
    });
}

#[test]
fn a_daemon_that_comes_half_a_minute_late_is_waited_for() {
    on_every_systemd("docker, boot, late", |booted| {
        let before = start_all(booted);
        // Longer than the engine would look for a driver without a socket.
        booted.ok("systemctl disable ashore.service");
        let late = booted.at("/etc/systemd/system/ashore.service.d/late.conf");
        std::fs::create_dir_all(late.parent().unwrap()).unwrap();
        std::fs::write(late, "[Service]\nExecStartPre=/usr/bin/busybox sleep 30\n").unwrap();
        booted.cut_power();
        booted.boot();
        all_are_back(booted, &before);
    });
}

#[test]
fn a_daemon_that_is_killed_while_the_engine_boots_costs_no_container() {
    on_every_systemd("docker, boot, kills", |booted| {
        let before = start_all(booted);
        booted.cut_power();
        booted.boot();
        // In the middle of the first call of each kind, where the test can see it.
        let killed = [
            "IpamDriver.RequestPool",
            "IpamDriver.RequestAddress",
            "NetworkDriver.CreateEndpoint",
            "NetworkDriver.Join",
        ]
        .iter()
        .filter(|method| dies_over(booted, method))
        .count();
        start_again_what_could_not_be_told(booted);
        all_are_back(booted, &before);
        eprintln!("killed {killed} times");
        assert!(killed > 1);
    });
}
