//! The Debian package under a real systemd: over an earlier `ashore install`, upgraded while a container runs, removed
//! and purged. In the ordinary suite on Debian 12, with `ASHORE_TEST_ALL` on 13 and sid too.

mod home;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ashore_lab::Ran;
use home::booted::{Booted, on_every_release};
use home::{eventually, eventually_within, ip, reaches};

/// The packages, in root's home.
const THIS: &str = "this.deb";
const LATER: &str = "later.deb";
const OTHER_MACHINE: &str = "other.deb";

/// The container's address.
const WEB: &str = "192.168.88.192";

/// Copies the packages to the NAS, where nothing was installed by dpkg yet.
fn bring_packages(booted: &Booted, packages: &Path) {
    let version = env!("CARGO_PKG_VERSION").replace('-', "~");
    for (name, file) in [
        (THIS, format!("ashore_{version}_amd64.deb")),
        (LATER, format!("ashore_{version}+later_amd64.deb")),
        (OTHER_MACHINE, format!("ashore_{version}_riscv64.deb")),
    ] {
        std::fs::copy(packages.join(&file), booted.at("/root").join(name)).unwrap();
    }
    std::fs::copy(packages.join("ashore-plug"), booted.at("/root/ashore-plug")).unwrap();
    std::fs::create_dir_all(booted.at("/var/lib/dpkg")).unwrap();
    std::fs::write(booted.at("/var/lib/dpkg/status"), "").unwrap();
}

/// Runs dpkg. The NAS's tree lacks some programs for which dpkg always looks.
fn dpkg(booted: &Booted, words: &str) -> Ran {
    booted.run(&format!("dpkg --force-bad-path {words}"))
}

#[track_caller]
fn dpkg_ok(booted: &Booted, words: &str) -> String {
    let ran = dpkg(booted, words);
    assert_eq!(ran.code, Some(0), "{words}: {}{}\n{}", ran.stdout, ran.stderr, booted.nas.journal("ashore*"));
    ran.stdout + &ran.stderr
}

/// All that has Ashore's name on the NAS and is not root's, dpkg's or a document.
fn names(booted: &Booted) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = ["/etc", "/opt", "/run", "/usr", "/var"].map(PathBuf::from).into();
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(booted.at(directory.to_str().unwrap())) else { continue };
        for entry in entries.map(Result::unwrap) {
            let path = directory.join(entry.file_name());
            if entry.file_name().to_string_lossy().contains("ashore") {
                found.push(path.display().to_string());
            } else if entry.file_type().unwrap().is_dir()
                && !["/var/lib/dpkg", "/run/docker", "/var/lib/docker"]
                    .contains(&path.to_str().unwrap_or_default())
            {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

fn inode(booted: &Booted, path: &str) -> u64 {
    std::fs::metadata(booted.at(path)).unwrap().ino()
}

/// Asserts that the units and the program are the package's, and run.
#[track_caller]
fn is_the_packages(booted: &Booted) {
    let pid = booted.pid();
    assert_eq!(booted.ok(&format!("readlink /proc/{pid}/exe")), "/usr/bin/ashore");
    for unit in ["ashore.service", "ashore.socket", "ashore-plug.socket"] {
        let place = format!("/usr/lib/systemd/system/{unit}");
        // Debian 12's systemd has its first directory by the older name.
        let there = booted.ok(&format!("systemctl show --property=FragmentPath --value {unit}"));
        let is_place = |there: &str| [place.as_str(), &place["/usr".len()..]].contains(&there);
        assert!(is_place(&there), "{there}");
        assert_eq!(booted.ok(&format!("systemctl is-enabled {unit}")), "enabled");
        assert_eq!(booted.ok(&format!("systemctl is-active {unit}")), "active");
        let target = if unit == "ashore.service" { "multi-user" } else { "sockets" };
        let link = booted.at(&format!("/etc/systemd/system/{target}.target.wants/{unit}"));
        assert!(is_place(std::fs::read_link(link).unwrap().to_str().unwrap()));
    }
    for earlier in [
        "/usr/local/bin/ashore",
        "/usr/local/bin/ashore-plug",
        "/usr/local/lib/netavark/ashore",
        "/etc/systemd/system/ashore.service",
        "/etc/systemd/system/ashore-plug.socket",
    ] {
        assert!(booted.at(earlier).symlink_metadata().is_err(), "{earlier}");
    }
    booted.ok("systemctl is-active ashore-read.socket");
}

fn make_lan(booted: &Booted, engine: &str) {
    let driver = if engine == "docker" { "-d ashore --ipam-driver ashore" } else { "-d ashore" };
    booted.ok(&format!(
        "{engine} network create {driver} --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1 lan"
    ));
}

fn start_web(booted: &Booted, engine: &str) {
    booted.ok(&format!("{engine} run -d --init --name web --network lan box sleep 1000"));
    eventually("the host reaches it", || booted.machine.ping(ip(WEB)).is_some());
    reaches(&booted.laptop, ip(WEB));
}

#[test]
fn it_takes_over_is_upgraded_removed_and_purged_and_no_ping_is_lost() {
    on_every_release("the Debian package", |booted, engine, packages| {
        bring_packages(booted, packages);
        let refused = dpkg(booted, &format!("-i /root/{OTHER_MACHINE}"));
        assert_ne!(refused.code, Some(0));
        assert!(refused.stderr.contains("does not match system"), "{}", refused.stderr);
        assert_eq!(names(booted), [] as [&str; 0]);

        booted.install();
        make_lan(booted, engine);
        start_web(booted, engine);
        let streams = [booted.laptop.pings(ip(WEB)), booted.machine.pings(ip(WEB))];
        let sockets =
            ["/run/ashore/ashore.sock", "/run/ashore/ashore-plug.sock", "/run/docker/plugins/ashore.sock"];
        let inodes = || sockets.map(|socket| inode(booted, socket));
        let (before, pid) = (inodes(), booted.pid());

        dpkg_ok(booted, &format!("-i /root/{THIS}"));
        is_the_packages(booted);
        let first = booted.pid();
        assert_ne!(first, pid);
        assert!(booted.ok("ashore status").contains(WEB));

        let said = dpkg_ok(booted, &format!("-i /root/{LATER}"));
        is_the_packages(booted);
        assert_ne!(booted.pid(), first, "{said}");
        assert_eq!(inodes(), before, "a socket was made anew, and calls were lost");
        assert!(booted.ok("ashore status").contains(WEB));
        for stream in streams {
            let counted = stream.end();
            assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
        }
        // The engine finds it as before.
        booted.ok(&format!("{engine} restart -t 0 web"));
        reaches(&booted.laptop, ip(WEB));
        assert!(booted.ok("ashore install").ends_with("nothing to do"));

        for command in ["/root/ashore install", "ashore uninstall", "/root/ashore uninstall --force"] {
            let refused = booted.run(command);
            assert_eq!(refused.code, Some(5), "{command}: {}", refused.stderr);
            assert!(refused.stderr.contains("a package has installed"), "{}", refused.stderr);
        }
        let refused = dpkg(booted, "-r ashore");
        assert_ne!(refused.code, Some(0));
        assert!(refused.stderr.contains("web on lan are attached"), "{}", refused.stderr);
        is_the_packages(booted);
        booted.ok(&format!("{engine} rm -f web"));
        booted.ok(&format!("{engine} network rm lan"));

        // Podman has it let go after the container is gone.
        eventually("nothing is attached", || !booted.ok("ashore status").contains("web"));
        dpkg_ok(booted, "-r ashore");
        assert_eq!(names(booted), ["/var/lib/ashore"]);
        assert_eq!(booted.made_links(), [] as [&str; 0]);
        assert!(!std::fs::read_to_string(booted.at("/etc/group")).unwrap().contains("ashore"));
        assert_ne!(booted.run("systemctl cat ashore.service").code, Some(0));

        // What was removed starts again when it is installed again.
        dpkg_ok(booted, &format!("-i /root/{THIS}"));
        is_the_packages(booted);
        // What its administrator has disabled stays so.
        booted.ok("systemctl disable --now ashore.socket ashore-plug.socket ashore.service");
        dpkg_ok(booted, &format!("-i /root/{LATER}"));
        assert_ne!(booted.run("systemctl is-enabled ashore.service").code, Some(0));
        assert_ne!(booted.run("systemctl is-active ashore.service").code, Some(0));
        booted.ok("ashore install");
        is_the_packages(booted);
        assert!(booted.ok("ashore install").ends_with("nothing to do"));
        make_lan(booted, engine);
        start_web(booted, engine);
        let patience = std::time::Duration::from_secs(60);
        let removed = booted.nas.run(&["env", "ASHORE_FORCE=1", "dpkg", "--force-bad-path", "-P", "ashore"]);
        let removed = removed.unwrap();
        assert_eq!(removed.code, Some(0), "{}{}", removed.stdout, removed.stderr);
        reaches(&booted.laptop, ip(WEB));
        eventually_within(patience, "nothing is left", || names(booted).is_empty());
    });
}
