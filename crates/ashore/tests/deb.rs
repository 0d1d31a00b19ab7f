//! The Debian package under a real systemd: over an earlier `ashore install`, upgraded while a container runs, removed
//! and purged. In the ordinary suite on Debian 12, with `ASHORE_TEST_ALL` on 13 and sid too.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ashore_lab::Ran;
use home::booted::{Booted, on_every_release};
use home::packaged::{WEB, is_the_packages, make_lan, names, start_web};
use home::{eventually, eventually_within, ip, reaches};

/// The packages, in root's home.
const THIS: &str = "this.deb";
const LATER: &str = "later.deb";
const OTHER_MACHINE: &str = "other.deb";

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

fn inode(booted: &Booted, path: &str) -> u64 {
    std::fs::metadata(booted.at(path)).unwrap().ino()
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
