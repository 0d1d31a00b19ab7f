//! The LAN's IPv6 router: a real one, on a machine of the lab.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use ashore_lab::{Engines, Machine};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// radvd. Runs until it is dropped.
pub struct Router {
    child: Child,
    conf: PathBuf,
    log: PathBuf,
}

impl Router {
    /// Starts to advertise every few seconds. `says` is radvd configuration added to the interface's.
    pub fn start(engines: &Engines, on: &Machine, directory: &Path, says: &str) -> Router {
        let at = |file: &str| directory.join(format!("radvd-{}.{file}", on.name()));
        let (conf, log) = (at("conf"), at("log"));
        std::fs::write(&conf, text(says)).unwrap();
        let forward = || std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
        on.inside(forward).unwrap().unwrap();
        let mut command = on.command(engines.path("usr/sbin/radvd")).unwrap();
        let command =
            engines.equip(&mut command).args(["--nodaemon", "--debug", "1", "--logmethod", "stderr"]);
        command.arg("--config").arg(&conf).arg("--pidfile").arg(at("pid"));
        let said = std::fs::File::create(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().unwrap();
        Router { child, conf, log }
    }

    /// Changes the advertisement.
    pub fn says(&self, says: &str) {
        std::fs::write(&self.conf, text(says)).unwrap();
        self.signal(Signal::SIGHUP);
    }

    /// Ends like a router that is shut down: it advertises that it is no router any more.
    pub fn shut_down(mut self) {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }
}

fn text(says: &str) -> String {
    format!(
        "interface eth0 {{ AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; MinDelayBetweenRAs 3; {says} }};\n"
    )
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the router's log:\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
