//! The systemd units. A unit as Ashore wrote it can be told from one that a user changed.

use std::hash::Hasher;
use std::path::Path;

use siphasher::sip::SipHasher24;

use crate::client::GROUP;

/// The name of the socket unit.
pub(super) const SOCKET: &str = "ashore.socket";
/// The name of the unit of the read socket. The service starts it, if there is the group.
pub(super) const READ_SOCKET: &str = "ashore-read.socket";
/// The name of the unit of the socket at which `ashore-plug` calls.
pub(super) const PLUG_SOCKET: &str = "ashore-plug.socket";
/// The name of the unit of the socket at which `ashore-plug` calls for users other than root.
pub(super) const USERS_SOCKET: &str = "ashore-users.socket";
/// The directory of that socket, which systemd makes, as the daemon does.
pub(super) const USERS_DIRECTORY: &str = "/var/lib/ashore-plug";
/// The name of the unit of the daily backup, and of its timer, which the service starts.
const BACKUP: &str = "ashore-backup.service";
const BACKUP_TIMER: &str = "ashore-backup.timer";
/// Where systemd notes when the timer was due last.
pub(super) const BACKUP_STAMP: &str = "/var/lib/systemd/timers/stamp-ashore-backup.timer";
/// The name of the service unit.
pub(super) const SERVICE: &str = "ashore.service";
/// The directory of the administrator's units.
pub(super) const DIRECTORY: &str = "/etc/systemd/system";

/// The units, each with the target that starts it, as in its `[Install]` section.
pub(super) const WANTED_BY: [(&str, Option<&str>); 7] = [
    (SOCKET, Some("sockets.target")),
    (READ_SOCKET, None),
    (PLUG_SOCKET, Some("sockets.target")),
    (USERS_SOCKET, Some("sockets.target")),
    (BACKUP, None),
    (BACKUP_TIMER, None),
    (SERVICE, Some("multi-user.target")),
];

/// The name and text of each unit, for a daemon at a path.
pub(super) fn units(program: &Path) -> [(&'static str, String); 7] {
    let of_program = |text: &str| text.replace("@PROGRAM@", &program.display().to_string());
    let service = of_program(include_str!("ashore.service"));
    let backup = of_program(include_str!("ashore-backup.service"));
    [
        (SOCKET, marked(SOCKET, include_str!("ashore.socket"))),
        (READ_SOCKET, marked(READ_SOCKET, include_str!("ashore-read.socket"))),
        (PLUG_SOCKET, marked(PLUG_SOCKET, include_str!("ashore-plug.socket"))),
        (USERS_SOCKET, marked(USERS_SOCKET, include_str!("ashore-users.socket"))),
        (BACKUP, marked(BACKUP, &backup)),
        (BACKUP_TIMER, marked(BACKUP_TIMER, include_str!("ashore-backup.timer"))),
        (SERVICE, marked(SERVICE, &service)),
    ]
}

/// The file by which systemd-sysusers makes the group. It also records that the group is Ashore's.
pub(super) fn sysusers() -> String {
    let text = format!("g {GROUP} -\n");
    format!("{MARK}{:016x}.\n{text}", number(&text))
}

/// The text, below a line that names its origin, with a checksum of the text.
fn marked(name: &str, text: &str) -> String {
    let number = number(text);
    format!("{MARK}{number:016x}, and replaced by it: put your changes into `systemctl edit {name}`.\n{text}")
}

const MARK: &str = "# Written by `ashore install` as ";

/// The program that a service unit starts as the daemon.
pub(super) fn program(unit: &str) -> Option<&Path> {
    unit.lines().find_map(|line| line.strip_prefix("ExecStart=")?.strip_suffix(" daemon")).map(Path::new)
}

/// Whether a unit is unchanged since some version of Ashore wrote it.
pub(super) fn is_untouched(unit: &str) -> bool {
    let Some((mark, text)) = unit.split_once('\n') else { return false };
    let said = mark.strip_prefix(MARK).and_then(|rest| rest.get(..16));
    said.and_then(|hex| u64::from_str_radix(hex, 16).ok()) == Some(number(text))
}

fn number(text: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_key(b"ashore: own unit");
    hasher.write(text.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_known_as_its_own_until_a_byte_of_it_is_changed() {
        for (name, unit) in units(Path::new("/opt/bin/ashore")) {
            assert!(is_untouched(&unit), "{name}");
            assert!(!is_untouched(&unit.replace("Ashore", "Ashorn")), "{name}");
            assert!(!is_untouched(&format!("{unit}\n")), "{name}");
        }
        assert!(is_untouched(&sysusers()) && !is_untouched(&(sysusers() + "g wheel -\n")));
        assert!(!is_untouched("[Service]\nExecStart=/usr/local/bin/ashore daemon\n"));
        assert!(!is_untouched(""));
    }
}
