//! The system extension under a real systemd: laid over `/usr`, started, used by a container over a boot, and taken away.
//! The image itself needs a loop device, so the tests have its files in a directory, which systemd takes as well.

use ashore_lab::{Engines, cannot_run};
use home::booted::Booted;
use home::packaged::{WEB, make_lan, names, start_web};
use home::{eventually, eventually_within, ip, reaches};

/// How long a boot may take.
const BOOT: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn it_is_laid_over_usr_starts_at_boot_and_goes() {
    let (engines, packages) = match (Engines::find(), ashore_lab::packages()) {
        (Ok(engines), Ok(packages)) => (engines, packages),
        (Err(why), _) | (_, Err(why)) => return cannot_run("the system extension", &why),
    };
    let mut booted = Booted::new(&engines, "sid");
    std::fs::write(booted.at("/etc/os-release"), "ID=flatcar\nVERSION_ID=4000\n").unwrap();
    let extensions = booted.at("/var/lib/extensions");
    std::fs::create_dir_all(&extensions).unwrap();
    let mut copy = std::process::Command::new("cp");
    copy.arg("--archive").arg(packages.join("sysext")).arg(extensions.join("ashore"));
    assert!(copy.status().unwrap().success());

    booted.ok("systemctl enable --now systemd-sysext.service");
    booted.ok("ashore install");
    booted.ok("systemctl is-active ashore.service ashore.socket ashore-plug.socket ashore-read.socket");
    make_lan(&booted, "docker");
    start_web(&booted, "docker");
    booted.ok("docker update --restart always web");

    booted.shut_down();
    booted.boot();
    eventually_within(BOOT, "the container is there again", || {
        booted.run("systemctl is-active ashore.service").code == Some(0)
            && booted.run("docker ps --format {{.Names}}").stdout.contains("web")
            && booted.laptop.ping(ip(WEB)).is_some()
    });
    reaches(&booted.laptop, ip(WEB));
    reaches(&booted.machine, ip(WEB));

    assert!(booted.ok("ashore install").ends_with("nothing to do"));
    // The same program as a new file, as another version would be.
    let streams = [booted.laptop.pings(ip(WEB)), booted.machine.pings(ip(WEB))];
    let extensions = booted.at("/var/lib/extensions");
    let program = extensions.join("ashore/usr/bin/ashore");
    std::fs::copy(&program, program.with_extension("later")).unwrap();
    std::fs::rename(program.with_extension("later"), &program).unwrap();
    let first = booted.pid();
    for step in ["unmerge", "merge"] {
        booted.ok(&format!("systemd-sysext {step}"));
    }
    booted.ok("ashore install");
    assert_ne!(booted.pid(), first);
    for stream in streams {
        let counted = stream.end();
        assert!(counted.sent > 0 && counted.lost == 0, "{counted:?}");
    }

    let refused = booted.run("ashore uninstall");
    assert!(refused.stderr.contains("web on lan are attached"), "{}", refused.stderr);
    booted.ok("docker rm -f web");
    booted.ok("docker network rm lan");
    eventually("nothing is attached", || !booted.ok("ashore status").contains("web"));
    let said = booted.ok("ashore uninstall");
    assert!(said.contains("systemd-sysext refresh"), "{said}");
    std::fs::remove_dir_all(extensions.join("ashore")).unwrap();
    booted.ok("systemd-sysext refresh");
    assert_eq!(names(&booted), ["/var/lib/ashore"]);
    assert_eq!(booted.made_links(), [] as [&str; 0]);
}
