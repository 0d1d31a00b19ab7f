//! The init system of a host, and the commands that make it start the daemon.

use std::path::Path;

/// The init system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Init {
    Systemd,
    Unraid,
    Synology,
    OpenRc,
    Runit,
    S6,
    BusyBox,
    SysV,
    /// None that is known.
    Unknown,
}

/// The files by which each is recognised, below the host's root. The appliances come first, because they have
/// parts of the others.
const MARKS: [(Init, &[&str]); 7] = [
    (Init::Unraid, &["boot/config/go"]),
    (Init::Synology, &["etc/synoinfo.conf"]),
    (Init::OpenRc, &["sbin/openrc-run", "usr/sbin/openrc-run", "usr/bin/openrc-run"]),
    (Init::Runit, &["etc/runit", "run/runit"]),
    (Init::S6, &["etc/s6", "run/s6-rc", "etc/s6-linux-init"]),
    (Init::BusyBox, &["etc/inittab"]),
    (Init::SysV, &["etc/inittab"]),
];

impl Init {
    /// The init system of a host. For a host that is not running, such as an image, the one that it will boot
    /// with.
    pub(super) fn of(root: &Path, is_running: bool) -> Init {
        let has = |mark: &str| root.join(mark).symlink_metadata().is_ok();
        let systemd: &[&str] = if is_running {
            &["run/systemd/system"]
        } else {
            &["usr/lib/systemd/systemd", "lib/systemd/systemd"]
        };
        if systemd.iter().any(|mark| has(mark)) {
            return Init::Systemd;
        }
        let is_busybox = || {
            let target = root.join("sbin/init").read_link().unwrap_or_default();
            target.file_name().is_some_and(|name| name == "busybox")
        };
        let found = MARKS.iter().filter(|(init, _)| *init != Init::BusyBox || is_busybox());
        found
            .into_iter()
            .find(|(_, marks)| marks.iter().any(|mark| has(mark)))
            .map_or(Init::Unknown, |(init, _)| *init)
    }

    /// The name of the init system.
    pub(super) fn name(self) -> &'static str {
        match self {
            Init::Systemd => "systemd",
            Init::Unraid => "Unraid's go file",
            Init::Synology => "DSM's rc.d",
            Init::OpenRc => "OpenRC",
            Init::Runit => "runit",
            Init::S6 => "s6",
            Init::BusyBox => "BusyBox init",
            Init::SysV => "sysvinit",
            Init::Unknown => "an unknown init system",
        }
    }

    /// The commands by which the administrator makes it start the daemon, before Docker if that can be
    /// expressed.
    pub(super) fn lines(self, program: &Path) -> Vec<String> {
        let daemon = format!("{} daemon", program.display());
        let run = format!("exec {daemon} 2>&1");
        let to_log = format!("{daemon} >>/var/log/ashore.log 2>&1 &");
        match self {
            Init::Systemd => Vec::new(),
            Init::OpenRc => {
                let command = format!("command={}", program.display());
                let depend = "depend() { need localmount; before docker; }";
                let lines = [
                    "#!/sbin/openrc-run",
                    "supervisor=supervise-daemon",
                    &command,
                    "command_args=daemon",
                    depend,
                ];
                let mut commands = script("/etc/init.d/ashore", &lines);
                commands
                    .extend(["rc-update add ashore default", "rc-service ashore start"].map(str::to_owned));
                commands
            }
            Init::Runit => {
                let mut commands = vec!["mkdir -p /etc/sv/ashore".to_owned()];
                commands.extend(script("/etc/sv/ashore/run", &["#!/bin/sh", &run]));
                commands
                    .push("ln -s /etc/sv/ashore /var/service/    # or wherever runsvdir looks".to_owned());
                commands
            }
            Init::S6 => {
                let mut commands =
                    vec!["mkdir -p /run/service/ashore    # or wherever s6-svscan looks".to_owned()];
                commands.extend(script("/run/service/ashore/run", &["#!/bin/sh", &run]));
                commands.push("s6-svscanctl -a /run/service".to_owned());
                commands
            }
            Init::BusyBox => {
                vec![format!("echo '::respawn:{daemon}' >> /etc/inittab"), "kill -HUP 1".to_owned()]
            }
            Init::SysV => {
                vec![format!("echo 'ash:2345:respawn:{daemon}' >> /etc/inittab"), "telinit q".to_owned()]
            }
            Init::Unraid => unraid(program, &daemon),
            Init::Synology => {
                let start = format!("[ \"$1\" = start ] && {to_log}");
                let mut commands = script("/usr/local/etc/rc.d/ashore.sh", &["#!/bin/sh", &start]);
                commands.push("/usr/local/etc/rc.d/ashore.sh start".to_owned());
                commands
            }
            Init::Unknown => {
                vec![format!(
                    "echo '{to_log}' >> /etc/rc.local    # or wherever this host starts its services"
                )]
            }
        }
    }
}

/// The commands that create an executable file from lines.
fn script(path: &str, lines: &[&str]) -> Vec<String> {
    let quoted: Vec<String> = lines.iter().map(|line| format!("'{line}'")).collect();
    vec![format!("printf '%s\\n' {} > {path}", quoted.join(" ")), format!("chmod 755 {path}")]
}

/// On Unraid, only the flash drive and the array are persistent, and the array is mounted after the go file
/// has run.
fn unraid(program: &Path, daemon: &str) -> Vec<String> {
    let program = program.display();
    let start = format!(
        "(until mountpoint -q /mnt/user; do sleep 1; done; exec {daemon} --state /mnt/user/system/ashore) \
         >>/var/log/ashore.log 2>&1 &"
    );
    vec![
        format!("cp {program} /boot/config/ashore"),
        format!("echo 'install -m 755 /boot/config/ashore {program}' >> /boot/config/go"),
        format!("echo '{start}' >> /boot/config/go"),
    ]
}
