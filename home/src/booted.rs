//! A NAS that has booted a real systemd, on a LAN with a laptop.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use ashore_lab::{Engines, Machine, Nas, Ran, World, cannot_run};

use super::podman::{WITH_PLUGINS, newest};
use super::{PROGRAM, eventually};

pub struct Booted {
    pub nas: Nas,
    pub machine: Machine,
    pub laptop: Machine,
    pub router: Machine,
    _directory: tempfile::TempDir,
    _world: World,
}

impl Booted {
    pub fn new(engines: &Engines, suite: &str) -> Booted {
        Booted::prepared(engines, suite, |_| ())
    }

    /// The same, with something done to the NAS before it boots.
    fn prepared(engines: &Engines, suite: &str, prepare: impl FnOnce(&Nas)) -> Booted {
        let booted = Booted::bare(engines, suite, prepare);
        eventually("its engine answers", || booted.run("docker version").code == Some(0));
        booted.nas.import_box(engines, "docker").unwrap();
        booted
    }

    /// A NAS that has booted with Podman alone, and that has all of Ashore's programs.
    fn with_podman(engines: &Engines, suite: &str) -> Booted {
        let booted = Booted::bare(engines, suite, |nas| {
            nas.give(&Path::new(PROGRAM).with_file_name("ashore-plug")).unwrap();
            nas.has_podman_alone().unwrap();
        });
        // While it boots, it still removes what earlier boots left in /var/tmp.
        eventually("it has booted", || booted.run("systemctl is-active multi-user.target").code == Some(0));
        booted.nas.import_box(engines, "podman").unwrap();
        booted
    }

    fn bare(engines: &Engines, suite: &str, prepare: impl FnOnce(&Nas)) -> Booted {
        let world = World::new(None).expect("namespaces (run as root)");
        let router = world.machine("router", 1).unwrap();
        let (machine, laptop) = (world.machine("nas", 9).unwrap(), world.machine("laptop", 50).unwrap());
        let directory = tempfile::tempdir().unwrap();
        let mut nas = Nas::new(engines, suite, directory.path()).unwrap();
        nas.give(Path::new(PROGRAM)).unwrap();
        prepare(&nas);
        nas.boot(&machine).unwrap();
        Booted { nas, machine, laptop, router, _directory: directory, _world: world }
    }

    pub fn run(&self, command: &str) -> Ran {
        self.nas.run(&command.split_whitespace().collect::<Vec<_>>()).unwrap()
    }

    #[track_caller]
    pub fn ok(&self, command: &str) -> String {
        let ran = self.run(command);
        let said = format!("{command}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, Some(0), "{said}\n{}", self.nas.journal("ashore*"));
        ran.stdout.trim_end().to_owned()
    }

    pub fn shut_down(&mut self) {
        self.nas.shut_down().unwrap();
        self.forget();
    }

    pub fn cut_power(&mut self) {
        self.nas.cut_power().unwrap();
        self.forget();
    }

    /// Removes the links that a real kernel would lose when it powers off.
    fn forget(&self) {
        for link in self.made_links() {
            self.machine.remove_link(&link).unwrap();
        }
    }

    pub fn boot(&mut self) {
        self.nas.boot(&self.machine).unwrap();
    }

    /// Kills the daemon at once (`SIGKILL`). Returns `false` if no daemon runs.
    pub fn kill_daemon(&self) -> bool {
        let group = self.at("/sys/fs/cgroup/system.slice/ashore.service/cgroup.procs");
        let pids = std::fs::read_to_string(group).unwrap_or_default();
        pids.lines().for_each(kill);
        !pids.is_empty()
    }

    #[track_caller]
    pub fn install(&self) {
        self.ok("/root/ashore install");
    }

    /// The PID of the service's process in the NAS's PID namespace.
    pub fn pid(&self) -> u32 {
        self.ok("systemctl show --property=MainPID --value ashore.service").parse().unwrap()
    }

    /// A path on the NAS as this process reaches it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.nas.root().join(path.trim_start_matches('/'))
    }

    /// Starts a daemon that systemd does not know about. It runs until it is dropped.
    pub fn start_by_hand(&self) -> ByHand {
        let mut command = self.nas.command();
        command
            .args(["/root/ashore", "daemon"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let nsenter = command.spawn().unwrap();
        eventually("it answers", || self.run("/root/ashore status").code == Some(0));
        ByHand(nsenter)
    }

    /// The links of the NAS that the lab did not create.
    pub fn made_links(&self) -> Vec<String> {
        let observed = self.machine.kernel().observe(&[]).unwrap();
        let names = observed.host.links.iter().map(|link| link.name.to_string());
        names.filter(|name| name != "lo" && name != "eth0").collect()
    }
}

pub struct ByHand(Child);

impl Drop for ByHand {
    fn drop(&mut self) {
        // nsenter does not fork here: its child is the daemon, in the other PID namespace.
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.0.id())).unwrap();
        children.split_whitespace().for_each(kill);
        self.0.wait().unwrap();
    }
}

fn kill(pid: &str) {
    let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
    // The process may have ended already.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}

/// Runs a test like [`on_every_systemd`] on a NAS that loses what was not synced to the state's disk when its power
/// is cut.
pub fn with_a_disk_for_the_state(test: &str, run: impl Fn(&mut Booted)) {
    let booted = |engines: &Engines, suite: &str| {
        Booted::prepared(engines, suite, |nas| nas.give_disk("/var/lib/ashore").unwrap())
    };
    match Engines::find() {
        Ok(engines) => ["bookworm", "sid"].iter().for_each(|suite| run(&mut booted(&engines, suite))),
        Err(why) => cannot_run(test, &why),
    }
}

/// Runs a test under systemd 252 with Docker 20.10, and under the newest systemd with Docker 28.5.
pub fn on_every_systemd(test: &str, run: impl Fn(&mut Booted)) {
    match Engines::find() {
        Ok(engines) => ["bookworm", "sid"].iter().for_each(|suite| run(&mut Booted::new(&engines, suite))),
        Err(why) => cannot_run(test, &why),
    }
}

/// Runs a test on a NAS with each Podman that calls plugins, and the systemd of its release.
pub fn on_every_podman(test: &str, run: impl Fn(&mut Booted)) {
    with_podmans(test, &WITH_PLUGINS, run);
}

/// The same with the newest Podman, and with each that calls plugins only with `cargo xtask test --all`.
pub fn on_a_podman(test: &str, run: impl Fn(&mut Booted)) {
    with_podmans(test, newest(), run);
}

fn with_podmans(test: &str, suites: &[&str], run: impl Fn(&mut Booted)) {
    match Engines::find() {
        Ok(engines) => suites.iter().for_each(|suite| run(&mut Booted::with_podman(&engines, suite))),
        Err(why) => cannot_run(test, &why),
    }
}

/// Runs a test on a NAS with the LXC and the systemd-nspawn of Debian 13.
pub fn with_lxc_and_nspawn(test: &str, run: impl Fn(&mut Booted)) {
    match Engines::find() {
        Ok(engines) => run(&mut Booted::with_podman(&engines, "trixie")),
        Err(why) => cannot_run(test, &why),
    }
}

/// Runs a test on a NAS of each Debian release with its engine, and tells where the Debian packages of the program
/// under test are. Without `ASHORE_TEST_ALL`, on the oldest release alone.
pub fn on_every_release(test: &str, run: impl Fn(&mut Booted, &str, &Path)) {
    let (engines, packages) = match (Engines::find(), ashore_lab::packages()) {
        (Ok(engines), Ok(packages)) => (engines, packages),
        (Err(why), _) | (_, Err(why)) => return cannot_run(test, &why),
    };
    let releases = [("bookworm", "docker"), ("trixie", "podman"), ("sid", "docker")];
    let tried = if std::env::var_os("ASHORE_TEST_ALL").is_some() { releases.len() } else { 1 };
    for (suite, engine) in &releases[..tried] {
        let booted = match *engine {
            "docker" => Booted::new,
            _ => Booted::with_podman,
        };
        run(&mut booted(&engines, suite), engine, &packages);
    }
}
