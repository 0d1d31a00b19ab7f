//! Containers of LXC and of systemd-nspawn on a NAS that has booted systemd, by the lines that the manual gives.

use std::fs;
use std::os::unix::fs::symlink;

use ashore_lab::Engines;
use home::booted::{Booted, with_lxc_and_nspawn};
use home::{HOST, eventually, ip, reaches};

const ROOT: &str = "/var/lib/box";

/// LXC's configuration of a container, with the manual's lines.
const LXC: &str = "\
lxc.uts.name = web
lxc.rootfs.path = dir:/var/lib/box
lxc.init.cmd = /bin/sleep 1000
lxc.net.0.type = empty
lxc.hook.version = 1
lxc.hook.start-host = /usr/local/bin/ashore attach lan --pid $LXC_PID --name $LXC_NAME
lxc.hook.post-stop = /usr/local/bin/ashore detach lan $LXC_NAME
";

/// A service as systemd's own `systemd-nspawn@.service`, for a tree that boots no init, with the manual's lines.
const NSPAWN: &str = "\
[Unit]
After=ashore.service
[Service]
ExecStartPre=-ip netns add %p
ExecStartPre=ashore attach lan --netns /run/netns/%p
ExecStart=systemd-nspawn --quiet --keep-unit --register=no --directory=/var/lib/box --read-only \\
    --network-namespace-path=/run/netns/%p /bin/sleep 1000
ExecStopPost=-ashore detach lan %p
ExecStopPost=-ip netns delete %p
";

/// A root directory with a busybox.
fn make_root(booted: &Booted) {
    let root = booted.at(ROOT);
    for part in ["bin", "usr/bin", "proc", "sys", "dev", "tmp", "run", "etc"] {
        fs::create_dir_all(root.join(part)).unwrap();
    }
    let engines = Engines::find().expect("the packages are fetched");
    fs::copy(engines.path("usr/bin/busybox"), root.join("bin/busybox")).unwrap();
    for name in ["sh", "sleep", "ping", "ip"] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
}

fn begin(booted: &Booted) {
    booted.install();
    booted.ok("ashore network create lan");
    make_root(booted);
}

/// The address and the MAC of an endpoint.
fn place_of(booted: &Booted, name: &str) -> Option<(String, String)> {
    let status: serde_json::Value = serde_json::from_str(&booted.ok("ashore status --json")).unwrap();
    let one = status["endpoints"].as_array().unwrap().iter().find(|one| one["name"] == name)?;
    Some((home::addresses(one)[0].to_string(), one["mac"].as_str().unwrap().to_owned()))
}

#[test]
fn a_container_of_lxc_is_on_the_lan_from_its_start_to_its_end() {
    with_lxc_and_nspawn("lxc", |booted| {
        begin(booted);
        let directory = booted.at("/var/lib/lxc/web");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config"), LXC).unwrap();
        booted.ok("lxc-start --name web");
        let first = place_of(booted, "web").unwrap();
        reaches(&booted.laptop, ip(&first.0));
        reaches(&booted.machine, ip(&first.0));
        booted.ok(&format!("lxc-attach --name web -- /bin/ping -c 1 -w 2 {HOST}"));
        booted.ok("lxc-stop --kill --name web");
        eventually("it is off the LAN", || place_of(booted, "web").is_none());
        booted.ok("lxc-start --name web");
        assert_eq!(place_of(booted, "web"), Some(first.clone()));
        reaches(&booted.laptop, ip(&first.0));
        booted.ok("lxc-stop --kill --name web");
        eventually("it is off the LAN", || place_of(booted, "web").is_none());
    });
}

#[test]
fn a_container_of_systemd_nspawn_is_on_the_lan_as_long_as_its_service_runs() {
    with_lxc_and_nspawn("systemd-nspawn", |booted| {
        begin(booted);
        fs::write(booted.at("/etc/systemd/system/web.service"), NSPAWN).unwrap();
        booted.ok("systemctl daemon-reload");
        booted.ok("systemctl start web");
        let first = place_of(booted, "web").unwrap();
        reaches(&booted.laptop, ip(&first.0));
        reaches(&booted.machine, ip(&first.0));
        booted.ok(&format!("ip netns exec web {ROOT}/bin/ping -c 1 -w 2 {HOST}"));
        assert_eq!(booted.ok("systemctl is-active web"), "active");
        booted.ok("systemctl restart web");
        assert_eq!(place_of(booted, "web"), Some(first.clone()));
        reaches(&booted.laptop, ip(&first.0));
        booted.ok("systemctl stop web");
        assert_eq!(place_of(booted, "web"), None);
        assert_eq!(booted.run("ip netns list").stdout.trim(), "");
    });
}
