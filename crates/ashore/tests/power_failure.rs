//! What an engine was answered outlives a power failure: what was not synced to the disk by then is gone, and so is
//! the run directory.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use home::booted::{Booted, with_a_disk_for_the_state};
use home::{comes_true, eventually_within, ip};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// The time for a boot, and for an engine that boots.
const PATIENCE: Duration = Duration::from_secs(120);
const FIRST: &str = "192.168.88.192";

/// The calls that are answered from now on. The note of a call may exist for less than a millisecond, so the kernel
/// tells of each that goes.
struct Answered(Inotify);

impl Answered {
    fn in_directory(calls: &Path) -> Answered {
        let notes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
        notes.add_watch(calls, AddWatchFlags::IN_DELETE).unwrap();
        Answered(notes)
    }

    /// Waits until a call of this kind has been answered. Returns whether it was.
    fn comes(&self, method: &str) -> bool {
        let note = format!("{method}.0");
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            // There are none yet if this fails.
            let gone = self.0.read_events().unwrap_or_default();
            if gone.iter().any(|event| event.name.as_deref().is_some_and(|name| *name == *note)) {
                return true;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        false
    }
}

fn address_of(booted: &Booted, container: &str) -> String {
    booted.ok(&format!(
        "docker inspect --format {{{{range.NetworkSettings.Networks}}}}{{{{.IPAddress}}}}{{{{end}}}} {container}"
    ))
}

fn create(booted: &Booted) {
    booted.install();
    booted.ok(
        "docker network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
         --gateway 192.168.88.1 -o parent=eth0 lan",
    );
}

#[test]
fn whatever_was_answered_last_the_name_keeps_its_address_and_nobody_else_gets_it() {
    with_a_disk_for_the_state("power failure", |booted| {
        create(booted);
        for method in ["IpamDriver.RequestAddress", "NetworkDriver.CreateEndpoint", "NetworkDriver.Join"] {
            let answered = Answered::in_directory(&booted.at("/run/ashore/calls"));
            let said = tempfile::NamedTempFile::new().unwrap();
            let mut run = booted.nas.command();
            run.args(
                "docker run -d --init --restart=always --name web --network lan box sleep 1000".split(' '),
            );
            run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.reopen().unwrap());
            let mut run = run.spawn().unwrap();
            let in_time = answered.comes(method);
            let said = std::fs::read_to_string(&said).unwrap();
            assert!(in_time, "{method} is not answered: {said}\n{}", booted.nas.journal("ashore.service"));
            booted.cut_power();
            let _ = run.kill();
            run.wait().unwrap();
            booted.boot();
            eventually_within(PATIENCE, "the engine answers", || booted.run("docker ps").code == Some(0));
            eventually_within(PATIENCE, "the container starts", || {
                booted.run("docker start web").code == Some(0)
            });
            booted.ok("docker run -d --init --name db --network lan box sleep 1000");
            let other = address_of(booted, "db");
            assert_ne!(other, FIRST, "{method}");
            // The engine may not have told yet who asked. Then the container gets its address back once the engine's
            // list has not had the endpoint of before the failure for half a minute.
            if !comes_true(PATIENCE, || address_of(booted, "web") == FIRST) {
                let journal = booted.nas.journal("ashore.service");
                panic!("{method}:\n{}\n{journal}", booted.ok("/root/ashore status"));
            }
            for address in [FIRST, &other] {
                eventually_within(PATIENCE, "the laptop reaches it", || {
                    booted.laptop.ping(ip(address)).is_some()
                });
            }
            eventually_within(PATIENCE, "all is in order", || {
                let status = booted.ok("/root/ashore status --json");
                let status: serde_json::Value = serde_json::from_str(&status).unwrap();
                status["troubles"] == serde_json::json!([])
                    && status["endpoints"].as_array().unwrap().len() == 2
            });
            booted.ok("docker rm -f web db");
        }
    });
}

#[test]
fn all_that_ran_comes_back_as_it_was_and_what_was_removed_does_not() {
    with_a_disk_for_the_state("power failure, all", |booted| {
        create(booted);
        let names = ["web", "db", "mail"];
        for name in names {
            booted.ok(&format!(
                "docker run -d --init --restart=always --name {name} --network lan box sleep 1000"
            ));
        }
        let place = |booted: &Booted, name: &str| {
            let format =
                "{{.State.Running}}{{range.NetworkSettings.Networks}}|{{.IPAddress}}|{{.MacAddress}}{{end}}";
            booted.run(&format!("docker inspect --format {format} {name}")).stdout
        };
        let before = names.map(|name| place(booted, name));
        booted.ok("docker rm -f mail");
        booted.cut_power();
        booted.boot();
        for (name, before) in names.iter().zip(&before).take(2) {
            eventually_within(PATIENCE, "it is back", || place(booted, name) == *before);
            let address = before.split('|').nth(1).unwrap();
            eventually_within(PATIENCE, "the laptop reaches it", || {
                booted.laptop.ping(ip(address)).is_some()
            });
        }
        let freed = before[2].split('|').nth(1).unwrap();
        eventually_within(PATIENCE, "its address is free", || {
            !booted.ok("/root/ashore status --json").contains("\"mail\"")
        });
        assert!(booted.laptop.ping(ip(freed)).is_none());
    });
}
