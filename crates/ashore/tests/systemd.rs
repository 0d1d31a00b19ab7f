//! Under a real systemd: `ashore install` on a booted NAS, its units, and a daemon that restarts by itself.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use ashore_lab::Engines;
use home::booted::on_every_systemd;
use home::dhcp::{Brand, Setup};
use home::{HOST, PROGRAM, eventually, eventually_within, ip, reaches, type_on};

#[test]
fn it_installs_itself_once_and_its_units_are_sound() {
    on_every_systemd("install, systemd", |booted| {
        std::fs::write(booted.at("/root/ashore-plug"), "what Podman calls").unwrap();
        // Not every suite has plugins of CNI.
        std::fs::create_dir_all(booted.at("/usr/lib/cni")).unwrap();
        let installed = "\
mkdir -p /usr/local/bin
install -m 755 /root/ashore /usr/local/bin/ashore
install -m 755 /root/ashore-plug /usr/local/bin/ashore-plug
mkdir -p /usr/local/lib/netavark
ln -s /usr/local/bin/ashore-plug /usr/local/lib/netavark/ashore
ln -s /usr/local/bin/ashore-plug /usr/lib/cni/ashore
mkdir -p /usr/local/share/man/man1
/root/ashore man /usr/local/share/man/man1
mkdir -p /usr/local/share/bash-completion/completions
/root/ashore completions bash > /usr/local/share/bash-completion/completions/ashore
mkdir -p /usr/local/share/zsh/site-functions
/root/ashore completions zsh > /usr/local/share/zsh/site-functions/_ashore
mkdir -p /usr/local/share/fish/vendor_completions.d
/root/ashore completions fish > /usr/local/share/fish/vendor_completions.d/ashore.fish
mkdir -p /etc/sysusers.d
cat > /etc/sysusers.d/ashore.conf
systemd-sysusers /etc/sysusers.d/ashore.conf
cat > /etc/systemd/system/ashore.socket
cat > /etc/systemd/system/ashore-read.socket
cat > /etc/systemd/system/ashore-plug.socket
cat > /etc/systemd/system/ashore-users.socket
cat > /etc/systemd/system/ashore-backup.service
cat > /etc/systemd/system/ashore-backup.timer
cat > /etc/systemd/system/ashore.service
systemctl daemon-reload
systemctl enable --now ashore.socket ashore-plug.socket ashore.service
";
        let version = env!("CARGO_PKG_VERSION");
        let done = format!("# ashore {version} is installed as /usr/local/bin/ashore");
        assert_eq!(booted.ok("/root/ashore install"), format!("{installed}{done}"));
        assert_eq!(booted.ok("/root/ashore install"), format!("{done}; nothing to do"));
        for path in [
            "/run/ashore/ashore.sock",
            "/run/ashore/ashore-plug.sock",
            "/run/docker/plugins/ashore.sock",
            "/var/lib/ashore/state.redb",
        ] {
            let mode = std::fs::metadata(booted.at(path)).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600, "{path}");
        }

        is_read_by_the_group_alone(booted);
        let verified = booted
            .run("systemd-analyze verify ashore.service ashore.socket ashore-read.socket ashore-plug.socket ashore-users.socket ashore-backup.timer ashore-backup.service");
        assert_eq!((verified.stderr.as_str(), verified.code), ("", Some(0)));
        // Docker's own unit names a program that this NAS does not have.
        let beside_docker = booted.run("systemd-analyze verify docker.service").stderr;
        assert!(!beside_docker.contains("ashore") && !beside_docker.contains("cycle"), "{beside_docker}");
        // In tenths; an ordinary service of root has 96. One of these tenths is for seeing which process of
        // another user holds a namespace open.
        booted.ok("systemd-analyze security --no-pager --threshold=34 ashore.service");

        // A newer version replaces this one, and only the daemon restarts.
        let before = booted.pid();
        // By a separate process: a process that another test starts during the write would inherit the open
        // file for a moment.
        let copied = std::process::Command::new("sh")
            .args(["-c", r#"{ cat "$0"; printf newer; } >"$1" && chmod 755 "$1""#, PROGRAM])
            .arg(booted.at("/root/newer"))
            .status();
        assert!(copied.unwrap().success());
        let upgraded = booted.ok("/root/newer install");
        assert_eq!(
            upgraded,
            format!(
                "install -m 755 /root/newer /usr/local/bin/ashore\nsystemctl restart ashore.service\n{done}"
            )
        );
        assert_ne!(booted.pid(), before);

        // So does a version that has one socket more than the one before.
        booted.ok("systemctl disable --now ashore-plug.socket");
        std::fs::remove_file(booted.at("/etc/systemd/system/ashore-plug.socket")).unwrap();
        booted.ok("systemctl daemon-reload");
        let upgraded = booted.ok("/root/newer install");
        let units = "ashore.socket ashore-read.socket ashore-plug.socket ashore-users.socket ashore.service";
        let steps = format!(
            "systemctl stop {units}\nsystemctl enable --now ashore.socket ashore-plug.socket ashore.service"
        );
        assert!(upgraded.contains(&steps), "{upgraded}");
        for question in ["is-enabled", "is-active"] {
            booted.ok(&format!("systemctl {question} ashore.socket"));
            booted.ok(&format!("systemctl {question} ashore-plug.socket"));
        }
        assert!(booted.ok("/root/newer install").ends_with("nothing to do"));
        has_users_only_for_whom_asks(booted);

        // An installation that cannot start is undone.
        booted.ok("ashore uninstall --purge");
        std::fs::write(booted.at("/var/lib/ashore"), "in the way").unwrap();
        let failed = booted.run("/root/ashore install");
        assert_eq!(failed.code, Some(1), "{}", failed.stdout);
        assert!(failed.stderr.contains("try: see why: journalctl"), "{}", failed.stderr);
        for gone in [
            "/usr/local/bin/ashore",
            "/usr/local/bin/ashore-plug",
            "/usr/local/lib/netavark/ashore",
            "/usr/lib/cni/ashore",
            "/etc/systemd/system/ashore.service",
            "/run/ashore/ashore.sock",
            "/run/ashore/ashore-plug.sock",
        ] {
            assert!(!booted.at(gone).exists(), "{gone}");
        }
        assert_ne!(booted.run("systemctl is-enabled ashore.socket").code, Some(0));
    });
}

/// Checks the socket for users other than root, which root asks for and may give up again.
fn has_users_only_for_whom_asks(booted: &home::booted::Booted) {
    const UNIT: &str = "ashore-users.socket";
    let says = |question: &str| booted.run(&format!("systemctl {question} {UNIT}")).code == Some(0);
    let is = |wanted: bool| {
        assert_eq!((says("is-enabled"), says("is-active")), (wanted, wanted));
        assert_eq!(booted.at("/var/lib/ashore-plug/sock").exists(), wanted);
        assert!(booted.ok("/root/newer install").ends_with("nothing to do"));
        assert_eq!((says("is-enabled"), says("is-active")), (wanted, wanted));
    };
    is(false);
    let told = booted.run("ashore network create lan --ip-range 192.168.88.192/27 --allow-user 1000");
    assert!(told.code == Some(0) && told.stderr.contains("try: ashore install --users"), "{}", told.stderr);
    let enable = "systemctl enable --now ashore.socket ashore-plug.socket ashore-users.socket ashore.service";
    assert!(booted.ok("/root/newer install --users --dry-run").contains(enable));
    is(false);
    assert!(booted.ok("/root/newer install --users").contains(enable));
    is(true);
    // A newer version keeps it, and so it does what root has disabled.
    let older = "cp /root/ashore /usr/local/bin/.older";
    let replace = "mv /usr/local/bin/.older /usr/local/bin/ashore";
    for wanted in [true, false] {
        if !wanted {
            booted.ok("systemctl disable --now ashore-users.socket");
        }
        booted.ok(&format!("busybox {older}"));
        booted.ok(&format!("busybox {replace}"));
        let upgraded = booted.ok("/root/newer install");
        assert!(upgraded.contains("systemctl restart ashore.service"), "{upgraded}");
        is(wanted);
    }
}

/// Checks the read socket as installed: its group, and what a member and another user get.
fn is_read_by_the_group_alone(booted: &home::booted::Booted) {
    let groups = std::fs::read_to_string(booted.at("/etc/group")).unwrap();
    let gid = groups.lines().find_map(|line| line.strip_prefix("ashore:x:")).expect(&groups);
    let gid = gid.trim_end_matches(':');
    let metadata = std::fs::metadata(booted.at("/run/ashore/ashore-read.sock")).unwrap();
    assert_eq!(
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid().to_string()),
        (0o660, 0, gid.to_owned())
    );
    booted.ok("systemctl is-active ashore-read.socket");
    // One user is a member of the group, the other is not.
    let mut passwd = std::fs::read_to_string(booted.at("/etc/passwd")).unwrap();
    passwd.push_str("member:x:1001:1001::/:/bin/sh\nother:x:1002:1002::/:/bin/sh\n");
    std::fs::write(booted.at("/etc/passwd"), passwd).unwrap();
    let line = format!("ashore:x:{gid}:");
    std::fs::write(booted.at("/etc/group"), groups.replace(&line, &format!("{line}member"))).unwrap();
    // Not every suite has a shell.
    std::os::unix::fs::symlink("/usr/bin/busybox", booted.at("/usr/local/bin/sh")).unwrap();
    let by = |user: &str, command: &str| {
        let command = format!("/usr/local/bin/ashore {command}");
        booted.nas.run(&["busybox", "su", "-s", "/usr/local/bin/sh", user, "-c", &command]).unwrap()
    };
    for command in ["status", "network ls", "plan"] {
        let read = by("member", command);
        assert_eq!(read.code, Some(0), "{command}: {}", read.stderr);
        let refused = by("other", command);
        assert!(refused.code == Some(9) && refused.stderr.contains("the group ashore"), "{}", refused.stderr);
    }
    for command in ["state export", "network rm lan", "plan rm lan"] {
        assert_eq!(by("member", command).code, Some(9), "{command}");
    }
}

#[test]
fn in_its_confinement_it_can_do_all_of_its_work() {
    on_every_systemd("systemd, confinement", |booted| {
        booted.install();
        booted.ok(
            "docker network create -d ashore --ipam-driver ashore --subnet 192.168.88.0/24 --ip-range 192.168.88.192/27 \
             --gateway 192.168.88.1 --ipv6 --subnet fd88::/64 --ip-range fd88::c0/124 --gateway fd88::1 -o parent=eth0 lan",
        );
        booted.ok("docker run -d --init --name web --network lan box sleep 1000");
        for address in ["192.168.88.192", "fd88::c0"] {
            reaches(&booted.laptop, ip(address));
            eventually("the host reaches it", || booted.machine.ping(ip(address)).is_some());
        }
        booted.ok(&format!("docker exec web ping -c 1 -w 2 {HOST}"));
        // The route to the host's address is set inside the container. The daemon finds it by a mount that
        // was made after its own start.
        booted.ok("docker exec web ping -c 1 -w 2 fd88::9");

        booted.ok("docker run -d --init --name plain --network none box sleep 1000");
        let pid = booted.ok("docker inspect --format {{.State.Pid}} plain");
        booted.ok("ashore network create other --subnet 192.168.88.0/24 --ip-range 192.168.88.224/27");
        assert!(
            booted.ok(&format!("ashore attach other --pid {pid} --name plain")).contains("192.168.88.224")
        );
        reaches(&booted.laptop, ip("192.168.88.224"));

        // Its process ends while a process of another user holds its namespace open. Then that process ends
        // too.
        let holder = "systemd-run --quiet --unit=holder --uid=65534 --property=StandardInput=file:";
        booted.ok(&format!("{holder}/proc/{pid}/ns/net /usr/bin/busybox sleep 1000"));
        booted.ok("docker rm -f plain");
        // The host gets no notification of this, so the daemon looks once a minute.
        let patience = std::time::Duration::from_secs(180);
        eventually_within(patience, "it is found", || {
            booted.ok("ashore status").contains("was found by /proc/")
        });
        reaches(&booted.laptop, ip("192.168.88.224"));
        booted.ok("systemctl stop holder");
        eventually_within(patience, "it is gone", || !booted.ok("ashore status").contains("plain"));
        booted.ok("docker run -d --init --name plain --network none box sleep 1000");
        let pid = booted.ok("docker inspect --format {{.State.Pid}} plain");
        booted.ok(&format!("ashore attach other --pid {pid} --name plain"));
        reaches(&booted.laptop, ip("192.168.88.224"));

        backs_up_every_day(booted);
        keeps_its_state_elsewhere(booted);

        // Without its program, what runs goes on.
        let pings = [ip("192.168.88.192"), ip("192.168.88.224")]
            .map(|address| [booted.laptop.pings(address), booted.machine.pings(address)]);
        let said = booted.ok("ashore uninstall --keep");
        for words in [
            "# goes on: web on lan and plain on other: on the LAN",
            "this host reaches them",
            "# ends: Docker starts no container on lan",
        ] {
            assert!(said.contains(words), "{said}");
        }
        assert!(!booted.at("/usr/local/bin/ashore").exists() && !said.contains("ip link del"), "{said}");
        std::thread::sleep(std::time::Duration::from_secs(1));
        for stream in pings.into_iter().flatten() {
            let counted = stream.end();
            assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
        }
        booted.install();
        let status = booted.ok("ashore status");
        assert!(status.contains("192.168.88.192") && status.contains("192.168.88.224"), "{status}");
        booted.ok("docker restart -t 0 web");
        reaches(&booted.laptop, ip("192.168.88.192"));

        let refused = booted.run("ashore uninstall");
        assert_eq!(refused.code, Some(5));
        assert!(refused.stderr.contains("web on lan, plain on other are attached"), "{}", refused.stderr);
        booted.ok("ashore detach other plain");
        booted.ok("docker rm -f web plain");
        let refused = booted.run("ashore uninstall");
        assert!(refused.stderr.contains("try: docker network rm lan, or --force"), "{}", refused.stderr);
        booted.ok("docker network rm lan");
        let said = booted.ok("ashore uninstall");
        assert!(said.contains("ip link del dev shim-eth0"), "{said}");
        assert!(said.ends_with("# left: /var/lib/ashore, the state; --purge removes it"), "{said}");
        assert_eq!(booted.made_links(), [] as [&str; 0]);
        for gone in [
            "/usr/local/bin/ashore",
            "/run/ashore",
            "/run/docker/plugins/ashore.sock",
            "/etc/sysusers.d/ashore.conf",
        ] {
            assert!(!booted.at(gone).exists(), "{gone}");
        }
        assert_ne!(booted.run("systemctl cat ashore.service ashore.socket").code, Some(0));
        assert_eq!(booted.ok("/root/ashore uninstall --purge"), "rm -r /var/lib/ashore");
    });
}

/// The timer runs with the service, and what it starts writes a backup, also where a drop-in says.
fn backs_up_every_day(booted: &home::booted::Booted) {
    booted.ok("systemctl is-active ashore-backup.timer");
    let backups = |directory: &str| {
        let there = std::fs::read_dir(booted.at(directory));
        there
            .map_or_else(|_| Vec::new(), |there| there.map(|entry| entry.unwrap().path()).collect::<Vec<_>>())
    };
    booted.ok("systemctl start ashore-backup.service");
    let [backup] = &backups("/var/lib/ashore/backups")[..] else {
        panic!("{}", booted.nas.journal("ashore*"))
    };
    assert_eq!(std::fs::metadata(backup).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(std::fs::read_to_string(backup).unwrap().contains("identity/lan/web"));
    let drop_in = booted.at("/etc/systemd/system/ashore-backup.service.d");
    std::fs::create_dir_all(&drop_in).unwrap();
    let to = |place: &str| {
        let line = format!("ExecStart=/usr/local/bin/ashore state backup --to {place}");
        let text = format!("[Unit]\nRequiresMountsFor={place}\n\n[Service]\nExecStart=\n{line}\n");
        std::fs::write(drop_in.join("to.conf"), text).unwrap();
        booted.ok("systemctl daemon-reload");
        booted.run("systemctl start ashore-backup.service").code
    };
    booted.ok("mkdir -p /srv/usb /srv/backups");
    // A share of a user's.
    booted.ok("chown 1000:1000 /srv/backups");
    assert_eq!((to("/srv/backups"), backups("/srv/backups").len()), (Some(0), 1));
    // A disk that is not there: nothing is written below it.
    std::fs::write(booted.at("/etc/fstab"), "none /srv/usb tmpfs nofail,noauto,size=none 0 0\n").unwrap();
    assert_ne!(to("/srv/usb/ashore"), Some(0));
    assert_eq!(backups("/srv/usb"), [] as [std::path::PathBuf; 0]);
    std::fs::remove_file(booted.at("/etc/fstab")).unwrap();
    std::fs::remove_dir_all(drop_in).unwrap();
    booted.ok("systemctl daemon-reload");
    // Whoever has stopped the daemon does not want it started by a backup.
    booted.ok("systemctl stop ashore.service");
    assert_ne!(booted.run("systemctl is-active ashore-backup.timer").code, Some(0));
    assert_ne!(booted.run("systemctl start ashore-backup.service").code, Some(0));
    assert_ne!(booted.run("systemctl is-active ashore.service").code, Some(0));
    booted.ok("systemctl start ashore.service");
    booted.ok("systemctl is-active ashore-backup.timer");
}

/// By the drop-in of the manual.
fn keeps_its_state_elsewhere(booted: &home::booted::Booted) {
    // Without the line that tells the daemon's process.
    let tables = || booted.ok("ashore status").split_once('\n').unwrap().1.to_owned();
    let (before, drop_in) = (tables(), booted.at("/etc/systemd/system/ashore.service.d"));
    std::fs::create_dir_all(&drop_in).unwrap();
    let pool = "/mnt/pool/ashore";
    let runs = format!("ExecStart=\nExecStart=/usr/local/bin/ashore daemon --state {pool}");
    let text = format!("[Unit]\nRequiresMountsFor={pool}\n[Service]\nReadWritePaths={pool}\n{runs}\n");
    std::fs::write(drop_in.join("state.conf"), text).unwrap();
    for line in [
        "systemctl stop ashore.service ashore.socket ashore-read.socket ashore-plug.socket ashore-users.socket",
        "mkdir -p /mnt/pool",
        "cp -a /var/lib/ashore /mnt/pool/ashore",
        "systemctl daemon-reload",
        "systemctl start ashore.socket ashore-read.socket ashore-plug.socket ashore.service",
    ] {
        booted.ok(line);
    }
    assert_eq!(tables(), before);
    assert!(!booted.nas.journal("ashore.service").contains("openat2 is missing"));
    std::fs::remove_dir_all(drop_in).unwrap();
    for line in ["systemctl stop ashore.service", "systemctl daemon-reload", "systemctl start ashore.service"]
    {
        booted.ok(line);
    }
}

#[test]
fn a_daemon_that_was_killed_comes_back_and_no_caller_is_turned_away() {
    on_every_systemd("systemd, kills", |booted| {
        booted.install();
        booted.ok("ashore network create lan --ip-range 192.168.88.192/27");
        booted.ok("docker run -d --init --name plain --network none box sleep 1000");
        let pid = booted.ok("docker inspect --format {{.State.Pid}} plain");
        booted.ok(&format!("ashore attach lan --pid {pid} --name plain"));
        let stream = booted.laptop.pings(ip("192.168.88.192"));
        // More often than systemd restarts a service by default.
        for _ in 0..8 {
            let before = booted.pid();
            booted.ok("systemctl kill --signal=KILL ashore.service");
            assert!(booted.ok("ashore status").contains("plain"));
            assert_ne!(booted.pid(), before);
        }
        // The administrator stops the daemon. The next client starts it again.
        booted.ok("systemctl stop ashore.service");
        assert!(booted.ok("ashore status").contains("plain"));
        let counted = stream.end();
        assert_eq!(counted.lost, 0, "{counted:?}");
        booted.ok("ashore detach lan plain");
    });
}

#[test]
fn no_reader_starts_again_what_the_administrator_stops_or_uninstalls() {
    on_every_systemd("systemd, readers", |booted| {
        let sockets = ["read", "plug"].map(|name| booted.at(&format!("/run/ashore/ashore-{name}.sock")));
        let is_active = |unit: &str| booted.run(&format!("systemctl is-active {unit}")).code == Some(0);
        let units = [
            "ashore.socket",
            "ashore-read.socket",
            "ashore-plug.socket",
            "ashore-users.socket",
            "ashore.service",
        ];
        for stop in ["systemctl stop ashore.socket ashore.service", "ashore uninstall"] {
            booted.install();
            eventually("the service runs", || is_active("ashore.service"));
            let end = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for socket in &sockets {
                    let end = &end;
                    scope.spawn(move || {
                        while !end.load(Ordering::Relaxed) {
                            let asked =
                                UnixStream::connect(socket).and_then(|mut it| it.write_all(b"\"status\"\n"));
                            let _ = asked;
                        }
                    });
                }
                let stopped = booted.run(stop);
                // A moment for a service that is about to start.
                std::thread::sleep(std::time::Duration::from_secs(1));
                end.store(true, Ordering::Relaxed);
                assert_eq!(stopped.code, Some(0), "{stop}: {}{}", stopped.stdout, stopped.stderr);
            });
            for unit in units {
                assert!(!is_active(unit), "{unit} after `{stop}`");
            }
        }
    });
}

#[test]
fn a_daemon_started_by_hand_keeps_its_place() {
    on_every_systemd("systemd, by hand", |booted| {
        let by_hand = booted.start_by_hand();
        for command in ["install", "uninstall"] {
            let refused = booted.run(&format!("/root/ashore {command}"));
            assert_eq!(refused.code, Some(5), "{command}");
            assert!(
                refused.stderr.contains("try: stop") && refused.stderr.contains("kill "),
                "{}",
                refused.stderr
            );
        }
        drop(by_hand);
        booted.install();
    });
}

/// Longer than two leases last, with containers on macvlan and on the host's bridge. What its sockets inside of containers may
/// say and hear is filtered by its unit too.
#[test]
fn leases_are_renewed_in_its_confinement() {
    on_every_systemd("systemd, leases", |booted| {
        booted.install();
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup { seconds: 12, ..Setup::default() };
        let engines = Engines::find().expect("the NAS was made of them");
        let _server = Brand::Udhcpd.serve(&engines, &booted.router, directory.path(), &setup);
        for parent in ["eth0", "br0"] {
            if parent == "br0" {
                for line in [
                    "ip link add br0 type bridge",
                    "ip link set eth0 master br0",
                    "ip link set br0 up",
                    "ip addr flush dev eth0",
                    "ip addr add 192.168.88.9/24 dev br0",
                ] {
                    type_on(&booted.machine, line);
                }
            }
            booted.ok("docker run -d --init --name web --network none box sleep 1000");
            let pid = booted.ok("docker inspect --format {{.State.Pid}} web");
            booted
                .ok(&format!("ashore network create lan --parent {parent} --subnet 192.168.88.0/24 --dhcp"));
            booted.ok(&format!("ashore attach lan --pid {pid} --name web"));
            let status: serde_json::Value = serde_json::from_str(&booted.ok("ashore status --json")).unwrap();
            let web = home::addresses(&status["endpoints"][0])[0];
            // An ended lease takes the address with it, which is lost time for whoever is connected.
            std::thread::sleep(std::time::Duration::from_secs(30));
            reaches(&booted.laptop, web);
            let journal = booted.nas.journal("ashore.service");
            assert!(!journal.contains("its DHCP lease is lost"), "{parent}: {journal}");
            booted.ok("ashore detach lan web");
            booted.ok("ashore network rm lan");
            booted.ok("docker rm -f web");
        }
    });
}
