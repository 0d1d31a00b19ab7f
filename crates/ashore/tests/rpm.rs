//! The package for rpm under a real systemd: installed by rpm, upgraded while a container runs, and removed. The system
//! is Debian's, with its rpm: no system whose packages are rpm's is to be had here.

use ashore_lab::{Engines, Ran, cannot_run};
use home::booted::Booted;
use home::packaged::{WEB, is_the_packages, make_lan, names, start_web};
use home::{eventually, ip, reaches};

fn rpm(booted: &Booted, words: &str) -> Ran {
    booted.run(&format!("rpm {words}"))
}

#[track_caller]
fn rpm_ok(booted: &Booted, words: &str) -> String {
    let ran = rpm(booted, words);
    assert_eq!(ran.code, Some(0), "{words}: {}{}\n{}", ran.stdout, ran.stderr, booted.nas.journal("ashore*"));
    ran.stdout + &ran.stderr
}

#[test]
fn it_is_installed_upgraded_and_removed_and_no_ping_is_lost() {
    let (engines, packages) = match (Engines::find(), ashore_lab::packages()) {
        (Ok(engines), Ok(packages)) => (engines, packages),
        (Err(why), _) | (_, Err(why)) => return cannot_run("the package for rpm", &why),
    };
    let booted = &Booted::new(&engines, "bookworm");
    let version = env!("CARGO_PKG_VERSION").replace('-', "~");
    for (name, of) in [("this", version.clone()), ("later", format!("{version}+later"))] {
        let file = packages.join(format!("ashore-{of}-1.x86_64.rpm"));
        std::fs::copy(file, booted.at("/root").join(format!("{name}.rpm"))).unwrap();
    }
    let listed = rpm_ok(booted, "-qpl /root/this.rpm");
    for path in [
        "/usr/bin/ashore",
        "/usr/lib/systemd/system/ashore.service",
        "/usr/libexec/cni/ashore",
        "/usr/share/zsh/site-functions/_ashore",
        "/usr/share/doc/ashore",
    ] {
        assert!(listed.lines().any(|line| line == path), "{path}: {listed}");
    }

    // It takes over from an earlier installation.
    booted.install();
    rpm_ok(booted, "-i --nodeps /root/this.rpm");
    is_the_packages(booted);
    rpm_ok(booted, "--verify --nodeps ashore");
    make_lan(booted, "docker");
    start_web(booted, "docker");
    let streams = [booted.laptop.pings(ip(WEB)), booted.machine.pings(ip(WEB))];
    let first = booted.pid();
    rpm_ok(booted, "-U --nodeps /root/later.rpm");
    is_the_packages(booted);
    assert_ne!(booted.pid(), first);
    for stream in streams {
        let counted = stream.end();
        assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
    }
    booted.ok("docker restart -t 0 web");
    reaches(&booted.laptop, ip(WEB));

    let refused = rpm(booted, "-e ashore");
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("web on lan are attached"), "{}", refused.stderr);
    is_the_packages(booted);
    booted.ok("docker rm -f web");
    booted.ok("docker network rm lan");
    eventually("nothing is attached", || !booted.ok("ashore status").contains("web"));
    rpm_ok(booted, "-e ashore");
    assert_eq!(names(booted), ["/var/lib/ashore"]);
    assert_eq!(booted.made_links(), [] as [&str; 0]);

    // What its administrator has disabled stays so.
    rpm_ok(booted, "-i --nodeps /root/this.rpm");
    is_the_packages(booted);
    booted.ok("systemctl disable --now ashore.socket ashore-plug.socket ashore.service");
    rpm_ok(booted, "-U --nodeps /root/later.rpm");
    assert_ne!(booted.run("systemctl is-enabled ashore.service").code, Some(0));
    assert_ne!(booted.run("systemctl is-active ashore.service").code, Some(0));
}
