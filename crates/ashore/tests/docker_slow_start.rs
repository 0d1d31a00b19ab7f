//! A container that starts slowly is not mistaken for one that the engine has forgotten.

use std::time::Duration;

use home::site::on_engine;
use home::{eventually, ip, reaches};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The processes with a name. This program has a PID namespace of its own.
fn processes(name: &str) -> Vec<Pid> {
    let numbers = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (comm.trim() == name).then_some(Pid::from_raw(pid))
    });
    numbers.collect()
}

/// The link stays on the host for longer than the daemon waits for anything else that is missing in the
/// engine's list.
#[test]
fn its_link_waits_for_it() {
    on_engine("sid", "docker, slow start", |site| {
        site.create_lan();
        // The list with this container tells the daemon to which engine the network belongs.
        site.start("first", "");
        let (home, docker) = (&site.home, &site.docker);
        std::thread::scope(|scope| {
            let run = ["run", "-d", "--init", "--name", "web", "--network", "lan", "box", "sleep", "1000"];
            let run = scope.spawn(move || docker.run(&run).unwrap());
            // The link is on the host for a moment.
            eventually("its link is made", || home.daemon().log().lines().any(|line| line.ends_with(":web")));
            let containerd = processes("containerd");
            assert!(!containerd.is_empty());
            for pid in &containerd {
                kill(*pid, Signal::SIGSTOP).unwrap();
            }
            std::thread::sleep(Duration::from_secs(45));
            for pid in &containerd {
                kill(*pid, Signal::SIGCONT).unwrap();
            }
            let ran = run.join().unwrap();
            assert_eq!(ran.code, Some(0), "{}\n{}", ran.stderr, site.logs());
        });
        reaches(&home.laptop, ip(&site.address_of("web").0));
        reaches(&home.nas, ip(&site.address_of("web").0));
        site.ok("rm -f web first");
        site.ok("network rm lan");
        site.assert_nothing_left();
    });
}
