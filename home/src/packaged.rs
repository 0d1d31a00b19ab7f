//! A NAS on which a package has installed Ashore.

use std::path::PathBuf;

use super::booted::Booted;
use super::{eventually, ip, reaches};

/// The container's address.
pub const WEB: &str = "192.168.88.192";

/// All that has Ashore's name on the NAS and is not root's, dpkg's or a document.
pub fn names(booted: &Booted) -> Vec<String> {
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

/// Asserts that the units and the program are the package's, and run.
#[track_caller]
pub fn is_the_packages(booted: &Booted) {
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

pub fn make_lan(booted: &Booted, engine: &str) {
    let driver = if engine == "docker" { "-d ashore --ipam-driver ashore" } else { "-d ashore" };
    booted.ok(&format!(
        "{engine} network create {driver} --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 --gateway 192.168.88.1 lan"
    ));
}

pub fn start_web(booted: &Booted, engine: &str) {
    booted.ok(&format!("{engine} run -d --init --name web --network lan box sleep 1000"));
    eventually("the host reaches it", || booted.machine.ping(ip(WEB)).is_some());
    reaches(&booted.laptop, ip(WEB));
}
